"""Greedy k-means++ of rows that are read block by block: one pass for each center.

The rows that it chooses are those that ``kmeans_lab.seeding.greedy_rows`` chooses in memory, since
everything that is added up are whole numbers of steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array
from kmeans_lab.numerics.grids import LEAST_STEPS, Grid
from kmeans_lab.rows.streamed import Block, StreamedRows

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

#: Writes the squared distances of rows to points, (n_points, n_samples).
Measure = Callable[[Array, Array, Floats], Floats]


class StreamedSeeding:
    """The distance of each row to its nearest center so far, and steps of these in each block.

    Parameters
    ----------
    X : StreamedRows
    weights : ndarray of shape (n_samples,), float64, optional
    measure : callable
        ``kmeans_lab.seeding.squared_distances``.
    """

    def __init__(self, X: StreamedRows, weights: Floats | None, measure: Measure) -> None:
        self._rows, self._weights, self._measure = X, weights, measure
        self._nearest: Floats = X.scratch.array(len(X), np.float64, "distances of all rows")
        self._nearest.fill(np.inf)
        self._added: Array | None = None  # a center that the distances do not know of yet
        self._grid = Grid()

    def choose(self, first: int, draws: Floats) -> list[int]:
        """Return the rows that become centers; first and draws are as for ``greedy_rows``."""
        n_samples, chosen = len(self._rows), [first]
        self._added = self._rows[[first]]
        steps: Steps | None = None
        for draw in draws:
            steps = self._fine_enough(self._steps() if steps is None else steps)
            total = int(steps.sum())
            if total > 0:
                candidates = self._rows_at(draw * total, steps)
            else:  # every row is a center already
                candidates = (draw[:1] * n_samples).astype(np.intp)
            points = self._rows[candidates]
            tried = self._try(points)
            best = int(np.argmin(tried.sum(axis=0)))
            chosen.append(int(candidates[best]))
            self._added, steps = points[best : best + 1], np.ascontiguousarray(tried[:, best])
        return chosen

    def _try(self, points: Array) -> Steps:
        """Return the steps of each block, were each of these points a center, too."""
        tried = []
        for block in self._rows.blocks():
            near = self._near(block)
            self._nearest[block.part] = near
            after = self._measure(block.rows, points, np.empty((len(points), len(near))))
            np.minimum(after, near, out=after)
            tried.append([self._grid.steps(self._heavy(each, block)).sum() for each in after])
            self._rows.scratch.let_go()
        return np.array(tried, dtype=np.int64)

    def _steps(self) -> Steps:
        """Return the steps of each block; distances follow the last center."""
        found = []
        for block in self._rows.blocks():
            near = self._near(block)
            self._nearest[block.part] = near
            found.append(self._grid.steps(self._heavy(near, block)).sum())
            self._rows.scratch.let_go()
        self._added = None
        return np.array(found, dtype=np.int64)

    def _near(self, block: Block) -> Floats:
        """Return the distances of a block to the nearest center, the last one included."""
        near = self._nearest[block.part].copy()
        if self._added is not None:
            last = self._measure(block.rows, self._added, np.empty((1, len(near))))
            np.minimum(near, last[0], out=near)
        return near

    def _fine_enough(self, steps: Steps) -> Steps:
        """Return steps of a finer grid where these are few, as ``numerics.grids.in_steps`` does."""
        n = len(self._rows)
        if (total := int(steps.sum())) <= n:
            self._steps()
            most = max(float(self._heavy(self._nearest[at.part], at).max()) for at in self._parts())
            steps = self._on(Grid(n * most), steps)
            total = int(steps.sum())
        if total < LEAST_STEPS:
            steps = self._on(Grid((total + n) * self._grid.step), steps)
        return steps

    def _on(self, finer: Grid, steps: Steps) -> Steps:
        if finer.step >= self._grid.step:
            return steps
        self._grid = finer
        return self._steps()

    def _parts(self) -> list[Block]:
        """Return the blocks without their rows."""
        none = np.empty((0, 0))
        return [Block(*bounds, none) for bounds in self._rows.parts()]

    def _rows_at(self, places: Floats, steps: Steps) -> NDArray[np.intp]:
        """Return the row at each of some places in the running sum of steps."""
        ends = np.cumsum(steps)
        parts, rows = self._rows.parts(), np.empty(len(places), dtype=np.intp)
        which = np.minimum(np.searchsorted(ends, places, side="right"), len(parts) - 1)
        for b in np.unique(which):
            first, last = parts[b]
            block = Block(first, last, self._rows.read(first, last))
            inside = np.cumsum(self._grid.steps(self._heavy(self._near(block), block)))
            inside += ends[b] - steps[b]
            mine = which == b
            rows[mine] = first + np.searchsorted(inside, places[mine], side="right")
        return rows

    def _heavy(self, distances: Floats, block: Block) -> Floats:
        return distances if self._weights is None else distances * self._weights[block.part]
