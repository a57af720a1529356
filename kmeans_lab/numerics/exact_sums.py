"""Sums that no order can change, in NumPy.

A float64 is cut into parts that are multiples of fixed powers of two, so coarse that float64 adds
all of them without rounding: their sums follow from the values alone, not from the order of the
rows, from blocks or from the processor. The parts' sums are rounded once, together. Rump, Ogita
and Oishi, "Accurate floating-point summation", SIAM Journal on Scientific Computing 31, 2008;
Demmel and Nguyen, "Fast reproducible floating-point summation", ARITH 2013.

The flagship does the same with integers (``cpp/simd/sums.h``), and both round exactly the same sum.
"""

from math import fsum, inf

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Labels

Floats = NDArray[np.float64]

#: Times a power of two, added and subtracted: rounds to multiples of that power.
_ROUNDS = 1.5 * 2.0**52
_LEAST = -1074  # exponent of the smallest number that float64 holds


def row_squares(differences: Floats) -> Floats:
    """Return the sum of the squares of each row, (n_samples,), added feature by feature.

    The same bits on every processor: ``einsum`` and matrix products add in orders of their own.
    """
    squares = differences * differences
    total = squares[:, 0].copy()
    for f in range(1, squares.shape[1]):
        total += squares[:, f]
    return total


class ExactTotal:
    """An exact sum of numbers that come in blocks."""

    def __init__(self) -> None:
        self._parts: list[float] = []

    def add(self, values: Floats) -> None:
        """Add the values (n,), which are overwritten."""
        if len(values) == 0:
            return
        most = float(np.maximum.reduce(np.abs(values)))
        if not most < 2.0**960:  # cutting would overflow; or not a number
            self._parts += values.tolist()
            return
        digits = 52 - len(values).bit_length()  # bits of a part: all parts add up below 2**53
        part = np.empty_like(values)
        while most > 0:
            cut = _ROUNDS * 2.0 ** max(int(np.frexp(most)[1]) - digits, _LEAST)
            np.add(values, cut, out=part)
            part -= cut
            self._parts.append(float(np.add.reduce(part)))
            values -= part
            most = float(np.maximum.reduce(np.abs(values, out=part)))

    def value(self) -> float:
        """Return the sum, rounded once."""
        try:
            return fsum(self._parts)
        except (OverflowError, ValueError):  # beyond float64, or infinities of both signs
            return sum(self._parts)


def column_sums(rows: Floats) -> Floats:
    """Return the exact sum of each column (n_samples, n_features), each rounded once."""
    most = np.abs(rows).max(axis=0, initial=0.0)
    if not (most < 2.0**960).all():  # cutting would overflow; or not a number
        return np.array([_sum_of(column) for column in rows.T])
    left, sums = rows.copy(), []
    digits = 52 - len(rows).bit_length()  # bits of a part: all parts add up below 2**53
    while most.any():
        units = np.maximum(np.frexp(most)[1] - digits, _LEAST)
        cut = np.where(most > 0, np.ldexp(_ROUNDS, units), 0.0)
        part = left + cut
        part -= cut
        sums.append(np.add.reduce(part, axis=0))
        left -= part
        most = np.abs(left, out=part).max(axis=0)
    return _rounded(np.array(sums).reshape(len(sums), rows.shape[1]))


def _sum_of(column: Floats) -> float:
    total = ExactTotal()
    total.add(column.copy())
    return total.value()


class RunningSums:
    """Exact sums of columns over the rows of each cluster, kept from one labelling to the next.

    Only rows whose label changes are looked at again: a row takes out of a sum exactly what it
    added.

    Parameters
    ----------
    columns : ndarray of shape (n_columns, n_samples), float64
        Finite. Kept, not copied.
    n_clusters : int
    """

    def __init__(self, columns: Floats, n_clusters: int) -> None:
        n_columns, n_samples = columns.shape
        self._columns = columns
        self._labels = np.full(n_samples, -1, np.int32)
        self._cuts = [_cuts(column, n_samples) for column in columns]
        self._levels = max(map(len, self._cuts), default=0)
        self._parts = np.zeros((self._levels, n_columns, n_clusters))
        self._sums = np.zeros((n_columns, n_clusters))

    def move(self, labels: Labels) -> Floats:
        """Return the sums (n_columns, n_clusters) for these labels, each rounded once."""
        changed = np.flatnonzero(labels != self._labels)
        if len(changed) == 0:
            return self._sums
        before, after = self._labels[changed], labels[changed].astype(np.intp)
        n_clusters = self._sums.shape[1]
        begun = before[0] >= 0  # all rows have a label after the first call, and none before
        touched = np.zeros(n_clusters, dtype=bool)
        touched[after] = True
        if begun:
            before = before.astype(np.intp)
            touched[before] = True
        every = len(changed) == len(labels)
        for column, cuts, parts in zip(
            self._columns, self._cuts, self._parts.swapaxes(0, 1), strict=True
        ):
            left = column.copy() if every else column[changed]
            for cut, part in zip(cuts, parts, strict=False):
                share = left + cut
                share -= cut
                part += np.bincount(after, share, n_clusters)
                if begun:
                    part -= np.bincount(before, share, n_clusters)
                left -= share
        self._labels[changed] = labels[changed]
        self._sums[:, touched] = _rounded(self._parts[:, :, touched])
        return self._sums


def _cuts(column: Floats, n_samples: int) -> list[float]:
    """Return what cuts a column's values into parts, the coarsest first; nothing is left over."""
    size = np.abs(column)
    most = float(size.max())
    if most == 0:
        return []
    least = float(size.min(where=size > 0, initial=inf))
    assert most < 2.0**960  # rows are checked, and weights relative to the largest
    digits = 51 - n_samples.bit_length()  # while rows move, a sum may hold each of them twice
    unit = int(np.frexp(most)[1]) - digits
    last = max(int(np.frexp(least)[1]) - 53, _LEAST)
    cuts = [_ROUNDS * 2.0**unit]
    while unit > last:
        unit = max(unit - digits - 1, _LEAST)
        cuts.append(_ROUNDS * 2.0**unit)
    return cuts


def _rounded(parts: Floats) -> Floats:
    """Return the sums of the parts over the first axis, each rounded once, ties to even."""
    if len(parts) == 0:
        return np.zeros(parts.shape[1:])
    if len(parts) == 1:
        return np.asarray(parts[0])
    if len(parts) == 2:
        return np.asarray(parts[0] + parts[1])
    if len(parts) == 3:
        low, least = _two_sum(parts[1], parts[2])
        high, low = _two_sum(parts[0], low)
        rest, least = _two_sum(low, least)
        sums, over = _two_sum(high, rest)
        # Correct unless what was left out decides a tie, or nearly one.
        near = np.abs(over) > 0.24 * np.spacing(np.abs(sums))
        for at in np.argwhere((least != 0) & near):
            sums[tuple(at)] = fsum(parts[(slice(None), *at)].tolist())
        return sums
    each = parts.reshape(len(parts), -1).T.tolist()
    return np.array([fsum(values) for values in each]).reshape(parts.shape[1:])


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return a + b, rounded, and the rounding error. Knuth, TAOCP 2, section 4.2.2."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)
