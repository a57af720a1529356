"""The commands ``kmeans-lab bench`` and ``report``, and helpers for those about one kernel."""

import argparse
import json
from pathlib import Path
from typing import Any

from kmeans_lab.cli.inputs import counts_of, load, preset_for, resolve
from kmeans_lab.cli.terminal import emit, progress_on_stderr, show, tell
from kmeans_lab.formatting import make_table
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import plan_output
from kmeans_lab.io.paths import known_suffix
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.registry import KERNELS, installed


class Uncertified(Exception):
    """Raised after a run was printed if a result has no certificate or the run does not count."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab bench``."""
    add = parser.add_argument
    add("--preset", metavar="P", action="append", help="a workload; repeatable (standard)")
    add("--kernel", metavar="K", action="append", help="a name, file or module; repeatable (all)")
    add("--threads", metavar="1,2", default="1", help="thread counts, each a table (1)")
    add(
        "--python",
        metavar="PATH",
        action="append",
        default=[],
        help="another interpreter with this kmeans_lab, where each kernel runs as well, in the "
        "same rounds: 'cpp @3.13t' is cpp in a free-threaded Python 3.13; repeatable",
    )
    add("--baseline", metavar="K", default="cpp", help="the kernel that ratios refer to (cpp)")
    add("--rounds", metavar="N", type=int, help="rounds (24); at least 9 to compare all kernels")
    add("--seed", metavar="N", type=int, default=0, help="seed of the order of rounds (0)")
    add("-o", "--output", metavar="FILE", type=Path, help="also write the JSON here")
    add("--force", action="store_true", help="replace an output that exists")
    add("--compare", metavar="OLD.json", type=Path, help="compare with an older run")


def run(arguments: argparse.Namespace) -> None:
    """Run the benchmark; raise ``Uncertified`` if a number is missing."""
    from kmeans_lab.measure import machine, record, tables
    from kmeans_lab.measure.rounds import ROUNDS, PairedRun

    if not arguments.json:
        make_table()  # a missing extra is better reported before the run
    kernels, threads = _kernels(arguments), counts_of(arguments.threads)
    names = arguments.preset or ["standard"]
    presets = {name: preset_for(arguments.baseline, name) for name in names}
    n_rounds = ROUNDS if arguments.rounds is None else arguments.rounds
    if n_rounds < 1:
        raise Refused(f"--rounds {n_rounds} must be at least 1")
    interpreters = _interpreters(arguments.python)
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
                plan = kernels, arguments.baseline, n_threads, n_rounds, arguments.seed
                one = PairedRun(workload, name, *plan, interpreters=interpreters)
                with progress_on_stderr() as watch:
                    one.run(watch)
                runs.append(one)
                if not arguments.json:
                    show(*tables.of_run(record.run_dict(one)), "")
                if one.partial:
                    break
            if runs[-1].partial:
                break
        card = machine.card()
    data = record.to_dict(runs, card)
    if not arguments.json:
        show(*machine.lines(card), *machine.interpreter_lines(data["interpreters"]))
    else:
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
    add("--overhead", metavar="O.json", type=Path, help="what overhead --output wrote")
    add("-o", "--output", metavar="FILE", type=Path, required=True, help="the page to write: .html")
    add("--force", action="store_true", help="replace a page that exists")


def report(arguments: argparse.Namespace) -> None:
    """Write a run as one HTML page."""
    from kmeans_lab.choosing import record as costs
    from kmeans_lab.measure import record
    from kmeans_lab.pages import bench

    known_suffix(arguments.output, (".html",), "name it so")
    beside = [arguments.overhead] if arguments.overhead else []
    sources = [arguments.record, *arguments.scaling, *beside]
    output = plan_output([arguments.output], sources, arguments.force)
    data = record.read(arguments.record)
    scalings = [record.read_scaling(path) for path in arguments.scaling]
    overheads = [costs.read(path) for path in beside]
    for path, other in zip(sources[1:], [*scalings, *overheads], strict=True):
        whose = f"in {arguments.record}"
        record.hold_to_machine(str(path), other["machine"], data["machine"], whose)
    content = bench.page(data, scalings, *overheads).encode()
    output.write([content])
    told = {"page": str(arguments.output), "bytes": len(content)}
    emit(json.dumps(told) + "\n" if arguments.json else f"{told['page']}\n")


def _interpreters(executables: list[str]) -> list[Any]:
    from kmeans_lab.isolation.interpreters import find_interpreters

    try:
        return find_interpreters(executables)
    except Refused as error:
        raise Refused(f"--python {error}") from None


def _kernels(arguments: argparse.Namespace) -> list[str]:
    # What cannot run here may run in another interpreter, and is a row with its reason here.
    elsewhere = KERNELS if arguments.python else ()
    asked = arguments.kernel and [
        name if name in elsewhere else resolve(name) for name in arguments.kernel
    ]
    try:
        arguments.baseline = resolve(arguments.baseline)
    except Refused as error:
        raise Refused(f"--baseline {arguments.baseline}: {error}; or name another") from error
    return asked or [*KERNELS, *installed()]


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
        f"{one.preset} is partial: it was interrupted and has what had been measured until then"
        for one in runs
        if one.partial
    ]
    if wrong:
        raise Uncertified("; ".join(dict.fromkeys(wrong)))
