"""Integers of sources that float64 does not hold: found as rows are read, told once."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.values import may_round, rounded, says_rounded

#: Packages whose frames lie between a caller and what warns.
_BETWEEN = ("kmeans_lab", "numpy", "sklearn")


class Rounding:
    """The first integer, of all rows that have been read, that float64 rounds.

    Attributes
    ----------
    found : tuple, optional
        Its row, its column, and what it is.
    """

    def __init__(self) -> None:
        self.found: tuple[int, int, Any] | None = None

    def look(self, first: int, values: NDArray[Any]) -> None:
        """Look at rows as they are in the source; first: the number of the first of them."""
        seen = self.found is not None and self.found[0] <= first
        if seen or not may_round(values) or not (inexact := rounded(values)).any():
            return
        row, column = np.argwhere(inexact)[0].tolist()
        self.note((first + row, column, values[row, column]))

    def look_into(self, source: Any, first: int) -> None:
        """Take over what a source has found in its own rows; first: the number of its first row."""
        found = getattr(getattr(source, "rounding", None), "found", None)
        if found is not None:
            self.note((first + found[0], *found[1:]))

    def note(self, found: tuple[int, int, Any]) -> None:
        """Keep what was found, unless an earlier row has been."""
        if self.found is None or found[0] < self.found[0]:
            self.found = found

    def warn(self) -> None:
        """Warn of what was found, in the words that rows in memory are warned of."""
        if self.found is None:
            return
        row, column, value = self.found
        level, frame = 1, sys._getframe()
        while frame.f_back is not None and _package(frame) in _BETWEEN:
            frame, level = frame.f_back, level + 1
        warnings.warn(says_rounded("X", (row, column), value), UserWarning, stacklevel=level)


def _package(frame: Any) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
