"""The nested loops that Pythran compiles to C++: Python, with its exports in comments.

The same loops as ``kmeans_lab/_numba_kernel.py``, in the same order and with the same names, so
that the files can be compared line by line. Pythran reads the whole file, and knows no package but
NumPy: what kmeans_lab asks about the kernel is in ``pythran_kernel.py``.
"""

import numpy as np


# pythran export assign(float64[:,:], float64[:,:], int32[:])
# pythran export assign(float32[:,:], float32[:,:], int32[:])
def assign(
    rows,  # IN  (n_samples, n_features)
    centers,  # IN  (n_clusters, n_features)
    labels,  # OUT (n_samples,)
):
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    inertia = 0.0
    for i in range(rows.shape[0]):
        best = np.inf
        nearest = 0
        for j in range(centers.shape[0]):
            distance = 0.0
            for f in range(rows.shape[1]):
                diff = np.float64(rows[i, f]) - np.float64(centers[j, f])
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = j
        labels[i] = nearest
        inertia += best
    return inertia


# pythran export update(float64[:,:], int32[:], float64[:,:], int64[:])
# pythran export update(float32[:,:], int32[:], float64[:,:], int64[:])
def update(
    rows,  # IN    (n_samples, n_features)
    labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums,  # INOUT (n_clusters, n_features), added to
    counts,  # INOUT (n_clusters,), added to
):
    """Add each row to its cluster's sum, and one to its count; False where a label is none."""
    for i in range(labels.shape[0]):
        if labels[i] < 0 or labels[i] >= counts.shape[0]:
            return False
    for i in range(rows.shape[0]):
        j = labels[i]
        for f in range(rows.shape[1]):
            sums[j, f] += rows[i, f]
        counts[j] += 1
    return True
