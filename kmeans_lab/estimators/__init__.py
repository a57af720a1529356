"""scikit-learn's estimators on the laboratory's kernels."""
