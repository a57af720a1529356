"""A map in words: what a cell says, in a few characters and in a sentence, and the whole table."""

from collections.abc import Mapping, Sequence
from typing import Any

from kmeans_lab.formatting import digits, duration, make_table, milliseconds, plural
from kmeans_lab.winners.grid import Cell
from kmeans_lab.winners.record import CellRecord, MapRecord, cell_of, grid_of, verdicts_of
from kmeans_lab.winners.survey import BEHIND
from kmeans_lab.winners.verdict import Verdict, judge

NOT_MEASURED = "not measured"
_SHOWN = 3  # kernels in a cell


def by_how_much(verdict: Verdict, behind: list[str]) -> str:
    """Return a cell's label: 2.30 ×, "> 10 ×" where all others were left behind, or ≈."""
    if verdict.kind == "won" and verdict.times is not None:
        return f"{digits(verdict.times.middle)} ×"
    if verdict.kind == "alone":
        return f"> {BEHIND:g} ×" if behind else "alone"
    return {"not resolved": "≈", "void": "void"}.get(verdict.kind, "–")


def shown_of(leaders: Sequence[str]) -> list[str]:
    """Return as many names as a cell has room for, and how many more there are."""
    if len(leaders) <= _SHOWN:
        return list(leaders)
    return [*leaders[: _SHOWN - 1], f"{len(leaders) - _SHOWN + 1} more"]


def bounds(verdict: Verdict) -> str:
    """Return the interval of a verdict's ratio, or nothing."""
    if verdict.times is None:
        return ""
    return f"{digits(verdict.times.low)}–{digits(verdict.times.high)}"


def who(verdict: Verdict) -> str:
    """Return the winner's name, or the names of all that may be the fastest."""
    if verdict.kind == "void":
        return "void"
    return ", ".join(verdict.leaders) or "no certified number"


def sentence(verdict: Verdict, behind: list[str]) -> str:
    """Return a verdict as a sentence without its shape."""
    ms = "" if verdict.seconds is None else f"{milliseconds(verdict.seconds)} ms a fit"
    if verdict.kind == "won":
        return (
            f"{verdict.leaders[0]} is the fastest, {ms}: {by_how_much(verdict, behind)} faster "
            f"than {verdict.runner_up}, the next ({bounds(verdict)})"
        )
    if verdict.kind == "alone":
        rest = f"every other kernel that was tried takes more than {BEHIND:g} times as long"
        return f"{verdict.leaders[0]} is the fastest, {ms}" + (f": {rest}" if behind else "")
    if verdict.kind == "not resolved":
        return f"not resolved between {_listed(verdict.leaders)}, {ms}"
    if verdict.kind == "void":
        return "void: the machine changed its speed meanwhile"
    return "no kernel has a certified number"


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def shape(cell: Cell) -> str:
    """Return a cell's shape and threads in words."""
    threads = plural(cell.threads, "thread")
    return f"{cell.n:,} × {cell.d:,}, k = {cell.k:,}, {threads}"


def of_map(data: MapRecord, missing: Mapping[Cell, str] | None = None) -> list[Any]:
    """Return a map as tables and lines, one table for each thread count."""
    grid = grid_of(data)
    found = {cell_of(it): it for it in data["cells"]}
    verdicts = verdicts_of(data)
    right = ("n", "d", "k", "by", "ms")
    parts: list[Any] = []
    for threads in grid.threads:
        title = f"fastest kernel, {grid.dtype}, {plural(threads, 'thread')}"
        headers = ("n", "d", "k", "fastest", "by", "interval", "next", "ms")
        table = make_table(*headers, right=right, whole=right, title=title)
        for cell in sorted(grid.cells(), key=lambda it: (it.d, it.n, it.k)):
            if cell.threads == threads:
                sizes = f"{cell.n:,}", f"{cell.d:,}", f"{cell.k:,}"
                told = found.get(cell)
                cells = _row(verdicts[cell], told) if told else (NOT_MEASURED, *[""] * 4)
                table.add_row(*sizes, *cells, style=None if told else "dim")
        parts += [table, ""]
    return [*parts, *lines_below(data, missing)]


def _row(verdict: Verdict, told: CellRecord) -> tuple[str, ...]:
    ms = "" if verdict.seconds is None else milliseconds(verdict.seconds)
    by = by_how_much(verdict, told["behind"])
    return who(verdict), by, bounds(verdict), verdict.runner_up, ms


def lines_below(data: MapRecord, missing: Mapping[Cell, str] | None = None) -> list[str]:
    """Return the notes that explain a map."""
    grid, verdicts = grid_of(data), verdicts_of(data)
    n_measured = sum(bool(it.leaders) for it in verdicts.values())
    n_cells = len(list(grid.cells()))
    spent = duration(sum(it["spent"] for it in data["cells"]))
    lines = [
        f"{n_measured} of {plural(n_cells, 'cell')} measured in {spent}: whole fits of the presets "
        "blobs-N-D-K (20 iterations from the same start), every fit certified, paired in rounds.",
        "By: how many times as long the next kernel takes; median over rounds, with an interval "
        "that holds for all comparisons of a cell together with 95%. ≈: an interval contains 1, or "
        f"the ratio is within the noise of a kernel beside itself. > {BEHIND:g} ×: every other "
        f"kernel that was tried takes more than {BEHIND:g} times as long and ran no rounds.",
    ]
    wrong = sorted({f"{it['kernel']} is {it['state']} ({it['why']})" for it in _wrong(data)})
    lines += [f"{it}." for it in wrong]
    for cell, why in (missing or {}).items():
        lines.append(f"Not measured: {shape(cell)}; {why}.")
    return lines


def _wrong(data: MapRecord) -> list[Any]:
    return [
        it
        for cell in data["cells"]
        for it in cell["run"]["contestants"]
        if it["state"] in ("INVALID", "broken")
    ]


def what_is_wrong(data: MapRecord) -> str:
    """Say which kernels gave wrong results, or nothing."""
    wrong = {f"{it['kernel']} is {it['state']} ({it['why']})": None for it in _wrong(data)}
    return "; ".join(wrong)


def nearest(data: MapRecord, wanted: Cell) -> CellRecord | None:
    """Return the cell with a verdict next to a shape, by its factors along the axes, or None."""
    return min(
        (
            it
            for it in data["cells"]
            if it["threads"] == wanted.threads and judge(it["run"]).leaders
        ),
        key=lambda it: sum(abs(a - b) for a, b in zip(cell_of(it).logs, wanted.logs, strict=True)),
        default=None,
    )
