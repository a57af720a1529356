"""Rows whose blocks lie on the workers of a cluster."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.dask import tasks
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.moments import Moments, joined
from kmeans_lab.rows.opening import as_source, shape_of
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.source import RowSource, name_of
from kmeans_lab.rows.streamed import is_narrow

if TYPE_CHECKING:
    from distributed import Client, Future

    from kmeans_lab.crews.base import Crew
    from kmeans_lab.rows.distances import Distances
    from kmeans_lab.rows.streamed import StreamedRows

_FIRST = 1000  # rows whose means are the pivot of all moments
#: Bytes of a block that is read from a source, and of all blocks of a task.
_BLOCK, _GROUP = 1 << 26, 1 << 30
#: An array of more bytes is sent to each worker once, beside the tasks that use it.
_LARGE = 1 << 16


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
    groups : list of list of int
        The numbers of the blocks that a task computes: those of a thread of a worker.
    sparse : bool
        Whether blocks are ``SparseRows``.
    keeps_labels : bool
        Whether labels stay on the workers at the end of a fit: a future for each block.
    """

    name = "X"
    keeps_labels = False

    def __init__(self, client: Client, X: Any, crew: type[Crew], *, directions: bool) -> None:
        self.client, self.start_crew = client, crew
        if _are_paths(X):
            X = as_source(X)
        self.sources = [X] if isinstance(X, RowSource) else []  # which nothing may be written to
        kind: np.dtype[Any] | None = None
        if self.sources:
            shape_of(X)
            kind = np.dtype(np.float32 if is_narrow(X.dtype) else np.float64)
        limits = _limits(client)
        self._refuse_too_many(limits, _size_of(X, kind))
        loaded = [
            client.submit(tasks.load_block, block, b, pure=False)
            for b, block in enumerate(_futures(client, X, min(limits.values(), default=0)))
        ]
        found = client.gather([client.submit(tasks.shape_of, block) for block in loaded])
        width, self.sparse, narrow = _agreed([it for it in found if it.n_rows > 0])
        self.dtype = kind or np.dtype(np.float32 if narrow else np.float64)
        sizes = [it.n_rows for it in found]
        begins = [*accumulate(sizes, initial=0)]
        self.ends = [end for end, n in zip(begins[1:], sizes, strict=True) if n > 0]
        self.shape = self.ends[-1], width
        if not self.sparse:  # what sparse ones take is known to their workers
            self._refuse_too_many(limits, self.shape[0] * width * self.dtype.itemsize)
        rounding = Rounding()
        for it, first in zip(found, begins, strict=False):
            if it.rounded is not None:
                rounding.note((first + it.rounded[0], *it.rounded[1:]))
        rounding.warn()
        self.blocks: list[Future[Any]] = [
            client.submit(tasks.convert, block, first, self.dtype.name, directions)
            for block, n, first in zip(loaded, sizes, begins, strict=False)
            if n > 0
        ]
        del loaded  # or workers would keep what the blocks were converted from
        self.groups = self._grouped()

    @staticmethod
    def _refuse_too_many(limits: dict[str, int], size: int) -> None:
        room = sum(limits.values())
        if limits and size > room:
            raise ValueError(
                f"X takes {size:,} bytes and the {len(limits)} workers have {room:,} together; add "
                "workers, or use kmeans_lab.kmeans with mode='stream'"
            )

    def check(self) -> None:
        """Raise what the source raises where it is no longer what it was."""
        for source in self.sources:
            if (check := getattr(source, "check", None)) is not None:
                check()

    def _grouped(self) -> list[list[int]]:
        """Return the blocks of each thread of each worker, and of no more bytes than a task may."""
        from distributed import wait

        wait(self.blocks)
        threads = self.client.nthreads()
        held: dict[str, list[int]] = {}
        homes = self.client.who_has(self.blocks)
        for b, block in enumerate(self.blocks):
            home = next(iter(homes.get(block.key) or threads), "")
            held.setdefault(home, []).append(b)
        groups = []
        for home, mine in held.items():
            sizes = [self._bytes(b) for b in mine]
            most = min(_GROUP, -(-sum(sizes) // threads.get(home, 1)))
            group: list[int] = []
            room = most
            for b, size in zip(mine, sizes, strict=True):
                if group and size > 2 * room:  # less than half of it would be within
                    groups.append(group)
                    group, room = [], most
                group.append(b)
                room -= size
            groups.append(group)
        return sorted(groups)

    def _bytes(self, b: int) -> int:
        rows = self.ends[b] - (self.ends[b - 1] if b > 0 else 0)
        return int(rows * self.shape[1] * self.dtype.itemsize)

    def shared(self, array: Array) -> Any:
        """Return an array as tasks are given it: as it is or, if it is large, sent once."""
        return array if array.nbytes <= _LARGE else self._sent(array)

    def _sent(self, array: Array) -> Any:
        with warnings.catch_warnings():  # a task of its own is what the warning recommends
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            return self.client.submit(tasks.same, array, pure=False)

    def in_blocks(self, values: NDArray[Any] | None) -> list[Any]:
        """Return the parts of an array that belong to blocks, as tasks are given them."""
        blocks = range(len(self.blocks))
        if values is None:
            return [None for b in blocks]
        parts = [block_of(values, self.ends, b) for b in blocks]
        return parts if values.nbytes <= _LARGE else [self._sent(part) for part in parts]

    def everywhere(
        self, function: Callable[..., Any], own: Callable[[int], tuple[Any, ...]], *common: Any
    ) -> list[Any]:
        """Call a function of each block on the workers; return the answers in order.

        ``own`` returns the arguments of a block that come first; ``common`` are those of all.
        """
        sent = [
            self.client.submit(
                *(tasks.each, function, [self.blocks[b] for b in group]),
                *([own(b) for b in group], *common),
                pure=False,
            )
            for group in self.groups
        ]
        answers: list[Any] = [None] * len(self.blocks)
        for group, found in zip(self.groups, self.client.gather(sent), strict=True):
            for b, answer in zip(group, found, strict=True):
                answers[b] = answer
        return answers

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop, which come from the workers."""
        return self.take(np.arange(start, stop))

    def take(self, numbers: NDArray[np.intp], /) -> NDArray[Any]:
        """Return rows of ascending numbers, which come from the workers that hold them."""
        return np.concatenate([np.empty((0, self.shape[1]), self.dtype), *self.parts(numbers)])

    def parts(self, numbers: NDArray[np.intp]) -> list[Any]:
        """Return rows of ascending numbers as each block has them."""
        first = int(numbers[0]) if len(numbers) > 0 else 0
        sent, which, at = [], bisect_right(self.ends, first), 0
        while at < len(numbers):
            before = self.ends[which - 1] if which > 0 else 0
            end = at + int(np.searchsorted(numbers[at:], self.ends[which]))
            if end > at:
                inside: Any = numbers[at:end] - before
                if inside[-1] - inside[0] == len(inside) - 1:
                    inside = slice(int(inside[0]), int(inside[-1]) + 1)
                sent.append(self.client.submit(tasks.cut, self.blocks[which], inside, pure=False))
            at, which = end, which + 1
        return list(self.client.gather(sent))

    def measured(self, kernel: str) -> tuple[Moments, NDArray[np.float64]]:
        """Return the moments of all rows, and the smallest magnitudes, zeros aside."""
        some = self.read(0, min(len(self), _FIRST)).astype(np.float64)
        with np.errstate(all="ignore"):  # what is not finite is found by who looks at the moments
            pivot = np.add.reduce(some, axis=0) / len(some)
        found = self.everywhere(tasks.measure, lambda b: (), kernel, pivot)
        least = np.minimum.reduce([least for _, least in found])
        return joined([moments for moments, _ in found]), least

    def start_distances(
        self, rows: StreamedRows | None, weights: NDArray[np.float64] | None, owners: bool
    ) -> Distances:
        """Return distances that are kept where the blocks are."""
        from kmeans_lab.dask.distances import ClusterDistances

        middle = None if rows is None else rows.middle
        return ClusterDistances(self, middle, weights, owners=owners)

    def __len__(self) -> int:
        return int(self.shape[0])


def _limits(client: Client) -> dict[str, int]:
    """Return the memory of each worker, where it has a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    limits = {at: int(it.get("memory_limit") or 0) for at, it in workers.items()}
    return limits if all(limits.values()) else {}


def _futures(client: Client, X: Any, least: int) -> list[Any]:
    """Return the blocks of rows as futures of whatever holds them.

    ``least`` is the memory of the smallest worker, 0 where it has no limit. Blocks of more than an
    eighth of it are split, where X says how large they are.
    """
    if isinstance(X, list | tuple):
        return list(client.compute(list(X)))
    if hasattr(X, "to_delayed"):
        refuse_dimensions(X)
        whole = _split(X.rechunk({1: -1}), least // 8) if hasattr(X, "rechunk") else X
        return list(client.compute(np.asarray(whole.to_delayed(), dtype=object).ravel().tolist()))
    if isinstance(X, RowSource):
        n, width = X.shape
        rows = max(1, _BLOCK // (width * X.dtype.itemsize))
        ends = [*range(0, n, rows), n]
        from distributed.protocol.pickle import dumps

        try:
            dumps(X)
        except Exception as error:  # whatever its parts raise
            raise TypeError(
                f"{name_of(X)} cannot be sent to workers ({error}); give rows that can be pickled, "
                "or use kmeans_lab.kmeans with mode='stream'"
            ) from error
        return [
            client.submit(tasks.read_source, X, first, last, pure=False)
            for first, last in pairwise(ends)
        ]
    raise TypeError(
        f"X of type {type(X).__name__} must be a dask array or frame, a list of delayed blocks, or "
        "rows with shape, dtype and read(start, stop); use kmeans_lab.kmeans for what is in memory"
    )


def _agreed(found: list[tasks.Shape]) -> tuple[int, bool, bool]:
    """Return the columns of all blocks, whether they are sparse, and whether float32 holds them.

    Raises
    ------
    ValueError, TypeError
        There are no rows or columns, or blocks differ in what must be the same.
    """
    widths = sorted({it.n_columns for it in found})
    if not widths or widths == [0]:
        lacks = "columns" if widths else "rows"
        raise ValueError(f"X has no {lacks} and must have at least one; check what makes it")
    if len(widths) != 1:
        raise ValueError(
            f"X has blocks of {', '.join(map(str, widths))} columns and all must have as many; "
            "check what makes them"
        )
    kinds = {it.sparse for it in found}
    if len(kinds) > 1:
        raise TypeError(
            "X has sparse blocks and others, and all must be of one kind; convert those that are "
            "fewer"
        )
    return widths[0], kinds == {True}, all(is_narrow(np.dtype(it.dtype)) for it in found)


def _are_paths(X: Any) -> bool:
    some = X if isinstance(X, list | tuple) else [X]
    return len(some) > 0 and all(isinstance(it, str | os.PathLike) for it in some)


def refuse_dimensions(X: Any) -> None:
    """Raise ``ValueError`` where a dask array or frame is no matrix."""
    ndim = getattr(X, "ndim", 2)
    if ndim == 2:
        return
    remedy = "X.reshape(-1, X.shape[-1])"
    if ndim < 2:
        array = hasattr(X, "reshape")
        remedy = "X.reshape(-1, 1) for a single feature" if array else "X.to_frame()"
    raise ValueError(
        f"X has {ndim} dimension{'s' * (ndim != 1)} and must have 2, (n_samples, n_features); use "
        f"{remedy}"
    )


def _size_of(X: Any, kind: np.dtype[Any] | None) -> int:
    """Return the bytes of rows as kernels take them; 0 where that is not known yet."""
    shape: Any = getattr(X, "shape", ())
    dtype = getattr(X, "dtype", None)
    known = len(shape) == 2 and all(isinstance(n, int | np.integer) for n in shape)
    if not known or not isinstance(dtype, np.dtype):
        return 0
    wide = (kind or np.dtype(np.float32 if is_narrow(dtype) else np.float64)).itemsize
    return int(shape[0]) * int(shape[1]) * wide


def _split(X: Any, most: int) -> Any:
    """Return a dask array whose blocks of rows have no more bytes, where their sizes are known."""
    heights = X.chunks[0]
    if most == 0 or not X.shape[1] > 0 or np.isnan(heights).any():
        return X
    rows = max(1, most // (X.shape[1] * X.dtype.itemsize))
    if max(heights) <= rows:
        return X
    cut = [[rows] * (n // rows) + [n % rows] * (n % rows > 0) for n in heights]
    return X.rechunk({0: tuple(n for each in cut for n in each)})


def block_of(values: NDArray[Any] | None, ends: list[int], b: int) -> Any:
    """Return the part of an array that belongs to a block."""
    return None if values is None else values[(ends[b - 1] if b > 0 else 0) : ends[b]]
