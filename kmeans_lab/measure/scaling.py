"""The scaling of a fit's time with workers, and with rows, clusters and features.

Rounds are paired as in ``rounds``: each worker count, or size, fits once per round in an order
drawn from Latin squares, in a process of its own. Results do not depend on workers, so that every
fit is held to the certified one bit for bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from random import Random
from statistics import fmean, median
from typing import Any

from kmeans_lab.isolation.children import PATIENCE
from kmeans_lab.measure import latin_squares
from kmeans_lab.measure.roofline import arithmetic_alone, can_measure
from kmeans_lab.measure.statistics import CONFIDENCE, Interval, corrected, ratio, sign_interval
from kmeans_lab.measure.timed import (
    LATE,
    TimedChild,
    Trial,
    collecting_between_rounds,
    exponents,
)
from kmeans_lab.presets import FitSettings, Workload, find_preset
from kmeans_lab.registry import find_spec
from kmeans_lab.result import KMeansResult

ROUNDS = 9
#: Where growth begins, and how often each axis is doubled.
START, DOUBLINGS = {"n": 16_000, "d": 8, "k": 16}, 3
_FIXED: FitSettings = {"stop": "max-iter", "tol": None, "max_iter": 5}

Watcher = Callable[[str, int, int], Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One worker count.

    Attributes
    ----------
    workers : int
    seconds : float
        Median wall time of a whole fit.
    start_up : float
        Of that, the median of what comes before the first iteration: checks, preparing the rows,
        starting the workers.
    speedup : Interval
        t_s / t_p of whole fits; of the serial fit itself, 1.
    work : Interval
        The same of the iterations alone.
    machine : float or None
        Speedup in the same rounds of a loop of multiply-adds without memory, with as many threads:
        the most that the machine allows. None where the flagship, which has this loop, isn't built.
    """

    workers: int
    seconds: float
    start_up: float
    speedup: Interval
    work: Interval
    machine: float | None

    @property
    def efficiency(self) -> float:
        """Speedup per worker."""
        return self.speedup.middle / self.workers


@dataclass(frozen=True, slots=True)
class Scaling:
    """All worker counts of one kernel on one preset.

    ``serial_share`` is Amdahl's: the least-squares fit of t_p / t_s = s + (1 − s) / p over all
    points, between 0 and 1; None with a single worker count.
    """

    kernel: str
    preset: str
    mode: str
    points: list[Point]
    serial_share: float | None


@dataclass(frozen=True, slots=True)
class Growth:
    """How the time of an iteration grows along one axis, where the others stay.

    ``exponent`` is the slope of log time over log size, in each round; 1 is proportional.
    """

    kernel: str
    axis: str
    others: dict[str, int]
    sizes: list[int]
    seconds: list[float]
    exponent: Interval


def scaling(
    name: str,
    workload: Workload,
    preset: str,
    mode: str,
    workers: Sequence[int],
    *,
    n_rounds: int = ROUNDS,
    seed: int = 0,
    watch: Watcher = lambda what, done, total: None,
) -> Scaling:
    """Measure a kernel with each number of workers; the serial fit is always among them.

    Raises
    ------
    CertificateError
        A fit gives a wrong result, or another one than with one worker.
    """
    counts = sorted({1, *workers})
    powers = exponents(n_rounds, workload.preset.dtype, Random())
    bare = can_measure()
    own = find_spec(name).threading == "own" and mode == "threads"
    with TimedChild(name) as child:
        trial = _proved(child, workload, workload.settings())

        def fit(n_workers: int, r: int) -> tuple[float, KMeansResult, float]:
            how = "serial" if n_workers == 1 or own else mode
            result, seconds, _ = trial.fit(powers[r], mode=how, n_threads=n_workers)
            return seconds, result, arithmetic_alone(n_workers) if bare else 0.0

        fits = _rounds(fit, counts, n_rounds, seed, watch)
    wanted = corrected(CONFIDENCE, 2 * (len(counts) - 1))
    whole = {p: [seconds for seconds, _, _ in fits[p]] for p in counts}
    start_up = {p: [result.seconds["prepare"] for _, result, _ in fits[p]] for p in counts}
    work = {
        p: [result.seconds["assign"] + result.seconds["update"] for _, result, _ in fits[p]]
        for p in counts
    }
    points = [
        Point(
            p,
            median(whole[p]),
            median(start_up[p]),
            ratio(whole[1], whole[p], wanted),
            ratio(work[1], work[p], wanted),
            # p threads do p times the work of one
            median([p * fits[1][r][2] / fits[p][r][2] for r in range(n_rounds)]) if bare else None,
        )
        for p in counts
    ]
    return Scaling(name, preset, mode, points, serial_share(points))


def _proved(child: TimedChild, workload: Workload, settings: FitSettings) -> Trial:
    """Describe a child's kernel, judge a whole fit, and return what goes on from there."""
    child.describe(sparse=workload.preset.sparse)
    child.patience = max(PATIENCE, LATE * child.seconds_of_assign(workload))
    trial = Trial(child, workload.X, workload.preset.n_clusters, settings)
    trial.prove()
    return trial


def serial_share(points: Sequence[Point]) -> float | None:
    """Return Amdahl's serial share by least squares, held between 0 and 1."""
    # t_p / t_s − 1/p = s · (1 − 1/p)
    pairs = [(1 - 1 / it.workers, 1 / it.speedup.middle - 1 / it.workers) for it in points]
    weight = sum(x * x for x, _ in pairs)
    if weight == 0:
        return None
    return min(1.0, max(0.0, sum(x * y for x, y in pairs) / weight))


def growth(
    name: str,
    axis: str,
    *,
    n_rounds: int = ROUNDS,
    seed: int = 0,
    watch: Watcher = lambda what, done, total: None,
) -> Growth:
    """Double one of n, d and k again and again, the others staying as they are.

    Raises
    ------
    CertificateError
        A fit gives a wrong result.
    """
    sizes = [START[axis] * 2**i for i in range(DOUBLINGS + 1)]
    workloads = {}
    for size in sizes:
        shape = START | {axis: size}
        workloads[size] = find_preset(f"blobs-{shape['n']}-{shape['d']}-{shape['k']}").load()

    powers = exponents(n_rounds, "float64", Random())
    with TimedChild(name) as child:
        trials = {
            size: _proved(child, it, it.settings() | _FIXED) for size, it in workloads.items()
        }

        def fit(size: int, r: int) -> float:
            result, *_ = trials[size].fit(powers[r])
            return (result.seconds["assign"] + result.seconds["update"]) / result.n_iter

        found = _rounds(fit, sizes, n_rounds, seed, watch)
    slopes = [_slope(sizes, [found[size][r] for size in sizes]) for r in range(n_rounds)]
    seconds = [median(found[size]) for size in sizes]
    others = {other: size for other, size in START.items() if other != axis}
    return Growth(name, axis, others, sizes, seconds, sign_interval(slopes))


def _slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    x, y = [log(size) for size in sizes], [log(s) for s in seconds]
    mean_x, mean_y = fmean(x), fmean(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)


def _rounds(
    fit: Callable[[int, int], Any], counts: Sequence[int], n_rounds: int, seed: int, watch: Watcher
) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {count: [] for count in counts}
    total, done = n_rounds * len(counts), 0
    with collecting_between_rounds() as collect:
        for r, turn in enumerate(latin_squares.rounds([1] * len(counts), n_rounds, Random(seed))):
            collect()
            for i in turn:
                watch(str(counts[i]), done, total)
                found[counts[i]].append(fit(counts[i], r))
                done += 1
    return found
