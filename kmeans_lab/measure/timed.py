"""Timed fits in a kernel's child, on bytes that it has not seen before.

The child times the fit itself, so that no pipe is in the number. This process times the round trip
of the order and its answer, which are a few bytes each: ``settle`` says which clock counts.
"""

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from statistics import median
from time import perf_counter, process_time
from typing import Any, Unpack

import numpy as np

from kmeans_lab.driver import kmeans
from kmeans_lab.isolation.children import PATIENCE
from kmeans_lab.isolation.kernel_answers import answer_of, own_code_alone
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.isolation.messages import Description, FitAnswer
from kmeans_lab.isolation.pools import POOLS, busy_pools
from kmeans_lab.measure.calibration import seconds_of, some_rows
from kmeans_lab.measure.certify import Certificate, certify_fit
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.presets import FitSettings, Workload
from kmeans_lab.result import KMeansResult
from kmeans_lab.sparse.rows import SparseRows

#: A fit that takes so many times as long as expected is given up, if that is over ``PATIENCE``.
LATE = 20
#: A child's clock may fall behind this process's by twice as much as another child's does, by so
#: many seconds, and by this share of a fit: waking up takes that long on a busy machine.
SLACK, SHARE = 100e-6, 0.01
#: Powers of two that keep squares, and their sums, far from the ends of a dtype.
_MOST = {"float32": 24, "float64": 200}


class TimedChild(KernelChild):
    """A child whose fits are timed, with every thread pool held at one thread."""

    def __init__(
        self,
        name_or_place: str,
        environment: dict[str, str] | None = None,
        executable: str | None = None,
    ) -> None:
        alone = dict.fromkeys(POOLS, "1") | (environment or {})
        super().__init__(name_or_place, alone, executable)

    def describe(self, patience: float | None = None, *, sparse: bool = False) -> Description:
        """Describe the kernel, and make sure that no pool has more than one thread."""
        found = super().describe(patience, sparse=sparse)
        if busy := self.ask(busy_pools):
            raise RuntimeError(f"a thread pool did not stay at one thread: {busy}")
        return found

    def time_fit(
        self, X: Any, n_clusters: int, **settings: Unpack[FitSettings]
    ) -> tuple[KMeansResult, float, float]:
        """Run ``kmeans`` there; return its result, the child's seconds, and those of this process.

        Raises
        ------
        CertificateError
            X was modified there.
        Raised, Ended
            As ``ask``.
        """
        self.ask(_take, self.name, X, n_clusters, settings)
        start = perf_counter()
        told = self.ask(_go)
        trip = perf_counter() - start
        result = self.result(self.ask(_give), X, n_clusters)
        seconds: float = self.checked(float, told)
        return result, seconds, trip

    def seconds_of_assign(self, workload: Workload) -> float:
        """Extrapolate the seconds of one assignment from a few rows."""
        X = some_rows(workload)
        start = perf_counter()
        told = self.ask(seconds_of, self.name, X, workload.centers)
        trip = perf_counter() - start
        seconds: float = self.checked(float, told)
        return min(max(seconds, 0.0), trip) * len(workload.X) / len(X)


@dataclass(eq=False)
class Trial:
    """Fits of one workload in one child: the first is judged, and the timed ones are held to it.

    Attributes
    ----------
    child : TimedChild
        One that was described.
    X : ndarray or SparseRows of shape (n_samples, n_features)
    n_clusters : int
    settings : dict
        Keyword arguments of ``kmeans``.
    certificate : Certificate or None
        What timed fits are held to; ``prove`` makes it.
    """

    child: TimedChild
    X: Any
    n_clusters: int
    settings: FitSettings
    certificate: Certificate | None = None

    def prove(self, n_iter: int | None = None) -> Certificate:
        """Judge a whole fit of X; raises as ``certify_fit`` and ``KernelChild.fit`` do."""
        begin = perf_counter()
        self.certificate = self._prove(0, n_iter)
        self.child.patience = max(PATIENCE, LATE * (perf_counter() - begin))
        return self.certificate

    def fit(self, exponent: int, **more: Unpack[FitSettings]) -> tuple[KMeansResult, float, float]:
        """Run one whole fit of X times 2^exponent, and judge what it gave.

        Returns the result, the child's seconds, and those of this process; raises as ``prove``.
        """
        assert self.certificate is not None  # it was proved
        X, settings = scaled(self.X, self.settings | more, exponent)
        result, seconds, trip = self.child.time_fit(X, self.n_clusters, **settings)
        self._refuse_other_libraries()
        try:
            self.certificate.recheck(unscaled(result, exponent), self.X)
        except CertificateError:
            # Right in other digits, perhaps: a kernel may add a constant. Then it is judged anew.
            self._prove(exponent, self.certificate.result.n_iter).recheck(result, X)
        return result, seconds, trip

    def _prove(self, exponent: int, n_iter: int | None) -> Certificate:
        X, settings = scaled(self.X, self.settings, exponent)
        name, k = self.child.name, self.n_clusters
        found = certify_fit(X, k, settings, name, n_iter=n_iter, child=self.child)
        self._refuse_other_libraries()
        return found

    def _refuse_other_libraries(self) -> None:
        if (library := self.child.foreign_library()) is not None:
            raise CertificateError(f"code of {library} is in its process")


