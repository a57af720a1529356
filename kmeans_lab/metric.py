"""How rows are compared: by the distance between them, or by their angle.

``metric="cosine"`` is spherical k-means (Dhillon and Modha, "Concept decompositions for large
sparse text data using clustering", Machine Learning 42, 2001). Rows are scaled to length 1 before
the fit, means after each step, and all else is k-means as it is, whatever the kernel: for x and c
of length 1, ‖x − c‖² is 2 (1 − cos(x, c)). So the nearest center is the one at the least angle,
k-means++ draws by 1 − cos, and the inertia, Σ (1 − cos), is half the sum of squared distances.
Taken from differences it keeps its digits where angles are small; 1 − x·c would lose them.

Scaled vectors have length 1 up to rounding. If they are 1 + a and 1 + b long, half the squared
distance is (1 + a)(1 + b)(1 − cos) + (a − b)² / 2: right up to rounding, and to some 10⁻³² in
absolute terms (in float32 10⁻¹⁴). A length that is a power of two up to rounding counts as that
power. So scaling twice is scaling once, a center that is a row is that row bit for bit, and rows
that have length 1 are used as they are, without a copy.
"""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array, MeasuresRows
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.sparse.numerics import scaled_to_one
from kmeans_lab.sparse.rows import SparseRows

METRICS = ("euclidean", "cosine")

Floats = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_SIDE = 8  # features whose squares are added side by side, as the flagship's vectors do
_LEAST, _MOST = (
    2.0**-800,
    2.0**800,
)  # squared lengths that no value has underflowed or overflowed in
_FEW = 64  # rows, spread over all, that say whether a copy is needed


def exponent_of(metric: str) -> int:
    """Return the exponent of the power of two that squared distances are taken times: ½ or 1."""
    return -1 if metric == "cosine" else 0


