"""The paired run: contestants, one fit of each per round, every fit certified off the clock.

A round runs every contestant once on the same input, in an order drawn from Latin squares; each is
in a process of its own. Every round has other bytes: X and the start, times another power of two.
The baseline runs under two names, in two processes; the ratio of these two is the smallest that
the run resolves. A fixed loop of plain Python is timed before and after: if the machine's speed has
changed meanwhile, the run is void.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

from kmeans_lab.crews.lock import lock_is_on
from kmeans_lab.formatting import plural
from kmeans_lab.isolation.children import PATIENCE, ChildError, Ended, Raised
from kmeans_lab.isolation.interpreters import Interpreter
from kmeans_lab.isolation.messages import Description
from kmeans_lab.isolation.plugins import NotAKernel
from kmeans_lab.measure import latin_squares
from kmeans_lab.measure.calibration import calibrate, start_costs
from kmeans_lab.measure.certify import Certificate
from kmeans_lab.measure.contestants import FEWEST, SLOW, Contestant, whole_seconds
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.roofline import Roof, roof_if_known
from kmeans_lab.measure.schema import StartCosts, State
from kmeans_lab.measure.statistics import CONFIDENCE, Interval, corrected, floor_of
from kmeans_lab.measure.timed import (
    LATE,
    TimedChild,
    Trial,
    collecting_between_rounds,
    cores_used,
    exponents,
    settle,
)
from kmeans_lab.presets import FitSettings, Workload
from kmeans_lab.registry import KERNELS, find_spec, installed
from kmeans_lab.spec import KernelSpec

#: Rounds by default: nine are the fewest that hold for nine comparisons together; slow kernels
#: join every fourth of 24, which leaves them ``contestants.FEWEST``.
ROUNDS = 24
#: The calibration loop may take this much longer or shorter at the end; ratios would tolerate more,
#: milliseconds would not.
DRIFT = 1.25
TWIN = " again"
#: Cores that may be busy for each thread, and seconds of fits from which on that is asked.
MOST_CORES, LONG_ENOUGH = 1.25, 0.05


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run, which its watcher is given before each fit."""

    what: str  # "calibrate", "certify", "round"
    name: str
    done: int  # fits
    total: int
    left: float  # estimated seconds


Watcher = Callable[[Progress], Any]