def settle(told: Sequence[Sequence[float]], trips: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the seconds that count, for each child.

    Parameters
    ----------
    told : sequence of sequence of float
        For each child: the seconds of its fits by its own clock.
    trips : sequence of sequence of float
        The same by this process's clock, which include the round trip of order and answer.

    Returns
    -------
    list of list of float
        The child's own, where its clock agrees with this process's as well as those of the others
        do. Otherwise this process's, less the shortest round trip of any child.
    """
    pairs = [list(zip(*both, strict=True)) for both in zip(told, trips, strict=True)]
    gaps = [
        median([trip - own for own, trip in fits])
        if fits and all(0 < own <= trip for own, trip in fits)
        else math.inf  # such a clock says nothing
        for fits in pairs
    ]
    least = min(gaps, default=0.0)
    least = 0.0 if least == math.inf else least
    return [
        [own for own, _ in fits]
        if not fits or gap <= 2 * least + SLACK + SHARE * median([own for own, _ in fits])
        else [max(trip - least, trip / 2) for _, trip in fits]
        for fits, gap in zip(pairs, gaps, strict=True)
    ]


@contextmanager
def collecting_between_rounds() -> Iterator[Callable[[], object]]:
    """Collect garbage when the function that is yielded is called, and at no other time.

    The time of a collection belongs to the code that made the garbage, not to the next fit.
    """
    collecting = gc.isenabled()
    gc.disable()
    gc.freeze()  # what is there already need not be looked at in every round
    try:
        yield gc.collect
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()


def exponents(n_rounds: int, dtype: str, rng: Random) -> list[int]:
    """Return a power of two for each round: another one in each, as far as the dtype goes."""
    most = min(-(-n_rounds // 2), _MOST[dtype])
    drawn = rng.sample([*range(-most, 0), *range(1, most + 1)], 2 * most)
    return [drawn[r % len(drawn)] for r in range(n_rounds)]


def scaled(X: Any, settings: FitSettings, exponent: int) -> tuple[Any, FitSettings]:
    """Return X and the arguments of ``kmeans`` in units that are 2^−exponent times as large.

    No digit changes: every sum, product and comparison of a fit is that of the original, times a
    power of two.
    """
    settings = settings.copy()
    if isinstance(settings.get("init"), np.ndarray):
        settings["init"] = np.ldexp(settings["init"], exponent)
    tol = settings.get("tol")
    if settings.get("stop") == "shift-norm" and tol is not None:
        settings["tol"] = math.ldexp(tol, exponent)  # it is in the units of X
    if isinstance(X, SparseRows):
        return X.with_values(np.ldexp(X.data, exponent)), settings
    return np.ldexp(X, exponent), settings


def unscaled(result: KMeansResult, exponent: int) -> KMeansResult:
    """Return a result in the units of the original."""
    return replace(
        result,
        centers=np.ldexp(result.centers, -exponent),
        inertia=math.ldexp(result.inertia, -2 * exponent),
    )


# What runs in the child.

_work: list[Any] = []
_spent = [0.0, 0.0]  # of all timed fits: seconds, and those of the processor, in all threads


def cores_used() -> tuple[float, float]:
    """Return the seconds of all timed fits, and how many cores were busy in them on average."""
    seconds, busy = _spent
    return seconds, busy / seconds if seconds > 0 else 0.0


def _take(name: str, X: Any, n_clusters: int, settings: FitSettings) -> None:
    own_code_alone(name)
    _work[:] = name, X.copy(), n_clusters, settings  # in memory as a program has it
    gc.enable()
    gc.collect()
    gc.disable()  # a collection would be timed with a fit that did not make the garbage
    gc.freeze()


def _go() -> float:
    name, X, n_clusters, settings = _work
    start, busy = perf_counter(), process_time()
    result = kmeans(X, n_clusters, kernel=name, **settings)
    seconds = perf_counter() - start
    _spent[0] += seconds
    _spent[1] += process_time() - busy
    # What is not written by now is not part of the result.
    _work.append(replace(result, labels=result.labels.copy(), centers=result.centers.copy()))
    return seconds


def _give() -> FitAnswer:
    _, X, *_, result = _work
    _work.clear()
    return answer_of(result, X)
