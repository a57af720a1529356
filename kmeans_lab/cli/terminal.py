"""Output to the terminal, with a check that it was written, and progress on stderr."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from kmeans_lab.io.errors import Refused
from kmeans_lab.io.streams import ERRORS, seen_by_a_person


def show(*parts: Any) -> None:
    """Print tables and lines."""
    from rich.box import SIMPLE_HEAD, Box
    from rich.console import Console
    from rich.table import Table

    refuse_closed_output()
    # Rendered aside in stdout's encoding: only emit knows what to do when a write fails.
    encoding = sys.stdout.encoding or "utf-8"
    page = io.TextIOWrapper(io.BytesIO(), encoding, errors=ERRORS)
    tty = sys.stdout.isatty() or None

    class Spelling(Console):
        """Cells are spelled before they are measured, so that columns stay aligned."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(text.encode(encoding, ERRORS).decode(encoding), **options)

    console = Spelling(file=page, force_terminal=tty, markup=False, emoji=False, highlight=False)
    if not encoding.lower().startswith("utf"):  # for which rich draws bars between columns
        for table in (it for it in parts if isinstance(it, Table)):
            table.box = Box(str(SIMPLE_HEAD).replace("─", "-"), ascii=True)
    console.print(*parts, sep="\n")
    page.seek(0)
    emit(page.read())


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
    """Write a sentence to stderr; if that fails, go on without it."""
    if sys.stderr is None or sys.stderr.closed:
        return
    try:
        sys.stderr.write(f"{who}{sentence}\n")
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Discard what is left in a buffer, which the interpreter would flush when it ends."""
    with suppress(OSError):  # a stream that is no file has none
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def hold_streams() -> None:
    """Open closed standard streams on the null device, so that no later file gets their numbers.

    Otherwise the output of a kernel or another library would be written into such a file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


@contextmanager
def progress_on_stderr() -> Iterator[Any]:
    """Yield a watcher that draws on stderr, or does nothing where stderr is no terminal."""
    if not seen_by_a_person():
        yield lambda progress: None
        return
    from rich import console, progress

    bar = progress.Progress(
        "{task.fields[what]} {task.fields[name]}",
        progress.BarColumn(bar_width=20),
        "{task.completed}/{task.total} fits, {task.fields[left]:.0f} s left",
        console=console.Console(stderr=True),
        transient=True,
        auto_refresh=False,  # nothing draws while a kernel is timed
    )
    task = bar.add_task("", total=1, what="", name="", left=0.0)

    def draw(it: Any) -> None:
        bar.update(
            task, completed=it.done, total=it.total, what=it.what, name=it.name, left=it.left
        )
        bar.refresh()

    bar.start()
    try:
        yield draw
    finally:
        bar.stop()
