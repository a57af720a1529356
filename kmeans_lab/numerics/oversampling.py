"""k-means‖: a start from a few passes over the rows, whatever the number of clusters.

Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++", Proceedings of the VLDB
Endowment 5, 2012. Each round draws rows independently of each other, each with a probability in
proportion to its squared distance from what was drawn before; some 2k of them. The rows drawn are
weighed by how many rows are nearest to them, and k of them are chosen by k-means++.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.grids import Grid, in_steps
from kmeans_lab.rows.distances import (
    Draws,
    Floats,
    Measure,
    Steps,
    fine_enough,
    masses_of,
    start_distances,
)
from kmeans_lab.rows.source import ArrayRows
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.numerics import distances_to_rows
from kmeans_lab.sparse.rows import SparseRows

ROUNDS = 5
#: Where a few rows are much farther than all others, these alone are drawn at first.
_MOST_ROUNDS = 40
#: Rows drawn in a round, times the number of clusters.
_EACH = 2
_POINTS = 8  # that sparse rows are measured to at a time


def oversample(
    X: Any, n_clusters: int, rng: np.random.Generator, weights: Floats | None, measure: Measure
) -> tuple[NDArray[np.intp], Floats]:
    """Draw rows; return their numbers, and how many rows, or which weight, is nearest to each.

    Parameters
    ----------
    X : ndarray, SparseRows or StreamedRows of shape (n_samples, n_features)
    n_clusters : int
    rng : Generator
        Draws a number for each row in each round.
    weights : ndarray of shape (n_samples,), float64, optional
    measure : callable
        ``kmeans_lab.seeding.squared_distances``.
    """
    n_samples = len(X)
    first = rng.integers(n_samples) if weights is None else _by_weight(weights, rng)
    drawn = [np.array([first], dtype=np.intp)]
    near: Draws
    here = isinstance(X, SparseRows) and not hasattr(X, "start_distances")
    if here:
        near = _SparseDistances(X, weights)
    else:
        rows = StreamedRows(ArrayRows(X), X.dtype) if isinstance(X, np.ndarray) else X
        near = start_distances(rows, weights, measure, owners=True)
    with closing(near):
        grid, added = Grid(), 0
        for again in range(_MOST_ROUNDS):
            if again >= ROUNDS and sum(map(len, drawn)) > n_clusters:
                break
            near.add(drawn[-1] if here else X[drawn[-1]])
            added += 1
            _, total, grid = fine_enough(near, n_samples, near.steps(grid), grid)
            if total == 0:  # every row has been drawn, or one like it
                break
            drawn.append(near.drawn(rng, total, _EACH * n_clusters, grid))
        if added < len(drawn):
            near.add(drawn[-1] if here else X[drawn[-1]])
        numbers = np.concatenate(drawn)
        return numbers, near.masses(len(numbers))


def _by_weight(weights: Floats, rng: np.random.Generator) -> int:
    steps, total, _ = in_steps(weights, Grid())
    return int(np.searchsorted(np.cumsum(steps), rng.random() * total, side="right"))


class _SparseDistances:
    """Distances of sparse rows to some of them, which are in memory as one block."""

    def __init__(self, X: SparseRows, weights: Floats | None) -> None:
        self._rows, self._weights, self._found = X, weights, 0
        self._nearest: Floats = np.full(len(X), np.inf)
        self._owners = np.zeros(len(X), np.int32)

    def add(self, points: Any) -> None:
        """Lower distances where one of these rows, given by their numbers, is nearer."""
        nearest, owners = self._nearest, self._owners
        for some in row_blocks(len(points), 1, _POINTS):
            numbers = points[some]
            squares = distances_to_rows(self._rows, numbers, np.empty((len(numbers), len(nearest))))
            best, whose = squares.min(axis=0), squares.argmin(axis=0)
            nearer = best < nearest
            nearest[nearer] = best[nearer]
            owners[nearer] = whose[nearer] + some.start + self._found
        self._found += len(points)

    def steps(self, grid: Grid) -> Steps:
        """Return the steps of all rows, which are one block."""
        return np.array([grid.steps(self._heavy()).sum()], np.int64)

    def most(self) -> float:
        """Return the largest distance, times its weight."""
        return float(self._heavy().max())

    def drawn(
        self, rng: np.random.Generator, total: int, times: int, grid: Grid
    ) -> NDArray[np.intp]:
        """Return rows drawn in proportion to their distances times weights."""
        chances = rng.random(len(self._nearest)) * total
        return np.flatnonzero(chances < times * grid.steps(self._heavy()).astype(np.float64))

    def masses(self, n_points: int) -> Floats:
        """Return how many rows, or which weight, is nearest to each."""
        return masses_of(self._owners, self._weights, n_points)

    def close(self) -> None:
        """Do nothing: the arrays go with this object."""

    def _heavy(self) -> Floats:
        return self._nearest if self._weights is None else self._nearest * self._weights
