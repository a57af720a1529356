"""The blocks that every page is made of: sections, notes, tables, and rows of bars.

Bars are boxes of so many percent, so that they scale with the page, can be copied as text, and need
no library. Arguments are plain text, except those that are said to be HTML.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from kmeans_lab.formatting import milliseconds_of_part
from kmeans_lab.pages.charts import Axis
from kmeans_lab.result import PHASES

#: Least width of a bar in percent of its track: a narrower one would not be visible.
_THINNEST = 0.3


def section(title: str, *blocks: str) -> str:
    """Return a section of a page; its blocks are HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(blocks)}</section>"


def part(title: str, *blocks: str, how: str = "") -> str:
    """Return a part of a section, with a line on how to read it; its blocks are HTML."""
    said = f'<p class="how">{escape(how)}</p>' if how else ""
    return f"<h3>{escape(title)}</h3>{said}{''.join(blocks)}"


def lead(sentence: str) -> str:
    """Return the sentence that a section begins with."""
    return f'<p class="lead">{escape(sentence)}</p>'


def alarm(sentence: str) -> str:
    """Return a sentence that stands out as a warning."""
    return f'<p class="alarm">{escape(sentence)}</p>'


def notes(lines: Iterable[str]) -> str:
    """Return a list of remarks."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="notes">{items}</ul>'


def table(
    headers: Sequence[str],
    rows: Iterable[tuple[str, Sequence[str]]],
    *,
    numbers: bool = False,
) -> str:
    """Return a table that scrolls by itself where the page is narrow.

    Parameters
    ----------
    headers : sequence of str
    rows : iterable of (str, sequence of str)
        The CSS class of each row, and its cells, whose first one names it.
    numbers : bool
        Whether the last column is flush right, as the others are, and no sentence.
    """
    look = ' class="numbers"' if numbers else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in headers)
    return (
        f'<div class="scroll"><table{look}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_table_rows(rows))}</tbody></table></div>"
    )


def _table_rows(rows: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    for look, (name, *cells) in rows:
        body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        opening = f'<tr class="{escape(look)}">' if look else "<tr>"
        yield f"{opening}<th>{escape(name)}</th>{body}</tr>"


def speed_axis(values: Iterable[float]) -> Axis:
    """Return an axis of ratios that holds 1 and all values, to the next half of a power of ten."""
    found = [log10(value) for value in (1.0, *values)]
    low, high = floor(2 * min(found)) / 2, ceil(2 * max(found)) / 2
    if low == high:
        high += 0.5
    ticks = [10.0**e for e in range(ceil(low), floor(high) + 1)]
    return Axis(10**low, 10**high, ticks, "")


def bar(axis: Axis, low: float, high: float, kind: str = "em") -> str:
    """Return what lies between two values on a track; ``kind`` "s" is a band behind the others."""
    left, right = axis.at(low), axis.at(high)
    width = right - left if kind == "s" else max(right - left, _THINNEST)
    return f'<{kind} style="left:{left:.2f}%;width:{width:.2f}%"></{kind}>'


def mark(axis: Axis, value: float, *, base: bool = False) -> str:
    """Return the mark of one value on a track, in another colour for the baseline."""
    look = ' class="base"' if base else ""
    return f'<u{look} style="left:{axis.at(value):.2f}%"></u>'


def speeds(baseline: str, axis: Axis, rows: Iterable[tuple[str, str, str]], more: str = "") -> str:
    """Return ratios to a baseline as tracks on one axis.

    Rows are names, marks (HTML) and words (HTML); ``more`` ends the line on how to read them.
    """
    ticks = "".join(f'<i style="left:{axis.at(t):.2f}%"><b>{_tick(t)}</b></i>' for t in axis.ticks)
    tracks = [_row(name, f'<div class="track">{marks}</div>', words) for name, marks, words in rows]
    tracks.append(
        f'<div class="row axis"><span></span><div class="track">{ticks}</div><span></span></div>'
    )
    return part(
        f"Speed beside {baseline}",
        f'<div class="chart ratios">{"".join(tracks)}</div>',
        how=f"Farther right is faster; each step is ten times.{more}",
    )


def _tick(value: float) -> str:
    return f"{value:,.0f} ×" if value >= 1 else f"1/{1 / value:,.0f}"


def phases(rows: Iterable[tuple[str, Mapping[str, float], str]]) -> str:
    """Return each fit's phases, stacked to the whole: names, seconds by phase, and words."""
    stacks = [_row(name, _stack(spent), escape(words)) for name, spent, words in rows]
    if not stacks:
        return ""
    keys = "".join(f'<li class="{phase}">{phase}</li>' for phase in PHASES)
    return part(
        "Where the time goes",
        f'<ul class="keys">{keys}</ul><div class="chart">{"".join(stacks)}</div>',
    )


def _stack(spent: Mapping[str, float]) -> str:
    total = sum(spent.values())
    bars = "".join(
        f'<b class="{phase}" style="width:{100 * spent[phase] / total:.2f}%" '
        f'title="{phase} {milliseconds_of_part(spent[phase])} ms"></b>'
        for phase in PHASES
    )
    return f'<div class="stack">{bars}</div>'


def _row(name: str, body: str, words: str) -> str:
    said = f'<span class="words">{words}</span>'
    return f'<div class="row"><span>{escape(name)}</span>{body}{said}</div>'
