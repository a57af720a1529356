"""Nested loops in plain Python: the slowest and the plainest.

Every other kernel must agree with this one. Rows and centers become lists first, because
reading a NumPy array one element at a time would triple the time and measure NumPy's scalar
objects instead of the interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums


def assign(rows: Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    points = rows.tolist()
    means = centers.tolist()
    n_features = rows.shape[1]
    inertia = 0.0
    for i in range(len(points)):
        point = points[i]
        best = float("inf")
        nearest = 0
        for j in range(len(means)):
            mean = means[j]
            distance = 0.0
            for f in range(n_features):
                diff = point[f] - mean[f]
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = j
        labels[i] = nearest
        inertia += best
    return inertia


def update(rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count."""
    nearest = labels.tolist()
    if nearest and not 0 <= min(nearest) <= max(nearest) < len(counts):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    points = rows.tolist()
    totals = sums.tolist()
    sizes = counts.tolist()
    n_features = rows.shape[1]
    for i, j in enumerate(nearest):
        point = points[i]
        total = totals[j]
        for f in range(n_features):
            total[f] += point[f]
        sizes[j] += 1
    sums[:] = totals
    counts[:] = sizes
