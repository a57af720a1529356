"""Rows whose blocks lie on the workers of a cluster."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.dask import tasks
from kmeans_lab.numerics.moments import Moments, joined
from kmeans_lab.rows.source import RowSource

if TYPE_CHECKING:
    from distributed import Client, Future

    from kmeans_lab.crews.base import Crew

_FIRST = 1000  # rows whose means are the pivot of all moments
_ROWS = 1 << 20  # of a source that is read, in a block


class ClusterRows:
    """Blocks of rows, loaded by pure tasks: one that is lost is loaded again.

    Parameters
    ----------
    client : Client
    X : dask array, dask frame, list of delayed blocks, or RowSource
    crew : type
        The crew whose passes run where the blocks are.
    directions : bool
        Whether rows are scaled to length 1.

    Attributes
    ----------
    blocks : list of Future
        Arrays, as kernels take them, of one row or more.
    ends : list of int
        The number of rows up to the end of each block.
    """

    name = "X"

    def __init__(self, client: Client, X: Any, crew: type[Crew], *, directions: bool) -> None:
        self.client, self.start_crew = client, crew
        loaded = [client.submit(tasks.load, block, pure=False) for block in _futures(client, X)]
        found = client.gather([client.submit(tasks.shape_of, block) for block in loaded])
        widths = sorted({width for n, width, _ in found if n > 0})
        if len(widths) != 1:
            raise ValueError(
                f"X has blocks of {', '.join(map(str, widths)) or 'no'} columns and all must have "
                "as many; check what makes them"
            )
        narrow = all(np.dtype(kind).type in (np.float16, np.float32) for n, _, kind in found if n)
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if narrow else np.float64)
        raw = [block for block, (n, *_) in zip(loaded, found, strict=True) if n > 0]
        self.ends = list(accumulate(n for n, *_ in found if n > 0))
        self.shape = self.ends[-1], widths[0]
        self.blocks: list[Future[Any]] = [
            client.submit(tasks.convert, block, self.dtype.name, directions) for block in raw
        ]

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop, which come from the workers."""
        parts, at, which = [], start, bisect_right(self.ends, start)
        while at < stop:
            before = self.ends[which - 1] if which > 0 else 0
            end = min(stop, self.ends[which])
            block = self.blocks[which]
            parts.append(self.client.submit(tasks.cut, block, at - before, end - before))
            at, which = end, which + 1
        if not parts:
            return np.empty((0, self.shape[1]), self.dtype)
        return np.concatenate(self.client.gather(parts))

    def measured(self, kernel: str) -> tuple[Moments, NDArray[np.float64]]:
        """Return the moments of all rows, and the smallest magnitudes, zeros aside."""
        some = self.read(0, min(len(self), _FIRST)).astype(np.float64)
        with np.errstate(all="ignore"):  # what is not finite is found by who looks at the moments
            pivot = np.add.reduce(some, axis=0) / len(some)
        found = self.client.gather(
            [self.client.submit(tasks.measure, block, kernel, pivot) for block in self.blocks]
        )
        least = np.minimum.reduce([least for _, least in found])
        return joined([moments for moments, _ in found]), least

    def __len__(self) -> int:
        return int(self.shape[0])


def _futures(client: Client, X: Any) -> list[Any]:
    """Return the blocks of rows as futures of whatever holds them."""
    if isinstance(X, list | tuple):
        return list(client.compute(list(X)))
    if hasattr(X, "to_delayed"):
        if getattr(X, "ndim", 2) != 2:
            raise ValueError(
                f"X has {X.ndim} dimensions and must have 2, (n_samples, n_features); use "
                "X.reshape(-1, X.shape[-1])"
            )
        whole = X.rechunk({1: -1}) if hasattr(X, "rechunk") else X
        return list(client.compute(np.asarray(whole.to_delayed(), dtype=object).ravel().tolist()))
    if isinstance(X, RowSource):
        n = X.shape[0]
        ends = [*range(0, n, _ROWS), n]
        return [client.submit(X.read, first, last, pure=False) for first, last in pairwise(ends)]
    raise TypeError(
        f"X of type {type(X).__name__} must be a dask array or frame, a list of delayed blocks, or "
        "rows with shape, dtype and read(start, stop); use kmeans_lab.kmeans for what is in memory"
    )


def block_of(values: NDArray[Any] | None, ends: list[int], b: int) -> Any:
    """Return the part of an array that belongs to a block."""
    return None if values is None else values[(ends[b - 1] if b > 0 else 0) : ends[b]]
