"""The squared distance of each row to the nearest of some points, for starts that add points.

Rows are read block by block, here or on the workers of a cluster; what a start needs to know of
them are sums of whole numbers, and the numbers of a few rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import row_squares
from kmeans_lab.numerics.grids import LEAST_STEPS, Grid
from kmeans_lab.registry import PROVIDERS, load_kernel
from kmeans_lab.rows.streamed import Block, StreamedRows

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]
Labels = NDArray[np.int32]

#: Writes the squared distances of rows to points, (n_points, n_samples).
Measure = Callable[[Any, Array, Floats], Floats]
_BLOCK_VALUES = 1 << 20


class Draws(Protocol):
    """What k-means‖ asks of rows, whatever they are."""

    def add(self, points: Any, /) -> None:
        """Take these points (n_points, n_features) into account from now on."""

    def steps(self, grid: Grid, /) -> Steps:
        """Return the sum of the distances of each block, times weights, in steps of a grid."""

    def most(self) -> float:
        """Return the largest distance, times its weight."""

    def drawn(
        self, rng: np.random.Generator, total: int, times: int, grid: Grid, /
    ) -> NDArray[np.intp]:
        """Return rows drawn independently: each with ``times`` its steps out of ``total``.

        A number is drawn for each row, in the order of the rows.
        """

    def masses(self, n_points: int, /) -> Floats:
        """Return how many rows, or which weight, is nearest to each point that was added."""

    def close(self) -> None:
        """Forget everything."""


class Distances(Draws, Protocol):
    """The same, and what greedy k-means++ asks of rows that are not an array."""

    def tried(self, points: Array, grid: Grid, /) -> Steps:
        """Return ``steps`` were each of these points added: (n_blocks, n_points)."""

    def rows_at(self, places: Floats, steps: Steps, grid: Grid, /) -> NDArray[np.intp]:
        """Return the row at each of some places in the running sum of steps.

        ``steps`` are those of each block.
        """


def start_distances(
    X: Any, weights: Floats | None, measure: Measure, *, owners: bool = False
) -> Distances:
    """Return distances to no point yet, which are kept where the rows are.

    X are ``StreamedRows``, or sparse rows that lie elsewhere.
    """
    if (start := getattr(getattr(X, "source", X), "start_distances", None)) is not None:
        held: Distances = start(X, weights, owners)
        return held
    return StreamedDistances(X, weights, measure, owners=owners)


class StreamedDistances:
    """Distances of rows that are read here, in one array that may lie in a file.

    Parameters
    ----------
    X : StreamedRows
    weights : ndarray of shape (n_samples,), float64, optional
    measure : callable
        ``kmeans_lab.seeding.squared_distances``.
    owners : bool
        Whether it is of interest which point is the nearest one. Several points may be added at a
        time then, of which a kernel finds the nearest.
    """

    def __init__(
        self, X: StreamedRows, weights: Floats | None, measure: Measure, *, owners: bool
    ) -> None:
        self._rows, self._weights, self._measure = X, weights, measure
        self._nearest: Floats = X.scratch.array(len(X), np.float64, "distances of all rows")
        self._nearest.fill(np.inf)
        self.owners: Labels | None = None
        if owners:
            self.owners = X.scratch.array(len(X), np.int32, "nearest points of all rows")
            self.owners.fill(0)
        self._pending: list[tuple[int, Array]] = []  # points that distances do not know of yet
        self.found = 0

    def add(self, points: Array) -> None:
        """Take points into account, when rows are read the next time."""
        if len(points) > 0:
            self._pending.append((self.found, np.ascontiguousarray(points)))
        self.found += len(points)

    def steps(self, grid: Grid) -> Steps:
        """Return the steps of each block."""
        if self._pending:
            return self._each(lambda block: grid.steps(self._heavy(block)).sum())
        return np.array([grid.steps(self._heavy(it)).sum() for it in self._parts()], np.int64)

    def tried(self, points: Array, grid: Grid) -> Steps:
        """Return the steps of each block, were each of these points added."""

        def steps_with(block: Block) -> list[Any]:
            near = self._nearest[block.part]
            after = self._measure(block.rows, points, np.empty((len(points), len(near))))
            np.minimum(after, near, out=after)
            return [grid.steps(self._weighed(each, block)).sum() for each in after]

        return self._each(steps_with)

    def most(self) -> float:
        """Return the largest distance, times its weight."""
        self.settle()
        return max(float(self._heavy(part).max()) for part in self._parts())

    def rows_at(self, places: Floats, steps: Steps, grid: Grid) -> NDArray[np.intp]:
        """Return the row at each of some places in the running sum of steps."""
        ends, rows = np.cumsum(steps), np.empty(len(places), dtype=np.intp)
        parts = self._parts()
        which = np.minimum(np.searchsorted(ends, places, side="right"), len(parts) - 1)
        for b in np.unique(which):
            block = parts[b]
            if self._pending:
                block = block._replace(rows=self._rows.read(block.first, block.last))
            inside = np.cumsum(grid.steps(self._weighed(self._near(block), block)))
            inside += ends[b] - steps[b]
            mine = which == b
            rows[mine] = block.first + np.searchsorted(inside, places[mine], side="right")
        return rows

    def drawn(
        self, rng: np.random.Generator, total: int, times: int, grid: Grid
    ) -> NDArray[np.intp]:
        """Return rows drawn in proportion to their distances times weights."""
        self.settle()
        found = []
        for part in self._parts():
            steps = grid.steps(self._heavy(part))
            chances = rng.random(len(steps)) * total
            found.append(part.first + np.flatnonzero(chances < times * steps.astype(np.float64)))
        return np.concatenate(found)

    def masses(self, n_points: int) -> Floats:
        """Return how many rows, or which weight, is nearest to each point."""
        self.settle()
        assert self.owners is not None
        return masses_of(self.owners, self._weights, n_points)

    def close(self) -> None:
        """Forget the distances."""
        self._nearest, self.owners = np.empty(0), None

    def _each(self, of: Callable[[Block], Any]) -> Steps:
        """Read all blocks, lower their distances, and return what a function says of each."""
        found = []
        for block in self._rows.blocks():
            self._come_nearer(block)
            found.append(of(block))
            self._rows.scratch.let_go()
        self._pending = []
        return np.array(found, dtype=np.int64)

    def settle(self) -> None:
        """Take points into account that have been added since rows were read."""
        if self._pending:
            self._each(lambda block: 0)

    def _come_nearer(self, block: Block) -> None:
        part = block.part
        if self.owners is None:
            self._nearest[part] = self._near(block)
            return
        for found, points in self._pending:
            labels = _nearest_of(block.rows, points, self._measure)
            keep_nearer(block.rows, points, labels, found, self._nearest[part], self.owners[part])

    def _near(self, block: Block) -> Floats:
        """Return the distances of a block to the nearest point, pending ones included."""
        near = self._nearest[block.part].copy()
        for _, points in self._pending:
            measured = self._measure(block.rows, points, np.empty((len(points), len(near))))
            np.minimum(near, measured.min(axis=0), out=near)
        return near

    def _parts(self) -> list[Block]:
        """Return the blocks without their rows."""
        none = np.empty((0, 0))
        return [Block(*bounds, none) for bounds in self._rows.parts()]

    def _heavy(self, block: Block) -> Floats:
        return self._weighed(self._nearest[block.part], block)

    def _weighed(self, distances: Floats, block: Block) -> Floats:
        return distances if self._weights is None else distances * self._weights[block.part]


def masses_of(owners: Labels, weights: Floats | None, n_points: int) -> Floats:
    """Return how many rows, or which weight, each point owns; added up in the order of the rows."""
    masses = np.zeros(n_points)
    for part in row_blocks(len(owners), 1, _BLOCK_VALUES):
        np.add.at(masses, owners[part], 1.0 if weights is None else weights[part])
    return masses


def keep_nearer(
    rows: Array,
    points: Array,
    labels: Labels,
    found: int,
    nearest: Floats,  # INOUT (n_samples,)
    owners: Labels,  # INOUT (n_samples,)
) -> None:
    """Lower distances, and say whose they are, where a new point is nearer than all before it.

    ``labels`` say which of the new points is the nearest one, ``found`` how many there were before.
    """
    apart = points.astype(np.float64).take(labels, axis=0)
    squares = row_squares(np.subtract(rows, apart, out=apart))
    nearer = squares < nearest
    nearest[nearer] = squares[nearer]
    owners[nearer] = labels[nearer] + found


def _nearest_of(rows: Array, points: Array, measure: Measure) -> Labels:
    """Return the nearest of some points of each row, the first of equals."""
    labels = np.empty(len(rows), np.int32)
    if name := first_ready((PROVIDERS["blocks"],)):
        provider: Any = load_kernel(name)
        provider.label_rows(np.ascontiguousarray(rows), points, labels, 1)
        return labels
    for part in row_blocks(len(rows), len(points), _BLOCK_VALUES):
        some = rows[part]
        squares = measure(some, points, np.empty((len(points), len(some))))
        labels[part] = squares.argmin(axis=0)
    return labels


def fine_enough(near: Draws, n_samples: int, steps: Steps, grid: Grid) -> tuple[Steps, int, Grid]:
    """Return steps, their total and the grid; as ``numerics.grids.in_steps`` does in memory."""
    if (total := int(steps.sum())) <= n_samples:  # the sum may consist of rounding errors alone
        near.steps(grid)  # distances follow the last point
        steps, total, grid = _on(near, Grid(n_samples * near.most()), steps, total, grid)
    if total < LEAST_STEPS:
        finer = Grid((total + n_samples) * grid.step)
        steps, total, grid = _on(near, finer, steps, total, grid)
    return steps, total, grid


def _on(near: Draws, finer: Grid, steps: Steps, total: int, grid: Grid) -> tuple[Steps, int, Grid]:
    if finer.step >= grid.step:
        return steps, total, grid
    steps = near.steps(finer)
    return steps, int(steps.sum()), finer
