# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Sums that are exact until they are rounded, once, to float64: the tiled kernel's, in Numba.

Every value is cut into limbs, integers that count multiples of a power of two, and integers add up
without rounding. So a sum does not depend on the order of the rows, nor on chunks and threads, and
a row that leaves a cluster takes out exactly what it brought. A column's largest and smallest
magnitudes say which powers of two it needs.

Squared lengths and distances are float64, rounded as they are in every kernel. They add up in 70
integers that cover whatever a float64 can hold.

These functions are called from Python alone, and none calls one of another file: Numba's cache
would not see that other file change.
"""

from __future__ import annotations

from math import ldexp
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from kmeans_lab.tuned.numba_jit import jit

GROUP = 4  # features that move together
_MOST_BITS = 40  # of a limb; fewer where so many rows could overflow an integer
_SMALLEST = -1074  # the exponent of the smallest float64
_LARGEST = 971  # of a unit: beyond it the number that rounds to it is infinite

# The squares' accumulator: digits to the base 2³², and how many values were infinite or no number.
_DIGITS, _INFINITE, _NONE, BINS = 68, 68, 69, 70
_FRACTION, _LOW = 2**52 - 1, 2**32 - 1


class Grid(NamedTuple):
    """The way in which the values of each column are cut into limbs.

    Limb q of a column counts multiples of its unit, which is 2 to the power ``bits`` smaller than
    that of limb q − 1. Adding ``magic``, 1.5 · 2⁵² units, rounds to such a multiple.
    """

    bits: int
    magic: Any  # (n_limbs, n_features rounded up to groups)
    unit: Any  # (n_features,): of the last limb; not a number where the column cannot be summed
    exponent: Any  # (n_features,): that of the unit

    @property
    def rounding(self) -> tuple[int, Any, Any]:
        """The quantities on which a sum's rounding depends."""
        return self.bits, self.unit, self.exponent


