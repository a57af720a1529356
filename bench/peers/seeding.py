"""Whole fits with seeding of their own, and seeding alone: not equal work, so judged by both.

Every library draws its own random numbers: a round gives each of them the same seed, and the table
shows the inertia beside the time, since a cheaper seeding that ends higher is not faster.
"""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import sleep
from typing import Literal

import numpy as np
from rich.console import Console
from rich.text import Text

from bench.peers.answers import Draw
from bench.peers.process import Process, Refused
from bench.peers.report import ours_is
from bench.peers.rounds import PAUSE
from kmeans_lab.formatting import digits, make_table

#: Draws in a turn, each from a seed of its own.
REPEATS = 5
LEGEND = (
    "kmeans(X, k) beside KMeans(k, n_init=1).fit(X), default tolerances, k-means++; greedy "
    f"k-means++ alone beside kmeans_plusplus. Each turn draws {REPEATS} starts from seeds of its "
    "own; medians of the ratios within a round, then their extremes; inertia: relative to ours."
)
#: What is drawn → the call per library; ours comes first.
CALLS = {
    "whole": {
        "ours": "kmeans",
        "scikit-learn": "KMeans.fit",
        "intelex": "KMeans.fit",
    },
    "seeding": {"ours": "greedy", "scikit-learn": "kmeans_plusplus"},
}


@dataclass
class Draws:
    """One call of one library: seconds, inertia and iterations by round, or the reason for none."""

    what: str
    peer: str
    call: str
    reason: str = ""
    turns: dict[int, Draw] = field(default_factory=dict)


class Seeding:
    """All draws of one preset and thread count."""

    def __init__(self, kernel: str, threads: int, folder: Path, timeout: float) -> None:
        self.kernel, self.threads, self.folder, self.timeout = kernel, threads, folder, timeout
        self.draws: list[Draws] = []

    def run(self, rounds: int, seed: int, dtype: str) -> None:
        """Measure all calls in interleaved rounds, after one round that warms up."""
        rng = np.random.default_rng(seed)
        with ExitStack() as stack:
            processes: dict[str, Process] = {}
            for what, calls in CALLS.items():
                for library, call in calls.items():
                    peer = self.kernel if library == "ours" else library
                    self.draws.append(Draws(what, peer, call))
                    if peer not in processes:
                        process = Process(peer, self.threads, self.folder, self.timeout)
                        processes[peer] = stack.enter_context(process)
            self._open(processes, dtype)
            for number in range(-1, rounds):
                for i in rng.permutation(len(self.draws)):
                    self._turn(self.draws[i], processes, dtype, number)
        for draw in self.draws:
            draw.turns.pop(-1, None)

    def _open(self, processes: dict[str, Process], dtype: str) -> None:
        reasons = defaultdict(str)
        for peer, process in processes.items():
            try:
                process.ask("hello")
                process.ask("load", folder=str(self.folder), dtype=dtype)
            except Refused as refused:
                reasons[peer] = str(refused)
        for draw in self.draws:
            draw.reason = reasons[draw.peer]

    def _turn(self, draw: Draws, processes: dict[str, Process], dtype: str, number: int) -> None:
        if draw.reason:
            return
        sleep(PAUSE[self.threads > 1])
        try:
            draw.turns[number] = processes[draw.peer].ask(
                "draw", dtype=dtype, what=draw.what, seed=number + 1, repeats=REPEATS
            )
        except Refused as refused:
            draw.reason = str(refused)
            draw.turns.clear()


def paired(draw: Draws, ours: Draws, key: Literal["seconds", "inertia"]) -> list[float]:
    """Return theirs / ours for the rounds in which both ran."""
    shared = sorted(draw.turns.keys() & ours.turns.keys())
    return [draw.turns[number][key] / ours.turns[number][key] for number in shared]


def print_draws(console: Console, title: str, draws: list[Draws]) -> None:
    """Print the table and the reasons below it."""
    right = ("ms", "ours is", "min–max", "iter", "inertia")
    headers = ("peer", "call", *right)
    table = make_table(*headers, right=right, whole=headers, title=title, padding=0)
    ours: dict[str, Draws] = {}
    for draw in draws:
        base = ours.setdefault(draw.what, draw)
        numbers = ["–"] * 5
        if draw.turns:
            verdict = ("1", "–") if draw is base else ours_is(paired(draw, base, "seconds"))
            counts = [turn["n_iter"] for turn in draw.turns.values()]
            passes = [it for it in counts if it is not None]
            inertia = "1" if draw is base else "–"
            if draw is not base and base.turns:
                inertia = f"{median(paired(draw, base, 'inertia')):.3f}"
            milliseconds = 1e3 * median(turn["seconds"] for turn in draw.turns.values())
            count = f"{median(passes):.0f}" if len(passes) == len(counts) else "–"
            numbers = [digits(milliseconds), *verdict, count, inertia]
        table.add_row(Text(draw.peer), Text(draw.call), *numbers)
    console.print(table)
    for reason in dict.fromkeys(f"{draw.peer}: {draw.reason}" for draw in draws if draw.reason):
        console.print(Text(f"  {reason}"), style="dim")
    console.print()
