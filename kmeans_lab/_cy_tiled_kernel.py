"""The best that Cython can do by itself: lanes are rows, and the C compiler vectorises.

The code is ``_cy_tiled.pxi``, compiled three times: for every processor, for AVX2 and for AVX-512.
This module picks the best one that the processor runs, or the one that ``KMEANS_LAB_ISA`` names,
and lets threads share the chunks.

Threads are Python's own and not ``prange``: OpenMP hangs in a forked child after use, and meets
the OpenMP of other libraries. A helper waits inside compiled code for a moment before it sleeps,
so that a hand-over costs a few microseconds; through a ``ThreadPoolExecutor`` it costs 30 to 80,
as much as half a pass over the standard preset. Threads take the next free chunk; chunks
have sums of their own, which are whole numbers until they are rounded, so that results do not
depend on threads.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from operator import index
from typing import TYPE_CHECKING, Any

from kmeans_lab._helpers import Helpers, run_beside

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

#: Pairs of values in a pass that may last: from here on other threads compute it all, and the
#: calling one waits, because Python handles Ctrl-C nowhere else.
_LONG = 10**9

_NAMES = ("baseline", "avx2", "avx512")


def _load(name: str) -> Any:
    """Import the code compiled for an instruction set; ``None`` where it was not built."""
    module = f"{__name__.removesuffix('kernel')}{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None


def _load_all() -> dict[str, Any]:
    """Import what the processor runs; the others refuse to be used."""
    baseline = _load("baseline")
    if baseline is None:
        raise ModuleNotFoundError("the tiled kernel was not compiled", name=__name__)
    modules = {"baseline": baseline} | {n: _load(n) for n in _NAMES[1 : baseline.LEVEL + 1]}
    return {name: module for name, module in modules.items() if module is not None}


_MODULES = _load_all()
_BEST = list(_MODULES)[-1]

#: Compiler and flags of the best instruction set.
BUILD: str = _MODULES[_BEST].BUILD


def isa() -> str:
    """Return the instruction set that the next fit will use."""
    forced = os.environ.get("KMEANS_LAB_ISA", "")
    if not forced:
        return _BEST
    if forced not in _NAMES:
        raise ValueError(
            f"KMEANS_LAB_ISA={forced} is not known; choose one of baseline, avx2, avx512"
        )
    if forced not in _MODULES:
        raise ValueError(
            f"KMEANS_LAB_ISA={forced} is not supported here; the most that this machine and build "
            f"run is {_BEST}: unset the variable or name that"
        )
    return forced


def binary() -> str:
    """Return the file that holds the compiled code of that instruction set."""
    return str(_MODULES[isa()].__file__)


class _Team(Helpers):
    """Helpers that run chunks beside the thread that asks for a pass."""

    def __init__(self, rows: TiledRows, bell: Any) -> None:
        super().__init__(rows, rows.n_threads - 1)
        self.tiles = rows.tiles
        self.bell = bell
        self.labels: Labels | None = None  # live as long as somebody may write them

    def ring(self, labels: Labels) -> None:
        """Let every helper take chunks."""
        self.labels = labels
        self.bell.ring()
        self.call()

    def help(self, seen: int) -> int:
        """Run chunks of every pass that follows soon."""
        while self.bell.wait(seen) and not self.ended:
            seen = self.bell.now()
            self.tiles.run()
        return seen

    def close(self) -> None:
        """End them, those that wait for the next pass at once."""
        self.ended = True
        self.bell.ring()
        super().close()


class TiledRows:
    """Rows transposed into tiles, with their running sums: what ``prepare`` returns.

    A single look at the rows (``keeps=False``) needs neither sums nor balls.
    """

    def __init__(self, X: Rows, n_clusters: int, n_threads: int, keeps: bool = True) -> None:
        self.isa = isa()
        self.shape = X.shape
        self.n_threads = n_threads
        self._module = _MODULES[self.isa]
        self.tiles = self._module.Tiles(X, n_clusters, keeps)
        self._team: _Team | None = None
        self._renew()

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""
        return int(self.tiles.rescored)

    @property
    def met(self) -> float:
        """Share of all pairs of row and center that the last pass looked at."""
        return float(self.tiles.met)

    def step(
        self, centers: Rows, labels: Labels, sums: Sums | None = None, counts: Counts | None = None
    ) -> float:
        """Assign, and update where sums are given; return the inertia."""
        if self._owner != os.getpid():
            self._renew()
        with self._lock:
            try:
                self.tiles.start(centers, labels)
                self._run(len(centers), labels)
            except BaseException:
                self.tiles.stop()  # nobody writes into the caller's arrays from here on
                raise
            inertia: float = self.tiles.finish()
            if sums is not None:
                self.tiles.add_sums(sums, counts)
            return inertia

    def _run(self, n_clusters: int, labels: Labels) -> None:
        tiles = self.tiles
        long = self.shape[0] * self.shape[1] * n_clusters >= _LONG
        if long and threading.current_thread() is threading.main_thread():
            run_beside(self, self.n_threads, tiles.run, tiles.wait, tiles.stop)
            return
        if self.n_threads == 1:
            tiles.run()
            return
        if self._team is None:
            self._team = _Team(self, self._module.Bell())
        self._team.ring(labels)
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


def prepare(X: Rows, n_clusters: int, n_threads: int) -> TiledRows:
    """Transpose X into tiles; helpers start with the first pass that needs them."""
    return _tiled(X, n_clusters, n_threads, keeps=True)


def _tiled(X: Rows, n_clusters: int, n_threads: int, *, keeps: bool) -> TiledRows:
    if X.ndim != 2:
        raise ValueError("prepare needs X with 2 dimensions")
    n_clusters, n_threads = index(n_clusters), index(n_threads)  # NumPy's may be narrow
    if not (1 <= n_clusters < 2**31 and 1 <= n_threads <= 4096):  # labels are int32
        raise ValueError(
            f"n_clusters={n_clusters} must be from 1 to 2147483647, n_threads={n_threads} to 4096"
        )
    return TiledRows(X, n_clusters, n_threads, keeps)


def assign(rows: TiledRows | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if not isinstance(rows, TiledRows):
        rows = _tiled(rows, max(1, len(centers)), 1, keeps=False)
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
    """Add each row to its cluster's sum and count."""
    if (
        labels.shape != rows.shape[:1]
        or sums.shape[1:] != rows.shape[1:]
        or sums.shape[:1] != counts.shape
    ):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    rows.tiles.update(labels, sums, counts)


def inertia(X: Rows, centers: Rows, labels: Labels) -> float:
    """Return the sum of squared distances to the chosen centers, exact until it is rounded."""
    if (
        X.ndim != 2
        or centers.ndim != 2
        or X.shape[1] != centers.shape[1]
        or labels.shape != X.shape[:1]
    ):
        raise ValueError("inertia needs X (n, d), centers (k, d) and labels (n,)")
    return float(_MODULES[isa()].inertia(X, centers, labels))


def _check(rows: TiledRows, centers: Rows, labels: Labels) -> None:
    if centers.ndim != 2 or centers.shape[1] != rows.shape[1] or labels.shape != rows.shape[:1]:
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