def lay_grid(ends: Any, dtype: Any, n_samples: int) -> Grid:
    """Return the coarsest limbs that hold every bit of every column, and all sums of its rows."""
    n_features = ends.shape[1]
    kind = np.finfo(dtype)
    bits = min(_MOST_BITS, 62 - n_samples.bit_length())
    highest = ends[0].view(dtype)
    lowest = (ends[1] + 1).view(dtype)  # of all but zeros
    fits = np.isfinite(highest)
    empty = ~fits | (highest == 0)
    top = np.frexp(np.where(empty, 0, highest))[1].astype(np.int64) - (bits - 2)
    last = np.frexp(np.where(empty, 0, lowest))[1].astype(np.int64) - int(kind.nmant) - 1
    last = np.maximum(last, int(kind.minexp) - int(kind.nmant))
    last[empty] = top[empty]
    n_limbs = max(1 - int(((last - top) // bits).min()), 1)
    top = np.maximum(top, _SMALLEST + bits * (n_limbs - 1))
    fits &= top <= _LARGEST
    top[~fits] = 0
    magic = np.zeros((n_limbs, -(-n_features // GROUP) * GROUP))
    for q in range(n_limbs):
        magic[q, :n_features] = np.ldexp(1.5 * 2.0**52, top - bits * q)
    exponent = top - bits * (n_limbs - 1)
    return Grid(bits, magic, np.where(fits, np.ldexp(1.0, exponent), np.nan), exponent)


@intrinsic
def _pattern(typing_context: Any, value: Any) -> Any:
    """Return the bits of a float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@jit()
def _deposit(value: float, bins: Any) -> None:
    """Add what is not negative to an accumulator."""
    pattern: Any = _pattern(value) & (2**63 - 1)  # type: ignore[call-arg]
    field, fraction = pattern >> 52, pattern & _FRACTION
    if field == 2047:
        bins[_INFINITE if fraction == 0 else _NONE] += 1
        return
    if field > 0:
        fraction |= 2**52
        field -= 1
    at, shift = field >> 5, field & 31
    low, high = (fraction & _LOW) << shift, (fraction >> 32) << shift
    bins[at] += low & _LOW
    bins[at + 1] += (low >> 32) + (high & _LOW)
    bins[at + 2] += high >> 32


@jit()
def _carry(bins: Any) -> None:
    """Make room: then 2²⁹ more values can be added without an overflow."""
    for i in range(_DIGITS - 1):
        bins[i + 1] += bins[i] >> 32
        bins[i] &= _LOW


@jit()
def _round(limbs: Any, bits: int, exponent: int) -> float:
    """Return the float64 nearest to limbs, the first of which counts most; ties to even."""
    n, mask = limbs.shape[0], (1 << bits) - 1
    for q in range(n - 1, 0, -1):
        limbs[q - 1] += limbs[q] >> bits
        limbs[q] &= mask
    sign = 1.0
    if limbs[0] < 0:
        sign = -1.0
        for q in range(n):
            limbs[q] = -limbs[q]
        for q in range(n - 1, 0, -1):
            limbs[q - 1] += limbs[q] >> bits
            limbs[q] &= mask
    held = limbs[0]
    exponent += bits * (n - 1)
    rest = 0  # of bits below the first 62, only whether one is set matters
    for q in range(1, n):
        length: Any = (_pattern(np.float64(held)) >> 52) - 1022  # type: ignore[call-arg]
        take = min(max(62 - length, 0), bits)
        left = bits - take
        held = (held << take) | (limbs[q] >> left)
        rest |= limbs[q] & ((1 << left) - 1)
        exponent -= take
    if rest != 0:
        held |= 1
    return sign * ldexp(np.float64(held), exponent)


@jit()
def total(bins: Any) -> float:
    """Return the sum of all that was added to an accumulator, rounded once."""
    limbs = np.empty(_DIGITS, np.int64)
    if bins[_NONE] > 0:
        return float(np.nan)
    if bins[_INFINITE] > 0:
        return float(np.inf)
    for i in range(_DIGITS):
        limbs[i] = bins[_DIGITS - 1 - i]
    return float(_round(limbs, 32, _SMALLEST))


@jit()
def fill(
    rows: Any, tiles: Any, reach: Any, lengths: Any, share: int, notes: Any, bins: Any, keeps: bool
) -> None:
    """Transpose the rows; note how long they are, exactly where that is kept."""
    n_samples, n_features = rows.shape
    width = tiles.shape[2]
    for t in range(reach.shape[0]):
        longest = 0.0
        for p in range(min(width, n_samples - t * width)):
            square = 0.0
            for f in range(n_features):
                value = rows[t * width + p, f]
                tiles[t, f, p] = value
                square += np.float64(value) * np.float64(value)
            if lengths.shape[0] > 0:
                lengths[t * width + p] = square
            longest = max(longest, square)
            notes[t // share, 0] += square
            if keeps:
                _deposit(square, bins)
        reach[t] = longest
    _carry(bins)


@jit()
def find_ends(patterns: Any, mask: int, ends: Any) -> None:
    """Widen the bits of each column's largest magnitude, and of the smallest but zero, less 1."""
    for t in range(patterns.shape[0]):
        for f in range(ends.shape[1]):
            values = patterns[t, f]
            high, low = np.int64(ends[0, f]), np.int64(ends[1, f])
            for p in range(values.shape[0]):
                magnitude = values[p] & mask
                high = max(high, magnitude)
                low = min(low, (magnitude - 1) & mask)  # zero becomes the largest of all
            ends[0, f], ends[1, f] = high, low


@jit()
def join(
    parts: Any, sizes: Any, touched: Any, bits: int, unit: Any, exponent: Any, sums: Any,
    counts: Any,
) -> None:  # fmt: skip
    """Overwrite the sums and counts of clusters that a row has entered or left in any chunk."""
    n_chunks, _, n_limbs, _ = parts.shape
    whole, limbs = np.empty(parts.shape[2:], np.int64), np.empty(n_limbs, np.int64)
    mask, exact, up = (1 << bits) - 1, 2**53, ldexp(1.0, bits)
    for j in range(counts.shape[0]):
        news = False
        for c in range(n_chunks):
            news |= touched[c, j]
            touched[c, j] = False
        if not news:
            continue
        whole[:] = 0
        counts[j] = 0
        for c in range(n_chunks):
            counts[j] += sizes[c, j]
            for q in range(n_limbs):
                part, own = parts[c, j, q], whole[q]
                for f in range(own.shape[0]):
                    own[f] += part[f]
        for f in range(sums.shape[1]):
            if n_limbs == 1:
                sums[j, f] = np.float64(whole[0, f]) * unit[f]
                continue
            if n_limbs == 2:
                high, low = whole[0, f] + (whole[1, f] >> bits), whole[1, f] & mask
                if -exact < high < exact:
                    sums[j, f] = (np.float64(high) * up + np.float64(low)) * unit[f]
                    continue
            for q in range(n_limbs):
                limbs[q] = whole[q, f]
            sums[j, f] = _round(limbs, bits, exponent[f])
            if np.isnan(unit[f]):
                sums[j, f] = np.nan


@jit()
def inertia_of(squares: float, centers: Any, sums: Any, counts: Any) -> float:
    """Return Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum), not below zero."""
    inertia = squares
    for j in range(sums.shape[0]):
        change = 0.0
        for f in range(sums.shape[1]):
            value = np.float64(centers[j, f])
            change += value * (counts[j] * value - 2 * sums[j, f])
        inertia += change
    return max(inertia, 0.0)


@jit()
def add_distances(X: Any, centers: Any, labels: Any, bins: Any) -> None:
    """Add the rows' squared distances to an accumulator; four rows hide the wait for additions."""
    n, d = X.shape
    four = n - n % 4
    for i in range(0, four, 4):
        j0, j1, j2, j3 = labels[i], labels[i + 1], labels[i + 2], labels[i + 3]
        s0 = s1 = s2 = s3 = 0.0
        for f in range(d):
            d0 = np.float64(X[i, f]) - np.float64(centers[j0, f])
            d1 = np.float64(X[i + 1, f]) - np.float64(centers[j1, f])
            d2 = np.float64(X[i + 2, f]) - np.float64(centers[j2, f])
            d3 = np.float64(X[i + 3, f]) - np.float64(centers[j3, f])
            s0 += d0 * d0
            s1 += d1 * d1
            s2 += d2 * d2
            s3 += d3 * d3
        _deposit(s0, bins)
        _deposit(s1, bins)
        _deposit(s2, bins)
        _deposit(s3, bins)
    for i in range(four, n):
        s = 0.0
        for f in range(d):
            diff = np.float64(X[i, f]) - np.float64(centers[labels[i], f])
            s += diff * diff
        _deposit(s, bins)
    _carry(bins)
