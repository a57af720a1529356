"""Paired rounds of whole calls: in each, every contestant makes the same call once or in a row.

Each contestant is a library, a number of threads and an instruction set of ours, in a process of
its own. Ours runs under two names (A/A) where it is short: their ratio is what the run resolves.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, sleep

import numpy as np

from bench.peers.answers import Called, Hello, Prepared
from bench.peers.calls.estimate import count_of_rounds, seconds_of_call
from bench.peers.calls.judge import Judge, Rested, read, require
from bench.peers.calls.sides import alike
from bench.peers.calls.table import Call, Row
from bench.peers.disturbance import Disturbance
from bench.peers.process import Process, Refused
from bench.peers.rounds import CORES_WITHIN, PAUSE, TURN, check_threads
from kmeans_lab import kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.measure import latin_squares
from kmeans_lab.measure.statistics import Interval, floor_of, ratio

#: Calls in a turn, at most.
MOST_REPEATS = 25
#: Seeds of a row whose fits may rest early, which leaves them out.
MOST_RESTED = 20
#: Calls of ours that take longer do not run under a second name.
TWIN_BELOW = 2.0
OTHER, TWIN = "scikit-learn", " again"


@dataclass(frozen=True)
class Contestant:
    """One call in one process; ``label`` names its times."""

    label: str
    call: Call
    process: Process
    isa: str  # of ours; "" for theirs


@dataclass
class Measured:
    """The times of one row, by round; without a certificate, the reason why there is no ratio."""

    row: Row
    isas: tuple[str, ...]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    order: list[list[str]] = field(default_factory=list)
    certificate: str = ""
    reason: str = ""
    others: float | None = None  # cores that other programs kept busy

    def base(self, isa: str) -> str:
        """Return the label of what ours is compared with."""
        return f"{isa} unweighted" if self.row.at_most else OTHER

    def ratio(self, isa: str) -> Interval | None:
        """Return the ratio that the target is about; None where there is none."""
        ours, base = self.seconds.get(isa), self.seconds.get(self.base(isa))
        if self.reason or not ours or not base:
            return None
        return ratio(ours, base) if self.row.at_most else ratio(base, ours)

    def floor(self) -> float | None:
        """Return the smallest factor that the row resolves; None where ours ran once."""
        twin = self.seconds.get(self.isas[0] + TWIN)
        if self.reason or not twin:
            return None
        return floor_of(ratio(twin, self.seconds[self.isas[0]]))


class Crew:
    """The processes of a run, each started when a row first needs it."""

    def __init__(self, kernel: str, folder: Path, timeout: float) -> None:
        self.kernel, self.folder, self.timeout = kernel, folder, timeout
        self.versions: dict[str, str] = {}
        self.blas: set[str] = set()  # of the other library
        self._rows = 0
        self._stack = ExitStack()
        self._processes: dict[tuple[str, int, str], Process] = {}
        self._greeted: dict[Process, bool] = {}

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def new_folder(self) -> Path:
        """Return a place for the arrays of one row; a worker tells rows apart by it."""
        self._rows += 1
        return self.folder / f"row-{self._rows}"

    def start(self, rows: list[Row], isas: tuple[str, ...]) -> None:
        """Start side by side what the rows need."""
        for n_threads in sorted({row.n_threads for row in rows}):
            for isa in isas:
                self.process(self.kernel, n_threads, isa)
            self.process(OTHER, n_threads)

    def process(self, name: str, n_threads: int, isa: str = "") -> Process:
        """Return the process of a library, a number of threads and an instruction set."""
        key = name, n_threads, isa
        if key not in self._processes:
            process = Process(name, n_threads, self.folder, self.timeout, isa)
            self._processes[key] = self._stack.enter_context(process)
            process.send("hello")  # it imports its library while others do
            self._greeted[process] = False
        return self._processes[key]

    def prepare(self, it: Contestant, row: Row, folder: Path, patience: float) -> None:
        """Let a contestant read the row's data, and prove its threads and instruction set."""
        it.process.timeout = max(self.timeout, patience)
        if not self._greeted[it.process]:
            self._greeted[it.process] = True
            hello: Hello = it.process.answer()
            self.versions[it.process.name] = hello["version"]
        ready: Prepared = it.process.ask(
            "prepare", call=it.call, folder=str(folder), n_iter=row.cell.max_iter
        )
        check_threads(None, ready["pools"], row.n_threads)
        require(ready["isa"] == it.isa, f"{ready['isa']} ran in place of {it.isa}")
        if it.process.name == OTHER:
            self.blas |= {pool["blas"] for pool in ready["pools"] if pool["blas"]}


