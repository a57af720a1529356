"""The map as one HTML page: no script, nothing fetched, light and dark, narrow and wide."""

from collections import Counter
from html import escape

from kmeans_lab.formatting import digits, milliseconds, plural
from kmeans_lab.measure import machine
from kmeans_lab.pages.blocks import lead, notes, section, table
from kmeans_lab.pages.document import document, measured_on
from kmeans_lab.pages.sections import family
from kmeans_lab.winners import words
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.record import CellRecord, MapRecord, cell_of, grid_of, verdicts_of
from kmeans_lab.winners.verdict import Verdict

_COLUMNS = ("n × d, k", "by", "interval", "ms", "next", "fastest")


def page(data: MapRecord) -> str:
    """Return the page of a map."""
    grid, verdicts = grid_of(data), verdicts_of(data)
    found = {cell_of(it): it for it in data["cells"]}
    width = 4.5 + 5.6 * len(grid.n)  # so that no size below a column is cut off
    panels = [
        f'<div class="maps" style="--panel:{width:.1f}rem">'
        + "".join(_panel(grid, d, threads, verdicts, found) for d in grid.d)
        + "</div>"
        for threads in grid.threads
    ]
    how = (
        "The number is how many times as long the next kernel takes. Several colours: not "
        "resolved, each of these kernels may be the fastest. n: rows, d: features, k: clusters."
    )
    return document(
        "the map of winners",
        "which k-means kernel is the fastest where, certified and paired",
        [
            section(
                f"Fastest kernel over rows, clusters and features, {grid.dtype}",
                lead(headline(grid, verdicts)),
                f'<p class="how">{escape(how)}</p>',
                _legend(verdicts),
                *panels,
            ),
            section(
                "The numbers",
                table(
                    _COLUMNS, [_row(cell, verdicts[cell], found[cell]) for cell in sorted(found)]
                ),
                notes(words.lines_below(data)),
            ),
            measured_on(machine.lines(data["machine"])),
        ],
    )


def headline(grid: Grid, verdicts: dict[Cell, Verdict]) -> str:
    """Return the result in one or two sentences."""
    wins = Counter(it.winner for it in verdicts.values() if it.winner)
    n_cells = len(list(grid.cells()))
    resolved = sum(wins.values())
    if not resolved:
        return "No cell has a winner."
    (first, count), *others = wins.most_common()
    gains = [it.times.middle for it in verdicts.values() if it.winner == first and it.times]
    most = f", by up to {digits(max(gains))} ×" if gains else ""
    said = f"{first} wins {count} of {plural(n_cells, 'cell')}{most}"
    said += "".join(f", {name} {n}" for name, n in others)
    open_ = sum(it.kind == "not resolved" for it in verdicts.values())
    blank = n_cells - resolved - open_
    rest = [f"{open_} not resolved"] * bool(open_) + [f"{blank} not measured"] * bool(blank)
    return f"{said}{'; ' * bool(rest)}{', '.join(rest)}."


def _legend(verdicts: dict[Cell, Verdict]) -> str:
    names = sorted({name for it in verdicts.values() for name in it.leaders})
    items = (f'<li class="{family(name)}">{escape(name)}</li>' for name in names)
    return f'<ul class="kernels">{"".join(items)}</ul>'


def _panel(
    grid: Grid,
    d: int,
    threads: int,
    verdicts: dict[Cell, Verdict],
    found: dict[Cell, CellRecord],
) -> str:
    known = set(grid.cells())
    lines = []
    for k in reversed(grid.k):
        cells = [Cell(n, d, k, threads) for n in grid.n]
        boxes = (
            _box(verdicts.get(it), found[it]["behind"] if it in found else [])
            if it in known
            else "<td></td>"
            for it in cells
        )
        lines.append(f'<tr><th scope="row">k = {k:,}</th>{"".join(boxes)}</tr>')
    ends = "".join(f'<th scope="col">n = {n:,}</th>' for n in grid.n)
    title = f"d = {d:,}" + f", {plural(threads, 'thread')}" * (len(grid.threads) > 1)
    body = f"<tbody>{''.join(lines)}</tbody><tfoot><tr><td></td>{ends}</tr></tfoot>"
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f'<div class="scroll"><table class="map">{body}</table></div></figure>'
    )


def _box(verdict: Verdict | None, behind: list[str]) -> str:
    if verdict is None:
        return '<td class="blank"><small>not measured</small></td>'
    label = escape(words.by_how_much(verdict, behind))
    said = escape(words.sentence(verdict, behind))
    if not verdict.leaders:
        return f'<td class="blank" title="{said}"><small>{label}</small></td>'
    if verdict.winner is None:
        bands = (
            f'<small class="{family(name)}">{escape(name)}</small>'
            for name in words.shown_of(verdict.leaders)
        )
        return f'<td class="open" title="{said}"><div>{"".join(bands)}</div></td>'
    name = escape(verdict.winner)
    return (
        f'<td class="won {family(verdict.winner)}" title="{said}"><b>{label}</b>'
        f"<small>{name}</small></td>"
    )


def _row(cell: Cell, verdict: Verdict, told: CellRecord) -> tuple[str, tuple[str, ...]]:
    ms = "" if verdict.seconds is None else milliseconds(verdict.seconds)
    name = f"{cell.n:,} × {cell.d:,}, k = {cell.k:,}"
    if cell.threads > 1:
        name += f", {plural(cell.threads, 'thread')}"
    by = words.by_how_much(verdict, told["behind"])
    who, bounds = words.who(verdict), words.bounds(verdict)
    return "", (name, by, bounds, ms, verdict.runner_up, who)
