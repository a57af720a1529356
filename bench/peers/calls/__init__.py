"""Whole calls as users make them beside scikit-learn's, each held to a target: ``--calls``."""
