"""Nested loops over sparse rows compiled by Numba when they are first called, GIL released.

The same loops as ``_py_kernel.py``, ``_cy_kernel.pyx`` and ``cpp/sparse/kmeans.cpp``, in the same
order and with the same names, so that the files can be compared line by line. Everything is
computed in float64; float32 is a storage format here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kmeans_lab.tuned.numba_jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kmeans_lab.kernel import Counts, Labels, Rows, Sums
    from kmeans_lab.sparse.rows import SparseRows


@jit()
def _assign(
    data: Rows,  # IN  (n_values,)
    indices: NDArray[np.int32],  # IN  (n_values,)
    indptr: NDArray[np.int64],  # IN  (n_samples + 1,)
    centers: Rows,  # IN  (n_clusters, n_features)
    labels: Labels,  # OUT (n_samples,)
) -> float:
    norms = np.empty(centers.shape[0])
    for j in range(centers.shape[0]):
        norm = 0.0
        for f in range(centers.shape[1]):
            value = np.float64(centers[j, f])
            norm += value * value
        norms[j] = norm
    inertia = 0.0
    for i in range(labels.shape[0]):
        best = np.inf
        nearest = 0
        for j in range(centers.shape[0]):
            dot = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                dot += np.float64(data[p]) * np.float64(centers[j, indices[p]])
            score = norms[j] - 2.0 * dot
            if score < best:
                best = score
                nearest = j
        square = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            square += np.float64(data[p]) * np.float64(data[p])
        labels[i] = nearest
        inertia += max(best + square, 0.0)
    return inertia


@jit()
def _update(
    data: Rows,  # IN    (n_values,)
    indices: NDArray[np.int32],  # IN    (n_values,)
    indptr: NDArray[np.int64],  # IN    (n_samples + 1,)
    labels: Labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Sums,  # INOUT (n_clusters, n_features), added to
    counts: Counts,  # INOUT (n_clusters,), added to
) -> None:
    outside = 0
    for i in range(labels.shape[0]):
        outside |= labels[i] < 0 or labels[i] >= counts.shape[0]
    if outside:
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    for i in range(labels.shape[0]):
        j = labels[i]
        for p in range(indptr[i], indptr[i + 1]):
            sums[j, indices[p]] += data[p]
        counts[j] += 1


def assign(rows: SparseRows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    if len(labels) != len(rows) or centers.shape[1] != rows.n_features:
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    return float(_assign(rows.data, rows.indices, rows.indptr, centers, labels))


def update(rows: SparseRows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    if len(labels) != len(rows) or sums.shape != (len(counts), rows.n_features):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    _update(rows.data, rows.indices, rows.indptr, labels, sums, counts)
