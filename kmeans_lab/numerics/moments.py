"""Sums, squares and ends of each column of X, from one look at it.

They decide whether values are finite and how large they are, where the origin is moved, and the
unit of the default stop rule. A kernel that measures rows does it in a fraction of NumPy's time,
where it is the kernel of the fit: no fit loads another one than its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from kmeans_lab.kernel import Array, MeasuresRows
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import Floats

_ROW_VALUES = 1024  # values laid side by side in one long row
#: Values of X from which on it is measured block by block: of 10⁷ additions in a row, every tenth
#: total would have to be added up again exactly, which takes 50 times as long.
_BLOCK_VALUES = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What one look at X found in each column: arrays of shape (n_features,), float64.

    Attributes
    ----------
    pivot : ndarray
        A number amid the values.
    low, high : ndarray
        The least and the largest value.
    sums, squares : ndarray
        Of all differences from the pivot, and of their squares, as float64 happens to add them up.
        A value that is not finite leaves a square that is not.
    additions : int
        That follow one another: a sum is off by no more than so many roundings.
    """

    pivot: Floats
    low: Floats
    high: Floats
    sums: Floats
    squares: Floats
    additions: int

    def largest(self) -> float:
        """Return the largest magnitude; NaN where a value is not finite."""
        if not isfinite(np.maximum.reduce(self.squares)):
            return nan  # or squares have overflowed
        return float(max(-np.minimum.reduce(self.low), np.maximum.reduce(self.high)))


def moments_of(X: Array, kernel: MeasuresRows | None = None, n_threads: int = 1) -> Moments:
    """Return the moments of the columns of X: C-contiguous, float32 or float64, not empty."""
    if X.size > _BLOCK_VALUES:
        parts = row_blocks(len(X), X.shape[1], _BLOCK_VALUES)
        return moments_of_blocks((X[part] for part in parts), kernel, n_threads)
    return _measured(X, kernel, n_threads)


def moments_of_blocks(
    blocks: Iterable[Array],
    kernel: MeasuresRows | None = None,
    n_threads: int = 1,
    pivot: Floats | None = None,
) -> Moments:
    """Return the moments of rows that come in blocks, of which there is at least one.

    Around a pivot, by default the means of the first block. Sums of blocks are added up, so that
    few additions follow one another.
    """
    found = []
    for block in blocks:
        if pivot is None:
            with np.errstate(all="ignore"):  # values may be not finite, or too large
                pivot = _column_sums(block) / len(block)
        found.append(_measured(block, kernel, n_threads, pivot))
    return joined(found)


def joined(moments: list[Moments]) -> Moments:
    """Return the moments of all rows from those of blocks, around the same pivot."""
    return Moments(
        moments[0].pivot,
        np.minimum.reduce([it.low for it in moments]),
        np.maximum.reduce([it.high for it in moments]),
        np.add.reduce([it.sums for it in moments]),
        np.add.reduce([it.squares for it in moments]),
        max(it.additions for it in moments) + len(moments) - 1,
    )


def _measured(
    X: Array, kernel: MeasuresRows | None, n_threads: int, pivot: Floats | None = None
) -> Moments:
    if kernel is None:
        return _in_numpy(X, pivot)
    pivot, low, high, sums, squares = kernel.moments(X, n_threads, pivot)
    return Moments(pivot, low, high, sums, squares, len(X))


@np.errstate(all="ignore")  # values may be not finite, or too large
def _in_numpy(X: Array, pivot: Floats | None = None) -> Moments:
    """Return moments around a pivot: by default the means, whose differences vanish together."""
    mean = _column_sums(X) / len(X) if pivot is None else pivot
    squares = _column_sums(X, mean)
    low, high = (_reduced(end, X).astype(np.float64) for end in (np.minimum, np.maximum))
    sums = np.zeros(len(mean)) if pivot is None else _column_sums(X) - len(X) * pivot
    return Moments(mean, low, high, sums, squares, len(X))


def _reduced(end: np.ufunc, X: Array) -> Array:
    wide, rest = _side_by_side(X)
    ends = end.reduce(end.reduce(wide, axis=0).reshape(-1, X.shape[1]), axis=0)
    return np.asarray(end(ends, end.reduce(rest, axis=0)) if len(rest) else ends)


def _side_by_side(X: Array) -> tuple[Array, Array]:
    """Return rows laid side by side in long ones, and the rest of the rows.

    NumPy computes fast along long rows and slowly along short ones: the sums of the standard preset
    take 0.1 ms instead of 0.8.
    """
    n_samples, n_features = X.shape
    side = max(1, min(n_samples, _ROW_VALUES // n_features))
    whole = n_samples // side * side
    return X[:whole].reshape(-1, side * n_features), X[whole:]


def _column_sums(X: Array, mean: Floats | None = None) -> Floats:
    """Return the sum of each column or, with a mean, of its squared deviations, in float64."""
    wide, rest = _side_by_side(X)
    sums = np.zeros(wide.shape[1])
    tiled = None if mean is None else np.tile(mean, wide.shape[1] // X.shape[1])
    for some in row_blocks(len(wide), wide.shape[1]):
        sums += _sums(wide[some], tiled)
    return np.asarray(sums.reshape(-1, X.shape[1]).sum(axis=0) + _sums(rest, mean))


def _sums(rows: Array, mean: Floats | None) -> Floats:
    if mean is None:
        return np.asarray(np.add.reduce(rows, axis=0, dtype=np.float64))
    deviations = rows - mean
    deviations *= deviations
    return np.asarray(np.add.reduce(deviations, axis=0))
