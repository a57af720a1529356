"""Who computes the chunks: this thread, several threads, or several processes.

A crew is given centers and fills labels and one slot of partial results per chunk. The three
crews differ in nothing else: same chunks, same kernel functions, slots added in chunk order. A
kernel with threads of its own is given all rows as one chunk.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from math import ceil, inf, nan
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.crews.forks import generation, refuse_elsewhere
from kmeans_lab.crews.partial import Partials, chunk_bounds, direct_inertia
from kmeans_lab.kernel import Kernel, Labels
from kmeans_lab.registry import KernelSpec
from kmeans_lab.weights import Weighting

Array = NDArray[np.floating[Any]]

MODES = ("serial", "threads", "processes")

#: Pairs of values that one call of a kernel that takes rows as they are may look at: a tenth of a
#: second of plain compiled loops. Python sees Ctrl-C between two calls.
_PIECE = 200_000_000


#: Threads or processes at most, on up to a quarter as many cores: results do not depend on the
#: number, so that a few too many are harmless, and thousands exhaust the system.
_MOST_WORKERS = 64


class WorkerDiedError(RuntimeError):
    """A worker process ended in the middle of a fit; the message says how."""


class Chunks:
    """The chunks of one worker: prepared rows beside the outputs that they fill.

    A chunk is cut into pieces where a call would take long; they add to the same outputs.
    """

    stopped = False  # another thread has seen Ctrl-C: what is left does not matter

    def __init__(
        self,
        kernel: Kernel,
        rows: Samples,
        labels: Labels,
        partials: Partials,
        bounds: list[tuple[int, int]],
        share: range,
        n_threads: int,
        *,
        takes_middle: bool = False,
    ) -> None:
        prepare = getattr(kernel, "prepare", None)
        options: tuple[Any, ...] = partials.sums.shape[1], n_threads
        if takes_middle and isinstance(rows, Centered):
            options = *options, rows.middle
            rows = rows.X
        self._assign = kernel.assign
        self._update = kernel.update
        self._fused = getattr(kernel, "assign_update", None)
        self._partials = partials
        self._mine = slice(share.start, share.stop)
        self._slots = []
        for c in share:
            first, last = bounds[c]
            step = last - first
            if prepare is None:
                step = min(step, max(1, _PIECE // partials.sums[c].size))
            for begin in range(first, last, step):
                piece = slice(begin, min(begin + step, last))
                chunk = read_only(rows[piece])
                if prepare is not None:
                    chunk = prepare(chunk, *options)
                self._slots.append((c, chunk, labels[piece], partials.sums[c], partials.counts[c]))

    @property
    def prepared(self) -> list[Any]:
        """What the kernel made of each chunk, or of its pieces."""
        return [chunk for _, chunk, *_ in self._slots]

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences, if it says so."""
        return sum(getattr(chunk, "rescored", 0) for chunk in self.prepared)

    def in_one_call(self) -> Callable[[Array], float] | None:
        """Return a function of the centers that is a whole step, where a single call does it."""
        if self._fused is None or len(self._slots) != 1:
            return None
        fused = self._fused
        ((_, chunk, labels, sums, counts),) = self._slots
        return lambda centers: float(fused(chunk, centers, labels, sums, counts))

    def assign(self, centers: Array) -> None:
        """Overwrite the labels of these chunks."""
        for _, chunk, labels, _, _ in self._slots:
            if self.stopped:
                return
            self._assign(chunk, centers, labels)

    def assign_update(self, centers: Array) -> None:
        """Overwrite the labels of these chunks and add to their slots."""
        inertia, seconds = self._partials.inertia, self._partials.seconds
        inertia[self._mine] = seconds[self._mine] = 0
        assign, update, fused = self._assign, self._update, self._fused
        for c, chunk, labels, sums, counts in self._slots:
            if self.stopped:
                return
            start = perf_counter()
            if fused is not None:
                inertia[c] += fused(chunk, centers, labels, sums, counts)
                seconds[c, 0] += perf_counter() - start
                continue
            inertia[c] += assign(chunk, centers, labels)
            middle = perf_counter()
            update(chunk, labels, sums, counts)
            seconds[c, 1] += perf_counter() - middle
            seconds[c, 0] += middle - start


