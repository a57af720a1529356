"""The timed fits of a lane: always the same work, never the same bytes at the same place.

Every fit is given a new copy of the rows, multiplied by a power of two. That changes no digit and
no label, so that all fits do equal work; but where rows lie in memory differs from fit to fit, as
it does from process to process, and is part of the noise that an interval covers. And a kernel that
remembers rows has seen none of them.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isclose
from random import Random
from statistics import median
from time import perf_counter, process_time

import numpy as np

from kmeans_lab.kernel import Array
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.timed import exponents, scaled, unscaled
from kmeans_lab.presets import FitSettings
from kmeans_lab.result import PHASES, KMeansResult

#: Runs a fit of these rows with these settings.
Fit = Callable[[Array, FitSettings], KMeansResult]

#: As many fits get different bytes, in float64; then the powers are repeated in another order.
_FRESH = 400


class Fits:
    """Runs fits of X and keeps their times.

    Attributes
    ----------
    seconds, rounds : list
        Of every fit: its wall time, and the round that it belongs to.
    phases : dict of str to list of float
        The driver's own seconds, phase by phase.
    result : KMeansResult or None
        Of the first fit, which all others have to repeat.
    wrong : str
        How a later fit differed; empty if none did.
    """

    def __init__(self, fit: Fit, X: Array, settings: FitSettings) -> None:
        self._fit, self._X, self._settings = fit, X, settings
        self._exponents: list[int] = []
        self._size = float(np.abs(settings["init"]).max())
        self._wall = self._cpu = 0.0
        self.seconds: list[float] = []
        self.rounds: list[int] = []
        self.phases: dict[str, list[float]] = {name: [] for name in PHASES}
        self.result: KMeansResult | None = None
        self.wrong = ""

    @property
    def waited(self) -> float | None:
        """The share of the time in which a fit of one thread had no processor; else None."""
        if (self._settings["n_threads"] or 1) > 1 or not self._wall:
            return None
        return max(0.0, 1 - self._cpu / self._wall)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Record for how long this process has a processor meanwhile."""
        cpu, wall = process_time(), perf_counter()
        yield
        self._cpu += process_time() - cpu
        self._wall += perf_counter() - wall

    def phase(self, name: str) -> float:
        """Return the median seconds of a phase."""
        return median(self.phases[name])

    def turn(self, budget: float, number: int | None) -> list[float]:
        """Fit for ``budget`` seconds, at least once; without a number the fits do not count."""
        spent: list[float] = []
        gc.collect()
        gc.disable()  # a collection of garbage must not be timed
        try:
            while not spent or sum(spent) < budget:
                spent.append(self._one(number))
        finally:
            gc.enable()
        return spent

    def keep(self, result: KMeansResult, seconds: float, number: int) -> None:
        """Note what a fit returned, and its time."""
        self.seconds.append(seconds)
        self.rounds.append(number)
        for name in PHASES:
            self.phases[name].append(result.seconds[name])

    def _one(self, number: int | None) -> float:
        self._exponents = self._exponents or exponents(_FRESH, self._X.dtype.name, Random())
        exponent = self._exponents.pop()
        X, settings = scaled(self._X, self._settings, exponent)
        with self.clock():
            start = perf_counter()
            result = self._fit(X, settings)
            seconds = perf_counter() - start
        if not np.array_equal(X, np.ldexp(self._X, exponent)):
            raise CertificateError("X was modified")
        self._compare(unscaled(result, exponent))
        if number is not None:
            self.keep(result, seconds, number)
        return seconds

    def _compare(self, result: KMeansResult) -> None:
        """Hold a result against the first."""
        if self.result is None:
            self.result = result
        elif not np.array_equal(result.labels, self.result.labels):
            self.wrong = "two fits from the same start gave different labels"
        elif not (
            result.n_iter == self.result.n_iter
            and isclose(result.inertia, self.result.inertia, rel_tol=1e-6)
            and np.allclose(result.centers, self.result.centers, atol=1e-6 * self._size)
        ):
            self.wrong = "two fits from the same start gave different centers"
