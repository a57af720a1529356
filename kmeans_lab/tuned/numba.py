# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""The best that Numba can do without leaving Python: lanes are rows, and LLVM vectorises.

The pass over the rows, ``width`` of which make a tile, is in ``numba_loops.py``, which names the
files of its parts. This module keeps what lies between passes; ``rows.py`` lets threads share them.
Where balls rule out too few centers, they are skipped for a growing number of passes.

A helper waits inside a pass for the next one's chunks before it sleeps: to wake it, it needs the
interpreter's lock, which a pass that balls make short has hardly released.
"""

from __future__ import annotations

import ctypes
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import kmeans_lab.tuned.numba_layout as layout
import kmeans_lab.tuned.numba_loops as loops
import kmeans_lab.tuned.numba_sums as exact
from kmeans_lab.tuned.numba_balls import fit_balls, worthwhile
from kmeans_lab.tuned.numba_centers import drift_on, lay_scale, take_centers
from kmeans_lab.tuned.numba_tiles import add_rows
from kmeans_lab.tuned.rows import (
    LONG,
    Team,
    TiledRows,
    assign_tiled,
    assign_update,
    check_inertia,
    checked_counts,
    update,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

__all__ = ["assign", "assign_update", "inertia", "prepare", "update"]

#: Values that one call looks at where Ctrl-C comes between two calls.
_AT_ONCE = 10**7


def _aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return zeros that begin at a cache line, so that no vector lies across two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(shape)


class _Bell:
    """A count in a cache line of its own."""

    def __init__(self) -> None:
        self._turn = _aligned((8,), np.int64)
        self.now = self._turn[:1].item
        self.wait: Callable[[int], bool] = partial(loops.wait_for_turn, self._turn)

    def ring(self) -> None:
        self._turn[0] += 1


class _Team(Team):
    """Helpers that stay in a pass until the next one."""

    def __init__(self, rows: TiledRows) -> None:
        super().__init__(rows, _Bell())
        self.tiles: Any = rows.tiles
        self.control: Any = None

    def post(self, labels: Labels) -> None:
        """Wake helpers that have left the pass; the others see the chunks themselves."""
        plan = self.tiles.plan
        if plan.control[layout.STAYING] < self.wanted:
            self.task, self.control = plan.help, plan.control
            super().post(labels)

    def close(self) -> None:
        """End them, those that wait for the next pass at once."""
        self.ended = True
        if self.control is not None:
            self.control[layout.NEXT] = layout.ENDED
        super().close()


class _Plan:
    """The arrays that a pass over the tiles reads and writes, for one number of clusters."""

    def __init__(self, rows: _Tiles, n_clusters: int) -> None:
        n_tiles, padded = len(rows.reach), rows.padded
        n_samples, n_features = rows.shape
        n_panels, n_chunks = -(-n_clusters // layout.PANEL), -(-n_tiles // rows.share)
        dtype = rows.rows.dtype
        self.centers = np.zeros((n_clusters, n_features), dtype)
        self.packed = _aligned((n_panels, padded * layout.PANEL), dtype)
        lanes = -(-n_clusters // layout.LANES) * layout.LANES
        self.squares = np.full(lanes, np.inf, dtype)  # a padding center is far away
        self.names = np.arange(lanes, dtype=dtype)
        self.scale = lay_scale(n_features, dtype)
        self.scale[layout.FARTHEST] = rows.reach.max(initial=0.0)
        screening = (
            rows.again and dtype == np.float64
            and n_clusters <= layout.MOST_NAMED and n_features <= layout.MOST_SUMMED
        )  # fmt: skip
        self.screen = _aligned(self.packed.shape if screening else (0, 0), np.float32)
        self.screen_squares = np.zeros(lanes if screening else 0, np.float32)
        screen_names = np.arange(lanes if screening else 0, dtype=np.float32)
        self.bounded = rows.bounded
        self.worthwhile = worthwhile(n_features)
        self.way, self.drift = np.zeros((2, n_clusters))
        self.need = np.zeros(n_clusters + 1, dtype)
        kept = n_chunks, n_clusters if rows.again else 1
        limbs = (*kept, rows.grid.magic.size)
        self.sums = _aligned(limbs, np.int64)
        self.counts = np.zeros(kept, np.int64)
        self.touched = np.zeros((n_chunks, -(-kept[1] // 64) * 64), np.bool_)  # by cache lines
        self.control = _aligned((32,), np.int64)
        self.control[layout.NEXT], self.control[layout.SHARE] = n_chunks, rows.share
        self.control[layout.SUMMING] = rows.again
        # What balls need; next to nothing where they are never tested.
        self.possible = (
            rows.again
            and 4 <= n_clusters <= layout.MOST_FILTERED
            and n_features <= layout.MOST_FEATURES
            and n_samples >= 8 * n_clusters
        )
        self.across = _aligned((padded, layout.APART) if self.possible else (1, 1), dtype)
        self.apart = _aligned((n_clusters, lanes) if self.possible else (1, 1), dtype)
        self.near = np.zeros(n_tiles, np.int32)  # a center that was near last time
        self.owner = np.full(n_tiles, -1, np.int32)  # the cluster of all rows; −1: unknown
        self.filtering = False
        self.rest = self.pause = 0
        self.total = np.zeros((n_clusters, n_features)), np.zeros(n_clusters, np.int64)
        parts = self.sums.reshape(*kept, *rows.grid.magic.shape), self.counts, self.touched
        self.join = partial(exact.join, *parts, *rows.grid.rounding, *self.total)
        arrays = (
            rows.rows, rows.tiles, rows.lengths, rows.reach, rows.nearest, rows.slack, self.drift,
            self.need, self.packed, self.squares, self.names, self.centers, rows.grid.magic,
            self.sums, self.counts, self.touched, rows.notes, self.control, self.scale, rows.middle,
            rows.square, self.across, self.apart, self.near, self.owner, self.screen,
            self.screen_squares, screen_names,
        )  # fmt: skip
        self.run = partial(rows.code, *arrays, 0)
        self.help = partial(rows.code, *arrays, layout.SPINS)
        self.wait = partial(loops.wait_for_chunks, self.control, n_chunks)

    def begin(self, centers: Rows) -> None:
        """Take new centers; decide whether balls are tested, on which labels do not depend."""
        before = self.filtering
        self.filtering = self.possible and self.rest == 0
        self.rest = max(self.rest - 1, 0)
        if self.filtering and not before:
            self.owner[:] = -1
        if self.bounded:
            drift_on(
                centers, self.centers, self.way, self.drift, self.need, self.scale
            )  # fmt: skip
        take_centers(
            centers, self.centers, self.packed, self.squares, self.scale, self.control,
            self.across, self.apart, self.filtering, self.screen, self.screen_squares,
        )  # fmt: skip

    def end(self, left: float) -> None:
        """Skip balls for a growing number of passes where they left too many centers."""
        if self.filtering:
            self.pause = min(2 * self.pause + 1, 63) if left > self.worthwhile else 0
            self.rest = self.pause


class _Tiles:
    """The caller's rows, ``width`` of them at a time, with bounds and running sums.

    ``again`` says that other centers will follow; or else neither sums nor balls are kept.
    """

    def __init__(self, X: Rows, n_clusters: int, again: bool) -> None:
        n_samples, n_features = self.shape = X.shape
        self.again = again
        self.bounded = again and n_features > layout.UNBOUNDED
        many = n_features > layout.LONGEST_BLOCK
        block = layout.BLOCK if many else n_features
        self.padded = padded = -(-n_features // block) * block
        self.width = width = _width(padded * X.itemsize)
        n_tiles = -(-n_samples // width)
        slots = min(max(2**21 // (n_clusters * n_features), 4), 32)
        self.share = max(-(-n_samples // (slots * width)), -(-512 // width))
        real: Any = X.dtype.type
        self.code = loops.compiled(block, many, width, real)
        self.rows = _alias(X)
        copied = n_tiles if again and n_features <= layout.MOST_COPIED else 0
        # Values of a row move some together: behind the last tile there are as many more.
        long = _aligned((copied * padded + layout.GROUP - 1, width), X.dtype)
        self.tiles = long[: copied * padded].reshape(copied, padded, width)
        self.reach = np.zeros(n_tiles)
        gathered = self.bounded or not again
        self.lengths = np.empty(n_samples if gathered else 0)
        self.notes = np.zeros((-(-n_tiles // self.share), layout.NOTES))
        self.nearest = np.full(n_samples, -1, np.int32)
        self.slack = np.full(n_samples if self.bounded else 1, -1, X.dtype)
        with_balls = again and n_features <= layout.MOST_FEATURES
        self.middle = np.zeros((n_tiles if with_balls else 1, padded), X.dtype)
        self.square = np.zeros(n_tiles if with_balls else 1, X.dtype)
        self.grid, self.squares = self._look_through(with_balls)
        self.met = 1.0
        self._use(_Plan(self, n_clusters))

    def _look_through(self, with_balls: bool) -> tuple[exact.Grid, float]:
        """Look all rows through, a chunk per call where that lasts: Ctrl-C comes between two calls.

        Return how values are cut into limbs, and Σ‖x‖².
        """
        share, width, dtype = self.share, self.width, self.rows.dtype
        whole: Any = np.dtype(f"i{dtype.itemsize}")
        mask = np.iinfo(whole).max  # all but the sign
        ends = np.zeros((2, self.rows.shape[1]), whole)
        ends[1] = mask
        bins = np.zeros(exact.BINS, np.int64)
        room = _AT_ONCE if len(self.tiles) else _AT_ONCE // 10
        together = max(1, min(len(self.notes), room // (share * width * self.padded)))
        scratch = np.zeros((0 if len(self.tiles) else together * share, self.padded, width), dtype)
        for c in range(0, len(self.notes), together):
            some = slice(c * share, (c + together) * share)
            own = slice(some.start * width, some.stop * width)
            rows, notes = self.rows[own], self.notes[c : c + together]
            tiles = self.tiles[some] if len(self.tiles) else scratch
            exact.fill(
                rows, tiles, self.reach[some], self.lengths[own], share, notes, bins, self.again
            )
            if self.again:
                exact.find_ends(tiles.view(whole), mask, ends)
            if with_balls:
                balls = self.middle[some], self.square[some]
                fit_balls(tiles, len(rows), *balls, lay_scale(rows.shape[1], dtype))
        return exact.lay_grid(ends, dtype, len(self.rows)), exact.total(bins)

    def _use(self, plan: _Plan) -> None:
        self.plan, self.run, self.wait = plan, plan.run, plan.wait

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""
        return int(self.notes[:, layout.RESCORED].sum())

    def start(self, centers: Rows, labels: Labels) -> None:
        """Take new centers, and labels to overwrite; free the chunks for taking."""
        if len(centers) != len(self.plan.centers):
            self.plan.control[layout.NEXT] = layout.ENDED
            self.nearest[:] = -1  # no row is in the new sums
            self.slack[:] = -1
            self._use(_Plan(self, len(centers)))
        self._labels = labels
        self.plan.begin(centers)

    def stop(self) -> None:
        """End the pass at hand; when this returns, no thread is in it any more."""
        loops.stop(self.plan.control)

    def finish(self) -> float:
        """Return the inertia when all chunks are done."""
        plan = self.plan
        total, k = self.notes.sum(axis=0), len(plan.centers)
        self.met = float(total[layout.MET]) / k / max(1, len(self.nearest))
        plan.end(float(total[layout.LEFT]) / k / max(1, len(self.reach)))
        self._labels[:] = self.nearest
        if not self.again:
            return max(float(self.notes[:, layout.INERTIA].sum()), 0.0)
        plan.join()
        return float(exact.inertia_of(self.squares, plan.centers, *plan.total))

    def read_gaps(self, gaps: Any) -> None:
        """Write how much nearer each row's center is than any other, at least; ≤ 0: unknown."""
        np.subtract(self.slack, self.plan.drift[self.nearest], out=gaps)

    def add_sums(self, sums: Sums, counts: Counts) -> None:
        """Add what the chunks have summed."""
        sums += self.plan.total[0]
        counts += self.plan.total[1]

    def update(self, labels: Labels, sums: Sums, counts: Counts) -> None:
        """Add each label's sum of rows, rounded once; no sum changes where a label names none."""
        grid, k = self.grid, len(counts)
        limbs, sizes = _aligned((1, k, grid.magic.size), np.int64), np.zeros((1, k), np.int64)
        touched = np.zeros((1, k), np.bool_)
        if not add_rows(self.rows, labels, grid.magic, limbs[0], sizes[0], touched[0]):
            raise _wrong_labels("update", "sums")
        total = np.zeros(sums.shape), np.zeros(k, np.int64)
        exact.join(limbs.reshape(1, k, *grid.magic.shape), sizes, touched, *grid.rounding, *total)
        sums += total[0]
        counts += total[1]