class Crew:
    """Labels, slots and their total; this class computes in the calling thread.

    With ``counting``, ``changed`` tells after each step how many labels it changed: the kernel
    counts where it can (``counted``), which spares a copy of the labels.
    """

    counting = False
    watched = False
    counted = False
    prepared: Any = None  # what the kernel made of the rows, where one chunk holds them all
    _before: Labels | None = None
    _spent = (0.0, 0.0)
    _weighting: Weighting | None = None
    _in_one_call: Callable[[Array], float] | None = None  # saves half a microsecond per iteration

    def __init__(
        self, kernel: Kernel, spec: KernelSpec, rows: Samples, n_clusters: int, n_threads: int
    ) -> None:
        self._spec = spec
        n_samples, n_features = rows.shape
        own = spec.threading == "own"
        whole = spec.whole or own
        self.bounds = [(0, n_samples)] if whole else chunk_bounds(n_samples, n_clusters)
        self.n_workers = 1 if own else min(n_threads, len(self.bounds))
        self.kernel_threads = n_threads if own else 1
        self._total = Partials.empty(1, n_clusters, n_features)
        self._inertia = getattr(kernel, "inertia", None)
        self._alone = one_blas_thread() if spec.blas else nullcontext()
        self._begun = generation()
        self._start(kernel, rows, n_clusters)
        self.sums, self.counts = self._total.sums[0], self._total.counts[0]

    def _start(self, kernel: Kernel, rows: Samples, n_clusters: int) -> None:
        self.rows = rows
        # The loop fills them; until then, while the start is drawn, they take no memory.
        self.labels: Labels = np.empty(len(rows), dtype=np.int32)
        self.partials = Partials.empty(len(self.bounds), n_clusters, rows.shape[1])
        self._teams = [
            Chunks(
                kernel,
                rows,
                self.labels,
                self.partials,
                self.bounds,
                share,
                self.kernel_threads,
                takes_middle=self._spec.centers,
            )
            for share in self.shares()
        ]
        self._prepared = [chunk for team in self._teams for chunk in team.prepared]
        if len(self.bounds) == 1:  # nothing to add up
            self._total = self.partials
            self._in_one_call = self._teams[0].in_one_call()
        if len(self._prepared) == 1:
            (self.prepared,) = self._prepared
        self.counted = all(hasattr(chunk, "changed") for chunk in self._prepared)

    def weigh(self, weighting: Weighting) -> None:
        """Let rows count by their weights: the kernel assigns, and sums are added up here."""
        self._weighting, self._in_one_call = weighting, None
        self.sums, self.counts = np.zeros(self.sums.shape), np.zeros(len(self.counts))

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weights that sums and counts are made of; None where every row counts as one."""
        return None if self._weighting is None else self._weighting.values

    @property
    def exponent(self) -> int:
        """That of the power of two in which inertia is measured."""
        return 0 if self._weighting is None else self._weighting.exponent

    def shares(self) -> list[range]:
        """Give every worker a run of neighbouring chunks."""
        n_chunks, n = len(self.bounds), self.n_workers
        return [range(n_chunks * w // n, n_chunks * (w + 1) // n) for w in range(n)]

    def step(self, centers: Array) -> float:
        """Assign and update; fill labels, sums and counts, return the inertia.

        With weights, counts are masses, and the inertia is only known where it is ``watched``.
        """
        self._before = self.labels.copy() if self.counting and not self.counted else None
        if self._weighting is not None:
            return self._weighted_step(self._weighting, centers)
        self.partials.clear()
        if self._in_one_call is not None:
            return self._in_one_call(centers)
        self._run("assign_update", centers)
        if self._total is self.partials:
            return self.partials.inertia.item()
        self.partials.add_up(self._total)
        return float(np.add.reduce(self.partials.inertia))

    def _weighted_step(self, weighting: Weighting, centers: Array) -> float:
        start = perf_counter()
        self.assign(centers)
        middle = perf_counter()
        weighting.add_up(self.labels, self.sums, self.counts)
        self._spent = middle - start, perf_counter() - middle
        return weighting.inertia(self.rows, centers, self.labels) if self.watched else nan

    def changed(self) -> int:
        """Count the labels that the last step changed; needs ``counting`` before it."""
        if self._before is None:
            return sum([int(chunk.changed) for chunk in self._prepared])
        return int(np.count_nonzero(self.labels != self._before))

    def step_seconds(self) -> tuple[float, float]:
        """Seconds of the last step in assign and in update, over all workers, or their shares."""
        if self._weighting is not None:
            return self._spent
        if self._in_one_call is not None:
            return 1.0, 0.0  # of whatever the driver's clock says
        spent = self.partials.seconds
        assign, update = (spent[0] if len(spent) == 1 else np.add.reduce(spent, axis=0)).tolist()
        return assign, update

    def assign(self, centers: Array) -> None:
        """Overwrite the labels."""
        self._run("assign", centers)

    def labels_to_keep(self, *, last: bool) -> Labels:
        """Return labels that outlive the crew; after the ``last`` loop nobody overwrites them."""
        return self.labels if last else self.labels.copy()

    def inertia(self, centers: Array, labels: Labels) -> float:
        """Sum the squared distances to the chosen centers, from differences in float64.

        With weights, in units of 2 to the power ``exponent``, as ``step`` does: sums of huge ones
        that are infinite could not be compared.
        """
        rows = self.rows
        if self._weighting is not None:
            return self._weighting.inertia(rows, centers, labels)
        if self._inertia is None or (isinstance(rows, Centered) and not self._spec.centers):
            return direct_inertia(rows, centers, labels)
        if isinstance(rows, Centered):
            return float(self._inertia(rows.X, centers, labels, rows.middle))
        return float(self._inertia(rows, centers, labels))

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences so far."""
        return sum(team.rescored() for team in self._teams)

    def _run(self, order: str, centers: Array) -> None:
        getattr(self._teams[0], order)(centers)

    def close(self, *, kill: bool = False) -> None:
        """Let go of threads and processes; ``kill`` does not wait for their work."""
        for chunk in self._prepared:
            if hasattr(chunk, "close"):
                chunk.close()

    def __enter__(self) -> Self:
        self._alone.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close(kill=error is not None)
        finally:
            self._alone.__exit__(kind, error, traceback)

    def refuse_elsewhere(self) -> None:
        """Raise ``RuntimeError`` in a child that was forked since the crew began."""
        refuse_elsewhere(self._begun)


