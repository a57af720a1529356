"""The common part of Numba's and Cython's tiled kernels: prepared rows, and threads for a pass.

Threads are Python's own and not ``prange``: OpenMP hangs in a forked child after use and meets the
OpenMP of other libraries, and the portable threading layer of Numba ends the process when two
Python threads use it at once. A helper waits inside compiled code for a moment before it sleeps, so
that a hand-over costs a few microseconds; to wake it costs 10 to 40, and through a
``ThreadPoolExecutor`` 30 to 80, as much as half a pass over the standard preset.

Threads take the next free chunk. Chunks have sums of their own, which are whole numbers until they
are rounded, so that results do not depend on threads.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from operator import index
from typing import TYPE_CHECKING, Any, Protocol

from kmeans_lab.crews.helpers import Helpers, run_beside

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

#: Pairs of values in a pass that may last: from here on other threads compute it all, and the
#: calling one waits, because Python handles Ctrl-C nowhere else.
LONG = 10**9


class Tiles(Protocol):
    """A kernel's own part: rows with their bounds and running sums, and the passes over them."""

    run: Callable[[], object]  # computes chunks until none is left
    wait: Callable[[], bool]  # waits a little for the chunks of others; says whether all are done

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""

    @property
    def met(self) -> float:
        """Share of all pairs of row and center that the last pass looked at."""

    def start(self, centers: Rows, labels: Labels, /) -> None:
        """Take new centers, and labels to overwrite; free the chunks for taking."""

    def stop(self) -> None:
        """End the pass at hand; when this returns, no thread is in it any more."""

    def finish(self) -> float:
        """Return the inertia when all chunks are done."""

    def add_sums(self, sums: Sums, counts: Counts, /) -> None:
        """Add what the chunks have summed."""

    def update(self, labels: Labels, sums: Sums, counts: Counts, /) -> None:
        """Add each label's sum of rows, rounded once; no sum changes where a label names none."""


class Bell(Protocol):
    """A count of passes that helpers watch."""

    now: Callable[[], int]
    wait: Callable[[int], bool]  # waits a little for another count than this; says if it came

    def ring(self) -> None:
        """Count one more."""


class Team(Helpers):
    """Helpers that run chunks beside the thread that calls a pass."""

    def __init__(self, rows: TiledRows, bell: Bell) -> None:
        super().__init__(rows, rows.n_threads - 1)
        self.bell = bell
        self.task = rows.tiles.run
        self.labels: Labels | None = None  # kept alive as long as a thread may write them

    def post(self, labels: Labels) -> None:
        """Let every helper take chunks."""
        self.labels = labels
        self.bell.ring()
        self.call()

    def help(self, seen: int) -> int:
        """Run chunks of every pass that follows soon."""
        while self.bell.wait(seen) and not self.ended:
            seen = self.bell.now()
            self.task()
        return seen

    def close(self) -> None:
        """End them, those that wait for the next pass at once."""
        self.ended = True
        self.bell.ring()
        super().close()


class TiledRows(ABC):
    """The caller's rows, with bounds and running sums: what ``prepare`` returns."""

    def __init__(self, tiles: Any, X: Rows, n_threads: int) -> None:
        self.tiles: Tiles = tiles
        self.shape, self.dtype, self.n_threads = X.shape, X.dtype, n_threads
        self._team: Team | None = None
        self._renew()

    @abstractmethod
    def _make_team(self) -> Team:
        """Return helpers, which start with the first pass."""

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""
        return int(self.tiles.rescored)

    @property
    def met(self) -> float:
        """Share of all pairs of row and center that the last pass looked at."""
        return float(self.tiles.met)

    def step(
        self, centers: Rows, labels: Labels, sums: Sums | None = None, counts: Any = None
    ) -> float:
        """Assign, and update where sums are given; return the inertia."""
        if self._owner != os.getpid():
            self._renew()
        tiles = self.tiles
        with self._lock:
            try:
                tiles.start(centers, labels)
                self._run(len(centers), labels)
            except BaseException:
                tiles.stop()  # nothing writes into the caller's arrays from here on
                raise
            inertia = tiles.finish()
            if sums is not None:
                tiles.add_sums(sums, counts)
            return inertia

    def _run(self, n_clusters: int, labels: Labels) -> None:
        tiles = self.tiles
        long = self.shape[0] * self.shape[1] * n_clusters >= LONG
        if long and threading.current_thread() is threading.main_thread():
            run_beside(self, self.n_threads, tiles.run, tiles.wait, tiles.stop)
            return
        if self.n_threads == 1:
            tiles.run()
            return
        if self._team is None:
            self._team = self._make_team()
        self._team.post(labels)
        tiles.run()
        self._team.wait_for(tiles.wait)

    def close(self) -> None:
        """End the helpers; another pass starts others."""
        team, self._team = self._team, None
        if team is not None:
            team.close()

    def _renew(self) -> None:
        """Start without helpers: a forked child has none of its parent's."""
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._team = None


def checked_counts(X: Rows, n_clusters: int, n_threads: int) -> tuple[int, int]:
    """Return n_clusters and n_threads as Python's integers; refuse what ``prepare`` cannot take."""
    if X.ndim != 2 or X.dtype.name not in ("float32", "float64"):
        raise ValueError("prepare needs X (n, d) of float32 or float64")
    n_clusters, n_threads = index(n_clusters), index(n_threads)  # NumPy's may be narrow
    if not (1 <= n_clusters < 2**31 and 1 <= n_threads <= 4096):  # labels are int32
        raise ValueError(
            f"n_clusters={n_clusters} must be from 1 to 2147483647, n_threads={n_threads} to 4096"
        )
    return n_clusters, n_threads


def assign_tiled(rows: TiledRows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    _check(rows, centers, labels)
    return rows.step(centers, labels)


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
    rows.tiles.update(labels, sums, counts)


def check_inertia(X: Rows, centers: Rows, labels: Labels) -> None:
    """Raise ``ValueError`` unless the shapes of these arrays fit each other."""
    if (
        X.ndim != 2
        or centers.ndim != 2
        or X.shape[1] != centers.shape[1]
        or labels.shape != X.shape[:1]
    ):
        raise ValueError("inertia needs X (n, d), centers (k, d) and labels (n,)")


def _check(rows: TiledRows, centers: Rows, labels: Labels) -> None:
    if (
        centers.ndim != 2
        or centers.shape[1] != rows.shape[1]
        or centers.dtype != rows.dtype
        or labels.shape != rows.shape[:1]
    ):
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