class Measurement:
    """One row, from its data to its ratios."""

    def __init__(self, row: Row, isas: tuple[str, ...], crew: Crew, *, quick: bool) -> None:
        self.measured, self.row, self.crew, self.quick = Measured(row, isas), row, crew, quick
        self.folder = crew.new_folder()
        self.ours: list[Contestant] = []
        self.base: list[Contestant] = []
        self.last: dict[str, float] = {}  # seconds of each contestant's latest call
        self.seed = 0
        self.lenient = (inf,) if quick else ()  # a few hundred rows end anywhere

    def run(self, rounds: int, seed: int) -> Measured:
        """Measure; a refusal becomes the row's reason."""
        found = self.measured
        with hand_over(self.row, self.folder) as given:
            judge = Judge(self.row, given)
            try:
                self._open()
                for it in dict.fromkeys((*self.ours, *self.base, self.theirs)):
                    self._call(it, 1)  # off the clock
                if not self.row.draws:
                    found.certificate = self._certify(judge)
                everyone = self._everyone()
                watch = Disturbance({it.process.pid for it in everyone})
                count = self._count(rounds)
                for order in latin_squares.rounds([1] * len(everyone), count, Random(seed)):
                    self._round([everyone[i] for i in order], judge)
                found.others = watch.cores()
                found.certificate = found.certificate or judge.close(*self.lenient)
            except Refused as refused:
                found.reason, found.certificate = str(refused), ""
        return found

    def _open(self) -> None:
        row, crew = self.row, self.crew
        crew.start([row], self.measured.isas)
        theirs = Contestant(OTHER, row.call, crew.process(OTHER, row.n_threads), "")
        for isa in self.measured.isas:
            process = crew.process(crew.kernel, row.n_threads, isa)
            self.ours.append(Contestant(isa, row.call, process, isa))
            if row.at_most:
                self.base.append(Contestant(self.measured.base(isa), "fit", process, isa))
        self.base = self.base or [theirs]
        patience = 20 * seconds_of_call(row)
        for it in dict.fromkeys((*self.ours, *self.base, theirs)):
            crew.prepare(it, row, self.folder, patience)
        self.theirs = theirs

    def _certify(self, judge: Judge) -> str:
        """Judge the latest results; all instruction sets must have found the same."""
        first, *others = (read(self._save(it)) for it in self.ours)
        same = all(alike(it, first, exactly=True) for it in others)
        require(same, f"{' and '.join(self.measured.isas)} find different results")
        return judge.certify(first, read(self._save(self.theirs)))

    def _everyone(self) -> list[Contestant]:
        everyone = [*self.ours, *self.base]
        first = self.ours[0]
        if self.last[first.label] < TWIN_BELOW:
            twin = Contestant(first.label + TWIN, first.call, first.process, first.isa)
            self.last[twin.label] = self.last[first.label]
            everyone.append(twin)
        return everyone

    def _count(self, rounds: int) -> int:
        """Return how many rounds the row is worth: fewer of those that are long."""
        if self.quick:
            return 2
        turn = sum(max(TURN, seconds) for seconds in self.last.values())
        return count_of_rounds(self.row, turn, rounds)

    def _round(self, order: list[Contestant], judge: Judge) -> None:
        """Let each call; where a start is drawn, draw until no fit rests early."""
        while True:
            self.seed += self.row.draws
            turn = {it.label: self._turn(it) for it in order}
            try:
                if self.row.draws:
                    self._certify(judge)
                break
            except Rested:
                if judge.rested > MOST_RESTED:
                    raise
        for label, seconds in turn.items():
            self.measured.seconds.setdefault(label, []).append(seconds)
        self.measured.order.append(list(turn))

    def _turn(self, it: Contestant) -> float:
        if self.quick:
            return median(self._call(it, 1)["seconds"])
        sleep(PAUSE[self.row.n_threads > 1])
        repeats = int(np.clip(TURN / self.last[it.label], 1, MOST_REPEATS))
        return median(self._call(it, repeats)["seconds"])

    def _call(self, it: Contestant, repeats: int) -> Called:
        row, save = self.row, str(self._save(it))
        answer: Called = it.process.ask(
            "call", call=it.call, seed=self.seed, repeats=repeats, save=save
        )
        seconds, strayed, busy = answer["seconds"], answer["strayed"], answer["busy"]
        words = f"{it.label}: {strayed} of {repeats} calls ended elsewhere than before"
        require(not strayed, words)
        require(not answer["modified"], f"{it.label}: X was modified")
        # The clocks of processors tick every 10 ms.
        within = self.quick or sum(seconds) < TURN / 2 or busy <= CORES_WITHIN * row.n_threads
        words = f"{it.label} kept {busy:.1f} cores busy with {row.n_threads} allowed"
        require(within, words)
        self.last[it.label] = median(seconds)
        return answer

    def _save(self, it: Contestant) -> Path:
        return self.folder / f"{it.label.replace(' ', '-')}.npz"


@contextmanager
def hand_over(row: Row, folder: Path) -> Iterator[dict[str, Array]]:
    """Write the arrays of a row where the workers find them; remove them in the end."""
    X, start = (it.astype(row.dtype, copy=False) for it in row.cell.draw())
    given = {"X": X, "start": start}
    if row.call == "weighted":
        given["weights"] = np.random.default_rng(len(X)).uniform(0.5, 2.0, len(X))
    if row.call in ("predict", "score", "transform"):
        fitted = kmeans(X, len(start), kernel="cpp", init=start, max_iter=3, tol=0.0)
        given["centers"] = fitted.centers
    folder.mkdir()
    try:
        for name, array in given.items():
            np.save(folder / f"{name}.npy", array)
        yield given
    finally:
        shutil.rmtree(folder)


def measure(
    rows: list[Row], isas: tuple[str, ...], crew: Crew, rounds: int, seed: int, *,
    quick: bool = False, watch: Callable[[Measured, float], None] = lambda measured, seconds: None,
) -> Iterator[Measured]:  # fmt: skip
    """Yield each row as it is measured; the watcher is told how long it took."""
    crew.start(rows, isas)
    for row in rows:
        begun = perf_counter()
        found = Measurement(row, isas, crew, quick=quick).run(rounds, seed)
        watch(found, perf_counter() - begun)
        yield found
