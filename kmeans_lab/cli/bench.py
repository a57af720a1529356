"""``kmeans-lab bench``, and what it shares with the commands that look at one kernel."""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmeans_lab.cli.kernel_arguments import resolve
from kmeans_lab.cli.terminal import emit, make_table, seen_by_a_person, show, tell
from kmeans_lab.crews.cores import refuse_too_many
from kmeans_lab.errors import Refused
from kmeans_lab.io.outputs import plan_output
from kmeans_lab.io.paths import known_suffix
from kmeans_lab.registry import KERNELS, installed


class Uncertified(Exception):
    """The run is over and printed, and something in it has no certificate or does not count."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab bench``."""
    add = parser.add_argument
    add("--preset", metavar="P", action="append", help="a workload; repeatable (standard)")
    add("--kernel", metavar="K", action="append", help="a name, file or module; repeatable (all)")
    add("--threads", metavar="1,2", default="1", help="thread counts, each a table (1)")
    add("--baseline", metavar="K", default="cpp", help="what ratios refer to (cpp)")
    add("--rounds", metavar="N", type=int, help="rounds (24); 9 at least for sure ratios of all")
    add("--seed", metavar="N", type=int, default=0, help="draws the order of the rounds (0)")
    add("-o", "--output", metavar="FILE", type=Path, help="also write the JSON here")
    add("--force", action="store_true", help="replace an output that exists")
    add("--compare", metavar="OLD.json", type=Path, help="judge against an older run")


def run(arguments: argparse.Namespace) -> None:
    """Run the benchmark; ``Uncertified`` when a number is missing that should be there."""
    from kmeans_lab.measure import machine, record, tables
    from kmeans_lab.measure.rounds import ROUNDS, PairedRun

    if not arguments.json:
        make_table()  # a missing extra is better reported before the run
    kernels, threads = _kernels(arguments), counts_of(arguments.threads)
    presets = presets_of(arguments.preset or ["standard"])
    n_rounds = ROUNDS if arguments.rounds is None else arguments.rounds
    if n_rounds < 1:
        raise Refused(f"--rounds {n_rounds} must be at least 1")
    output = arguments.output and plan_output(
        [arguments.output], [arguments.compare] if arguments.compare else [], arguments.force
    )
    old = arguments.compare and record.read(arguments.compare)
    if old:
        record.hold_to_machine(str(arguments.compare), old["machine"], machine.card())
    workloads = {name: load(preset) for name, preset in presets.items()}
    runs: list[PairedRun] = []
    with quiet_pools():
        for name, workload in workloads.items():
            for n_threads in threads:
                one = PairedRun(
                    workload, name, kernels, arguments.baseline, n_threads, n_rounds, arguments.seed
                )
                with progress_on_stderr() as watch:
                    one.run(watch)
                runs.append(one)
                if not arguments.json:
                    show(*tables.tables(record.run_dict(one)), "")
                if one.partial:
                    break
            if runs[-1].partial:
                break
        card = machine.card()
        if not arguments.json:
            show(*machine.lines(card))
    data = record.to_dict(runs, card)
    if arguments.json:
        emit(record.dumps(data))
    if output:
        output.write([record.dumps(data).encode()])
    if old and not any(one.void for one in runs):
        try:
            _show_changes(record.compare(old, data), arguments.json)
        except Refused:
            _raise_what_is_wrong(runs)  # which says more
            raise
    _raise_what_is_wrong(runs)


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab report``."""
    add = parser.add_argument
    add("record", metavar="RUN.json", type=Path, help="what bench --output wrote")
    add(
        "--scaling",
        metavar="S.json",
        type=Path,
        action="append",
        default=[],
        help="what scaling --json printed; repeatable",
    )
    add("-o", "--output", metavar="FILE", type=Path, required=True, help="the page to write: .html")
    add("--force", action="store_true", help="replace a page that exists")


def report(arguments: argparse.Namespace) -> None:
    """Write a run as one HTML page."""
    from kmeans_lab.measure import record
    from kmeans_lab.pages import bench

    known_suffix(arguments.output, (".html",), "name it so")
    sources = [arguments.record, *arguments.scaling]
    output = plan_output([arguments.output], sources, arguments.force)
    data = record.read(arguments.record)
    scalings = [record.read_scaling(path) for path in arguments.scaling]
    for path, scaling in zip(arguments.scaling, scalings, strict=True):
        whose = f"in {arguments.record}"
        record.hold_to_machine(str(path), scaling["machine"], data["machine"], whose)
    content = bench.page(data, scalings).encode()
    output.write([content])
    told = {"page": str(arguments.output), "bytes": len(content)}
    emit(json.dumps(told) + "\n" if arguments.json else f"{told['page']}\n")


def _kernels(arguments: argparse.Namespace) -> list[str]:
    asked = arguments.kernel and [resolve(name) for name in arguments.kernel]
    try:
        arguments.baseline = resolve(arguments.baseline)
    except Refused as error:
        raise Refused(f"--baseline {arguments.baseline}: {error}; or name another") from error
    return asked or [*KERNELS, *installed()]


def counts_of(text: str, option: str = "--threads") -> list[int]:
    """Return the counts of a list like 1,2."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise Refused(f"{option} {text} must be counts of at least 1, like 1,2")
    try:
        refuse_too_many(f"{option} {text}", max(counts))
    except ValueError as error:
        raise Refused(str(error)) from None
    return counts


