"""The command ``kmeans-lab map``: measure which kernel wins where, draw it, ask it."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kmeans_lab.cli.bench import Uncertified
from kmeans_lab.cli.inputs import counts_of, resolve
from kmeans_lab.cli.terminal import emit, progress_on_stderr, show, tell
from kmeans_lab.formatting import make_table, plural
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import Output, plan_output
from kmeans_lab.io.paths import known_suffix
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.registry import AUTO, KERNELS, find_spec

_SUFFIXES = (".json", ".png", ".svg", ".html")
_DEFAULT = Path("map.json")
#: Options that say what is measured: a map that goes on has them in its file.
_FIXED = ("n", "d", "k", "threads", "dtype", "kernel", "seed", "rounds")
_MOST_SIZES, _MOST_CELLS = 64, 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab map``."""
    add = parser.add_argument
    add("map", metavar="MAP.json", nargs="?", type=Path, help="a map that was measured before")
    add("--minutes", metavar="M", type=float, help="time budget (10)")
    add("--n", metavar="1e3,1e4", help="rows (1e3,1e4,1e5)")
    add("--d", metavar="2,8", help="features (2,8,32)")
    add("--k", metavar="4,16", help="clusters (4,16,64,256)")
    add("--threads", metavar="1,2", help="thread counts, each a map of its own (1)")
    add("--dtype", metavar="T", help="float64 or float32 (float64)")
    add("--kernel", metavar="K", action="append", help="a name, file or module; repeatable (all)")
    add("--rounds", metavar="N", type=int, help="rounds of a cell (24)")
    add("--seed", metavar="N", type=int, help="seed of the order of rounds (0)")
    add(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="what to write: .json, .png, .svg or .html; repeatable (map.json)",
    )
    add("--force", action="store_true", help="replace outputs that exist")
    add("--resume", action="store_true", help="go on with measuring MAP.json")
    add(
        "--calibrate",
        action="store_true",
        help='let kernel="auto" choose by MAP.json on this machine, among kernels of the same bits',
    )
    add("--forget", action="store_true", help='let kernel="auto" choose as without a map')
    add("--ask", metavar="N,D,K", help="say which kernel is the fastest for this shape")


def run(arguments: argparse.Namespace) -> None:
    """Measure a map, or read one; print it, draw it, or answer from it."""
    if not arguments.json:
        make_table()  # a missing extra is better reported before the work
    if arguments.forget:
        return _forget(arguments)
    if arguments.calibrate and (arguments.map is None or arguments.resume):
        raise Refused("--calibrate needs a map that is measured; kmeans-lab map FILE --calibrate")
    if arguments.ask is not None and (arguments.map is None or arguments.resume):
        raise Refused("--ask needs a map that is measured; kmeans-lab map FILE --ask N,D,K")
    if arguments.resume and arguments.map is None:
        raise Refused("--resume needs the map that goes on; name its file: kmeans-lab map FILE")
    if arguments.map is None or arguments.resume:
        return _measure(arguments)
    return _read(arguments)


def _read(arguments: argparse.Namespace) -> None:
    from kmeans_lab.winners import record, words

    _refuse_fixed(arguments, "a map that is only read", ("minutes", *_FIXED))
    for path in arguments.output:
        known_suffix(path, _SUFFIXES[1:], "name it so")
    outputs = [plan_output([it], [arguments.map], arguments.force) for it in arguments.output]
    data = record.read(arguments.map)
    if arguments.calibrate:
        return _calibrate(arguments, data)
    if arguments.ask is not None:
        return _answer(arguments, data)
    _draw(outputs, data)
    if arguments.json:
        return emit(_dumps(data))
    return show(*words.of_map(data))


def _measure(arguments: argparse.Namespace) -> None:
    from kmeans_lab.winners import words
    from kmeans_lab.winners.survey import TIME_WAS_UP, Survey

    minutes = 10.0 if arguments.minutes is None else arguments.minutes
    if not 0 < minutes < 1e6:
        raise Refused(f"--minutes {minutes:g} must be more than 0; 10 measure about 30 cells")
    for path in arguments.output:
        known_suffix(path, _SUFFIXES, "name it so")
    with quiet_pools():
        data, kept, outputs = _prepare(arguments)
        survey = Survey(data)
        with progress_on_stderr() as draw:
            survey.run(
                60 * minutes,
                lambda data: kept.write([_dumps(data).encode()]),
                lambda cell, it: draw(_named(it, cell)),
            )
    if not data["cells"]:
        why = "; ".join(f"{words.shape(cell)}: {it}" for cell, it in survey.missing.items())
        raise Uncertified(f"no cell was measured{': ' * bool(why)}{why}")
    _draw(outputs, data)
    if arguments.json:
        emit(_dumps(data))
    else:
        told = {it: why for it, why in survey.missing.items() if TIME_WAS_UP not in why}
        show(*words.of_map(data, told), f"The map is in {kept.paths[0]}.")
    _tell_what_is_left(data, survey, kept.paths[0])


