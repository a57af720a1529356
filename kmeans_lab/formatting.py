"""Numbers in words and tables as text: one rule for the terminal, benchmarks, pages and studies.

The rule, which ``web/static/words.js`` follows too: a measured number has a given count of
significant digits, three by default, and all of its digits before the decimal point; never an
exponent. The number is rounded first, halves away from zero, and its decimals are counted
afterwards: 9.994 is 9.99, and 9.996 is 10.0, as 10.04 is. Thousands are grouped by commas. Zero is
0, infinity is ∞, and what is not a number is –.
"""

import io
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import zip_longest
from math import floor, inf, isinf, isnan
from typing import Any

from kmeans_lab.io.errors import MissingExtra

_MOST_PLACES = 12
_EXACT = Context(prec=400)  # digits of the largest float, and more

_UNITS_OF_MEMORY = ("KiB", "MiB", "GiB", "TiB")


def digits(value: float, count: int = 3, places: int = _MOST_PLACES) -> str:
    """Return a number with ``count`` significant digits, and at most ``places`` decimal places."""
    if isnan(value):
        return "–"
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    exact = Decimal(float(value))
    size = _rounded(value, count).adjusted()
    last = Decimal(1).scaleb(-min(places, max(0, count - 1 - size)))
    return f"{exact.quantize(last, ROUND_HALF_UP, _EXACT):,f}"


def _rounded(value: float, count: int) -> Decimal:
    return Context(prec=count, rounding=ROUND_HALF_UP).plus(Decimal(float(value)))


def milliseconds(seconds: float) -> str:
    """Return seconds in ms with four digits, as tables of whole fits show them."""
    return digits(1e3 * seconds, 4)


def milliseconds_of_part(seconds: float) -> str:
    """Return seconds in ms with three digits, no finer than a microsecond."""
    return digits(1e3 * seconds, places=3)


def duration(seconds: float) -> str:
    """Return seconds with a unit that suits them: 102 µs, 3.56 ms, 10.5 s, 2 min 12 s."""
    if isnan(seconds) or isinf(seconds):
        return digits(seconds)
    rounded = float(_rounded(seconds, 3))
    if rounded < 1e-3:
        return f"{digits(1e6 * rounded)} µs"
    if rounded < 1:
        return f"{digits(1e3 * rounded)} ms"
    if rounded < 100:
        return f"{digits(rounded)} s"
    minutes, rest = divmod(floor(seconds + 0.5), 60)
    return f"{minutes:,} min {rest} s"


def memory_size(n_bytes: float) -> str:
    """Return bytes with a binary unit that suits them: 12.0 KiB, 1.50 GiB."""
    size, unit = n_bytes / 2**10, 0
    while _rounded(size, 3) >= 1000 and unit < len(_UNITS_OF_MEMORY) - 1:
        size, unit = size / 2**10, unit + 1
    return f"{digits(size)} {_UNITS_OF_MEMORY[unit]}"


def plural(count: int, one: str) -> str:
    """Return a count with its noun: 1 thread, 2 threads."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def faster(times: float) -> str:
    """Say how many times as fast one is as the other: 2.50 × faster, 1.25 × slower."""
    if isnan(times):
        return digits(times)
    if times >= 1:
        return f"{digits(times)} × faster"
    return f"{digits(1 / times if times else inf)} × slower"


def faster_between(times: float, low: float, high: float) -> tuple[str, str]:
    """Say the same with the bounds of an interval, in the direction of the words."""
    low, high = (low, high) if times >= 1 else (1 / high, 1 / low)
    return faster(times), f"{digits(low)}–{digits(high)}"


def make_table(
    *headers: str,
    widths: Sequence[int] = (),
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Return an empty table of ``rich`` in our style; ``MissingExtra`` when rich is not there.

    Parameters
    ----------
    *headers : str
        Of the columns; the first is bold.
    widths : sequence of int, optional
        Of the columns; by default as wide as what they hold.
    right, whole : sequence of str, optional
        Headers of columns that are flush right, and of those that are never broken into lines.
    **options
        Of rich's ``Table``.
    """
    try:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
    except ModuleNotFoundError:
        raise MissingExtra("tables, unlike --json, need", "rich") from None
    style: Any = {"show_edge": False, "padding": (0, 1, 0, 0), "title_justify": "left"}
    table = Table(box=SIMPLE_HEAD, **style | options)
    for header, width in zip_longest(headers, widths):
        table.add_column(
            header,
            width=width,
            justify="right" if header in right else "left",
            no_wrap=header in whole,
            style="" if table.columns else "bold",
        )
    return table


def as_text(*parts: Any, width: int = 80) -> str:
    """Return tables and lines as plain text."""
    from rich.console import Console

    page = io.StringIO()
    console = Console(file=page, width=width, no_color=True, markup=False, highlight=False)
    console.print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