def presets_of(names: list[str]) -> dict[str, Any]:
    """Return presets by name; refuse one that is not known."""
    from kmeans_lab.presets import find_preset

    try:
        return {name: find_preset(name) for name in names}
    except ValueError as error:
        raise Refused(str(error)) from None


def load(preset: Any) -> Any:
    """Return a preset's data; ``Refused`` where a package that it needs is not there."""
    try:
        return preset.load()
    except ModuleNotFoundError as error:
        raise Refused(str(error)) from None


@contextmanager
def quiet_pools() -> Iterator[None]:
    """Hold the pools of all libraries at one thread, and make sure of it."""
    from threadpoolctl import threadpool_limits

    from kmeans_lab.measure import machine
    from kmeans_lab.measure.timed import POOLS

    before = {name: os.environ.get(name) for name in POOLS}
    os.environ.update(dict.fromkeys(POOLS, "1"))  # for those that are loaded later
    try:
        with threadpool_limits(1):
            yield
            busy = [pool for pool in machine.pools() if pool["num_threads"] != 1]
            if busy:
                raise RuntimeError(f"a thread pool did not stay at one thread: {busy}")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def progress_on_stderr() -> Iterator[Any]:
    """Yield a watcher that draws on stderr, or does nothing where nobody would see it."""
    if not seen_by_a_person():
        yield lambda progress: None
        return
    from rich import console, progress

    bar = progress.Progress(
        "{task.fields[what]} {task.fields[name]}",
        progress.BarColumn(bar_width=20),
        "{task.completed}/{task.total} fits, {task.fields[left]:.0f} s left",
        console=console.Console(stderr=True),
        transient=True,
        auto_refresh=False,  # nothing draws while a kernel is timed
    )
    task = bar.add_task("", total=1, what="", name="", left=0.0)

    def draw(it: Any) -> None:
        bar.update(
            task, completed=it.done, total=it.total, what=it.what, name=it.name, left=it.left
        )
        bar.refresh()

    bar.start()
    try:
        yield draw
    finally:
        bar.stop()


def _show_changes(changes: list[tuple[str, str, str, str]], as_json: bool) -> None:
    if as_json:
        for change in changes:
            tell(" ".join(change), who="")
        return
    table = make_table("against the older run", "kernel", "new / old", "verdict")
    for change in changes:
        table.add_row(*change)
    show(table)


def _raise_what_is_wrong(runs: list[Any]) -> None:
    wrong = [
        f"{it.name} is {it.state} ({it.why})"
        for one in runs
        for it in one.contestants
        if it.state in ("INVALID", "broken")
    ]
    wrong += [f"void: {one.void}" for one in runs if one.void]
    wrong += [
        f"{one.preset} is partial: it was interrupted and has what was measured until then"
        for one in runs
        if one.partial
    ]
    if wrong:
        raise Uncertified("; ".join(dict.fromkeys(wrong)))