def read_only(array: Array) -> Array:
    """Return a view that cannot be written to: kernels never modify what they are given."""
    view = array.view()
    view.flags.writeable = False
    return view


def available_cores() -> int:
    """Count the cores that this process may use: its affinity, and a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, ceil(min(cores, _quota(Path("/sys/fs/cgroup")))))


@cache
def _quota(root: Path) -> float:
    """Return the cores' worth of time that Linux's control groups grant; infinite without them."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, 1
        try:
            quota, period = " ".join((root / file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return inf


def refuse_too_many(shown: str, n_workers: int) -> None:
    """Raise ValueError for more workers than a machine of this size can be asked for."""
    cores = available_cores()
    most = max(_MOST_WORKERS, 4 * cores)
    if n_workers > most:
        raise ValueError(
            f"{shown} must be at most {most}, since this process may use "
            f"{cores} core{'s' * (cores > 1)} and more workers only wait for each other; ask for "
            "fewer"
        )


def resolve_threads(mode: str, n_threads: int | None, spec: KernelSpec, name: str) -> int:
    """Return the number of workers; refuse one that could have no effect."""
    if n_threads is None:
        return 1 if mode == "serial" else available_cores()
    if mode == "serial" and n_threads > 1 and spec.threading != "own":
        helps = "processes" if spec.threading == "gil" else "threads"
        raise ValueError(
            f"n_threads={n_threads} has no effect in mode='serial' with kernel {name!r}; "
            f"use mode={helps!r}"
        )
    refuse_too_many(f"n_threads={n_threads}", n_threads)
    return n_threads


def start_crew(
    mode: str,
    kernel: Kernel,
    name: str,
    spec: KernelSpec,
    rows: Samples,
    n_clusters: int,
    n_threads: int,
) -> Crew:
    """Start the workers of a fit; a context manager that ends them."""
    if mode == "processes":
        from kmeans_lab.crews.processes import start_process_crew

        return start_process_crew(name, kernel, spec, rows, n_clusters, n_threads)
    if mode == "threads":
        from kmeans_lab.crews.threads import ThreadCrew

        return ThreadCrew(kernel, spec, rows, n_clusters, n_threads)
    return Crew(kernel, spec, rows, n_clusters, n_threads)
