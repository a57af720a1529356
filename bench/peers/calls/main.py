"""``python -m bench.peers --calls``: options in, tables out."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench.peers.calls.estimate import seconds_of_row
from bench.peers.calls.report import Report
from bench.peers.calls.run import Crew, Measured, measure
from bench.peers.calls.table import Row, choose, rows, tiny
from kmeans_lab.formatting import digits, duration, plural
from kmeans_lab.io.outputs import write_file
from kmeans_lab.kernel import Array
from kmeans_lab.presets import embeddings
from kmeans_lab.registry import load_kernel

#: Instruction sets that get a column each where the machine has them.
COLUMNS = ("avx2", "avx512")


def instruction_sets(kernel: str, wanted: str | None = None) -> tuple[str, ...]:
    """Return those that get a column: the wanted ones, or AVX2 and AVX-512 as far as they run.

    Raises ``ValueError`` where a wanted one is not known or does not run here.
    """
    module, kept = load_kernel(kernel), os.environ.get("KMEANS_LAB_ISA")
    choose_isa = getattr(module, "isa", None)
    if choose_isa is None:
        if wanted is not None:
            raise ValueError(f"--isa {wanted}: kernel {kernel!r} chooses none; leave --isa out")
        return ("",)
    found = []
    try:
        for isa in COLUMNS if wanted is None else wanted.split(","):
            os.environ["KMEANS_LAB_ISA"] = isa
            try:
                found.append(str(choose_isa()))
            except ValueError:
                if wanted is not None:
                    raise
        os.environ.pop("KMEANS_LAB_ISA")
        return tuple(dict.fromkeys(found)) or (str(choose_isa()),)
    finally:
        os.environ.pop("KMEANS_LAB_ISA", None)
        if kept is not None:
            os.environ["KMEANS_LAB_ISA"] = kept


def chosen_rows(options: argparse.Namespace) -> list[Row]:
    """Return the rows that the options ask for."""
    real: Array | None = None if options.data is None else embeddings(options.data)
    everything = rows(real)
    found = everything if options.rows is None else choose(options.rows, everything)
    return [tiny(row) for row in found] if options.quick else found


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure the rows and print the table; with Ctrl-C, those that are done."""
    kernel = options.kernel[0]
    isas = instruction_sets(kernel, options.isa)
    wanted = chosen_rows(options)
    told = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    if not options.quick:
        announce(wanted, len(isas), options, told)
    report, status = Report(isas, options.quick), 0
    with (
        tempfile.TemporaryDirectory(prefix="kmeans-lab-calls-") as temporary,
        Crew(kernel, Path(temporary), options.timeout) as crew,
    ):
        watch = Progress(wanted, len(isas), options, told)
        try:
            for found in measure(
                wanted, isas, crew, options.rounds, options.seed, quick=options.quick, watch=watch
            ):
                report.rows.append(found)
        except KeyboardInterrupt:
            told.print("interrupted: what was measured until then follows")
            status = 130
    if options.markdown:
        sys.stdout.write(report.markdown(crew))
    else:
        report.print(console, crew)
    if options.json:
        content = report.as_json(crew, options.rounds)
        write_file(options.json, json.dumps(content, indent=1) + "\n")
    return status


def announce(wanted: list[Row], n_isas: int, options: argparse.Namespace, told: Console) -> None:
    """Say what a run will take, before it begins."""
    guesses = [seconds_of_row(row, n_isas, options.rounds) for row in wanted]
    longest = max(range(len(wanted)), key=guesses.__getitem__)
    told.print(
        f"{plural(len(wanted), 'row')}, about {duration(sum(guesses))}; the longest, "
        f"{wanted[longest].name}, about {duration(guesses[longest])}"
    )
    if options.data is None and options.rows is None:
        told.print("rows with real embeddings are left out: --data FILE.npy names a file of them")


class Progress:
    """Tells each row as it is measured, and what is left."""

    def __init__(
        self, wanted: list[Row], n_isas: int, options: argparse.Namespace, told: Console
    ) -> None:
        self.told, self.quick, self.total, self.done = told, options.quick, len(wanted), 0
        self.left = [seconds_of_row(row, n_isas, options.rounds) for row in wanted]
        self.spent = self.guessed = 0.0

    def __call__(self, it: Measured, seconds: float) -> None:
        """Print a line; guesses are scaled by what the rows before took."""
        self.done += 1
        self.spent, self.guessed = self.spent + seconds, self.guessed + self.left.pop(0)
        if self.quick:
            return
        found = [it.ratio(isa) for isa in it.isas]
        words = ", ".join("–" if ratio is None else f"{digits(ratio.middle)} ×" for ratio in found)
        left = sum(self.left) * self.spent / self.guessed
        line = f"[{self.done}/{self.total}] {it.row.name}: {it.reason or words}"
        self.told.print(Text(f"{line}; {duration(left)} left" if self.left else line))
