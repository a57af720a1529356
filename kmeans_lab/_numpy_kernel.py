"""Vectorised NumPy: a blocked matrix product finds the nearest centers.

‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖²; ‖x‖² is the same for every center, so the argmin needs only the
other two terms, and the product goes to BLAS. An expansion loses digits when the data lie far
from the origin: the driver centers X first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

#: Scores held at once: 64 Ki of them are 512 KiB in float64 and stay in a core's L2 cache.
BLOCK_SCORES = 65_536


def assign(rows: Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    n_samples, n_clusters = len(rows), len(centers)
    block = max(1, BLOCK_SCORES // n_clusters)
    minus_two_centers = -2 * centers.T
    squared_norms = np.einsum("jf,jf->j", centers, centers)
    inertia = 0.0
    for first in range(0, n_samples, block):
        points = rows[first : first + block]
        scores = points @ minus_two_centers
        scores += squared_norms
        nearest = scores.argmin(axis=1)
        labels[first : first + block] = nearest
        best = np.take_along_axis(scores, nearest[:, None], axis=1)
        squares = np.einsum("if,if->", points, points, dtype=np.float64)  # float32 would overflow
        inertia += best.sum(dtype=np.float64) + squares
    # A sum of squares; the expansion may round to just below zero.
    return max(float(inertia), 0.0)


def update(rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count.

    Rows sorted by label, then one ``add.reduceat`` over the runs: 0.27 ms on the standard
    preset, against 0.36 for a one-hot matrix product, 0.65 for one ``bincount`` per feature and
    1.1 for ``add.at``.
    """
    sizes = np.bincount(labels, minlength=len(counts))
    used = np.flatnonzero(sizes)
    if len(used) == 0:
        return
    starts = (np.cumsum(sizes) - sizes)[used]
    by_cluster = rows[np.argsort(labels, kind="stable")]
    sums[used] += np.add.reduceat(by_cluster, starts, axis=0, dtype=np.float64)
    counts += sizes