@overload
def unit_rows(
    rows: SparseRows, kernel: Any = None, n_threads: int = 1, *, name: str = "X"
) -> SparseRows: ...
@overload
def unit_rows(
    rows: Array,
    kernel: MeasuresRows | None = None,
    n_threads: int = 1,
    *,
    name: str = "X",
    dtype: np.dtype[np.floating] | None = None,
    first: int | None = None,
) -> Array: ...
def unit_rows(
    rows: Any,
    kernel: MeasuresRows | None = None,
    n_threads: int = 1,
    *,
    name: str = "X",
    dtype: np.dtype[np.floating] | None = None,
    first: int | None = None,
) -> Any:
    """Return rows scaled to length 1, the same bits on every processor.

    Parameters
    ----------
    rows : ndarray or SparseRows of shape (n_samples, n_features), float32 or float64
        An array is C-contiguous. Of any magnitude. Where one value of an array is not finite, all
        values of its row become NaN.
    kernel : module, optional
        One that measures rows, with ``n_threads``; NumPy by default, which gives the same bits.
    name : str
        What error messages call the rows.
    dtype : dtype, optional
        That of the rows' values, where it is not that of the array.
    first : int, optional
        The number of the first row, for error messages, where these are some of all rows.

    Returns
    -------
    ndarray
        Of the shape and dtype of the rows; the rows themselves where all have length 1 already.

    Raises
    ------
    ValueError
        A row holds only zeros.
    """
    if isinstance(rows, SparseRows):
        return _sparse_units(rows, name, first or 0)
    n_samples, n_features = rows.shape
    divide = _divide_by_lengths if kernel is None else kernel.divide_by_lengths
    within, lengths = rounding(n_features, dtype or rows.dtype), np.empty(n_samples)
    few = np.ascontiguousarray(rows[:: max(1, n_samples // _FEW)])
    for some in (few, rows):
        divide(some, within, lengths[: len(some)], None, n_threads)
        if not (lengths[: len(some)] == 1).all():
            break
    else:
        return rows
    units = np.empty_like(rows)
    divide(rows, within, lengths, units, n_threads)
    extreme = np.flatnonzero(lengths == 0)
    if len(extreme):
        _refuse_zeros(rows, extreme, name, first)
        for part in row_blocks(len(extreme), n_features):
            units[extreme[part]] = _extreme_units(rows[extreme[part]], within)
    return units


def _sparse_units(rows: SparseRows, name: str, first: int) -> SparseRows:
    within = rounding(rows.n_features, rows.dtype)
    units, zeros = scaled_to_one(rows, lambda squares: _snapped(np.sqrt(squares), within))
    if len(zeros):
        raise ValueError(
            _no_direction(name, zeros + first, f"keep {name}[{name}.count_nonzero(axis=1) > 0]")
        )
    return units


def _lengths_of(squares: Floats, within: float) -> Floats:
    """Return lengths, 0 where a square leaves the range of float64."""
    inside = (squares >= _LEAST) & (squares <= _MOST)
    return np.where(inside, _snapped(np.sqrt(np.where(inside, squares, 0.0)), within), 0.0)


def _snapped(length: Floats, within: float) -> Floats:
    """Return lengths; those that are a power of two up to rounding as that power."""
    fraction, exponent = np.frexp(length)  # in [½, 1)
    length = np.where(fraction <= 0.5 * (1 + within), np.ldexp(0.5, exponent), length)
    return np.where(fraction >= 1 - within, np.ldexp(1.0, exponent), length)


def rounding(n_features: int, dtype: np.dtype[np.floating]) -> float:
    """Return by what share the length of a row that was scaled may be off, as it is computed.

    Each value is rounded to the dtype, once or with a middle twice; and the sum of squares by each
    of the additions that follow one another.
    """
    return 2 * float(np.finfo(dtype).eps) + (_SIDE + n_features // _SIDE) * _EPS


def _divide_by_lengths(
    X: Array, within: float, lengths: Floats, out: Array | None, n_threads: int
) -> None:
    """Do what ``MeasuresRows.divide_by_lengths`` does, in NumPy."""
    n_samples, n_features = X.shape
    for part in row_blocks(n_samples, max(n_features, _SIDE)):
        with np.errstate(all="ignore"):  # what leaves the range is left to the caller
            squares = X[part].astype(np.float64)
            squares *= squares
            whole = n_features // _SIDE * _SIDE
            side = squares[:, :whole].reshape(len(squares), whole // _SIDE, _SIDE)
            sums = np.add.reduce(side, axis=1)  # not the last axis: one after the other
            sums[:, : n_features - whole] += squares[:, whole:]
            for half in (4, 2, 1):
                sums[:, :half] += sums[:, half : 2 * half]
        square = sums[:, 0]
        length = _lengths_of(square, within)
        lengths[part] = length
        if out is not None:
            by = np.where(length > 0, length, 1.0)
            np.divide(X[part], by[:, None], out=out[part], casting="same_kind")


def _extreme_units(rows: Array, within: float) -> Array:
    """Scale rows whose squares leave the range of float64: first by powers of two."""
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=1)
    finite = np.isfinite(largest)
    wide[~finite] = np.nan
    wide[finite] = np.ldexp(wide[finite], -np.frexp(largest[finite])[1][:, None])
    _divide_by_lengths(wide, within, np.empty(len(wide)), wide, 1)
    return wide


def _refuse_zeros(rows: Array, which: NDArray[np.intp], name: str, first: int | None) -> None:
    zeros = [
        which[part][~rows[which[part]].any(axis=1)]
        for part in row_blocks(len(which), rows.shape[1])
    ]
    found = np.concatenate(zeros)
    if len(found):
        remedy = "keep X[X.any(axis=1)]" if name == "X" else "give another center"
        at = 0 if first is None else first
        among = " rows" if first is None else f" of rows {at} to {at + len(rows) - 1}"
        raise ValueError(_no_direction(name, found + at, remedy, among))


def _no_direction(name: str, zeros: NDArray[np.intp], remedy: str, among: str = " rows") -> str:
    others = f" ({len(zeros)}{among} do)" if len(zeros) > 1 else ""
    return (
        f"{name}[{zeros[0]}] holds only zeros{others} and metric='cosine' needs directions, "
        f"which zeros have none of; {remedy}, or use metric='euclidean'"
    )


def directed(means: Array, rows: Any) -> Array:
    """Return means; those that have no direction, as their rows cancel, become a row each."""
    lengths = np.empty(len(means))
    _divide_by_lengths(means, 0.0, lengths, None, 1)
    lost = np.flatnonzero(lengths <= indistinct(rows.dtype, len(rows)))
    if len(lost):
        means = means.copy()
        means[lost] = rows[lost]  # of sparse rows, too: a few rows are an array
    return means


def indistinct(dtype: np.dtype[np.floating], n_samples: int) -> float:
    """Return how long the mean of rows of length 1 may be by rounding alone."""
    return (n_samples + 8) * _EPS + 2 * float(np.finfo(dtype).eps)


class Directions:
    """Scales the means of clusters to length 1.

    A mean that is no longer than rounding explains has no direction: its rows cancel, as x and −x
    do. All centers are as near to them, and their cluster keeps its own.

    Parameters
    ----------
    n_clusters : int
    middle : ndarray of shape (n_features,)
        What means and centers are relative to, in their dtype.
    n_samples : int
        Rows that a mean may be of.
    kernel : module, optional
        One that measures rows; NumPy by default, which gives the same bits.
    """

    def __init__(
        self, n_clusters: int, middle: Array, n_samples: int, kernel: MeasuresRows | None = None
    ) -> None:
        self._divide = _divide_by_lengths if kernel is None else kernel.divide_by_lengths
        self._within = rounding(len(middle), middle.dtype)
        self._least = indistinct(middle.dtype, n_samples)
        self._middle = middle if middle.any() else None
        self._lengths, self._units = np.empty(n_clusters), np.empty((n_clusters, len(middle)))

    def lengths_of(self, squares: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the lengths of means of these squares, and which of them have a direction."""
        lengths = _lengths_of(squares, self._within)
        return lengths, lengths > self._least

    def scale(self, means: Floats, old: Array, new: Array) -> None:
        """Overwrite new with the means, which are overwritten; old are the centers so far."""
        if self._middle is not None:
            means += self._middle
        self._divide(means, self._within, self._lengths, self._units, 1)
        new[:] = self._units  # rounded in the coordinates of X, where it is returned
        if self._middle is not None:
            new -= self._middle
        if np.minimum.reduce(self._lengths) <= self._least:
            lost = self._lengths <= self._least
            new[lost] = old[lost]


def to_cosine(distances: Array) -> Array:
    """Turn distances between vectors of length 1 into 1 − cos, in place."""
    for part in row_blocks(len(distances), distances.shape[1]):
        some = distances[part]
        np.multiply(some, some, out=some)
        np.multiply(some, 0.5, out=some)
        np.minimum(some, 2, out=some)  # of opposite vectors, which rounding may have made longer
    return distances
