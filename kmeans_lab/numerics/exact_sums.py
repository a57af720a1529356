"""Sums that no order can change, in NumPy.

A float64 is cut into parts that are multiples of fixed powers of two, so coarse that float64 adds
all of them without rounding: their sums follow from the values alone, not from the order of the
rows, from blocks or from the processor. The parts' sums are rounded once, together. Rump, Ogita
and Oishi, "Accurate floating-point summation", SIAM Journal on Scientific Computing 31, 2008;
Demmel and Nguyen, "Fast reproducible floating-point summation", ARITH 2013.

The flagship does the same with integers (``cpp/simd/sums.h``), and both round exactly the same sum.
"""

from collections.abc import Iterable
from math import fsum
from typing import Any

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


class MovingSums:
    """Exact sums of the columns of each cluster's rows, which move from cluster to cluster.

    A row takes out of a sum exactly what it added: sums of other rows, in other blocks, threads or
    machines, can be added to these, and the total depends on nothing but the labels.

    Parameters
    ----------
    most : ndarray of shape (n_columns,), float64
        Magnitudes that no value lies beyond, below 2⁹⁶⁰.
    n_samples : int
        Of all rows together.
    n_clusters : int
    """

    def __init__(self, most: Floats, n_samples: int, n_clusters: int) -> None:
        assert (most < 2.0**960).all()  # rows are checked, and weights relative to the largest
        self._digits = 51 - n_samples.bit_length()  # while rows move, a sum may hold each twice
        self._units = np.frexp(most)[1].astype(np.int64) - self._digits  # exponents
        self._parts = np.zeros((1, len(most), n_clusters))

    def move(
        self, columns: Iterable[Floats], before: NDArray[Any] | None, after: NDArray[Any]
    ) -> None:
        """Take rows out of their clusters and into others.

        Parameters
        ----------
        columns : iterable of ndarray of shape (n_samples,), float64
            The columns of these rows, which are overwritten.
        before, after : ndarray of shape (n_samples,), an integer dtype
            Where they were, None for nowhere, and where they go.
        """
        n_clusters = self._parts.shape[2]
        for c, left in enumerate(columns):
            level = 0
            while left.any():
                if level == len(self._parts):
                    self._deepen()
                part = self._parts[level, c]
                cut = self._cut(c, level)
                share = left + cut
                share -= cut
                part += np.bincount(after, share, n_clusters)
                if before is not None:
                    part -= np.bincount(before, share, n_clusters)
                left -= share
                level += 1

    def add(self, other: "MovingSums") -> None:
        """Add the sums of other rows, which have the same ``most`` and ``n_samples``."""
        while len(self._parts) < len(other._parts):
            self._deepen()
        self._parts[: len(other._parts)] += other._parts

    def sums(self, clusters: NDArray[Any] | slice = slice(None)) -> Floats:
        """Return the sums (n_columns, n_clusters) of some clusters, each rounded once."""
        return _rounded(self._parts[:, :, clusters])

    def _cut(self, column: int, level: int) -> float:
        """Return what cuts parts of this level off, the coarsest first; the last leaves nothing."""
        unit = int(self._units[column]) - level * (self._digits + 1)
        return _ROUNDS * 2.0 ** max(unit, _LEAST)

    def _deepen(self) -> None:
        self._parts = np.concatenate([self._parts, np.zeros((1, *self._parts.shape[1:]))])


class RunningSums:
    """Exact sums of columns over the rows of each cluster, kept from one labelling to the next.

    Only rows whose label changes are looked at again.

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
        most = np.array([np.abs(column).max() for column in columns])
        self._moving = MovingSums(most, n_samples, n_clusters)
        self._sums = np.zeros((n_columns, n_clusters))

    def move(self, labels: Labels) -> Floats:
        """Return the sums (n_columns, n_clusters) for these labels, each rounded once."""
        changed = np.flatnonzero(labels != self._labels)
        if len(changed) == 0:
            return self._sums
        before, after = self._labels[changed], labels[changed].astype(np.intp)
        begun = before[0] >= 0  # all rows have a label after the first call, and none before
        touched = np.zeros(self._sums.shape[1], dtype=bool)
        touched[after] = True
        if begun:
            touched[before] = True
        which = slice(None) if len(changed) == len(labels) else changed
        columns = (np.array(column[which]) for column in self._columns)
        self._moving.move(columns, before.astype(np.intp) if begun else None, after)
        self._labels[changed] = labels[changed]
        self._sums[:, touched] = self._moving.sums(touched)
        return self._sums


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
