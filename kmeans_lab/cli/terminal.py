"""What the commands share: tables in one style, and output that notices when nobody reads it.

What a stream's encoding does not have is spelled with what it has: × becomes x, ≥ becomes >=.
Tables need the extra ``cli``; nothing else here does.
"""

import codecs
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import Any, TextIO

from kmeans_lab.errors import MissingExtra, Refused

_NUMBERS = {"rows", "d", "k", "max_iter"}  # headers of columns that are flush right

#: What is written instead of a character that an encoding does not have.
PLAIN = {
    "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "…": "...", "‘": "'", "’": "'", "“": '"',
    "”": '"', "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "±": "+-", "→": "->", "√": "sqrt",
    "∝": "~", "∪": "u", "‖": "||", "⌊": "floor(", "⌋": ")", "½": "1/2", "µ": "u", "μ": "mu",
    "σ": "sigma", "π": "pi", "Σ": "sum", "Δ": "delta", "─": "-", "━": "-", "│": "|", "┼": "+",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ",
}  # fmt: skip
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "₀₁₂₃₄₅₆₇₈₉₋₊"
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789-+" * 2)
_ERRORS = "kmeans_lab.plain"  # the name of the error handler, for streams and codecs


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell the characters that an encoding does not have: an error handler of ``codecs``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    text = re.sub(f"([{_RAISED}]+)|([{_LOWERED}]+)", _on_the_line, text)
    text = "".join(PLAIN.get(it, it) for it in text)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _on_the_line(found: re.Match[str]) -> str:
    return ("^" if found[1] else "_") + found[0].translate(_ON_THE_LINE)


codecs.register_error(_ERRORS, _spell)


def spell_out() -> None:
    """Let stdout and stderr spell what their encodings do not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def make_table(
    *headers: str, widths: Sequence[int] = (), right: Sequence[str] = (), **options: Any
) -> Any:
    """Return an empty table in our style; ``MissingExtra`` when rich is not there."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
    except ModuleNotFoundError:
        raise MissingExtra("tables, unlike --json, need", "rich") from None
    options |= {"show_edge": False, "padding": (0, 1, 0, 0), "title_justify": "left"}
    table = Table(box=SIMPLE_HEAD, **options)
    for header, width in zip_longest(headers, widths):
        side: Any = "right" if header in _NUMBERS or header in right else "left"
        table.add_column(header, width=width, justify=side, style="" if table.columns else "bold")
    return table


def show(*parts: Any) -> None:
    """Print tables and lines."""
    from rich.box import SIMPLE_HEAD, Box
    from rich.console import Console
    from rich.table import Table

    refuse_closed_output()
    # Rendered aside in stdout's encoding: only emit knows what to do when a write fails.
    encoding = sys.stdout.encoding or "utf-8"
    page = io.TextIOWrapper(io.BytesIO(), encoding, errors=_ERRORS)
    tty = sys.stdout.isatty() or None

    class Spelling(Console):
        """Cells are spelled before they are measured, so that columns stay aligned."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(text.encode(encoding, _ERRORS).decode(encoding), **options)

    console = Spelling(file=page, force_terminal=tty, markup=False, emoji=False, highlight=False)
    if not encoding.lower().startswith("utf"):  # for which rich draws bars between columns
        for table in (it for it in parts if isinstance(it, Table)):
            table.box = Box(str(SIMPLE_HEAD).replace("─", "-"), ascii=True)
    console.print(*parts, sep="\n")
    page.seek(0)
    emit(page.read())


def as_text(*parts: Any, width: int = 80) -> str:
    """Return tables and lines as plain text."""
    from rich.console import Console

    page = io.StringIO()
    console = Console(file=page, width=width, no_color=True, markup=False, highlight=False)
    console.print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def emit(text: str) -> None:
    """Write to stdout: all of it, now, so that a closed pipe or a full disk is noticed here."""
    refuse_closed_output()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(141) from None
        raise Refused(f"standard output cannot be written: {error.strerror}") from None


def refuse_closed_output() -> None:
    """``Refused`` where there is no standard output to write to."""
    if sys.stdout is None or sys.stdout.closed:
        raise Refused(
            "standard output is closed, and there is something to print; leave it open, or send it "
            "to /dev/null"
        )


def tell(sentence: str, who: str = "kmeans-lab: ") -> None:
    """Write a sentence to stderr; where nobody can read it, go on without."""
    if sys.stderr is None or sys.stderr.closed:
        return
    try:
        sys.stderr.write(f"{who}{sentence}\n")
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Let what stays in a buffer go nowhere: it has to go somewhere when the interpreter ends."""
    with suppress(OSError):  # a stream that is no file has none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def hold_streams() -> None:
    """Keep the numbers of standard streams that are closed from files that are opened later.

    What a kernel or another library prints would be written into those.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def seen_by_a_person() -> bool:
    """Whether somebody sees what is drawn on stderr, and there is something to draw it with."""
    from importlib.util import find_spec

    there = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    return there and os.environ.get("TERM") != "dumb" and bool(find_spec("rich"))
