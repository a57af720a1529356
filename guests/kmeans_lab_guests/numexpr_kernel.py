"""Both steps with numexpr: expressions over whole arrays, computed block by block in the cache.

numexpr compiles an expression to its own byte code and runs that over blocks of rows, so that no
array of all differences is ever made. It has sums over an axis and no index of the smallest: the
centers are compared one after the other. One expression runs at a time in a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numexpr
import numpy as np

from kmeans_lab import KernelSpec
from kmeans_lab_guests.arrays import OUTSIDE

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

SPEC = KernelSpec(
    module="",
    summary="numexpr: an expression over all rows for each center",
    remedy="pip install numexpr",
    requires=("numexpr", "numpy"),
    threading="gil",
    whole=True,
    debugging="pdb stops between expressions; tracebacks name them",
    wheels="Linux, macOS and Windows; x86-64 and arm64",
)

numexpr.set_num_threads(1)


def assign(rows: Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    best = np.full(len(rows), np.inf)
    labels[:] = 0
    for j, center in enumerate(np.asarray(centers, np.float64)):
        arrays = {"rows": rows, "center": center}
        distances = numexpr.evaluate("sum((rows - center) ** 2, axis=1)", arrays)
        nearer = distances < best
        best[nearer] = distances[nearer]
        labels[nearer] = j
    return float(best.sum())


def update(rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(counts):
        raise ValueError(OUTSIDE)
    for j in range(len(counts)):
        own = rows[labels == j]
        sums[j] += own.sum(axis=0, dtype=np.float64)
        counts[j] += len(own)
