"""Distances of a block of sparse rows, for starts; see ``kmeans_lab.rows.distances``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kmeans_lab.rows.distances import Floats, StreamedDistances
from kmeans_lab.rows.memory import Scratch
from kmeans_lab.rows.streamed import Block
from kmeans_lab.sparse.numerics import distances_to_points
from kmeans_lab.sparse.rows import SparseRows

_POINTS = 8  # that rows are measured to at a time


class OneBlock:
    """Sparse rows in memory, as ``StreamedDistances`` reads rows."""

    def __init__(self, rows: SparseRows) -> None:
        self._rows, self.scratch = rows, Scratch(1 << 62)

    def __len__(self) -> int:
        return len(self._rows)

    def parts(self) -> list[tuple[int, int]]:
        """Return the first row of the block, and the one after its last."""
        return [(0, len(self))]

    def blocks(self) -> Iterator[Block]:
        """Yield all rows at once."""
        yield Block(0, len(self), self._rows)  # type: ignore[arg-type]

    def read(self, first: int, last: int) -> Any:
        """Return rows from first to before last."""
        return self._rows[first:last]


class SparseDistances(StreamedDistances):
    """Distances of a block of sparse rows to points, which are arrays."""

    def __init__(self, rows: SparseRows, weights: Floats | None, *, owners: bool) -> None:
        of: Any = OneBlock(rows)
        super().__init__(of, weights, distances_to_points, owners=owners)

    def _come_nearer(self, block: Block) -> None:
        if self.owners is None:
            super()._come_nearer(block)
            return
        nearest, owners = self._nearest[block.part], self.owners[block.part]
        for found, points in self._pending:
            for first in range(0, len(points), _POINTS):
                some = points[first : first + _POINTS]
                squares = self._measure(block.rows, some, np.empty((len(some), len(nearest))))
                best, whose = squares.min(axis=0), squares.argmin(axis=0)
                nearer = best < nearest
                nearest[nearer] = best[nearer]
                owners[nearer] = whose[nearer] + first + found
