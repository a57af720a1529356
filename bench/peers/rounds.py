"""Interleaved rounds: in each, every library runs once on the same input, in an order drawn anew.

One turn alternates fits of few and of many iterations; the difference of the shortest of each,
divided by the difference of the iterations, is that round's seconds per iteration. Whatever a
library does once per fit cancels. A ratio is taken within a round; the table shows the median of
the ratios, and a note says where a library's fits are often much longer than its shortest.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from statistics import fmean, median
from time import sleep

import numpy as np

from bench.peers.answers import Fit, Hello, Pool, Saved, Turn
from bench.peers.disturbance import Disturbance
from bench.peers.process import Process, Refused, Unequal
from bench.peers.referee import Referee
from kmeans_lab.formatting import duration

#: Seconds that a turn should last, and above which a library joins every m-th round only.
TURN, LONG_TURN = 0.1, 2.0
#: Repetitions of a turn, at least (where they are short) and at most.
MIN_REPEATS, MAX_REPEATS = 15, 25
#: Seconds between turns in which the thread pools of the last one stop spinning: one, more threads.
PAUSE = (0.005, 0.05)
#: A fit that takes this many times the usual shortest of its kind was held up.
HELD_UP = 2.0
#: Cores busy, beyond the threads allowed, that are still explained by the clocks.
CORES_WITHIN = 1.25


@dataclass
class Row:
    """One library with one dtype; without samples, the reason says why there is no number."""

    peer: str
    dtype: str
    threads: int
    reason: str = ""
    beside: str = ""  # what a fit that did other work took, and its inertia
    certificate: str = ""
    remark: str = ""
    version: str = ""
    few: int = 0
    many: int = 0
    pools: list[Pool] | None = None
    turns: dict[int, Turn] = field(default_factory=dict)

    def per_iteration(self) -> dict[int, float]:
        """Return the seconds per iteration of every round that resolved them."""
        span = self.many - self.few
        found = {
            number: (min(turn["many"]) - min(turn["few"])) / span
            for number, turn in self.turns.items()
        }
        return {number: seconds for number, seconds in found.items() if seconds > 0}

    def cores(self) -> float | None:
        """Return how many cores were busy while the clock ran."""
        wall = sum(turn["wall"] for turn in self.turns.values())
        spent = sum(turn["wall"] * turn["busy"] for turn in self.turns.values())
        return spent / wall if wall else None

    def held_up(self) -> float:
        """Return the share of timed fits that took more than twice the usual shortest."""
        slow = total = 0
        turns = self.turns.values()
        for fits in ([turn["few"] for turn in turns], [turn["many"] for turn in turns]):
            seconds = [value for fit in fits for value in fit]
            shortest = [min(fit) for fit in fits]
            limit = HELD_UP * median(shortest) if shortest else 0.0
            slow += sum(value > limit for value in seconds)
            total += len(seconds)
        return slow / total if total else 0.0

    def whole_fits(self) -> tuple[float, float, float]:
        """Return shortest, median and mean seconds of the long fits."""
        seconds = [value for turn in self.turns.values() for value in turn["many"]]
        return min(seconds), median(seconds), fmean(seconds)

    def refuse(self, reason: str) -> None:
        """Take every number away, and say why."""
        self.reason, self.certificate = reason, ""
        self.turns.clear()


def ratios(row: Row, ours: Row | None) -> list[float]:
    """Return peer / ours for the rounds in which both were measured."""
    if ours is None:
        return []
    theirs, base = row.per_iteration(), ours.per_iteration()
    return [theirs[number] / base[number] for number in sorted(theirs.keys() & base.keys())]


@dataclass
class _Runner:
    """A row with its process, and how its turns are cut."""

    row: Row
    process: Process
    save: str
    repeats: int = 1
    every: int = 1
    judge: Callable[[Saved], str] | None = None


class Comparison:
    """All rows of one preset and thread count.

    Parameters
    ----------
    names : sequence of (label, name)
        Rows' labels and what the worker opens.
    referee : Referee
        Judges the results, and holds the data.
    dtypes : tuple of str
        Wanted dtypes; a library that has none of them is a row with that reason.
    counts : (int, int)
        Iterations of the short and of the long fit.
    """

    def __init__(
        self, names: list[tuple[str, str]], referee: Referee, dtypes: tuple[str, ...],
        counts: tuple[int, int], threads: int, folder: Path, timeout: float = 60.0,
    ) -> None:  # fmt: skip
        self.names, self.referee, self.dtypes, self.counts = names, referee, dtypes, counts
        self.threads, self.folder, self.timeout = threads, folder, timeout
        self.rows: list[Row] = []
        self.order: list[list[str]] = []
        self.others: float | None = None  # cores that other programs kept busy

    def run(self, rounds: int, seed: int) -> None:
        """Open, certify, measure, certify again, close."""
        with ExitStack() as stack:
            runners = []
            for label, name in self.names:
                process = Process(name, self.threads, self.folder, self.timeout)
                runners += self._open(label, stack.enter_context(process))
            rng = np.random.default_rng(seed)
            disturbance = Disturbance({runner.process.pid for runner in runners})
            for number in range(rounds):
                self._round(number, [runners[i] for i in rng.permutation(len(runners))])
            self.others = disturbance.cores()
            for runner in runners:
                self._close(runner)

    def _open(self, label: str, process: Process) -> list[_Runner]:
        """Certify a library for each dtype that it has; return those that may be timed."""
        try:
            hello: Hello = process.ask("hello")
        except Refused as refused:
            self.rows.append(Row(label, "", self.threads, reason=str(refused)))
            return []
        if self.referee.sparse and not hello["sparse"]:
            reason = "left out: it takes no sparse rows"
            self.rows.append(Row(label, "", self.threads, reason=reason))
            return []
        wanted = [dtype for dtype in self.dtypes if dtype in hello["dtypes"]]
        if not wanted:
            reason = f"no number: it computes in {', '.join(hello['dtypes'])} only"
            self.rows.append(Row(label, "", self.threads, reason=reason))
        runners = []
        for dtype in wanted:
            row = Row(label, dtype, self.threads, remark=hello["remark"], version=hello["version"])
            row.few, row.many = self.counts
            self.rows.append(row)
            runner = _Runner(row, process, f"{len(self.rows)}-{self.threads}")
            try:
                self._certify(runner, hello)
            except Refused as refused:
                row.refuse(str(refused))
            else:
                runners.append(runner)
        return runners

    def _certify(self, runner: _Runner, hello: Hello) -> None:
        row, ask = runner.row, runner.process.ask
        check_threads(hello["threads_set"], hello["pools"], self.threads)
        ask("load", folder=str(self.folder), dtype=row.dtype)
        short = f"{runner.save}-few"
        ask("fit", dtype=row.dtype, n_iter=row.few, save=short)  # also compiles and warms up
        while True:
            answer: Fit = ask("fit", dtype=row.dtype, n_iter=row.many, save=runner.save)
            row.pools = answer["pools"]
            check_threads(None, answer["pools"], self.threads)
            try:
                row.certificate = self._judge(runner, hello, answer)
            except Unequal:
                excess = self.referee.excess(runner.save, row.dtype, row.many)
                row.beside = (
                    f"asked for {row.many} iterations, it takes {duration(answer['seconds'])}; its "
                    f"inertia is {excess:+.2%} relative to ours after as many"
                )
                raise
            except Refused as refused:
                # A start of its own may rest earlier than ours: fewer iterations, cut the same way.
                fewer = row.many - max(1, row.many // 8)
                if "rests after" not in str(refused) or fewer <= row.few:
                    raise
                row.many = fewer
            else:
                break
        turn = answer["seconds"] * (1 + row.few / row.many)
        if turn < 5 * LONG_TURN:  # the first fit of a kind may have been held up: the best of three
            again = [ask("fit", dtype=row.dtype, n_iter=row.many, save=runner.save) for _ in "12"]
            turn = min(turn, *(fit["seconds"] * (1 + row.few / row.many) for fit in again))
        at_least = MIN_REPEATS if turn * MIN_REPEATS < 5 * TURN else 1
        runner.repeats = int(np.clip(TURN / turn, at_least, MAX_REPEATS))
        runner.every = max(1, ceil(turn / LONG_TURN))
        runner.judge = lambda answer: self._judge(runner, hello, answer)

    def _judge(self, runner: _Runner, hello: Hello, answer: Saved) -> str:
        row = runner.row
        if not hello["own_start"]:
            return self.referee.judge(answer, runner.save, row.dtype, row.many)
        saves = (f"{runner.save}-few", runner.save)
        return self.referee.judge_own_start(
            answer, saves, row.dtype, row.few, row.many, hello["exact"]
        )

    def _round(self, number: int, runners: list[_Runner]) -> None:
        ran = []
        for runner in runners:
            row = runner.row
            if row.reason or number % runner.every:
                continue
            sleep(PAUSE[self.threads > 1])
            try:
                answer: Turn = runner.process.ask(
                    "turn", dtype=row.dtype, few=row.few, many=row.many, repeats=runner.repeats,
                    save=runner.save,
                )  # fmt: skip
                _check_counts(answer["counts"])
                _check_strayed(answer["strayed"], 2 * runner.repeats)
            except Refused as refused:
                row.refuse(str(refused))
                continue
            row.turns[number] = answer
            ran.append(f"{row.peer} {row.dtype}")
        self.order.append(ran)

    def _close(self, runner: _Runner) -> None:
        """Judge the last timed result; void the row if the cores or the clock do not add up."""
        row = runner.row
        if row.reason:
            return
        try:
            assert runner.judge is not None  # set when it was certified
            runner.judge(row.turns[max(row.turns)])
        except Refused as refused:
            row.refuse(f"{refused} (timed)")
            return
        cores = row.cores()
        if cores is not None and cores > CORES_WITHIN * self.threads:
            row.refuse(f"no number: kept {cores:.1f} cores busy with {self.threads} allowed")
        elif 2 * len(row.per_iteration()) <= len(row.turns):
            row.refuse("no number: its short and its long fits do not differ reliably")


def check_threads(setting: int | None, pools: list[Pool], threads: int) -> None:
    found = [pool["threads"] for pool in pools] + ([] if setting is None else [setting])
    if any(number != threads for number in found):
        raise Refused(f"no number: thread pools of {found} in place of {threads}")


def _check_strayed(strayed: int, fits: int) -> None:
    if strayed:
        raise Refused(f"no number: {strayed} of {fits} fits ended elsewhere than before (timed)")


def _check_counts(counts: list[tuple[int, int | None]]) -> None:
    for asked, done in counts:
        if done not in (None, asked):
            raise Refused(f"no number: {done} iterations in place of {asked} (timed)")
