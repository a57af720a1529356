"""The arrays of a fit in one block of memory, which several processes map."""

from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.crews.partial import Partials
from kmeans_lab.kernel import Array
from kmeans_lab.sparse.rows import SparseRows

_ALIGNMENT = 64  # a cache line: two workers never write to the same one


@dataclass(frozen=True)
class Layout:
    """The place of each array in the block: name → (shape, dtype, offset)."""

    arrays: dict[str, tuple[tuple[int, ...], str, int]]
    size: int

    @classmethod
    def of(cls, rows: Samples, n_clusters: int, n_chunks: int) -> "Layout":
        """Lay out the arrays of one fit."""
        n_samples, n_features = rows.shape
        dtype = rows.dtype.str
        given: dict[str, tuple[tuple[int, ...], str]] = {"rows": (rows.shape, dtype)}
        if isinstance(rows, SparseRows):
            given = {
                "data": ((rows.n_values,), dtype),
                "indices": ((rows.n_values,), "i4"),
                "indptr": ((n_samples + 1,), "i8"),
            }
        wanted = given | {
            "centers": ((n_clusters, n_features), dtype),
            "labels": ((n_samples,), "i4"),
            "sums": ((n_chunks, n_clusters, n_features), "f8"),
            "counts": ((n_chunks, n_clusters), "i8"),
            "inertia": ((n_chunks,), "f8"),
            "seconds": ((n_chunks, 2), "f8"),
        }
        arrays, offset = {}, 0
        for name, (shape, kind) in wanted.items():
            arrays[name] = (shape, kind, offset)
            n_bytes = int(np.prod(shape)) * np.dtype(kind).itemsize
            offset += -(-n_bytes // _ALIGNMENT) * _ALIGNMENT
        return cls(arrays, offset)

    def views(self, block: SharedMemory) -> dict[str, NDArray[Any]]:
        """Return the arrays as views of the block."""
        views = {}
        assert block.buf is not None  # it is open
        for name, (shape, dtype, offset) in self.arrays.items():
            # frombuffer holds on to the mapping, so that it cannot vanish below a live array;
            # ndarray(buffer=…) does not.
            flat = np.frombuffer(block.buf, dtype, int(np.prod(shape)), offset)
            views[name] = flat.reshape(shape)
        return views


def copy_rows(rows: Samples, views: dict[str, NDArray[Any]]) -> None:
    """Fill the arrays of the block that hold the rows."""
    if isinstance(rows, SparseRows):
        views["data"][:], views["indices"][:] = rows.stored()
        np.subtract(rows.indptr, rows.indptr[0], out=views["indptr"])
    elif isinstance(rows, Centered):
        np.subtract(rows.X, rows.middle, out=views["rows"])
    else:
        views["rows"][:] = rows


def rows_in(views: dict[str, NDArray[Any]]) -> Array | SparseRows:
    """Return the rows that the block holds."""
    if "indptr" not in views:
        return views["rows"]
    n_features = views["centers"].shape[1]
    return SparseRows(views["data"], views["indices"], views["indptr"], n_features)


def partials_in(views: dict[str, NDArray[Any]]) -> Partials:
    """Return the slots that the block holds."""
    return Partials(views["sums"], views["counts"], views["inertia"], views["seconds"])
