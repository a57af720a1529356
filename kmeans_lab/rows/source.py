"""The protocols of rows that are not an array, and two plain kinds of such rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kmeans_lab.io.values import refuse_masked


@runtime_checkable
class RowSource(Protocol):
    """Rows that are read some at a time: of a file, of several, of a function.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    dtype : dtype
        Of what ``read`` returns: float32 is kept, all other numbers become float64.

    A source may have three more. ``check()`` is called before a fit and after each pass over the
    rows, and raises where they are no longer what they were. ``take(numbers)`` returns rows whose
    numbers, (n,) int64, ascend, where that is faster than to read one after the other. ``name`` is
    what messages call it.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_features)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""

    def read(self, start: int, stop: int, /) -> Any:
        """Return rows from start to before stop: an array that nobody else writes to.

        It is called from one thread at a time, which need not be the one that began the fit.
        """


@runtime_checkable
class HoldsBlocks(Protocol):
    """A source whose rows stay where they are: it measures them, and brings a crew of its own."""

    def measured(self, kernel: str, /) -> tuple[Any, NDArray[np.float64]]:
        """Return the moments of all rows, and the smallest magnitude of each column, zeros aside.

        ``kernel`` names the one of the fit.
        """

    def start_crew(self, job: Any, /) -> Any:
        """Return the crew that computes where the rows are, a ``kmeans_lab.crews.base.Crew``."""

    def take(self, numbers: NDArray[np.intp], /) -> NDArray[Any]:
        """Return rows of ascending numbers."""

    def start_distances(self, rows: Any, weights: Any, owners: bool, /) -> Any:
        """Return distances to no point yet, a ``kmeans_lab.rows.distances.Distances``.

        ``rows`` are the ``StreamedRows`` of this source, ``owners`` is whether it is of interest
        which point is the nearest one.
        """


def take_rows(source: RowSource, numbers: NDArray[np.int64]) -> Any:
    """Return rows whose numbers ascend, as the source takes or reads them.

    Those that follow each other are read at once.
    """
    if (take := getattr(source, "take", None)) is not None:
        return take(numbers)
    ends = np.flatnonzero(np.diff(numbers, append=source.shape[0] + 1) > 1) + 1
    parts, begin = [], 0
    for end in ends.tolist():
        first, last = int(numbers[begin]), int(numbers[end - 1]) + 1
        found = read_rows(source, first, last)
        parts.append(found if last - first == end - begin else found[numbers[begin:end] - first])
        begin = end
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def read_rows(source: RowSource, first: int, last: int) -> NDArray[Any]:
    """Return rows as a source reads them; ``ValueError`` where they are masked or too few."""
    name = name_of(source)
    read = source.read(first, last)
    if isinstance(read, np.ndarray):
        refuse_masked(f"{name}.read({first}, {last})", read)
    given = np.asarray(read)
    expected = (last - first, source.shape[1])
    if given.shape != expected:
        raise ValueError(
            f"{name}.read({first}, {last}) returned shape {given.shape} and must return "
            f"{expected}; check shape and read"
        )
    return given


def name_of(source: RowSource) -> str:
    """Return what messages call a source."""
    return str(getattr(source, "name", type(source).__name__))


class CalledRows:
    """Rows that a function returns.

    Parameters
    ----------
    read : callable
        Called as ``read(start, stop)``; returns an array (stop − start, n_features), the same each
        time.
    shape : tuple of int
        (n_samples, n_features).
    dtype : dtype, default float64
    """

    def __init__(
        self,
        read: Callable[[int, int], Any],
        shape: tuple[int, int],
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.read, self.shape, self.dtype = read, shape, np.dtype(dtype)
        self.name = getattr(read, "__name__", type(read).__name__)


class ArrayRows:
    """Rows of an array, or of whatever is sliced like one: an array of zarr, a dataset of HDF5."""

    def __init__(self, array: Any, name: str = "X") -> None:
        self._array, self.name = array, name
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        return np.asarray(self._array[start:stop])
