"""Refuse values and weights too large or too small for squared distances."""

from functools import cache
from math import isfinite, nan, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Rows
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.registry import PROVIDERS, load_kernel
from kmeans_lab.sparse.numerics import largest
from kmeans_lab.sparse.rows import SparseRows

Samples: TypeAlias = Any  # rows of an array, sparse ones, or such as are read when asked for

#: Number of rows, spread over the whole array, that are checked before all are.
_FEW = 64
#: Weights that differ by more have no common unit in float64.
_MOST_UNEQUAL = 1e308
#: Weights below this share of the largest are looked at together with the values of their rows.
_LIGHT = 2.0**-10
#: The largest finite value.
_MOST = float(np.finfo(np.float64).max)
#: The least product of a weight and a value that has all its digits.
_LEAST = float(np.finfo(np.float64).tiny)


def largest_of(rows: Rows, n_threads: int = 1) -> float:
    """Return the largest magnitude; NaN where a value is not finite.

    By the kernel that measures for all others, where it can run: it reads a value once.
    """
    plain = rows.flags.c_contiguous and rows.flags.aligned and rows.dtype.isnative
    known = plain and rows.dtype.type in (np.float32, np.float64)
    if known and (it := first_ready((PROVIDERS["measuring"],))):
        provider: Any = load_kernel(it)
        return float(provider.largest(rows, n_threads))
    low, high = float(rows.min()), float(rows.max())
    return max(-low, high) if isfinite(low) and isfinite(high) else nan


def refuse_overflow(largest: float, like: Samples) -> None:
    """Raise ``ValueError`` where the squared distances of rows like these would be infinite."""
    # A squared distance in the dtype, the sum of all of them in float64, and two bits to spare.
    one = most_of(like.dtype) / like.shape[1]
    limit = sqrt(min(one, _MOST / like.size)) / 4
    if largest > limit:
        raise ValueError(
            f"a value of {largest:.3g} overflows in a squared distance; {like.dtype} in this shape "
            f"{like.shape} takes values up to {limit:.3g}: scale X down" + _or_float64(like)
        )


def refuse_underflow(largest: float, rows: Samples) -> None:
    """Raise ``ValueError`` where rows differ and all of their squared distances would vanish."""
    least = least_of(rows.dtype)
    if 0 < largest < least:
        raise ValueError(
            f"no value is larger than {largest:.3g}, which underflows in a squared distance; "
            f"{rows.dtype} needs one of at least {least:.3g}: scale X up" + _or_float64(rows)
        )
    refuse_narrow(rows)


def refuse_narrow(rows: Samples) -> None:
    """Raise ``ValueError`` where rows differ, and too little: a constant column may be large."""
    least = least_of(rows.dtype)
    if 0 < (width := spread(rows, least)) < least:
        raise ValueError(
            f"no two values of a column differ by more than {width:.3g}, which underflows in a "
            f"squared distance; {rows.dtype} needs a difference of at least {least:.3g}: subtract "
            "the first row from all and scale X up" + _or_float64(rows)
        )


def refuse_vanishing(weights: NDArray[np.float64], rows: Samples) -> None:
    """Raise ``ValueError`` where a weight above 0 would count for nothing beside the largest.

    Sums and inertia are in units of the largest weight, so that none overflows.
    """
    some = np.where(weights > 0, weights, np.inf)
    i, largest = int(some.argmin()), float(weights.max())
    share = float(some[i]) / largest
    if share >= _LIGHT:
        return
    width = min(spread(rows, 1.0) or 1.0, 1.0) if share < np.finfo(np.float64).eps else 1.0
    if share * width**2 < 1 / _MOST_UNEQUAL:
        raise ValueError(
            f"sample_weight[{i}] is {some[i]:.3g} beside a largest one of {largest:.3g}, and "
            f"underflows in a squared distance times it; for this X, weights may differ by a "
            f"factor of up to {_MOST_UNEQUAL * width**2:.3g}: weigh the row 0, or more"
        )
    _refuse_lost_products(weights, rows, largest)


def _refuse_lost_products(weights: NDArray[np.float64], rows: Samples, largest: float) -> None:
    """Raise ``ValueError`` where a light weight times a value, which sums are made of, vanishes."""
    shares = weights / largest
    light = np.flatnonzero((shares > 0) & (shares < _LIGHT))
    for part in row_blocks(len(light), rows.shape[1]):
        some = light[part]
        values = rows[some]
        lost = (np.abs(values) * shares[some, None] < _LEAST) & (values != 0)
        if lost.any():
            row, f = np.argwhere(lost)[0].tolist()
            raise ValueError(
                f"sample_weight[{some[row]}] is {weights[some[row]]:.3g} beside a largest one of "
                f"{largest:.3g}, and underflows times {values[row, f]:.3g}, the value of its row "
                f"in feature {f}; their product must be at least {_LEAST:.3g} of the largest "
                "weight: weigh the row 0, or more, or scale the feature up"
            )


@cache
def most_of(dtype: np.dtype[np.floating]) -> float:
    """Return the largest finite value."""
    return float(np.finfo(dtype).max)


@cache
def least_of(dtype: np.dtype[np.floating]) -> float:
    """Return the least difference whose square has all its digits."""
    info = np.finfo(dtype)
    return float(np.sqrt(float(info.tiny) / float(info.eps)))


def spread(rows: Samples, enough: float) -> float:
    """Return the largest difference within a column, or one that is ``enough`` already."""
    if isinstance(rows, SparseRows):  # a column that does not store all of its values has a zero
        return largest(rows)
    if (found := float(abs(rows[-1, 0] - rows[0, 0]))) >= enough:  # as nearly always
        return found
    few = rows[:: max(1, len(rows) // _FEW)]
    found = float(np.abs(few - few[0]).max())
    if found >= enough:
        return found
    if hasattr(rows, "blocks"):  # they are read when they are asked for
        ends = [(block.rows.min(axis=0), block.rows.max(axis=0)) for block in rows.blocks()]
        low, high = zip(*ends, strict=True)
        return float((np.max(high, axis=0) - np.min(low, axis=0)).max())
    return float((rows.max(axis=0) - rows.min(axis=0)).max())


def _or_float64(rows: Samples) -> str:
    return " or use float64" if rows.dtype == np.float32 else ""