@dataclass
class PairedRun:
    """One preset, one thread count: its settings, its contestants, its verdicts.

    Call ``run``; then ``ratio_of`` gives each contestant's ratio to the baseline.
    """

    workload: Workload
    preset: str
    kernels: Sequence[str]
    baseline: str
    n_threads: int = 1
    n_rounds: int = ROUNDS
    seed: int = 0
    confidence: float = CONFIDENCE
    to_rest: bool = False
    patience: float = inf  # seconds; a kernel that would need longer for one fit is left out
    behind: float = inf  # so is one whose fit takes so many times as long as the baseline's
    fewest: int = FEWEST  # rounds that slow kernels are left with
    most_drift: float = DRIFT
    rounds_alone: bool = False  # neither start-up costs nor the limits of the machine
    interpreters: Sequence[Interpreter] = ()  # where each kernel runs as well, in the same rounds
    contestants: list[Contestant] = field(init=False)
    orders: list[list[str]] = field(init=False, default_factory=list)
    opening: list[float] = field(init=False, default_factory=list)
    closing: list[float] = field(init=False, default_factory=list)
    # None where the flagship is not built, and for sparse rows.
    roof: Roof | None = field(init=False, default=None)
    partial: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        names = list(dict.fromkeys(self.kernels))
        if self.baseline not in names:
            names.insert(0, self.baseline)
        self.contestants = [Contestant(name, name) for name in names]
        self.contestants += [
            Contestant(f"{name} @{it.name}", name, it) for it in self.interpreters for name in names
        ]
        self.contestants.append(Contestant(self.baseline + TWIN, self.baseline))
        self._exponents = exponents(self.n_rounds, self.workload.preset.dtype, Random())

    def run(self, watch: Watcher = lambda progress: None) -> None:
        """Calibrate, certify, run the rounds, calibrate; Ctrl-C keeps what was measured."""
        try:
            watch(Progress("calibrate", "", 0, 0, 0.0))
            self.opening = calibrate()
            with ExitStack() as stack:
                self._start_children(stack)
                self._certify(watch)
                self._run_rounds(watch)
            self.closing = calibrate()
            # Sparse rows skip most of the multiply-adds.
            if not self.workload.preset.sparse and not self.rounds_alone:
                self.roof = roof_if_known(self.n_threads)
        except KeyboardInterrupt:
            self.partial = True
        self._settle()

    def _start_children(self, stack: ExitStack) -> None:
        """Give each contestant a process, and find out whether it can run."""
        for it in self.contestants:  # they start side by side
            it.child = stack.enter_context(TimedChild(it.kernel, executable=it.executable))
            stack.callback(_forget, it)
        for it in self.contestants:
            if it.state != "ready":  # its twin was rejected
                continue
            assert it.child is not None  # it was started
            try:
                told = it.child.describe(sparse=self.workload.preset.sparse)
            except Ended as end:
                self._reject(it.code, "broken", f"importing it {end.does}")
                continue
            except Exception as error:  # a kernel may raise anything; the others go on
                absent = isinstance(error, Raised) and NotAKernel.__name__ in error.kinds
                there = it.interpreter is not None  # a package of kernels may be missing there
                self._reject(it.code, "unavailable" if absent and there else "broken", _said(error))
                continue
            it.learn(told)
            if told["state"] != "ready":
                missing = told["state"] == "unavailable"
                self._reject(it.code, "unavailable" if missing else "broken", told["why"])
                continue
            self._leave_out(it, told)
            if it.state == "ready" and not self.rounds_alone:
                it.start = self._start(it) or self._start_costs(it, told["seconds"])

    def _leave_out(self, it: Contestant, told: Description) -> None:
        """Leave out what takes other work than this."""
        spec = KernelSpec(**told["spec"])
        if it.kernel not in KERNELS and (plugin := installed().get(it.kernel)) is not None:
            plugin.learn(spec)
        preset = self.workload.preset
        if preset.sparse and not spec.sparse:
            it.reject("left out", "it takes no sparse rows")
        elif preset.dtype not in spec.dtypes:
            it.reject("left out", f"it does not take {preset.dtype}")
        elif self.n_threads > 1 and spec.threading == "gil" and told["lock"]:
            it.reject("left out", "it holds the GIL: a second thread could not help")

    @property
    def settings(self) -> FitSettings:
        """Arguments of ``kmeans`` that make every fit do equal work."""
        return self.workload.settings(to_rest=self.to_rest)

    def arguments(self, kernel: str) -> FitSettings:
        """Return what ``kmeans`` is told of this run's threads, for a kernel."""
        own = find_spec(kernel).threading == "own"
        mode = "serial" if own or self.n_threads == 1 else "threads"
        return {"mode": mode, "n_threads": self.n_threads}

    def _certify(self, watch: Watcher) -> None:
        n_iter = None
        ready = [it for it in self.contestants if it.state == "ready"]
        ready.sort(key=lambda it: it.code != (self.baseline, ""))  # what it does, the others must
        for i, it in enumerate(ready):
            if it.state != "ready":  # its twin was rejected
                continue
            watch(Progress("certify", it.name, i, len(ready), 0.0))
            with self._rejecting(it.code):
                if (found := self._certify_one(it, n_iter)) is not None:
                    it.lock = self._locked(it)  # its first fit may have imported more
                    it.certificate, it.state, n_iter = found, "valid", found.result.n_iter
                    it.join_rounds(self.n_rounds, self.fewest)

    def _certify_one(self, it: Contestant, n_iter: int | None) -> Certificate | None:
        """Judge a whole fit; None where that would take too long."""
        assert it.child is not None  # it is ready
        assigning = it.child.seconds_of_assign(self.workload)
        it.child.patience = max(PATIENCE, LATE * assigning)  # for each iteration
        preset = self.workload.preset
        seconds = assigning * preset.max_iter * preset.n_init
        if seconds > self.patience:
            it.reject("left out", f"a fit would take about {seconds / 60:.0f} min")
            return None
        it.trial = Trial(it.child, self.workload.X, preset.n_clusters, self.settings)
        for other in self.contestants:  # the twin is the baseline: proved once
            if other.code == it.code and other.certificate is not None:
                assert other.child is not None
                it.trial.certificate = other.certificate
                it.trial.child.patience = other.child.patience
                return other.certificate
        if self._is_far_behind(it):
            it.behind = True
            it.reject("left out", f"a fit takes over {self.behind:g} times the baseline's")
            return None
        return it.trial.prove(n_iter)

    def _is_far_behind(self, it: Contestant) -> bool:
        """Whether a fit of a kernel takes far longer than the certified one of the baseline.

        Whether it is right is not asked: it gets no number.
        """
        proved = self.find(self.baseline).certificate
        if self.behind == inf or proved is None:
            return False
        assert it.child is not None  # it is ready
        seconds, most = inf, self.behind * whole_seconds(proved)
        arguments = self.settings | self.arguments(it.kernel)
        for _ in range(2):  # the first may compile, and a short one may be held up
            args = self.workload.X, self.workload.preset.n_clusters
            seconds = min(seconds, it.child.time_fit(*args, **arguments)[2])
            compiles = find_spec(it.kernel).compiles_on_first_call
            if seconds <= most or (seconds > SLOW and not compiles):
                break
        return seconds > most

    @staticmethod
    def _locked(it: Contestant) -> bool:
        """Ask a contestant's process whether the lock of its interpreter is on."""
        assert it.child is not None  # it runs
        return bool(it.child.ask(lock_is_on))

    @contextmanager
    def _rejecting(self, code: tuple[str, str], when: str = "") -> Iterator[None]:
        """Take the number of a kernel that is wrong or raises; the others go on."""
        try:
            yield
        except CertificateError as error:
            self._reject(code, "INVALID", f"{when}{error}")
        except Exception as error:  # a kernel may raise anything
            self._reject(code, "broken", f"{when}{_said(error)}")

    def _start(self, asked: Contestant) -> StartCosts | None:
        for it in self.contestants:  # the twin starts as the baseline does
            if it.code == asked.code and it.start is not None:
                return it.start
        return None

    def _start_costs(self, it: Contestant, imported: float) -> StartCosts | None:
        preset = self.workload.preset
        work = it.kernel, preset.dtype, preset.n_features, imported
        return start_costs(*work, sparse=preset.sparse, executable=it.executable)

    def _run_rounds(self, watch: Watcher) -> None:
        runners = [it for it in self.contestants if it.state == "valid"]
        rng = Random(self.seed)
        plan = list(latin_squares.rounds([it.every for it in runners], self.n_rounds, rng))
        total = sum(map(len, plan))
        done, begun = 0, perf_counter()
        with collecting_between_rounds() as collect:
            for r, names in enumerate(plan):
                collect()
                self.orders.append([])
                for i in names:
                    it = runners[i]
                    spent = perf_counter() - begun
                    left = spent / done * (total - done) if done else 0.0
                    watch(Progress("round", it.name, done, total, left))
                    done += 1
                    if it.state == "valid":
                        self.orders[-1].append(it.name)
                        self._run_one(it, r)
        for it in runners:
            if it.state == "valid":
                with self._rejecting(it.code, "after the rounds: "):
                    if self._locked(it) != it.lock:
                        raise CertificateError("the interpreter's lock was turned on during them")
                    self._confirm_threads(it)

    def _confirm_threads(self, it: Contestant) -> None:
        """Hold the processor's seconds against those of the clock: pools may hide from others."""
        assert it.child is not None  # it ran
        seconds, it.cores = it.child.checked(_two, it.child.ask(cores_used))
        if seconds > LONG_ENOUGH and it.cores > MOST_CORES * self.n_threads:
            raise CertificateError(
                f"its fits kept {it.cores:.1f} cores busy, and they were to use "
                f"{plural(self.n_threads, 'thread')}"
            )

    def _run_one(self, it: Contestant, r: int) -> None:
        assert it.trial is not None  # it is valid
        with self._rejecting(it.code, f"round {r + 1}: "):
            result, seconds, trip = it.trial.fit(self._exponents[r], **self.arguments(it.kernel))
            it.seconds.append(seconds)
            it.trips.append(trip)
            it.rounds.append(r)
            for phase, spent in result.seconds.items():
                it.phases[phase].append(spent)

    def _settle(self) -> None:
        """Use this process's clock for a child whose own clock does not agree with it."""
        found = settle(
            [it.seconds for it in self.contestants], [it.trips for it in self.contestants]
        )
        for it, seconds in zip(self.contestants, found, strict=True):
            if seconds != it.seconds:
                it.replace_seconds(seconds)

    def _reject(self, code: tuple[str, str], state: State, why: str) -> None:
        """Take a kernel's number away, and its twin's; other interpreters keep theirs."""
        for it in self.contestants:
            if it.code == code:
                it.reject(state, why)

    def find(self, name: str) -> Contestant:
        """Return a contestant by name."""
        return next(it for it in self.contestants if it.name == name)

    def ratio_of(self, name: str) -> Interval | None:
        """Return the ratio of a contestant's times to the baseline's; None without a number.

        The intervals of all contestants hold together with ``confidence``.
        """
        confidence = corrected(self.confidence, self.n_comparisons)
        return self.find(name).ratio_to(self.find(self.baseline), confidence)

    @property
    def n_comparisons(self) -> int:
        """The number of intervals that have to hold together."""
        return max(1, sum(it.state == "valid" for it in self.contestants) - 1)

    @property
    def floor(self) -> float | None:
        """The smallest factor that this run resolves, from the baseline's twin."""
        twin = self.ratio_of(self.baseline + TWIN)
        return None if twin is None else floor_of(twin)

    @property
    def drift(self) -> float | None:
        """How much longer the calibration loop took at the end."""
        if not self.opening or not self.closing:
            return None
        return median(self.closing) / median(self.opening)

    @property
    def void(self) -> str:
        """The reason why no number of this run counts, or an empty string."""
        drift, most = self.drift, self.most_drift
        if drift is None or 1 / most <= drift <= most:
            return ""
        return (
            f"the calibration loop took {drift:.2f} times as long at the end as at the beginning, "
            f"and beyond {most:g} the machine was not the same; run again when it is quiet"
        )


def _two(answer: Any) -> tuple[float, float]:
    first, second = map(float, answer)
    return first, second


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ChildError) else f"{type(error).__name__}: {error}"


def _forget(it: Contestant) -> None:
    it.child = it.trial = None
