"""Rows of a source as the rest of the package sees them: checked, converted, a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array, MeasuresRows
from kmeans_lab.metric import unit_rows
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.rows.memory import Scratch
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.source import name_of, read_rows, take_rows

if TYPE_CHECKING:
    from concurrent.futures import Future

    from kmeans_lab.rows.source import RowSource

#: Bytes of a block at most: reading ahead pays from a few hundred kilobytes on, and what is read is
#: still in the last cache when it is used.
_BLOCK_BYTES = 1 << 23


class Block(NamedTuple):
    """Rows from first to before last."""

    first: int
    last: int
    rows: Array

    @property
    def part(self) -> slice:
        """Where they are among all rows."""
        return slice(self.first, self.last)


def _ahead(read: Callable[[int, int], Array], first: int, last: int) -> Future[Array]:
    """Begin to read rows, in a thread that nobody waits for who no longer wants them."""
    from concurrent.futures import Future  # 6 ms, for streams alone

    found: Future[Array] = Future()

    def run() -> None:
        try:
            found.set_result(read(first, last))
        except BaseException as error:  # whatever a source raises is raised where rows are used
            found.set_exception(error)

    Thread(target=run, name="kmeans_lab-read", daemon=True).start()
    return found


@dataclass(frozen=True, slots=True, eq=False)
class StreamedRows:
    """Rows that are read whenever they are asked for: sliced like an array, and never held.

    Attributes
    ----------
    source : RowSource
    dtype : dtype
        float32 or float64, which values become.
    directions : bool
        Whether each row is scaled to length 1.
    middle : ndarray of shape (n_features,), optional
        What is subtracted from each row.
    kernel, n_threads
        What scales rows; NumPy by default.
    block_bytes : int
    kept : dict of int to ndarray
        Blocks that stay in memory once they have been read, by their first row.
    keep : int
        How many bytes of blocks may stay.
    scratch : Scratch
        Where arrays with a value for each row are made.
    least : ndarray of shape (n_features,), float64, optional
        The smallest magnitude of each column, zeros aside, before the middle is subtracted; where a
        kernel has found it.
    rounding : Rounding, optional
        What is told of the values as they are in the source.
    """

    source: RowSource
    dtype: np.dtype[Any]
    directions: bool = False
    middle: Array | None = None
    kernel: MeasuresRows | None = None
    n_threads: int = 1
    block_bytes: int = _BLOCK_BYTES
    kept: dict[int, Array] = field(default_factory=dict)
    keep: int = 0
    scratch: Scratch = field(default_factory=lambda: Scratch(1 << 62))
    least: NDArray[np.float64] | None = None
    rounding: Rounding | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_features)."""
        return self.source.shape

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def relative_to(self, middle: Array) -> StreamedRows:
        """Return the same rows less a middle."""
        return replace(self, middle=middle) if middle.any() else self

    def as_they_are(self) -> StreamedRows:
        """Return the same rows, less nothing."""
        return replace(self, middle=None)

    def __getitem__(self, which: Any) -> Array:
        """Return some rows: of a slice, or of an array of numbers or truths; and of these, columns.

        Those of a slice are read at once.
        """
        if isinstance(which, tuple):
            rows, columns = which
            return np.asarray(self[rows][..., columns])
        if isinstance(which, slice):
            numbers = range(len(self))[which]
            if numbers.step == 1:
                return self.read(numbers.start, max(numbers.start, numbers.stop))
            return self._some(np.asarray(numbers))
        listed = np.asarray(which)
        if listed.dtype == bool:
            listed = np.flatnonzero(listed)
        if listed.ndim == 0:
            i = range(len(self))[int(listed)]
            return np.asarray(self.read(i, i + 1)[0])
        return self._some(listed)

    def _some(self, numbers: NDArray[Any]) -> Array:
        """Return rows of these numbers; those that follow each other are read at once."""
        rows = np.empty((len(numbers), self.shape[1]), self.dtype)
        order = np.argsort(numbers, kind="stable")
        if len(numbers):
            given = take_rows(self.source, numbers[order])
            if self.directions and not (some := given.any(axis=1)).all():  # refused, by its number
                i = int(some.argmin())
                self._as_kernels_take(given[i : i + 1], int(numbers[order][i]))
            rows[order] = self._as_kernels_take(given, 0)
        return rows if self.middle is None else rows - self.middle

    def read(self, first: int, last: int) -> Array:
        """Return rows from first to before last, as kernels take them."""
        rows = self.uncentered(first, last)
        return rows if self.middle is None else np.asarray(rows - self.middle)

    def uncentered(self, first: int, last: int) -> Array:
        """Return the same without subtracting the middle."""
        return self._as_kernels_take(read_rows(self.source, first, last), first)

    def _as_kernels_take(self, given: NDArray[Any], first: int) -> Array:
        if given.dtype.kind not in "fiub":
            raise TypeError(
                f"{self.name} holds {given.dtype} and must hold real numbers; convert it"
            )
        if self.rounding is not None:
            self.rounding.look(first, given)
        with np.errstate(over="ignore"):  # found when values are checked
            rows: Array = np.require(given, self.dtype, ["C", "A"])
        if self.directions:
            rows = unit_rows(rows, self.kernel, self.n_threads, first=first)
        return rows

    def _kept_or_read(self, first: int, last: int) -> Array:
        rows = self.kept.get(first)
        if rows is None:
            rows = self.uncentered(first, last)
            if sum(block.nbytes for block in self.kept.values()) + rows.nbytes <= self.keep:
                self.kept[first] = rows
        return rows if self.middle is None else np.asarray(rows - self.middle)

    @property
    def name(self) -> str:
        """What messages call the rows."""
        return name_of(self.source)

    def warn_of_rounding(self) -> None:
        """Warn once of integers that float64 rounds, if any has been read."""
        if self.rounding is not None:
            self.rounding.look_into(self.source, 0)
            self.rounding.warn()

    def check(self) -> None:
        """Raise what the source raises where it is no longer what it was."""
        if (check := getattr(self.source, "check", None)) is not None:
            check()

    def parts(
        self, step: int | None = None, bounds: tuple[int, int] | None = None
    ) -> list[tuple[int, int]]:
        """Return the first row of each block, and the one after its last: those of ``blocks``."""
        begin, end = bounds or (0, len(self))
        if step is None:
            step = max(1, self.block_bytes // (self.shape[1] * self.dtype.itemsize))
        return [(begin + at.start, begin + at.stop) for at in row_blocks(end - begin, 1, step)]

    def blocks(
        self,
        step: int | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> Iterator[Block]:
        """Yield blocks that cover all rows, or those within bounds; the next is read meanwhile.

        Parameters
        ----------
        step : int, optional
            Rows of a block, by default as many as ``block_bytes`` hold.
        bounds : tuple of int, optional
            The first row, and the one after the last.
        """
        read = self._kept_or_read if step is None else self.read
        parts = self.parts(step, bounds)
        following: Future[Array] | None = None
        for i, (first, last) in enumerate(parts):
            rows = read(first, last) if following is None else following.result()
            following = None
            if i + 1 < len(parts):
                following = _ahead(read, *parts[i + 1])
            yield Block(first, last, rows)
        self.check()


#: Blocks that are in memory at once, or as large: one is used, one is read, and rows that move or
#: are measured are copied in float64.
_AT_ONCE = 8


def in_budget(rows: StreamedRows, memory: int) -> StreamedRows:
    """Return rows that are read, and kept, as far as so many bytes go.

    Labels come first; then blocks that need not be read again, where half of what is left is kept
    for distances that a start needs.
    """
    block = min(_BLOCK_BYTES, max(memory // (4 * _AT_ONCE), 1 << 16))
    labels = 4 * len(rows)
    left = max(0, memory - _AT_ONCE * block)
    keep = max(0, (left - labels) // 2)
    return replace(rows, block_bytes=block, keep=keep, scratch=Scratch(left - keep))


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Return whether float32 holds all values of a dtype that holds floats."""
    return dtype.type in (np.float16, np.float32)


def fits(shape: tuple[int, int], dtype: np.dtype[Any], memory: int) -> bool:
    """Return whether rows, and what a fit has beside them, fit into so many bytes."""
    wide = 4 if is_narrow(dtype) else 8
    return shape[0] * (shape[1] * wide + _BESIDE) <= memory


#: Bytes that a fit in memory has for each row: labels, bounds and distances.
_BESIDE = 32