def _prepare(arguments: argparse.Namespace) -> tuple[Any, Output, list[Output]]:
    """Return the map that is measured, where it is kept, and the other outputs."""
    from kmeans_lab.measure import machine
    from kmeans_lab.winners import record

    named = [path for path in arguments.output if path.suffix.lower() == ".json"]
    drawn = [path for path in arguments.output if path not in named]
    if arguments.resume:
        _refuse_fixed(arguments, "a map that goes on", _FIXED)
        if named:
            raise Refused(f"--resume goes on in {arguments.map}; leave --output {named[0]} out")
        data = record.read(arguments.map)
        record.hold_to_here(arguments.map, data, machine.card())
        for name in data["kernels"]:
            resolve(name)
        kept = plan_output([arguments.map], [], force=True)
    else:
        if len(named) > 1:
            raise Refused(f"--output {named[1]} is a second .json; name one")
        path = named[0] if named else _DEFAULT
        try:
            kept = plan_output([path], [], arguments.force)
        except Refused as error:
            if path.is_file():
                raise Refused(f"{error}, or kmeans-lab map {path} --resume to go on") from None
            raise
        data = _new(arguments)
        kept = Output(kept.paths, force=True)  # it is written again after each cell
    outputs = [plan_output([path], [kept.paths[0]], arguments.force) for path in drawn]
    return data, kept, outputs


def _new(arguments: argparse.Namespace) -> Any:
    from kmeans_lab.measure import machine
    from kmeans_lab.measure.statistics import CONFIDENCE, corrected, rounds_needed
    from kmeans_lab.winners import record
    from kmeans_lab.winners.grid import SIZES, Grid
    from kmeans_lab.winners.survey import ROUNDS

    sizes = {axis: _sizes(arguments, axis) or SIZES[axis] for axis in SIZES}
    threads = tuple(sorted({*counts_of(arguments.threads or "1")}))
    dtype = arguments.dtype or "float64"
    if dtype not in ("float64", "float32"):
        raise Refused(f"--dtype {dtype} is not known; choose float64 or float32")
    grid = Grid(**sizes, threads=threads, dtype=dtype)
    n_cells = len(list(grid.cells()))
    if not n_cells:
        raise Refused("no cell has two rows for each cluster; give larger --n or smaller --k")
    if n_cells > _MOST_CELLS:
        raise Refused(f"the grid has {n_cells:,} cells, at most {_MOST_CELLS:,}; give fewer sizes")
    kernels = list(dict.fromkeys(resolve(name) for name in arguments.kernel or ())) or [
        name for name in KERNELS if state_of(name)[0] == "ready"
    ]
    n_rounds = ROUNDS if arguments.rounds is None else arguments.rounds
    needed = rounds_needed(corrected(CONFIDENCE, max(1, len(kernels) - 1)))
    if n_rounds < needed:
        compared = plural(len(kernels), "kernel")
        raise Refused(f"--rounds {n_rounds} must be at least {needed} to compare {compared}")
    order = [*AUTO, *(it for it in kernels if find_spec(it).threading != "gil"), *kernels]
    baseline = next(it for it in order if it in kernels)
    seed = arguments.seed or 0
    return record.start(grid, kernels, baseline, machine.card(), seed=seed, n_rounds=n_rounds)


def _sizes(arguments: argparse.Namespace, axis: str) -> tuple[int, ...] | None:
    """Return the sizes of a list like 1e3,1e4; None where there is none."""
    text = getattr(arguments, axis)
    if text is None:
        return None
    sizes = whole_numbers(text)
    if not sizes or len(sizes) > _MOST_SIZES:
        raise Refused(f"--{axis} {text} must be up to {_MOST_SIZES} whole numbers, like 1e3,1e4")
    return tuple(sorted({*sizes}))


