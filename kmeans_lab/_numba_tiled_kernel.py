# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""The best that Numba can do without leaving Python: lanes are rows, and LLVM vectorises.

``prepare`` transposes the rows once into tiles of ``width`` rows; the passes over them, and what
makes them fast, are in ``_numba_tiled_loops.py``. This module keeps what lies between passes, and
lets threads share the chunks. Where balls spare too little they rest for ever more passes.

Threads are Python's own and not ``prange``: the portable threading layer of Numba ends the process
when two Python threads use it at once, and OpenMP hangs after a fork. A helper waits inside
compiled code for the next pass's chunks before it sleeps, because waking it costs 10 to 40 µs: it
then needs the interpreter's lock, which a pass that balls make short has hardly released. Threads
take the next free chunk; chunks have sums of their own, which are whole numbers until they are
rounded, so that results do not depend on threads.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

import kmeans_lab._numba_tiled_loops as loops
import kmeans_lab._numba_tiled_sums as exact
from kmeans_lab._helpers import Helpers, run_beside

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums


#: Pairs of values in a pass that may last: from here on other threads compute it all, and the
#: calling one waits, because Python handles Ctrl-C nowhere else.
_LONG = 10**9
#: Values that one call looks at where Ctrl-C comes between two calls.
_AT_ONCE = 10**7


def _aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return zeros that begin at a cache line, so that no vector lies across two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(shape)


class _Team(Helpers):
    """Helpers that run a task beside the thread that asks for it."""

    def __init__(self, rows: TiledRows) -> None:
        super().__init__(rows, rows.n_threads - 1)
        self.turn = _aligned((8,), np.int64)
        self.task: Any = None
        self.control: Any = None

    def post(self, task: Any, control: Any) -> None:
        """Let every helper run the task, which ``control`` can end."""
        self.task, self.control = task, control
        self.turn[0] += 1
        self.call()

    def help(self, seen: int) -> int:
        """Run the task of every turn that follows soon."""
        while loops.wait_for_turn(self.turn, seen) and not self.ended:
            seen = int(self.turn[0])
            self.task()
        return seen

    def close(self) -> None:
        """End them, those that wait for the next pass at once."""
        self.ended = True
        if self.control is not None:
            self.control[loops.NEXT] = loops.ENDED
        self.turn[0] += 1
        super().close()


