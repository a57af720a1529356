"""How ctypes calls a shared library of the loops, whatever language it is written in.

The library exports ``assign_float64``, ``update_float64`` and the same for float32, and knows
nothing of Python. ctypes releases the GIL around each call, and cannot check what it passes: shapes
and dtypes are checked before.
"""

from __future__ import annotations

from ctypes import CDLL, c_double, c_int, c_ssize_t, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING

from kmeans_lab_guests.arrays import OUTSIDE, address, check_assign, check_update

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums


class Library:
    """The two steps of a shared library that lies beside this file."""

    def __init__(self, name: str) -> None:
        library = CDLL(str(Path(__file__).with_name(name)))
        self._assign, self._update = {}, {}
        for dtype in ("float64", "float32"):
            verb = self._assign[dtype] = library[f"assign_{dtype}"]
            verb.argtypes, verb.restype = [*[c_void_p] * 3, *[c_ssize_t] * 3], c_double
            verb = self._update[dtype] = library[f"update_{dtype}"]
            verb.argtypes, verb.restype = [*[c_void_p] * 4, *[c_ssize_t] * 3], c_int

    def assign(self, rows: Rows, centers: Rows, labels: Labels) -> float:
        """Overwrite labels with each row's nearest center; return the inertia."""
        dtype, *sizes = check_assign(rows, centers, labels)
        return float(self._assign[dtype](*map(address, (rows, centers, labels)), *sizes))

    def update(self, rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
        """Add each row to its cluster's sum, and one to its count."""
        dtype, *sizes = check_update(rows, labels, sums, counts)
        if not self._update[dtype](*map(address, (rows, labels, sums, counts)), *sizes):
            raise ValueError(OUTSIDE)
