"""The map as a figure: a panel for each d and thread count, n and k on logarithmic axes.

Colours are those of the HTML pages (``pages/page.css``): one hue for each way of making kernels,
full for its tuned kernel and pale for the plain loops. Each cell also names its kernel.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

from kmeans_lab.formatting import plural
from kmeans_lab.io.errors import MissingExtra
from kmeans_lab.measure.machine import instruction_set_lines
from kmeans_lab.pages.sections import family
from kmeans_lab.studies.notebook import FAINT, INK, drawing, rendered
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.record import MapRecord, cell_of, grid_of, verdicts_of
from kmeans_lab.winners.verdict import Verdict
from kmeans_lab.winners.words import by_how_much, shown_of

COLORS = {
    "python": "#5b636d",
    "numpy": "#b35c00",
    "numba": "#00805f",
    "cython": "#a8447f",
    "cpp": "#0072b2",
    "other": "#1d2126",
}
#: How much of its hue the colour of a kernel of plain loops has.
PALE = 0.28
PAPER, SOFT = "#ffffff", "#5b636d"
_COLUMNS = 4  # panels in a row, at most


def color_of(kernel: str) -> str:
    """Return the colour of a kernel."""
    hue, _, tuned = family(kernel).partition(" ")
    color = COLORS[hue]
    if tuned or hue in ("python", "other"):
        return color
    parts = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(PALE * it + (1 - PALE) * 255):02x}" for it in parts)


def ink_on(color: str) -> str:
    """Return the colour of words on a colour: white on what is dark."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return PAPER if 0.3 * red + 0.59 * green + 0.11 * blue < 150 else INK


def draw(data: MapRecord, kind: str) -> bytes:
    """Return the map as PNG or SVG.

    Parameters
    ----------
    data : MapRecord
    kind : {"png", "svg"}

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    require_matplotlib()
    grid = grid_of(data)
    panels = [(threads, d) for threads in grid.threads for d in grid.d]
    columns = min(_COLUMNS, len(grid.d))
    rows = -(-len(panels) // columns)
    width = max(5.6, columns * (0.55 + 0.92 * len(grid.n)))
    height = rows * (0.6 + 0.62 * len(grid.k)) + 1.15
    options: Any = {"squeeze": False, "sharex": True, "sharey": True}
    with drawing(rows, columns, (width, height), **options) as (figure, axes):
        found = verdicts_of(data)
        behind = {cell_of(it): it["behind"] for it in data["cells"]}
        for axis, (threads, d) in zip(axes.flat, panels, strict=False):
            _frame(axis, grid, threads, d)
            for cell in grid.cells():
                if (cell.threads, cell.d) == (threads, d):
                    _draw_cell(axis, grid, cell, found.get(cell), behind.get(cell, []))
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("clusters k")
        for axis in axes[-1]:
            axis.set_xlabel("rows n")
        title = "Fastest kernel, and how many times as long the next one takes"
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
        _legend(figure, found, _where(data))
        return rendered(figure, kind)


def require_matplotlib() -> None:
    """Raise ``MissingExtra`` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("drawing a map needs", "matplotlib", extra="studies") from None


def edges(sizes: Sequence[int]) -> list[float]:
    """Return where cells begin and end on a logarithmic axis: halfway between neighbours."""
    if len(sizes) == 1:
        return [sizes[0] / 2, sizes[0] * 2]
    middles = [sqrt(a * b) for a, b in pairwise(sizes)]
    first, last = sizes[0] ** 2 / middles[0], sizes[-1] ** 2 / middles[-1]
    return [first, *middles, last]


def _frame(axis: Any, grid: Grid, threads: int, d: int) -> None:
    x, y = edges(grid.n), edges(grid.k)
    axis.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    axis.set_title(f"d = {d:,}" + (f", {plural(threads, 'thread')}" * (len(grid.threads) > 1)))
    for ticks, sizes in ((axis.xaxis, grid.n), (axis.yaxis, grid.k)):
        ticks.set_ticks(sizes, [f"{size:,}" for size in sizes])
        ticks.set_ticks([], minor=True)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _draw_cell(
    axis: Any, grid: Grid, cell: Cell, verdict: Verdict | None, behind: list[str]
) -> None:
    from matplotlib.patches import Rectangle

    x, y = edges(grid.n), edges(grid.k)
    i, j = grid.n.index(cell.n), grid.k.index(cell.k)
    left, right = _inset(x[i], x[i + 1])
    low, high = _inset(y[j], y[j + 1])
    corner, size = (left, low), (right - left, high - low)
    middle = sqrt(left * right), sqrt(low * high)
    style: Any = {"ha": "center", "va": "center", "color": INK}
    if verdict is None or not verdict.leaders:
        blank = Rectangle(corner, *size, fill=False, lw=0.8, ls=(0, (2, 2)), ec=FAINT)
        axis.add_patch(blank)
        words = "not\nmeasured" if verdict is None else by_how_much(verdict, behind)
        axis.text(*middle, words, fontsize=6, **style | {"color": SOFT})
        return None
    if verdict.winner is None:
        return _draw_bands(axis, corner, size, verdict.leaders)
    color = color_of(verdict.winner)
    axis.add_patch(Rectangle(corner, *size, color=color, lw=0))
    style |= {"color": ink_on(color), "textcoords": "offset points"}
    label = by_how_much(verdict, behind)
    axis.annotate(label, middle, (0, 4), fontsize=9, weight="bold", **style)
    axis.annotate(verdict.winner, middle, (0, -7), fontsize=6.5, **style)
    return None


def _draw_bands(
    axis: Any, corner: tuple[float, float], size: tuple[float, float], leaders: Sequence[str]
) -> None:
    """Fill a cell with a band for each kernel that may be the fastest."""
    from matplotlib.patches import Rectangle

    shown = shown_of(leaders)
    left, low = corner
    step = ((low + size[1]) / low) ** (1 / len(shown))
    for i, name in enumerate(reversed(shown)):
        color, bottom = color_of(name), low * step**i
        axis.add_patch(Rectangle((left, bottom), size[0], bottom * (step - 1), color=color, lw=0))
        where = sqrt(left * (left + size[0])), bottom * sqrt(step)
        style: Any = {"ha": "center", "va": "center", "fontsize": 6.5, "color": ink_on(color)}
        axis.text(*where, f"≈ {name}", **style)


def _inset(low: float, high: float) -> tuple[float, float]:
    """Leave a gap between cells, on a logarithmic axis."""
    factor = (high / low) ** 0.015
    return low * factor, high / factor


def _legend(figure: Any, found: dict[Cell, Verdict], where: str) -> None:
    from matplotlib.patches import Patch

    names = dict.fromkeys(name for it in found.values() for name in it.leaders)
    patches = [Patch(color=color_of(name), label=name) for name in sorted(names)]
    if any(it.kind == "not resolved" for it in found.values()):
        patches.append(Patch(fc=PAPER, ec=FAINT, label="≈ not resolved"))
    legend = figure.legend(
        handles=patches,
        loc="outside lower left",
        ncols=5,
        fontsize=8,
        title=where,
        title_fontsize=6.5,
        alignment="left",
    )
    legend.get_title().set_color(SOFT)


def _where(data: MapRecord) -> str:
    card = data["machine"]
    cores = plural(card["affinity"] or card["cores"] or 1, "core")
    sets = "".join(f", {it}" for it in instruction_set_lines(card.get("instruction_sets", {}))[:1])
    return f"{card['cpu']}, {cores}{sets}; {data['grid']['dtype']}, kmeans_lab {data['kmeans_lab']}"