class _Plan:
    """What a pass over the tiles reads and writes; it belongs to one number of clusters."""

    def __init__(self, rows: TiledRows, n_clusters: int) -> None:
        n_tiles, padded, _ = rows.tiles.shape
        n_samples, n_features = rows.shape
        n_panels, n_chunks = -(-n_clusters // loops.PANEL), -(-n_tiles // rows.share)
        dtype = rows.tiles.dtype
        self.centers = np.empty((n_clusters, n_features), dtype)
        self.packed = _aligned((n_panels, padded * loops.PANEL), dtype)
        lanes = -(-n_clusters // loops.LANES) * loops.LANES
        self.squares = np.full(lanes, np.inf, dtype)  # a padding center is far away
        self.names = np.arange(lanes, dtype=dtype)
        self.scale = _scale(n_features, dtype)
        kept = n_chunks, n_clusters if rows.again else 1
        limbs = (*kept, rows.grid.magic.size)
        self.sums = _aligned(limbs, np.int64)
        self.counts = np.zeros(kept, np.int64)
        self.touched = np.zeros((n_chunks, -(-kept[1] // 64) * 64), np.bool_)  # by cache lines
        self.control = _aligned((32,), np.int64)
        self.control[loops.NEXT], self.control[loops.SHARE] = n_chunks, rows.share
        self.control[loops.SUMMING] = rows.again
        # What balls need; next to nothing where they are never tested.
        self.possible = (
            rows.again
            and 4 <= n_clusters <= loops.MOST_FILTERED
            and n_features <= loops.MOST_FEATURES
            and n_samples >= 8 * n_clusters
        )
        self.across = _aligned((padded, loops.APART) if self.possible else (1, 1), dtype)
        self.apart = _aligned((n_clusters, lanes) if self.possible else (1, 1), dtype)
        self.near = np.zeros(n_tiles, np.int32)  # a center that was near last time
        self.owner = np.full(n_tiles, -1, np.int32)  # the cluster of all rows; −1: unknown
        self.long = n_samples * n_clusters * n_features >= _LONG
        self.filtering = False
        self.rest = self.pause = 0
        self.total = np.zeros((n_clusters, n_features)), np.zeros(n_clusters, np.int64)
        arrays = (
            rows.tiles, rows.reach, rows.nearest, self.packed, self.squares, self.names,
            self.centers, rows.grid.magic, self.sums, self.counts, self.touched, rows.notes,
            self.control, self.scale, rows.middle, rows.square, self.across, self.apart, self.near,
            self.owner,
        )  # fmt: skip
        self.task = partial(rows.run, *arrays, 0)
        self.help = partial(rows.run, *arrays, loops.SPINS)

    def begin(self, centers: Rows) -> None:
        """Take new centers; decide whether balls are tested, on which labels do not depend."""
        before = self.filtering
        self.filtering = self.possible and self.rest == 0
        self.rest = max(self.rest - 1, 0)
        if self.filtering and not before:
            self.owner[:] = -1
        loops.start(
            centers, self.centers, self.packed, self.squares, self.scale, self.control,
            self.across, self.apart, self.filtering,
        )  # fmt: skip

    def end(self, met: float) -> None:
        """Let balls rest where they spared too little, ever longer."""
        if self.filtering:
            self.pause = min(2 * self.pause + 1, 63) if met > loops.WORTHWHILE else 0
            self.rest = self.pause


class TiledRows:
    """Rows transposed into tiles, with their running sums: what ``prepare`` returns.

    ``again`` says that other centers will follow; or else neither sums nor balls are kept.
    """

    _plan: _Plan

    def __init__(self, X: Rows, n_clusters: int, n_threads: int, again: bool) -> None:
        n_samples, n_features = self.shape = X.shape
        self.again = again
        many = n_features > loops.LONGEST_BLOCK
        block = loops.BLOCK if many else n_features
        padded = -(-n_features // block) * block
        width = _width(padded * X.itemsize)
        n_tiles = -(-n_samples // width)
        slots = min(max(2**21 // (n_clusters * n_features), 4), 32)
        self.share = max(-(-n_samples // (slots * width)), -(-512 // width))
        real: Any = X.dtype.type
        self.run = loops.compiled(block, many, width, real)
        # A group of features may reach beyond the last tile.
        long = _aligned((n_tiles * padded + loops.GROUP - 1, width), X.dtype)
        self.tiles = long[: n_tiles * padded].reshape(n_tiles, padded, width)
        self.reach = np.zeros(n_tiles)
        self.notes = np.zeros((-(-n_tiles // self.share), 4))
        self.nearest = np.full(n_samples, -1, np.int32)
        self.middle = np.zeros((n_tiles if again else 1, padded), X.dtype)
        self.square = np.zeros(n_tiles if again else 1, X.dtype)
        self.grid, self.squares = self._fill(X)
        self._met = 1.0
        self.n_threads = n_threads
        self._team: _Team | None = None
        self._renew()
        self._use(n_clusters)

    def _fill(self, X: Rows) -> tuple[exact.Grid, float]:
        """Lay the rows out, a chunk per call where that lasts: Ctrl-C comes between two calls.

        Return how values are cut into limbs, and Σ‖x‖².
        """
        share, width = self.share, self.tiles.shape[2]
        whole: Any = np.dtype(f"i{X.itemsize}")
        mask = np.iinfo(whole).max  # all but the sign
        ends = np.zeros((2, X.shape[1]), whole)
        ends[1] = mask
        bins = np.zeros(exact.BINS, np.int64)
        together = max(1, len(self.notes)) if X.size < _AT_ONCE else 1
        with_balls = self.again and X.shape[1] <= loops.MOST_FEATURES
        for c in range(0, len(self.notes), together):
            some = slice(c * share, (c + together) * share)
            rows, tiles = X[some.start * width : some.stop * width], self.tiles[some]
            notes = self.notes[c : c + together]
            exact.fill(rows, tiles, self.reach[some], share, notes, bins, self.again)
            if self.again:
                exact.find_ends(tiles.view(whole), mask, ends)
            if with_balls:
                balls = self.middle[some], self.square[some]
                loops.fit_balls(tiles, len(rows), *balls, _scale(X.shape[1], X.dtype))
        return exact.lay_grid(ends, X.dtype, len(X)), exact.total(bins)

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""
        return int(self.notes[:, loops.RESCORED].sum())

    @property
    def met(self) -> float:
        """Of all pairs of a row and a center, the share that the last pass looked at."""
        return self._met

    def step(self, centers: Rows, labels: Labels, sums: Sums | None, counts: Any) -> float:
        """Assign, and update where sums are given; return the inertia."""
        if self._owner != os.getpid():
            self._renew()
        with self._lock:
            if len(centers) != len(self._plan.centers):
                self._use(len(centers))
            plan = self._plan
            try:
                plan.begin(centers)
                self._run(plan)
            except BaseException:
                loops.stop(plan.control)  # nobody writes into rows or sums from here on
                raise
            self._met = 1.0
            if plan.filtering:
                self._met = float(self.notes[:, loops.MET].sum()) / (
                    len(self.nearest) * len(centers)
                )
            plan.end(self._met)
            labels[:] = self.nearest
            if not self.again:
                return max(float(self.notes[:, loops.INERTIA].sum()), 0.0)
            grid = self.grid
            limbs = plan.sums.reshape(*plan.counts.shape, *grid.magic.shape)
            exact.join(limbs, plan.counts, plan.touched, *grid.rounding, *plan.total)
            if sums is not None:
                sums += plan.total[0]
                counts += plan.total[1]
            return float(exact.inertia_of(self.squares, plan.centers, *plan.total))

    def _run(self, plan: _Plan) -> None:
        done = partial(loops.wait_for_chunks, plan.control, len(self.notes))
        if plan.long and threading.current_thread() is threading.main_thread():
            stop = partial(loops.stop, plan.control)
            run_beside(self, self.n_threads, plan.task, done, stop)
            return
        if self.n_threads == 1:
            plan.task()
            return
        if self._team is None:
            self._team = _Team(self)
        if plan.control[loops.STAYING] < self._team.wanted:  # the others see it themselves
            self._team.post(plan.help, plan.control)
        plan.task()
        self._team.wait_for(done)

    def close(self) -> None:
        """End the helpers; another pass starts others."""
        team, self._team = self._team, None
        if team is not None:
            team.close()

    def _use(self, n_clusters: int) -> None:
        if hasattr(self, "_plan"):
            self._plan.control[loops.NEXT] = loops.ENDED
            self.nearest[:] = -1  # no row is in the new sums
        self._plan = _Plan(self, n_clusters)
        if self.n_threads > 1 or self._plan.long:
            # What helpers call is loaded here: without memory that ends the process (LLVM).
            self._plan.task()  # no chunk is free yet
            loops.wait_for_turn(self._plan.control, -1)

    def _renew(self) -> None:
        """Start without helpers: a forked child has none of its parent's."""
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._team = None
        if hasattr(self, "_plan"):
            self._plan.control[loops.STAYING] = 0


def _scale(n_features: int, dtype: Any) -> Any:
    """Return what rounding depends on; the longest center comes with every pass."""
    kind = np.finfo(dtype)
    up, least = 1 + (2 * n_features + 16) * float(kind.eps), 64 * float(kind.tiny)
    return np.array([0.0, 2.0 * (n_features + 4), up, least])


def _width(row_bytes: int) -> int:
    """Return how many rows make a tile that stays in the first-level cache."""
    width = loops.WIDEST
    while width > 32 and width * row_bytes > 2**15:
        width //= 2
    return width


def prepare(X: Rows, n_clusters: int, n_threads: int) -> TiledRows:
    """Transpose X into tiles; helpers start with the first pass that needs them."""
    return _lay_out(X, n_clusters, n_threads, again=True)


def _lay_out(X: Rows, n_clusters: int, n_threads: int, *, again: bool) -> TiledRows:
    if X.ndim != 2 or X.dtype.name not in ("float32", "float64"):
        raise ValueError("prepare needs X (n, d) of float32 or float64")
    n_clusters, n_threads = index(n_clusters), index(n_threads)  # NumPy's may be narrow
    if not (1 <= n_clusters < 2**31 and 1 <= n_threads <= 4096):  # labels are int32
        raise ValueError(
            f"n_clusters={n_clusters} must be from 1 to 2147483647, n_threads={n_threads} to 4096"
        )
    return TiledRows(X, n_clusters, n_threads, again)


def assign(rows: TiledRows | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if isinstance(rows, np.ndarray):
        rows = _lay_out(rows, max(1, len(centers)), 1, again=False)
    _check(rows, centers, labels)
    return rows.step(centers, labels, None, None)


def assign_update(
    rows: TiledRows, centers: Rows, labels: Labels, sums: Sums, counts: Counts
) -> float:
    """Both steps in one pass; return the inertia."""
    _check(rows, centers, labels)
    if sums.shape != centers.shape or counts.shape != centers.shape[:1]:
        raise ValueError("assign_update needs sums (k, d) and counts (k,)")
    return rows.step(centers, labels, sums, counts)


def update(rows: TiledRows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each cluster's sum, rounded once, and its count."""
    if (
        labels.shape != rows.shape[:1]
        or sums.shape[1:] != rows.shape[1:]
        or sums.shape[:1] != counts.shape
    ):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    grid, k = rows.grid, len(counts)
    limbs, sizes = _aligned((1, k, grid.magic.size), np.int64), np.zeros((1, k), np.int64)
    touched = np.zeros((1, k), np.bool_)
    if not loops.add_rows(rows.tiles, labels, grid.magic, limbs[0], sizes[0], touched[0]):
        raise _wrong_labels("update", "sums")
    total = np.zeros(sums.shape), np.zeros(k, np.int64)
    exact.join(limbs.reshape(1, k, *grid.magic.shape), sizes, touched, *grid.rounding, *total)
    sums += total[0]
    counts += total[1]


def inertia(X: Rows, centers: Rows, labels: Labels) -> float:
    """Return the sum of squared distances to the chosen centers, exact until it is rounded."""
    if (
        X.ndim != 2
        or centers.ndim != 2
        or X.shape[1] != centers.shape[1]
        or labels.shape != X.shape[:1]
    ):
        raise ValueError("inertia needs X (n, d), centers (k, d) and labels (n,)")
    k = len(centers)
    if labels.size and not 0 <= labels.min() <= labels.max() < k:
        raise _wrong_labels("inertia", "centers")
    bins = np.zeros(exact.BINS, np.int64)
    step = max(1, _AT_ONCE // X.shape[1])
    for first in range(0, len(X), step):  # Ctrl-C comes between two calls
        some = slice(first, first + step)
        exact.add_distances(X[some], centers, labels[some], bins)
    return float(exact.total(bins))


def _wrong_labels(needed: str, names: str) -> ValueError:
    return ValueError(
        f"{needed} needs labels from 0 to n_clusters - 1, each of which names a row of {names}; "
        "assign writes such labels"
    )


def _check(rows: TiledRows, centers: Rows, labels: Labels) -> None:
    if (
        centers.ndim != 2
        or centers.shape[1] != rows.shape[1]
        or centers.dtype != rows.tiles.dtype
        or labels.shape != rows.shape[:1]
    ):
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")


# What Numba's own functions have: the sign that a kernel compiles when it is first called.
setattr(assign, "py_func", assign)  # noqa: B010
