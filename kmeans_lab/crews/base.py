"""The base class of all crews: labels, partial results of each chunk, and their total.

A crew computes the chunks of one fit. It is given centers and fills labels and one slot of partial
results per chunk. The crews differ in where the work runs: in the calling thread (``serial``), in
several threads (``threads``) or in several processes (``processes``). All use the same chunks and
the same kernel functions, and slots are added in chunk order: results do not depend on the crew. A
kernel with threads of its own is given all rows as one chunk.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import nan
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.crews.forks import generation, refuse_elsewhere
from kmeans_lab.crews.partial import Partials, chunk_bounds
from kmeans_lab.kernel import Array, CountsChanged, KeepsSums, Kernel, Labels
from kmeans_lab.numerics.inertia import direct_inertia
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.spec import KernelSpec
from kmeans_lab.weights import WeightedSums, Weighting


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything that a crew is given when it is created.

    Attributes
    ----------
    kernel, name, spec
        The kernel that computes, its name, and what is known about it.
    rows : Samples of shape (n_samples, n_features)
    n_clusters, n_threads : int
    weighting : Weighting, optional
        Lets rows count by their weights: the kernel adds them up where it can; otherwise it assigns
        and the crew adds up.
    counts_changes : bool
        Whether each pass says how many labels it changed.
    weighs_inertia : bool
        Whether each pass with weights computes the inertia, which takes a pass of its own.
    largest : ndarray of shape (n_features,), float64, optional
        The largest magnitude of each feature; of rows that are read block by block.
    """

    kernel: Kernel
    name: str
    spec: KernelSpec
    rows: Samples
    n_clusters: int
    n_threads: int = 1
    weighting: Weighting | None = None
    counts_changes: bool = False
    weighs_inertia: bool = False
    largest: NDArray[np.float64] | None = None


class Pass(NamedTuple):
    """The return value of one pass over the rows, besides the labels, sums and counts."""

    inertia: float  # nan with weights, unless the job asks for it
    changed: int  # labels; −1 unless the job asks for it
    assign: float  # seconds over all workers or, where only the kernel could tell them apart,
    update: float  # 1 and 0: shares of the time that the driver's clock shows


