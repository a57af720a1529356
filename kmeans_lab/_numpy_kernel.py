"""Vectorised NumPy: a blocked matrix product finds the nearest centers.

‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖²; ‖x‖² is the same for every center, so the argmin needs only the
other two terms. They are one product: a column of ones beside X meets ‖c‖² below −2c. An expansion
loses digits when the data lie far from the origin: the driver centers X first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

#: Scores held at once: 64 Ki of them are 512 KiB in float64 and stay in a core's L2 cache. Half
#: and twice as many take the same time within 5 %.
BLOCK_SCORES = 65_536


class Prepared:
    """Rows beside a column of ones, Σ‖x‖², and a buffer for a block's scores."""

    def __init__(self, X: Rows, n_clusters: int) -> None:
        n_samples, n_features = X.shape
        self.X = X
        self.padded = np.empty((n_samples, n_features + 1), dtype=X.dtype)
        self.padded[:, :-1] = X
        self.padded[:, -1] = 1
        self.squares = float(np.einsum("if,if->", X, X, dtype=np.float64))  # float32 would overflow
        self.block = max(1, min(n_samples, BLOCK_SCORES // n_clusters))
        self.scores = np.empty((self.block, n_clusters), dtype=X.dtype)
        self.starts = np.arange(self.block) * n_clusters  # where each row's scores begin


def prepare(X: Rows, n_clusters: int, n_threads: int) -> Prepared:
    """Copy X with a column of ones; allocate what a block needs."""
    return Prepared(X, n_clusters)


def assign(rows: Prepared | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    n_clusters = len(centers)
    if not isinstance(rows, Prepared) or rows.scores.shape[1] != n_clusters:
        X = rows.X if isinstance(rows, Prepared) else rows
        return assign(Prepared(X, n_clusters), centers, labels)
    squared_norms = np.einsum("jf,jf->j", centers, centers)
    factors = np.concatenate([-2 * centers.T, squared_norms[None]])
    inertia = rows.squares
    for first in range(0, len(rows.X), rows.block):
        points = rows.padded[first : first + rows.block]
        scores = np.matmul(points, factors, out=rows.scores[: len(points)])
        nearest = scores.argmin(axis=1)
        labels[first : first + rows.block] = nearest
        nearest += rows.starts[: len(points)]
        inertia += rows.scores.take(nearest).sum(dtype=np.float64)
    # A sum of squares; the expansion may round to just below zero.
    return max(float(inertia), 0.0)


def update(rows: Prepared | Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count.

    Rows sorted by label, then one ``add.reduceat`` over the runs: 0.27 ms on the standard
    preset, against 0.36 for a one-hot matrix product, 0.65 for one ``bincount`` per feature and
    1.1 for ``add.at``.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(counts):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    X = rows.X if isinstance(rows, Prepared) else rows
    sizes = np.bincount(labels, minlength=len(counts))
    used = np.flatnonzero(sizes)
    if len(used) == 0:
        return
    starts = (np.cumsum(sizes) - sizes)[used]
    by_cluster = X[np.argsort(labels, kind="stable")]
    sums[used] += np.add.reduceat(by_cluster, starts, axis=0, dtype=np.float64)
    counts += sizes
