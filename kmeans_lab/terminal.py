"""What the commands share: tables in one style, and output that notices when nobody reads it.

Tables need the extra ``cli``; nothing else here does.
"""

import io
import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from kmeans_lab.errors import MissingExtra, Refused

_NUMBERS = {"rows", "d", "k", "max_iter"}  # headers of columns that are flush right


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
    from rich.console import Console

    # Rendered aside in stdout's encoding: only emit knows what to do when a write fails.
    page = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding, errors="replace")
    tty = sys.stdout.isatty() or None
    console = Console(file=page, force_terminal=tty, markup=False, emoji=False, highlight=False)
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
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What stays in the buffer has to go somewhere when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(141) from None
        raise Refused(f"standard output cannot be written: {error.strerror}") from None


def seen_by_a_person() -> bool:
    """Whether somebody sees what is drawn on stderr, and there is something to draw it with."""
    from importlib.util import find_spec

    return os.environ.get("TERM") != "dumb" and sys.stderr.isatty() and bool(find_spec("rich"))