class _Rows(TiledRows):
    tiles: _Tiles

    def __init__(self, X: Rows, n_clusters: int, n_threads: int, again: bool) -> None:
        n_clusters, n_threads = checked_counts(X, n_clusters, n_threads)
        super().__init__(_Tiles(X, n_clusters, again), X, n_threads)
        self.code = self.tiles.code  # where ``kmeans-lab explain`` looks for compiled functions
        if self.n_threads > 1 or X.size * n_clusters >= LONG:
            # What helpers call is loaded here: without memory that ends the process (LLVM).
            self.tiles.run()  # no chunk is free yet
            _Bell().wait(-1)

    def _make_team(self) -> Team:
        return _Team(self)

    def _renew(self) -> None:
        super()._renew()
        self.tiles.plan.control[layout.STAYING] = 0


def _alias(X: Rows) -> Any:
    """Return a view of X that is not read-only: functions are compiled for one kind of array."""
    if not X.flags.c_contiguous:
        raise ValueError("rows must be C-contiguous; give np.ascontiguousarray(rows)")
    if X.size == 0:
        return np.empty(X.shape, X.dtype)
    owner: Any = (ctypes.c_byte * X.nbytes).from_address(X.ctypes.data)
    owner.rows = X  # kept alive
    return np.frombuffer(owner, X.dtype).reshape(X.shape)


def _width(row_bytes: int) -> int:
    """Return how many rows make a tile that stays in the first-level cache."""
    width = layout.WIDEST
    while width > 32 and width * row_bytes > 2**15:
        width //= 2
    return width


def prepare(X: Rows, n_clusters: int, n_threads: int) -> TiledRows:
    """Look X through once; helpers start with the first pass that needs them."""
    return _Rows(X, n_clusters, n_threads, again=True)


def assign(rows: TiledRows | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if not isinstance(rows, TiledRows):  # a single look needs neither sums nor balls
        rows = _Rows(rows, max(1, len(centers)), 1, again=False)
    return assign_tiled(rows, centers, labels)


def inertia(X: Rows, centers: Rows, labels: Labels) -> float:
    """Return the sum of squared distances to the chosen centers, exact until it is rounded."""
    check_inertia(X, centers, labels)
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


# What Numba's own functions have: the sign that a kernel compiles when it is first called.
setattr(assign, "py_func", assign)  # noqa: B010
