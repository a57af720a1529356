"""Move the origin into the data, without rounding them.

A kernel that expands ‖x − c‖² loses digits when the data lie far from the origin, so the driver
subtracts a middle first and adds it back at the end. The middle is the column means rounded to a
coarse power of two, about one standard deviation: close enough for the expansion, and exact for
data on a grid — integers stay integers, so ties stay ties. A column whose mean lies within a few
deviations of the origin gets a middle of zero and is used as it is: the expansion loses little
there. So is a column in which any value would lose digits: rows near zero, beside many far ones.
Others are centered a block at a time, so that no second copy of X exists beside the rows that a
kernel prepares. Each new center is rounded to what the dtype holds in the coordinates of X, so that
adding the middle at the end changes none.
"""

from dataclasses import dataclass
from math import frexp, ldexp
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import ExactTotal, Floats
from kmeans_lab.numerics.moments import Moments, moments_of, moments_of_blocks
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.numerics import mean_variance
from kmeans_lab.sparse.rows import SparseRows

_MANY_VALUES = 1 << 24  # differences taken in one call
_NEAR = 4  # deviations that the mean of a column may lie off the origin without harm
_VANISHED = 2.0**-1072  # by which squares that underflow may be off, and their mean
#: Signs of the errors of variances and means: no error, then all combinations of the extremes.
_SIGNS = np.array([[0, 1, -1, 1, -1], [0, 1, 1, -1, -1]])[:, :, None]


@dataclass(frozen=True, slots=True, eq=False)
class Centered:
    """X relative to its middle; centered rows are computed when they are requested."""

    X: Array
    middle: Array  # (n_features,), in the dtype of X

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_samples, n_features)."""
        return self.X.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of X."""
        return self.X.dtype

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: Any) -> Array:
        taken = self.X[rows]
        if taken.size <= _MANY_VALUES:
            return np.asarray(taken - self.middle)
        centered = np.empty(taken.shape, taken.dtype)
        for some in row_blocks(len(taken), taken.shape[1], _MANY_VALUES):
            np.subtract(taken[some], self.middle, out=centered[some])
        return centered


#: Rows around the origin: those of X itself, where its middle is zero.
Samples: TypeAlias = Array | Centered | SparseRows | StreamedRows


def relative_to(
    X: Array | SparseRows | StreamedRows, middle: Array
) -> Array | Centered | SparseRows | StreamedRows:
    """Return rows less their middle, which is computed when rows are requested."""
    if isinstance(X, StreamedRows):
        return X.relative_to(middle)
    return Centered(X, middle) if middle.any() else X  # type: ignore[arg-type]


def largest_of(rows: Samples, moments: Moments | None) -> Floats | None:
    """Return the largest magnitude of each feature of rows that are read block by block."""
    if not isinstance(rows, StreamedRows) or moments is None:
        return None
    middle = np.zeros(rows.shape[1]) if rows.middle is None else rows.middle
    ends = (np.abs(end.astype(rows.dtype) - middle) for end in (moments.low, moments.high))
    return np.asarray(np.maximum(*ends), np.float64)


def middle_and_variance(
    X: Array | SparseRows | StreamedRows, moments: Moments | None = None
) -> tuple[Array, float]:
    """Return the middle (n_features,) in the dtype of X, and the mean variance of the features.

    Both are independent of the order of the rows: sums in float64 are used where their rounding
    cannot matter, which is nearly always, and exact ones where it could. The variance is a
    threshold's unit and has 24 binary digits. The moments are those of X, if they are known. Sparse
    rows stay where they are, and so does the origin: moved, they would store all of their values.
    """
    if isinstance(X, SparseRows):
        return np.zeros(X.n_features, X.dtype), mean_variance(X)
    n_samples = len(X)
    found = _moments(X) if moments is None else moments
    mean, variance, off, spread = _estimates(found, n_samples)
    total, least = float(np.add.reduce(variance)), variance - spread
    rounded, doubtful = _rounded(total), np.empty(0, np.intp)
    if ((np.abs(mean) + off) ** 2 < 9 * least).all():
        # All columns lie within three deviations of the origin: no middle is four steps away.
        middle, error = np.zeros(len(mean), X.dtype), float(np.add.reduce(spread))
        others = [_rounded(total + error), _rounded(total - error)]
    else:
        ends = np.maximum(variance + _SIGNS[0] * spread, 0)
        middles = _middle(mean + _SIGNS[1] * off, ends, X.dtype)
        middle, doubtful = middles[0], np.flatnonzero((middles != middles[0]).any(axis=0))
        others = [_rounded(end) for end in np.add.reduce(ends[1:3], axis=1).tolist()]
    certain = others == [rounded, rounded]
    if not certain:
        doubtful = np.arange(X.shape[1])
    if len(doubtful):
        mean[doubtful] = _exact_sums(X, doubtful) / n_samples
        variance[doubtful] = _exact_sums(X, doubtful, mean[doubtful]) / n_samples
        middle = _middle(mean, variance, X.dtype)
    middle[columns_that_lose(X, middle, found)] = 0
    return middle, (rounded if certain else _rounded(variance.sum())) / X.shape[1]


