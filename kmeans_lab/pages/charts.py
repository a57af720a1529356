"""Charts with two logarithmic axes, as HTML around one stretched SVG: lines stretch, text does not.

That way a chart fills a phone as well as a wide page, its words stay readable and can be copied,
and nothing is drawn by a script. Every mark is named at the right edge, so that names never hide
what they name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, log10

Points = Sequence[tuple[float, float]]

#: Least distance between two names, as a share of a chart's height.
_GAP = 6.0


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis: its ends, the values to label, and what it shows."""

    low: float
    high: float
    ticks: Sequence[float]
    title: str

    def at(self, value: float) -> float:
        """Return the place of a value in percent."""
        return 100 * log10(value / self.low) / log10(self.high / self.low)


@dataclass(frozen=True, slots=True)
class Series:
    """A line, or a single mark, named at the right edge.

    ``look`` is the names of its CSS classes; ``bars`` are vertical lines (x, low, high).
    """

    name: str
    points: Points
    look: str = ""
    bars: Sequence[tuple[float, float, float]] = field(default=())
    dots: bool = True


def decades(values: Sequence[float], title: str, more: float = 1.15) -> Axis:
    """Return an axis that holds all values, with the powers of ten as ticks."""
    low, high = min(values) / more, max(values) * more
    ticks = [10.0**e for e in range(ceil(log10(low)), floor(log10(high)) + 1)]
    return Axis(low, high, ticks, title)


def spread(places: Sequence[float], gap: float = _GAP, end: float = 100.0) -> list[float]:
    """Move places apart until each has ``gap`` to the next, in their order, up to ``end``."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    floor_ = 0.0
    for i in order:
        moved[i] = floor_ = max(moved[i], floor_)
        floor_ += gap
    ceiling = end
    for i in reversed(order):
        moved[i] = ceiling = min(moved[i], ceiling)
        ceiling -= gap
    return moved


def plot(x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Return the chart."""
    ends = [100 - y.at(it.points[-1][1]) for it in series]
    names = spread(ends)
    drawn, words = [], []
    for tick in y.ticks:
        drawn.append(_line([(0, 100 - y.at(tick)), (100, 100 - y.at(tick))], "grid"))
        words.append(f'<b class="y" style="top:{100 - y.at(tick):.2f}%">{_number(tick)}</b>')
    for tick in x.ticks:
        drawn.append(_line([(x.at(tick), 0), (x.at(tick), 100)], "grid"))
        words.append(f'<b class="x" style="left:{x.at(tick):.2f}%">{_number(tick)}</b>')
    for it, end, name in zip(series, ends, names, strict=True):
        places = [(x.at(a), 100 - y.at(b)) for a, b in it.points]
        drawn.append(_line([(places[-1][0], end), (100, name)], f"leader {it.look}"))
        if len(places) > 1:
            drawn.append(_line(places, it.look))
        for a, low, high in it.bars:
            ends_of_bar = [(x.at(a), 100 - y.at(low)), (x.at(a), 100 - y.at(high))]
            drawn.append(_line(ends_of_bar, f"bar {it.look}"))
        words += [
            f'<u class="{it.look}" style="left:{a:.2f}%;top:{b:.2f}%"></u>'
            for a, b in places
            if it.dots
        ]
        words.append(f'<span class="{it.look}" style="top:{name:.2f}%">{escape(it.name)}</span>')
    return (
        f'<div class="plot"><p class="axis-title">{escape(y.title)}</p><div class="area">'
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(drawn)}</svg>{''.join(words)}</div>"
        f'<p class="axis-title below">{escape(x.title)}</p></div>'
    )


def _line(points: Points, look: str) -> str:
    places = " ".join(f"{a:.2f},{b:.2f}" for a, b in points)
    return f'<polyline class="{look}" points="{places}"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