def whole_numbers(text: str) -> list[int]:
    """Return the numbers of a list like 1000,1e4; none where one of them is no whole number ≥ 1."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    if not all(1 <= it < 1e12 and it == int(it) for it in values):
        return []
    return [int(it) for it in values]


def _refuse_fixed(arguments: argparse.Namespace, what: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise Refused(f"--{name} has no effect on {what}, which has its own; leave it out")


def _named(progress: Any, cell: Any) -> Any:
    shape = f"{cell.n:,} × {cell.d}, k = {cell.k}"
    return replace(progress, what=f"{shape}: {progress.what}")


def _draw(outputs: list[Output], data: Any) -> None:
    for it in outputs:
        kind = it.paths[0].suffix.lower().removeprefix(".")
        if kind == "html":
            from kmeans_lab.winners.page import page

            it.write([page(data).encode()])
        else:
            from kmeans_lab.winners.draw import draw

            it.write([draw(data, kind)])


def _calibrate(arguments: argparse.Namespace, data: Any) -> None:
    from kmeans_lab.measure import machine
    from kmeans_lab.winners import calibrate, record

    record.hold_to_here(arguments.map, data, machine.card())
    found = calibrate.calibrate(data)
    path = calibrate.store(found)
    if arguments.json:
        choices = [{**cell._asdict(), "kernel": name} for cell, name in found.choices.items()]
        told = {"file": str(path), "usual": found.usual, "choices": choices}
        return emit(json.dumps(told) + "\n")
    cells, changed = plural(len(found.choices), "cell"), found.changed
    if changed:
        others = ", ".join(dict.fromkeys(changed.values()))
        said = f"now {others} in {len(changed)} of {cells} and {found.usual} elsewhere"
    else:
        said = f"{found.usual} as before: no kernel of the same bits is faster in any of {cells}"
    return emit(f"kernel='auto' is {said}; {path} says so, and kmeans-lab map --forget ends it.\n")


def _forget(arguments: argparse.Namespace) -> None:
    from kmeans_lab.winners import calibrate

    if arguments.map is not None or arguments.calibrate or arguments.ask or arguments.resume:
        raise Refused("--forget stands alone; kmeans-lab map --forget")
    path = calibrate.forget()
    if arguments.json:
        return emit(json.dumps({"removed": path and str(path)}) + "\n")
    return emit(f"{path} is removed.\n" if path else "There was no calibration.\n")


def _answer(arguments: argparse.Namespace, data: Any) -> None:
    from kmeans_lab.winners import record, words
    from kmeans_lab.winners.grid import Cell
    from kmeans_lab.winners.verdict import judge

    asked = whole_numbers(arguments.ask)
    if len(asked) not in (3, 4):
        raise Refused(
            f"--ask {arguments.ask} must be rows, features and clusters, like 50000,16,64, and "
            "perhaps threads"
        )
    n, d, k, threads = [*asked, data["grid"]["threads"][0]][:4]
    found = words.nearest(data, Cell(n, d, k, threads))
    if found is None:
        raise Refused(
            f"the map has no verdict with {plural(threads, 'thread')}; measure cells with "
            f"--threads {threads}"
        )
    verdict = judge(found["run"])
    said = words.sentence(verdict, found["behind"])
    cell = record.cell_of(found)
    if arguments.json:
        told = asdict(verdict) | {"measured_at": cell._asdict(), "sentence": said}
        return emit(json.dumps(told) + "\n")
    return emit(f"{said}. Measured at the nearest cell: {words.shape(cell)}.\n")


def _tell_what_is_left(data: Any, survey: Any, path: Path) -> None:
    from kmeans_lab.winners import record, words

    if wrong := words.what_is_wrong(data):
        raise Uncertified(wrong)
    goes_on = f"kmeans-lab map {path} --resume goes on"
    if survey.interrupted:
        cells = plural(len(data["cells"]), "cell")
        raise Uncertified(f"interrupted: {path} keeps {cells}; {goes_on}")
    verdicts = record.verdicts_of(data)
    if blank := [it for it in record.grid_of(data).cells() if not _has_verdict(verdicts.get(it))]:
        have = "cell of the map has" if len(blank) == 1 else "cells of the map have"
        tell(f"{len(blank)} {have} no verdict yet; {goes_on}")


def _has_verdict(verdict: Any) -> bool:
    return verdict is not None and bool(verdict.leaders)


def _dumps(data: Any) -> str:
    from kmeans_lab.measure.record import dumps

    return dumps(data)