def _exact_sums(
    X: Array | StreamedRows, columns: NDArray[np.intp], mean: Floats | None = None
) -> Floats:
    """Return the sum of each of these columns or, with means, of its squared deviations."""
    totals = [ExactTotal() for _ in columns]
    for some in row_blocks(len(X), X.shape[1], 1 << 20):
        values = X[some, columns].astype(np.float64)
        if mean is not None:
            values -= mean
            values *= values
        for total, column in zip(totals, values.T, strict=True):
            total.add(np.array(column))
    return np.array([total.value() for total in totals])


def _estimates(found: Moments, n_samples: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return means and variances, and how far exact sums may be from them.

    n additions in a row are off by no more than n/2 units of rounding of the sum of what is added.
    A column of equal values is what exact sums say: they are rounded once.
    """
    to_pivot, square = found.sums / n_samples, found.squares / n_samples
    mean = found.pivot + to_pivot
    variance = square - to_pivot * to_pivot
    unit = (found.additions + 8) * np.finfo(np.float64).eps
    off = unit * (np.sqrt(square) + np.abs(found.pivot) + np.abs(mean))
    spread = 2 * unit * square + off * off + _VANISHED
    same = found.low == found.high
    if same.any():
        value = found.low[same]
        mean[same] = value * n_samples / n_samples
        variance[same] = (value - mean[same]) ** 2 * n_samples / n_samples
        off[same] = spread[same] = 0
    return mean, variance, off, spread


def _middle(
    mean: NDArray[np.float64], variance: NDArray[np.float64], dtype: np.dtype[Any]
) -> Array:
    # frexp: std = fraction · 2**exponent with fraction in [½, 1).
    _, exponent = np.frexp(np.sqrt(variance))
    # A constant column is its own middle: the grid is the resolution of the dtype at the mean, and
    # none can be finer.
    finest = np.spacing(np.abs(mean).astype(dtype)).astype(np.float64)
    grid = np.maximum(np.where(variance > 0, np.ldexp(1.0, exponent), 0), finest)
    steps = np.rint(mean / grid)
    return np.asarray((np.where(np.abs(steps) < _NEAR, 0, steps) * grid).astype(dtype))


def _moments(X: Array | StreamedRows) -> Moments:
    if isinstance(X, StreamedRows):
        return moments_of_blocks(block.rows for block in X.blocks())
    return moments_of(X)


def columns_that_lose(
    X: Array | StreamedRows, middle: Array, moments: Moments | None = None
) -> NDArray[np.intp]:
    """Return the columns in which x − middle + middle is not x for some value.

    A difference between values within a factor of two of each other is exact (Sterbenz, 1974): only
    columns with other values are looked at twice.
    """
    if not middle.any():
        return np.empty(0, dtype=np.intp)
    found = _moments(X) if moments is None else moments
    size = np.abs(middle)
    least = np.where(middle > 0, found.low, -found.high)
    largest = np.maximum(-found.low, found.high)
    exact = (least > 0.51 * size) & (largest < 1.99 * size)
    doubtful = np.flatnonzero((middle != 0) & ~exact)
    if len(doubtful) == 0:
        return doubtful
    lossy = np.zeros(len(doubtful), dtype=bool)
    for some in row_blocks(len(X), len(doubtful)):
        values = X[some, doubtful]
        back = values - middle[doubtful]
        back += middle[doubtful]
        lossy |= (back != values).any(axis=0)
    return doubtful[lossy]


def _rounded(variance: float) -> float:
    fraction, exponent = frexp(variance)
    return ldexp(round(ldexp(fraction, 24)), exponent - 24)
