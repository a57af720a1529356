"""Nested loops in plain Python: the slowest and the plainest.

Every other kernel must agree with this one. Rows and centers become lists first, because
reading a NumPy array one element at a time would triple the time and measure NumPy's scalar
objects instead of the interpreter. From there on, the same nested loops as ``_numba_kernel.py``,
``_cy_kernel.pyx`` and ``cpp/kmeans.cpp``, in the same order and with the same names, so that the
files can be compared line by line.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums


def assign(
    rows: Rows,  # IN  (n_samples, n_features)
    centers: Rows,  # IN  (n_clusters, n_features)
    labels: Labels,  # OUT (n_samples,)
) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    n_samples, n_features = rows.shape
    n_clusters = len(centers)
    if n_clusters == 0:
        raise ValueError("assign needs at least one center")
    rows, centers = rows.tolist(), centers.tolist()
    inertia = 0.0
    for i in range(n_samples):
        row = rows[i]
        best = inf
        nearest = 0
        for j in range(n_clusters):
            center = centers[j]
            distance = 0.0
            for f in range(n_features):
                diff = row[f] - center[f]
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = j
        labels[i] = nearest
        inertia += best
    return inertia


def update(
    rows: Rows,  # IN    (n_samples, n_features)
    labels: Labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Sums,  # INOUT (n_clusters, n_features), added to
    counts: Counts,  # INOUT (n_clusters,), added to
) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    n_samples, n_features = rows.shape
    sums_inout, counts_inout = sums, counts
    rows, labels, sums, counts = rows.tolist(), labels.tolist(), sums.tolist(), counts.tolist()
    if n_samples > 0 and not 0 <= min(labels) <= max(labels) < len(counts):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    for i in range(n_samples):
        row = rows[i]
        j = labels[i]
        for f in range(n_features):
            sums[j][f] += row[f]
        counts[j] += 1
    sums_inout[:] = sums
    counts_inout[:] = counts
