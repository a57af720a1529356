"""Nested loops compiled by Numba when they are first called, GIL released.

The same nested loops as ``_py_kernel.py``, ``_cy_kernel.pyx`` and ``cpp/kmeans.cpp``, in the same
order and with the same names, so that the files can be compared line by line. Distances are
computed in float64 for both dtypes; float32 is a storage format here. The machine code is
cached on disk: the first fit after an installation compiles for about a second, later
processes load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kmeans_lab.tuned.numba_jit import jit

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums


@jit()
def assign(
    rows: Rows,  # IN  (n_samples, n_features)
    centers: Rows,  # IN  (n_clusters, n_features)
    labels: Labels,  # OUT (n_samples,)
) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    if rows.shape[1] != centers.shape[1] or rows.shape[0] != labels.shape[0]:
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if centers.shape[0] == 0:
        raise ValueError("assign needs at least one center")
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


@jit()
def update(
    rows: Rows,  # IN    (n_samples, n_features)
    labels: Labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Sums,  # INOUT (n_clusters, n_features), added to
    counts: Counts,  # INOUT (n_clusters,), added to
) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    if (
        rows.shape[0] != labels.shape[0]
        or rows.shape[1] != sums.shape[1]
        or sums.shape[0] != counts.shape[0]
    ):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    outside = 0
    for i in range(labels.shape[0]):
        outside |= labels[i] < 0 or labels[i] >= counts.shape[0]
    if outside:
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    for i in range(rows.shape[0]):
        j = labels[i]
        for f in range(rows.shape[1]):
            sums[j, f] += rows[i, f]
        counts[j] += 1
