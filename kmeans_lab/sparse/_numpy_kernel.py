"""SciPy's product of sparse rows and dense centers finds the nearest ones.

‖x − c‖² = ‖c‖² − 2x·c + ‖x‖², whose last term decides nothing. The product gives all x·c of a block
of rows; SciPy multiplies one row by all centers at once, whose values lie side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.sparse.numerics import squared_lengths
from kmeans_lab.sparse.reading import as_scipy

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums
    from kmeans_lab.sparse.rows import SparseRows

#: Scores that are held at once.
BLOCK_SCORES = 65_536


def assign(rows: SparseRows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    columns = np.ascontiguousarray(centers.T, dtype=np.float64)
    norms = np.zeros(len(centers))
    for some in row_blocks(len(columns), len(centers)):  # in the order of the features
        squares = columns[some] * columns[some]
        squares[0] += norms
        norms = np.add.reduce(squares, axis=0)
    step, inertia = max(1, BLOCK_SCORES // len(centers)), 0.0
    for first in range(0, len(rows), step):
        block = rows[first : first + step].astype(columns.dtype)
        scores = norms - 2.0 * (as_scipy(block) @ columns)
        nearest = scores.argmin(axis=1)
        labels[first : first + step] = nearest
        best = np.take_along_axis(scores, nearest[:, None], axis=1)[:, 0]
        inertia += float(np.maximum(best + squared_lengths(block), 0).sum())
    return inertia


def update(rows: SparseRows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count: a product with a matrix of ones."""
    n_clusters = len(counts)
    if len(labels) and not 0 <= labels.min() <= labels.max() < n_clusters:
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    sizes = np.bincount(labels, minlength=n_clusters)
    by_cluster = np.argsort(labels, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    ones = csr_array((np.ones(len(labels)), by_cluster, starts), (n_clusters, len(labels)))
    added = (ones @ as_scipy(rows.astype(sums.dtype))).tocoo()
    sums[added.row, added.col] += added.data
    counts += sizes
