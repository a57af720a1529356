"""``SparseRows``: what a kernel is handed in place of X where X is sparse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array

#: Values of a block, whose temporaries are a few times as large.
_BLOCK_VALUES = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Rows (n_samples, n_features) as compressed sparse rows: the values that are stored of each.

    A value that is not stored is zero. Row i has the values ``data[indptr[i]:indptr[i + 1]]`` in
    the columns ``indices[indptr[i]:indptr[i + 1]]``, which ascend. The arrays are never written to;
    a slice of rows shares them, so that its ``indptr`` need not begin with 0.

    Attributes
    ----------
    data : ndarray of shape (n_values,), float32 or float64
    indices : ndarray of shape (n_values,), int32
        Each in 0 … n_features−1, strictly ascending within a row.
    indptr : ndarray of shape (n_samples + 1,), int64
    n_features : int
    """

    data: Array
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n_samples, n_features)."""
        return len(self), self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """How many values they have, zeros included, as for an array."""
        return len(self) * self.n_features

    @property
    def n_values(self) -> int:
        """How many values these rows store."""
        return int(self.indptr[-1] - self.indptr[0])

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @overload
    def __getitem__(self, which: slice) -> SparseRows: ...
    @overload
    def __getitem__(self, which: SupportsIndex | list[int] | NDArray[np.integer]) -> Array: ...
    def __getitem__(self, which: Any) -> Any:
        """Return consecutive rows as they are, or a few rows, chosen by their numbers, as an array.

        The latter are points: starting centers, or a row that becomes one.
        """
        if isinstance(which, slice):
            first, last, step = which.indices(len(self))
            assert step == 1  # rows lie one behind the other
            return self._with(self.indptr[first : max(first, last) + 1])
        numbers = np.atleast_1d(np.asarray(which))
        points = np.zeros((len(numbers), self.n_features), self.dtype)
        for point, i in zip(points, numbers.tolist(), strict=True):
            mine = slice(*self.indptr[[i, i + 1]].tolist())
            point[self.indices[mine]] = self.data[mine]
        return points if np.ndim(which) else points[0]

    def take(self, numbers: NDArray[np.intp]) -> SparseRows:
        """Return some rows, in this order, as a copy."""
        first, sizes = self.indptr[:-1][numbers], np.diff(self.indptr)[numbers]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(indptr[-1]) + np.repeat(first - indptr[:-1], sizes)
        return SparseRows(self.data[places], self.indices[places], indptr, self.n_features)

    def astype(self, dtype: np.dtype[Any]) -> SparseRows:
        """Return these rows with values of a dtype, copied where theirs is another."""
        return self if dtype == self.dtype else self.with_values(self.data.astype(dtype))

    def with_values(self, data: Array) -> SparseRows:
        """Return rows with other values in the same places; ``data`` is as long as theirs."""
        return SparseRows(data, self.indices, self.indptr, self.n_features)

    def copy(self) -> SparseRows:
        """Return a copy of these rows, without the values of others."""
        data, indices = self.stored()
        return SparseRows(
            data.copy(), indices.copy(), self.indptr - self.indptr[0], self.n_features
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without the values of other rows."""
        data, indices = self.stored()
        return SparseRows, (data, indices, self.indptr - self.indptr[0], self.n_features)

    def stored(self) -> tuple[Array, NDArray[np.int32]]:
        """Return the values and columns of these rows, without those of other rows."""
        mine = slice(self.indptr[0], self.indptr[-1])
        return self.data[mine], self.indices[mine]

    def owners(self) -> NDArray[np.intp]:
        """Return the row of each value that is stored, (n_values,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def blocks(self) -> Iterator[tuple[slice, SparseRows]]:
        """Yield slices of consecutive rows, and these rows: no temporary grows with n_samples."""
        first = 0
        while first < len(self):
            most = self.indptr[first] + _BLOCK_VALUES
            last = int(np.searchsorted(self.indptr, most, side="right")) - 1
            # Rows without values count, too: a block has no more rows than values.
            last = min(max(last, first + 1), first + _BLOCK_VALUES, len(self))
            some = slice(first, last)
            yield some, self[some]
            first = last

    def column_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sum of each column and of its squares, (n_features,), in float64."""
        sums, squares = np.zeros((2, self.n_features))
        for _, block in self.blocks():
            values, columns = block.stored()
            wide = values.astype(np.float64)
            sums += np.bincount(columns, wide, self.n_features)
            squares += np.bincount(columns, wide * wide, self.n_features)
        return sums, squares

    def _with(self, indptr: NDArray[np.int64]) -> SparseRows:
        return SparseRows(self.data, self.indices, indptr, self.n_features)
