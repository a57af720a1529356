"""The grid of a map: sizes along n, d, k and threads, and the workload of each of its cells."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import log
from typing import NamedTuple

from kmeans_lab.presets import Preset, find_preset

#: What is measured unless other sizes are asked for: 36 cells for each thread count.
SIZES = {"n": (1_000, 10_000, 100_000), "d": (2, 8, 32), "k": (4, 16, 64, 256)}
#: A cell has at least so many rows for each cluster.
ROWS_PER_CLUSTER = 2


class Cell(NamedTuple):
    """One shape and thread count.

    Attributes
    ----------
    n, d, k : int
        Rows, features, clusters.
    threads : int
    """

    n: int
    d: int
    k: int
    threads: int

    @property
    def logs(self) -> tuple[float, ...]:
        """Its place: equal factors are equal distances along each axis."""
        return tuple(map(log, self))


@dataclass(frozen=True, slots=True)
class Grid:
    """Sizes along each axis, ascending, and the dtype of the rows.

    Attributes
    ----------
    n, d, k, threads : tuple of int
    dtype : {"float64", "float32"}
    """

    n: tuple[int, ...]
    d: tuple[int, ...]
    k: tuple[int, ...]
    threads: tuple[int, ...] = (1,)
    dtype: str = "float64"

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """The sizes in the order of a cell's fields."""
        return self.n, self.d, self.k, self.threads

    def cells(self) -> Iterator[Cell]:
        """Yield all cells; one that has too few rows for its clusters is none."""
        for sizes in product(*self.axes):
            cell = Cell(*sizes)
            if cell.n >= ROWS_PER_CLUSTER * cell.k:
                yield cell

    def place(self, cell: Cell) -> tuple[float, ...]:
        """Return where a cell lies: from 0 to 1 along each axis, by its place in the list."""
        return tuple(
            axis.index(size) / max(1, len(axis) - 1)
            for axis, size in zip(self.axes, cell, strict=True)
        )

    def preset_name(self, cell: Cell) -> str:
        """Return the name by which ``kmeans-lab bench --preset`` finds the same workload."""
        suffix = "-f32" if self.dtype == "float32" else ""
        return f"blobs-{cell.n}-{cell.d}-{cell.k}{suffix}"

    def preset(self, cell: Cell) -> Preset:
        """Return the workload of a cell, whose rows are drawn from the seed of its family."""
        return find_preset(self.preset_name(cell))
