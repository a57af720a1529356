"""Rows of files and other sources as estimators take them: looked at once, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.block_sums import adds_blocks, inertia_of_blocks
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import ExactTotal
from kmeans_lab.numerics.inertia import squares_of
from kmeans_lab.numerics.magnitudes import largest_of, refuse_overflow
from kmeans_lab.registry import PROVIDERS, load_kernel
from kmeans_lab.rows.checked import largest_of_block
from kmeans_lab.rows.memory import budget
from kmeans_lab.rows.opening import as_source, at_once, shape_of
from kmeans_lab.rows.outputs import given_back, refuse_out, written
from kmeans_lab.rows.source import RowSource
from kmeans_lab.rows.streamed import Block, StreamedRows, fits, is_narrow
from kmeans_lab.sparse.rows import SparseRows

#: Bytes of what is computed of a block, at most.
_FOUND_BYTES = 1 << 23


def opened(X: Any) -> RowSource | None:
    """Return rows that are not an array as a source; None for whatever else there is.

    Mapped arrays stay arrays.

    Raises
    ------
    ValueError, TypeError
        A file cannot be read or is not what its suffix says; a source has no rows, or no matrix.
    """
    if isinstance(X, np.ndarray):
        return None
    source = as_source(X)
    if source is not None:
        shape_of(source)
    return source


def streamed(source: RowSource, metric: str, n_threads: int) -> StreamedRows:
    """Return rows that are read when they are asked for, and scaled where angles are compared."""
    dtype = np.dtype(np.float32 if is_narrow(source.dtype) else np.float64)
    if metric == "euclidean":
        return StreamedRows(source, dtype)
    return StreamedRows(source, dtype, directions=True, kernel=measuring(), n_threads=n_threads)


def measuring() -> Any:
    """Return the kernel that measures rows for all others; None where it cannot run."""
    provider = first_ready((PROVIDERS["measuring"],))
    return None if provider is None else load_kernel(provider)


def rows_or_stream(source: RowSource, metric: str) -> tuple[Array | StreamedRows, int]:
    """Return the rows of a source where half of the free memory holds them; else a stream of them.

    And how many bytes that is.
    """
    room = budget(None)
    fit = fits(shape_of(source), source.dtype, room)
    return (at_once(source) if fit else streamed(source, metric, 1)), room


def whole_batch(source: RowSource) -> Array:
    """Return the rows of a source; ``ValueError`` where memory does not hold them."""
    room, shape = budget(None), shape_of(source)
    if not fits(shape, source.dtype, room):
        raise ValueError(
            f"the {shape[0]:,} rows of {getattr(source, 'name', 'X')} do not fit into "
            f"{room / 1e6:,.0f} MB, half of what is free, and a batch is read at once; give fewer "
            "rows at a time, or use fit, which reads batches from a source"
        )
    return np.asarray(at_once(source))


def checked_blocks(rows: StreamedRows, metric: str, n_threads: int, width: int) -> Iterator[Block]:
    """Yield blocks of rows whose values are finite, and of such magnitudes as can be compared.

    Parameters
    ----------
    rows : StreamedRows
    metric : {"euclidean", "cosine"}
    n_threads : int
    width : int
        Values of eight bytes that are computed of each row.
    """
    step = max(1, min(rows.parts()[0][1], _FOUND_BYTES // (8 * width)))
    for block in rows.blocks(step):
        largest = largest_of(block.rows, n_threads)
        if not isfinite(largest):
            largest_of_block(block, rows)  # says where
        if metric == "euclidean":
            refuse_overflow(largest, rows)
        yield block
    rows.warn_of_rounding()


def mean_of(rows: StreamedRows) -> Array:
    """Return the mean of each feature, added up row by row and rounded as NumPy does in memory."""
    total = np.zeros((1, rows.shape[1]), rows.dtype)
    for block in rows.blocks():
        total = np.add.reduce(np.concatenate([total, block.rows]), axis=0, keepdims=True)
    total /= len(rows)
    return np.asarray(total[0])


def refuse_too_large(shape: tuple[int, int], dtype: np.dtype[Any], name: str) -> None:
    """Raise ``MemoryError`` where memory does not hold the distances of all rows."""
    size, room = shape[0] * shape[1] * dtype.itemsize, budget(None)
    if size > room:
        raise MemoryError(
            f"the distances of the {shape[0]:,} rows of {name} to {shape[1]} centers take "
            f"{size / 1e6:,.0f} MB and must fit into {room / 1e6:,.0f} MB, half of what is free; "
            "give out=, an .npy file that they are written to"
        )


class InertiaOfBlocks:
    """The (weighted) inertia of rows that come in blocks, exact until it is rounded, once.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
    dtype : dtype
        Of the rows.
    """

    def __init__(self, centers: Array, dtype: np.dtype[Any]) -> None:
        self._centers, self._total = centers, ExactTotal()
        self._parts: list[NDArray[np.float64]] = []
        self._adding = adds_blocks() if centers.dtype == dtype else None

    def add(
        self, rows: Array, labels: Labels, weights: NDArray[np.float64] | None, n_threads: int
    ) -> None:
        """Add the squared distance of each row of a block to its center, times its weight."""
        if self._adding is not None:
            of = rows, self._centers, labels, None, weights, n_threads
            self._parts.append(self._adding.inertia_parts(*of))
            return
        for part, squares in squares_of(rows, self._centers, labels):
            self._total.add(squares if weights is None else squares * weights[part])

    def value(self) -> float:
        """Return the sum of all that was added."""
        return inertia_of_blocks(self._parts) if self._parts else self._total.value()


def parts_of(X: Any, metric: str, n_threads: int, width: int) -> Iterator[Any]:
    """Yield rows, some at a time: of an array, sparse ones, or such as are read and checked.

    Parameters are those of ``checked_blocks``.
    """
    if isinstance(X, StreamedRows):
        for block in checked_blocks(X, metric, n_threads, width):
            yield block.rows
        return
    for part in row_blocks(len(X), max(width, X.shape[1]), _FOUND_BYTES // 8):
        sparse = isinstance(X, SparseRows)
        yield X.take(np.arange(part.start, part.stop)) if sparse else X[part]


def put_parts(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], given: Any, found: Iterator[Any]
) -> NDArray[Any]:
    """Write what is found of some rows after the other, and return it, as ``rows.outputs`` says.

    ``given`` is X as the caller gave it.
    """
    refuse_out(out, shape, dtype, given)
    what = "the labels" if len(shape) == 1 else "the distances"
    with written(out, shape, dtype, what, ": what was there before is kept") as put:
        for part in found:
            put(part)
    return given_back(out)
