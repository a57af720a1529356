"""Lloyd's algorithm: the page to read first.

Everything that decides *what* is computed is here or in the small modules that it names, once;
kernels decide *how*. Lloyd, "Least squares quantization in PCM", IEEE Transactions on
Information Theory 28, 1982.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from kmeans_lab import checks
from kmeans_lab.centering import largest_of, middle_and_variance, relative_to
from kmeans_lab.crews.base import Crew, Job, Pass
from kmeans_lab.crews.means import Arrays, Kept, MeansOfClusters
from kmeans_lab.crews.start import MODES, choose_workers, start_crew
from kmeans_lab.crews.starting import Start, make_start
from kmeans_lab.empty import POLICIES
from kmeans_lab.io.checkpoints import Checkpoints, Keep, Progress, identity_of
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation.availability import resolve_kernel
from kmeans_lab.kernel import Array, Kernel, MeasuresRows, read_only
from kmeans_lab.metric import METRICS, Directions, exponent_of
from kmeans_lab.registry import load_kernel
from kmeans_lab.result import Iteration, KMeansResult, Stopwatch
from kmeans_lab.rows.checked import streamed_samples
from kmeans_lab.rows.labels import put_labels, refuse_labels_out, refuse_resume
from kmeans_lab.rows.opening import rows_or_source
from kmeans_lab.seeding import InitFunction
from kmeans_lab.sparse.checked import sparse_samples
from kmeans_lab.sparse.numerics import mean_square
from kmeans_lab.sparse.reading import is_sparse
from kmeans_lab.stopping import StopRule, make_rule
from kmeans_lab.weights import Weighting, absolute, warn_of_overflow

Callback = Callable[[Iteration], Any]

#: Below this share of the rows' own spread, an inertia that a kernel computes by expanding ‖x − c‖²
#: has lost too many digits: where clusters are that tight, it is computed from differences.
_LOST = 1e-4


class FollowsRepetitions(Protocol):
    """A stop rule that is also told of each of the n_init repetitions of a fit."""

    def begin(self) -> None:
        """Begin another repetition."""

    def end(self, run: Run, /) -> bool:
        """End a repetition, given its outcome; return True to end the fit with the best one."""


@checks.numpys_own_errors
def kmeans(
    X: Any,
    n_clusters: int,
    *,
    kernel: str | Kernel = "auto",
    metric: str = "euclidean",
    init: str | InitFunction | Any = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float | None = None,
    stop: str | StopRule = "shift",
    empty: str = "relocate",
    n_threads: int | None = None,
    mode: str | None = None,
    random_state: Any = None,
    sample_weight: Any = None,
    callback: Callback | None = None,
    history: bool = False,
    memory: int | str | None = None,
    labels_out: Any = None,
    resume: Any = None,
) -> KMeansResult:
    """Cluster the rows of X around n_clusters means with Lloyd's algorithm.

    Results are bit-identical for any mode, n_threads and run. The tuned kernels, of which "auto" is
    one, agree with each other to the last bit, on every processor: their sums are exact.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers, in an array, a list, a frame, an Arrow table or a tensor on the processor;
        float32 is kept, everything else becomes float64. Never modified. Or rows that are not an
        array (``kmeans_lab.rows``): the path of an .npy file, a list of paths, or an object with
        ``shape``, ``dtype`` and ``read(start, stop)``.
    n_clusters : int
        Between 1 and n_samples.
    kernel : str or module, default "auto"
        A key of ``KERNELS``, any object with ``assign`` and ``update``, or "auto": the fastest
        of the tuned kernels that can run (NumPy's where none of them can).
    metric : {"euclidean", "cosine"}, default "euclidean"
        How rows are compared. "cosine": spherical k-means (see ``kmeans_lab.metric``): rows, which
        may have any length but zero, and means are scaled to length 1, and inertia is Σ (1 − cos).
        ``tol`` refers to the variance of the scaled rows, and ``init`` functions are given them;
        the centers that these return, or an array, are scaled as well.
    init : {"k-means++", "k-means||", "d2", "random", "random-partition", "first"}, array, callable
        Starting centers: a way of drawing them (see ``kmeans_lab.seeding``), an array of shape
        (n_clusters, n_features), or a function ``(X, n_clusters, rng) -> array``.
    n_init : int, default 1
        Repetitions; the lowest inertia wins.
    max_iter : int, default 300
        Iterations at most.
    tol : float, optional
        The stop rule's tolerance; each rule has a default of its own.
    stop : {"shift", "shift-norm", "allclose", "equal", "labels", "max-iter"} or rule
        When to stop (see ``kmeans_lab.stopping``). "shift", the default: squared movement of the
        centers ≤ tol · mean variance of the features, tol = 1e-4; tol = 0 means "did not move".
    empty : {"relocate", "random", "keep", "error"}
        What becomes of a cluster without rows (see ``kmeans_lab.empty``).
    n_threads : int, optional
        Threads or processes; default 1 or, in mode "threads" and "processes", the cores this
        process may use; at most 64, or four for each of these cores.
    mode : {"serial", "threads", "processes", "stream"}, optional
        Where the work runs; by default in n_threads threads: those of the kernel, if it has any,
        else the driver's. In a script, "processes" needs ``if __name__ == "__main__":``. "stream":
        X is read block by block in each pass, unless ``memory`` holds it.
    random_state : None, int or numpy.random.Generator
        Source of the random choices; None draws a fresh seed.
    sample_weight : array-like of shape (n_samples,), optional
        How much each row counts, ≥ 0; default 1 each. Weights move centers and add to the inertia;
        ``tol`` refers to the unweighted variance, as in scikit-learn.
    callback : callable, optional
        Called with an ``Iteration`` after each assignment; returning True ends the loop.
    history : bool, default False
        Keep every iteration's centers, inertia and number of changed labels.
    memory : int or str, optional
        How many bytes rows of files and other sources may take, "512MB" for instance; default half
        of what is free. Where they take more, they are read in each pass.
    labels_out : path-like or ndarray of shape (n_samples,), int32, optional
        Where labels are written as well: an .npy file, or an array, which may be mapped.
    resume : path-like, optional
        A file for the progress of a long fit, replaced after passes and removed at the end. Where
        it is there already, the fit that wrote it, which was ended, goes on to the same bits.

    Returns
    -------
    KMeansResult

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind; the sentence says what to do.
    KernelUnavailable
        The kernel's module or package is not installed.
    MemoryError
        The memory that the kernel or mode needs is not available.
    RuntimeError
        A worker process died, or this process cannot start any: one of a pool, for instance. Or
        a callback, init function or stop rule has forked the process, and this is the child.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    >>> result = kmeans(X, 2, random_state=0)
    >>> float(result.inertia), result.converged
    (1.0, True)
    """
    watch = Stopwatch()
    if mode is not None:
        mode = checks.choice("mode", mode, MODES)
    given = X
    X, source, room = rows_or_source(X, mode, memory)
    if source is not None:
        mode = "stream"
    sparse = is_sparse(X)
    fit = None if source is not None else (X, n_clusters, n_threads, mode, metric, sample_weight)
    module, name, spec = resolve_kernel(kernel, sparse=sparse, fit=fit)
    if n_threads is not None:
        n_threads = checks.integer("n_threads", n_threads, 1)
    mode, n_threads = choose_workers(mode, n_threads, spec, name)
    metric = checks.choice("metric", metric, METRICS)
    measuring = None
    if sparse:
        X, moments = sparse_samples(X, spec.dtypes, metric), None
        if metric == "cosine" and "measuring" in spec.provides:  # of centers, which are arrays
            measuring = cast(MeasuresRows, load_kernel(name))
    else:
        measuring = cast(MeasuresRows, module) if "measuring" in spec.provides else None
        if source is None:
            X, moments = checks.measured_samples(X, spec.dtypes, measuring, n_threads, metric)
        else:
            of = source, spec.dtypes, measuring, n_threads, metric, room, name
            X, moments = streamed_samples(*of)
    n_clusters = checks.clusters(n_clusters, len(X))
    refuse_labels_out(labels_out, len(X), given)
    n_init = checks.integer("n_init", n_init, 1)
    draws = checks.drawing(random_state)
    weights = checks.weights(sample_weight, X)
    middle, variance = middle_and_variance(X, moments)
    rows = relative_to(X, middle)
    weighting = None if weights is None else Weighting(weights)
    alike = weights is None or bool((weights == weights[0]).all())  # the start needs no weights
    drawn_by = None if weighting is None or alike else weighting.values
    start = make_start(init, n_clusters, X, middle, n_init, drawn_by, metric)
    plan = _Plan(
        max_iter=checks.integer("max_iter", max_iter, 1),
        rule=make_rule(stop, tol),
        empty=checks.choice("empty", empty, POLICIES),
        callback=checks.function("callback", callback),
        history=checks.flag("history", history),
        variance=variance,
        # Sparse rows are squared only where passes are shown: that takes as long as a late pass.
        spread=mean_square(X) if sparse and (history or callback is not None) else variance,
        middle=middle,
        metric=metric,
        measuring=measuring,
    )
    keeping = None
    if resume is not None:
        refuse_resume(resume, labels_out, given)
        # What differs first is what a refusal names: settings, on which the rows' variance depends.
        same: dict[str, Any] = {"n_clusters": n_clusters, "kernel": name, "metric": metric}
        same |= {"n_init": n_init, "empty": plan.empty, "history": plan.history}
        same |= identity_of(X, variance, plan.rule, init=init, sample_weight=weights)
        keeping = Checkpoints(resume, same)
    counts_changes = plan.rule.needs_changed or plan.watched
    job = Job(
        *(module, name, spec, rows, n_clusters, n_threads, weighting),
        *(counts_changes, plan.watched, largest_of(rows, moments)),
    )
    where = "serial" if mode == "stream" and source is None else mode
    with start_crew(where, job) as crew:
        watch.lap("prepare")
        best = _repeat(n_init, start, crew, plan, draws, watch, keeping)
        rescored = crew.rescored()
    watch.lap("finish")
    result = KMeansResult(
        centers=best.centers,
        labels=best.labels,
        inertia=warn_of_overflow(plan.told(best.inertia, crew)),
        n_iter=best.n_iter,
        converged=best.converged,
        stop=best.stop,
        seconds=watch.seconds,
        kernel=name,
        mode=mode,
        n_threads=n_threads,
        rescored=rescored,
        history=tuple(best.history),
    )
    try:
        put_labels(best.labels, labels_out)
    except Refused as error:
        error.result = result  # type: ignore[attr-defined]  # hours of work
        raise
    if keeping is not None:
        keeping.remove()
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The settings and objects that all repetitions share."""

    max_iter: int
    rule: StopRule
    empty: str
    callback: Callback | None
    history: bool
    variance: float
    spread: float  # mean square of the values that kernels see: what an expansion rounds
    middle: Array
    metric: str
    measuring: MeasuresRows | None

    @property
    def watched(self) -> bool:
        return self.history or self.callback is not None

    def told(self, inertia: float, crew: Crew) -> float:
        """Return an inertia in the caller's units."""
        return absolute(inertia, crew.exponent + exponent_of(self.metric))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The outcome of one repetition."""

    centers: Array
    labels: Any  # (n_samples,) int32; None while they have to be found again
    inertia: float  # in the crew's units: what overflows could not be compared
    n_iter: int
    converged: bool
    stop: str
    history: list[Iteration]


def _repeat(
    n_init: int,
    start: Start,
    crew: Crew,
    plan: _Plan,
    draws: checks.Draws,
    watch: Stopwatch,
    keeping: Checkpoints | None,
) -> Run:
    """Run the loop from n_init starts; return the run with the lowest inertia."""
    best: Run | None = None
    going_on = None if keeping is None else keeping.found
    if going_on is not None:
        draws().bit_generator.state = going_on.generator
        if going_on.best is not None:
            seen = [Iteration(*it) for it in going_on.best["history"]]
            best = Run(**going_on.best | {"labels": None, "history": seen})
    # Not isinstance, which takes 25 µs for a Protocol.
    follows = hasattr(plan.rule, "begin") and hasattr(plan.rule, "end")
    follower = cast(FollowsRepetitions, plan.rule) if follows else None
    for left in reversed(range(n_init)):
        if going_on is not None and n_init - 1 - left < going_on.repetition:
            continue
        if follower is not None:
            follower.begin()
        centers = start(draws, crew) if going_on is None else going_on.old
        crew.refuse_elsewhere()
        watch.lap("init")
        keep = None if keeping is None else Keep(keeping, n_init - 1 - left, best, draws)
        run = _lloyd(crew, centers, plan, draws, watch, keep, going_on, last=left == 0)
        going_on = None
        if best is None or run.inertia < best.inertia:
            best = run
        if follower is not None and follower.end(run):
            break
    assert best is not None  # n_init ≥ 1
    if best.labels is None:  # of a repetition before the fit went on
        crew.assign(read_only(best.centers - plan.middle))
        best = replace(best, labels=crew.labels_to_keep(last=True))
    return best


def _lloyd(
    crew: Crew,
    start: Array,
    plan: _Plan,
    draws: checks.Draws,
    watch: Stopwatch,
    keep: Keep | None = None,
    going_on: Progress | None = None,
    *,
    last: bool,
) -> Run:
    """Run the loop once. Labels and inertia describe the centers returned, however it ends."""
    directions = None
    if plan.metric == "cosine":
        directions = Directions(len(start), plan.middle, len(crew.rows), plan.measuring)
    means = MeansOfClusters(crew, plan.empty, plan.middle, draws, directions)
    watched = plan.watched
    looked_at = directions is not None or watched or getattr(plan.rule, "needs_centers", True)
    made = Arrays if looked_at or keep is not None or crew.keeper is None else Kept
    centers: Any = made(crew, start, means, plan.variance)
    crew.forget_labels()
    seen: list[Iteration] = []
    n_iter = done = 0
    fired = called_off = False
    if going_on is not None:
        n_iter = done = going_on.n_iter
        seen += [Iteration(*it) for it in going_on.history]
        centers.go_on(going_on.new)
    for n_iter in range(done + 1, plan.max_iter + 1):
        found = centers.assign()  # labels, sums and counts: one pass over the rows
        watch.lap_step(found.assign, found.update)
        step = centers.update(found.changed)
        called_off = watched and _show(plan, crew, n_iter, centers.old, found, seen)
        fired = plan.rule.fired(step)
        crew.refuse_elsewhere()
        watch.lap("update")
        if fired or called_off:
            break
        if keep is not None:
            old, new = centers.both()
            keep(n_iter, old, new, seen)
    stop = plan.rule.name if fired else "callback" if called_off else "max-iter"
    newest = centers.finish()  # so that labels match the centers that are returned
    labels = crew.labels_to_keep(last=last)
    inertia = crew.inertia(newest, labels)
    watch.lap("finish")
    newest += plan.middle  # in its place: centers of sparse rows may be the largest arrays of a fit
    return Run(newest, labels, inertia, n_iter, fired, stop, seen)


def _show(
    plan: _Plan, crew: Crew, n_iter: int, centers: Array, found: Pass, seen: list[Iteration]
) -> bool:
    """Record the iteration and ask the callback; return True when it ends the fit."""
    inertia = found.inertia
    if inertia <= _LOST * plan.spread * crew.rows.shape[0] * crew.rows.shape[1]:
        inertia = crew.inertia(centers, crew.labels)
    told = plan.told(inertia, crew)
    where = centers + plan.middle
    if plan.history:  # a copy: the callback may write to its arrays
        seen.append(Iteration(n_iter, where.copy(), None, told, found.changed))
    if plan.callback is None:
        return False
    labels = crew.labels.copy()
    return bool(plan.callback(Iteration(n_iter, where, labels, told, found.changed)))