class Crew(ABC):
    """Labels, slots, and their total.

    Attributes
    ----------
    rows : Samples of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,), int32
    sums : ndarray of shape (n_clusters, n_features), float64
    counts : ndarray of shape (n_clusters,)
        int64; with weights float64, the mass of each cluster.
    prepared : object
        What the kernel made of the rows, where one chunk holds them all; otherwise None.
    """

    rows: Samples
    labels: Labels
    partials: Partials
    prepared: Any = None
    #: The same, where the rows keep their sums (``kernel.KeepsSums``), weighted if rows are.
    keeper: KeepsSums | None = None

    _one_process = True

    def __init__(self, job: Job) -> None:
        self.job = job
        n_samples, n_features = job.rows.shape
        own = job.spec.threading == "own"
        #: Whether prepared rows carry the weights, and sums and counts of a pass are weighted.
        self.kernel_weighs = self._one_process and job.weighting is not None and job.spec.weights
        whole = job.spec.whole or own
        self._sparse = isinstance(job.rows, SparseRows)
        slot = 8 * job.n_clusters * n_features if self._sparse else 0
        self.bounds = [(0, n_samples)] if whole else chunk_bounds(n_samples, job.n_clusters, slot)
        self.n_workers = 1 if own else min(job.n_threads, len(self.bounds))
        self.kernel_threads = job.n_threads if own else 1
        self._inertia = getattr(job.kernel, "inertia", None)
        self._alone = one_blas_thread() if job.spec.blas else nullcontext()
        self._begun = generation()
        self._asked = job.counts_changes
        self._in_one_call: Callable[[Array], float] | None = None
        # Prepared rows that count the labels that a pass changed, where all do: no copy is needed.
        # The crew must not refer to itself: it ends threads when nothing refers to it.
        self._counting: list[CountsChanged] = []
        self._start()
        if (job.weighting is None or self.kernel_weighs) and hasattr(self.prepared, "follow"):
            self.keeper = self.prepared
        total = self.partials  # a single chunk is its own total
        if len(self.bounds) > 1:
            weighted = self.kernel_weighs
            total = Partials.empty(1, job.n_clusters, n_features, weighted=weighted)
        self._total = total
        self.sums, self.counts = total.sums[0], total.counts[0]
        self._weighted_sums: WeightedSums | None = None
        if job.weighting is not None and not self.kernel_weighs:
            self._in_one_call = None
            self.sums, self.counts = np.zeros(self.sums.shape), np.zeros(len(self.counts))
            self._start_weighted_sums(job.weighting)

    def _start_weighted_sums(self, weighting: Weighting) -> None:
        """Create what adds up weighted rows."""
        self._weighted_sums = weighting.start_sums(self.job.rows, self.job.n_clusters)

    @abstractmethod
    def _start(self) -> None:
        """Create rows, labels and partials, and the workers that fill them."""

    @abstractmethod
    def _run(self, order: str, centers: Array) -> None:
        """Let every worker carry out ``assign`` or ``assign_update`` on its chunks."""

    @abstractmethod
    def close(self, *, kill: bool = False) -> None:
        """Release threads and processes; ``kill`` does not wait for their work."""

    @abstractmethod
    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences so far."""

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """The weights that sums and counts are made of; None where every row counts as one."""
        return None if self.job.weighting is None else self.job.weighting.values

    @property
    def exponent(self) -> int:
        """The exponent of the power of two in which inertia is measured."""
        return 0 if self.job.weighting is None else self.job.weighting.exponent

    def shares(self) -> list[range]:
        """Give every worker a run of neighbouring chunks."""
        n_chunks, n = len(self.bounds), self.n_workers
        return [range(n_chunks * w // n, n_chunks * (w + 1) // n) for w in range(n)]

    def assign(self, centers: Array) -> None:
        """Overwrite labels with each row's nearest center."""
        self._run("assign", centers)

    def settle(self, centers: Array) -> None:
        """Overwrite labels after the last step; sums and counts are of no use afterwards.

        A kernel that does whole steps writes only the labels that change in these.
        """
        if self._in_one_call is None:
            self.assign(centers)
        else:
            self.partials.clear()
            self._in_one_call(centers)

    def step(self, centers: Array | None) -> Pass:
        """Assign rows, which keep their sums, to centers or to the means of the last step.

        Overwrites labels and counts.
        """
        keeper = self.keeper
        assert keeper is not None
        keeper.follow(centers, self.labels, self.counts)
        return Pass(nan, int(keeper.changed) if self._asked else -1, 1.0, 0.0)

    def assign_update(self, centers: Array) -> Pass:
        """Assign each row to its nearest center, and add it to that cluster's sum and count.

        Overwrites labels, sums and counts.
        """
        asked = self._asked
        counting = self._counting
        if self._in_one_call is not None and (not asked or counting):  # the fastest way
            self.partials.clear()
            inertia = self._weighed(self._in_one_call(centers), centers)
            return Pass(inertia, _changed(counting) if asked else -1, 1.0, 0.0)
        before = self.labels.copy() if asked and not counting else None
        if self._weighted_sums is not None:
            assign, update = self._weighted(self._weighted_sums, centers)
            inertia = nan
        else:
            self.partials.clear()
            inertia, assign, update = self._in_chunks(centers)
        inertia = self._weighed(inertia, centers)
        if before is not None:
            changed = int(np.count_nonzero(self.labels != before))
        else:
            changed = _changed(counting) if asked else -1
        return Pass(inertia, changed, assign, update)

    def _in_chunks(self, centers: Array) -> tuple[float, float, float]:
        self._run("assign_update", centers)
        return self._added_up()

    def _added_up(self) -> tuple[float, float, float]:
        """Add the slots up; return the inertia and the seconds of assign and update."""
        partials = self.partials
        if self._total is partials:
            assign, update = partials.seconds[0].tolist()
            return partials.inertia.item(), assign, update
        partials.add_up(self._total)
        assign, update = np.add.reduce(partials.seconds, axis=0).tolist()
        return float(np.add.reduce(partials.inertia)), assign, update

    def _weighted(self, totals: WeightedSums, centers: Array) -> tuple[float, float]:
        start = perf_counter()
        self.assign(centers)
        middle = perf_counter()
        totals.move(self.labels, self.sums, self.counts)
        return middle - start, perf_counter() - middle

    def _weighed(self, inertia: float, centers: Array) -> float:
        """Return the inertia of a pass; with weights only where the job asks for it."""
        if self.job.weighting is None:
            return inertia
        return self.inertia(centers, self.labels) if self.job.weighs_inertia else nan

    def forget_labels(self) -> None:
        """Let no row belong to a cluster."""
        self.labels.fill(-1)

    def labels_to_keep(self, *, last: bool) -> Labels:
        """Return labels that outlive the crew; after the last repetition they need no copy."""
        return self.labels if last else self.labels.copy()

    def inertia(self, centers: Array, labels: Labels) -> float:
        """Sum the squared distances to the chosen centers, from differences in float64.

        With weights, in units of 2 to the power ``exponent``, as passes do: sums with huge weights
        would be infinite and could not be compared.
        """
        rows, weights, spec = self.rows, self.weights, self.job.spec
        able = spec.centers or not isinstance(rows, Centered)
        able = able and (spec.weights or weights is None)
        if self._inertia is None or not able or isinstance(rows, StreamedRows):
            return direct_inertia(rows, centers, labels, weights)
        if isinstance(rows, SparseRows):
            return float(self._inertia(rows, centers, labels))
        X, middle = (rows.X, (rows.middle,)) if isinstance(rows, Centered) else (rows, ())
        more = {"weights": weights, "n_threads": self.kernel_threads} if spec.weights else {}
        return float(self._inertia(X, centers, labels, *middle, **more))

    def refuse_elsewhere(self) -> None:
        """Raise ``RuntimeError`` in a child that was forked since the crew began."""
        refuse_elsewhere(self._begun)

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


def _changed(counting: list[CountsChanged]) -> int:
    return sum([int(chunk.changed) for chunk in counting])
