"""Progress of a fit whose rows are read block by block: one line on stderr, which is rewritten."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.cli.terminal import tell
from kmeans_lab.formatting import digits, duration
from kmeans_lab.rows.source import RowSource, name_of

_REFRESH = 0.1  # seconds between two pictures of the line

#: Passes over the rows that a start takes, by its name: for each cluster, and beside these.
_STARTS = {"k-means++": (1, 0), "d2": (1, 0), "k-means||": (0, 6), "random-partition": (0, 1)}
_LOOKS, _LAST = 1, 2  # passes before the first start, and after the iterations


class WatchedRows:
    """A source that tells a watcher what is read of it; all else is the source's.

    Parameters
    ----------
    source : RowSource
    told : callable
        Called as ``told(self)`` after rows have been read, in whichever thread reads them.

    Attributes
    ----------
    n_bytes : int
        That have been read.
    passes : int
        Passes over all rows that have come to their end.
    at : int
        The row after the last that was read in order.
    """

    def __init__(self, source: RowSource, told: Callable[[WatchedRows], None]) -> None:
        self._source, self._told = source, told
        self.n_bytes = self.passes = self.at = 0
        self._reads = 0  # since the last check
        self._open = False  # whether a pass may have ended before the last row: others are kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, start: int, stop: int, /) -> Any:
        """Return rows from start to before stop."""
        rows = self._source.read(start, stop)
        if self._open and start < self.at:
            self.passes += 1
        self._open, self.at, self._reads = False, stop, self._reads + 1
        self._count(rows)
        return rows

    def check(self) -> None:
        """Check the source, as is done at the end of each pass, or of a part of one."""
        if (check := getattr(self._source, "check", None)) is not None:
            check()
        self._open = self._reads > 0 and self.at < self._source.shape[0]
        if not self._open:
            self.passes, self.at = self.passes + 1, 0
        self._reads = 0

    def _count(self, rows: Any) -> None:
        self.n_bytes += getattr(rows, "nbytes", 0)
        self._told(self)


class _TakenRows(WatchedRows):
    """The same of a source that takes single rows."""

    def take(self, numbers: NDArray[np.int64], /) -> Any:
        """Return rows of these numbers."""
        rows = self._source.take(numbers)  # type: ignore[attr-defined]
        self._count(rows)
        return rows


def most_passes(init: str, n_clusters: int, n_init: int, max_iter: int) -> int:
    """Return how many passes a fit takes at most, unless clusters become empty."""
    each, beside = _STARTS.get(init, (0, 0))
    return _LOOKS + n_init * (each * n_clusters + beside + max_iter + _LAST)


@contextmanager
def passes_shown(source: RowSource, n_clusters: int, settings: dict[str, Any]) -> Iterator[Any]:
    """Yield a source whose passes are shown; say first how much its start will read."""
    init = settings["init"]
    each, beside = _STARTS.get(init, (0, 0))
    if (times := n_clusters if each else beside) > 1:
        size = times * source.shape[0] * source.shape[1] * source.dtype.itemsize
        fewest = _STARTS["k-means||"][1]
        other = f"; --init 'k-means||' reads them {fewest} times" if times > fewest else ""
        tell(
            f"--init {init} reads the rows of {name_of(source)} about {times} times before the "
            f"first iteration, {digits(size / 1e9)} GB in all{other}"
        )
    line = _Line(most_passes(init, n_clusters, settings["n_init"], settings["max_iter"]))
    shown = warnings.showwarning

    def below(*told: Any, **more: Any) -> None:
        line.wipe()
        shown(*told, **more)

    warnings.showwarning = below
    try:
        yield (_TakenRows if hasattr(source, "take") else WatchedRows)(source, line.draw)
    finally:
        warnings.showwarning = shown
        line.wipe()


class _Line:
    """Passes, bytes a second, and what is left of the time, in a line that fits the terminal."""

    def __init__(self, most: int) -> None:
        self._most, self._begin, self._due = most, perf_counter(), 0.0
        self._drawn = False

    def draw(self, rows: WatchedRows) -> None:
        """Rewrite the line, now and then."""
        now = perf_counter()
        if now < self._due:
            return
        self._due = now + _REFRESH
        seconds = max(now - self._begin, 1e-9)
        done = rows.passes + rows.at / rows.shape[0]
        most = max(self._most, rows.passes + 1)
        left = seconds / max(done, 1e-9) * (most - done)
        speed = f"{digits(rows.n_bytes / seconds / 1e9)} GB/s"
        self._write(
            f"pass {rows.passes + 1} of at most {most}, {speed}, at most {duration(left)} left",
            f"pass {rows.passes + 1}/{most}, {speed}, {duration(left)}",
            f"{rows.passes + 1}/{most}",
        )

    def wipe(self) -> None:
        """Erase the line."""
        if self._drawn:
            self._drawn = False
            self._out("\r\x1b[2K")

    def _write(self, *texts: str) -> None:
        """Write the first of some texts that the terminal has room for."""
        room = _columns() - 1  # with the last one, some terminals go on to the next line
        self._drawn = True
        self._out("\r\x1b[2K" + next((it for it in texts if len(it) <= room), texts[-1][:room]))

    @staticmethod
    def _out(text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that is gone
            sys.stderr.write(text)
            sys.stderr.flush()


def _columns() -> int:
    with suppress(ValueError):
        if (given := int(os.environ.get("COLUMNS", "0"))) > 0:
            return given
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
