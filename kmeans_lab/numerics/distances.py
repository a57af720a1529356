"""Distances between rows and centers, and nearest centers, that agree to the last bit.

They keep their digits wherever the origin is. Most distances are a matrix product, about the mean
of the centers. Those to which it may cost digits, and those that decide which center is the
nearest, are summed as the reference kernel sums them: Σ(x − c)² in float64, in the order of the
features. A kernel that looks at rows as they are, without preparing them, computes where there is
one; NumPy where there is none.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.blocks import row_blocks, rows_of_a_block
from kmeans_lab.registry import PROVIDERS, find_spec, load_kernel
from kmeans_lab.sparse import nearest as sparse
from kmeans_lab.sparse.rows import SparseRows

Squares = NDArray[np.float64]

_BLOCK_VALUES = 1 << 20  # values of X whose differences are held at once
_ROW_VALUES = 1024  # values laid side by side in one long row
_FEW_FEATURES = 12  # with so few, differences are as fast as the product
_FEW_PAIRS = 1 << 20  # pairs of values: differences take a millisecond
_FEW_VALUES = 1 << 12  # values of X: finding a better origin takes longer than it saves
_MANY = 8  # from an eighth of a block on, differences for all of it are faster
#: The relative error of a square that the product gives is at most this.
_ERROR = 2.0**-40


def distances(X: Array | SparseRows, centers: Array, n_threads: int = 1) -> Array:
    """Return the distance of each row to each center.

    Parameters
    ----------
    X : ndarray or SparseRows of shape (n_samples, n_features), float32 or float64
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
    n_threads : int
        They share the work where the kernel that measures for all others can run.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters)
        In the wider dtype of both; computed in float64. The smallest one of a row is that of the
        center that ``nearest`` gives it.
    """
    if isinstance(X, SparseRows):
        return sparse.distances(X, centers)
    found = np.empty((len(X), len(centers)), dtype=np.result_type(X, centers))
    if first_ready((PROVIDERS["measuring"],)) is None:
        _in_numpy(X, centers, found)
        return found
    provider: Any = load_kernel(PROVIDERS["measuring"])
    wide = np.ascontiguousarray(centers, dtype=found.dtype)
    for part, rows in _parts(X, found.dtype):
        provider.distances(rows, wide, found[part], n_threads)
    return found


def _in_numpy(X: Array, centers: Array, found: Array) -> None:
    with one_blas_thread(), np.errstate(under="ignore"):
        for part, squares in _squares(X, centers):
            np.sqrt(squares, out=found[part], casting="same_kind")


def _parts(X: Array, dtype: np.dtype[Any]) -> Iterator[tuple[slice, Array]]:
    """Yield slices of rows and the rows, contiguous and of a dtype; all at once where they are."""
    if X.dtype == dtype and X.flags.c_contiguous:
        yield slice(0, len(X)), X
        return
    for part in row_blocks(len(X), X.shape[1], _BLOCK_VALUES):
        yield part, np.ascontiguousarray(X[part], dtype=dtype)


def nearest(kernel: str, X: Array | SparseRows, centers: Array, n_threads: int = 1) -> Labels:
    """Return the center that is nearest to each row, the first of those that are equally near.

    Parameters
    ----------
    kernel : str
        The kernel that computes. Where it rounds in its own way, near-ties are decided again.
    X : ndarray or SparseRows of shape (n_samples, n_features), float32 or float64
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
    n_threads : int
        They share the work where the kernel looks at rows without preparing them.

    Returns
    -------
    ndarray of shape (n_samples,), int32
    """
    if isinstance(X, SparseRows):
        return sparse.nearest(kernel, X, centers)
    if look := getattr(load_kernel(kernel), "label_rows", None):
        dtype = np.result_type(X, centers)
        wide, labels = np.ascontiguousarray(centers, dtype=dtype), np.empty(len(X), dtype=np.int32)
        for part, rows in _parts(X, dtype):
            look(rows, wide, labels[part], n_threads)
        return labels
    with np.errstate(under="ignore"):
        labels = _by_kernel(kernel, X, centers)
    if not find_spec(kernel).exact:
        _decide_again(X, centers, labels)
    return labels


def _by_kernel(kernel: str, X: Array, centers: Array) -> Labels:
    """Return the kernel's labels, from an origin that costs no digits."""
    spec, module = find_spec(kernel), load_kernel(kernel)
    dtype = np.result_type(X, centers)
    if dtype.name not in spec.dtypes:
        dtype = np.dtype(np.float64)
    wide = np.ascontiguousarray(centers, dtype=dtype)
    labels = np.empty(len(X), dtype=np.int32)
    if X.size <= _FEW_VALUES:
        module.assign(np.ascontiguousarray(X, dtype=dtype), wide, labels)
        return labels
    middle, low, high = _exact_middle(wide)
    near = wide - middle
    for part in row_blocks(len(X), X.shape[1], _BLOCK_VALUES):
        rows, mine = np.ascontiguousarray(X[part], dtype=dtype), labels[part]
        if not middle.any():
            module.assign(rows, wide, mine)
        elif _all_within(rows, low, high):
            module.assign(rows - middle, near, mine)
        else:
            within = ((rows >= low) & (rows <= high)).all(axis=1)
            for some, origin, moved in ((within, middle, near), (~within, 0, wide)):
                found = np.empty(np.count_nonzero(some), dtype=np.int32)
                if len(found):
                    module.assign(rows[some] - origin, moved, found)
                mine[some] = found
    return labels


def _all_within(rows: Array, low: Array, high: Array) -> bool:
    """Compare the extremes of columns; of several rows side by side, as long rows are faster."""
    n_samples, n_features = rows.shape
    side = max(1, min(n_samples, _ROW_VALUES // n_features))
    whole = n_samples // side * side
    for some, n in ((rows[:whole].reshape(-1, side * n_features), side), (rows[whole:], 1)):
        if len(some) and (some.min(axis=0) < np.tile(low, n)).any():
            return False
        if len(some) and (some.max(axis=0) > np.tile(high, n)).any():
            return False
    return True


def _exact_middle(centers: Array) -> tuple[Array, Array, Array]:
    """Return a point to move the origin to, and the bounds of what is moved without rounding.

    A kernel that expands ‖x − c‖² is slow far from the origin, where it has to look at many rows
    twice. y − m is exact for m/2 ≤ y ≤ 2m (Sterbenz, "Floating-Point Computation", 1974), so that
    the kernel then sees the same differences x − c. A feature whose centers are spread widely
    relative to their distance from the origin is near enough to it already; where they are not,
    hardly any row lies outside the bounds.
    """
    middle = centers.mean(axis=0, dtype=np.float64).astype(centers.dtype)
    low, high = np.minimum(middle / 2, 2 * middle), np.maximum(middle / 2, 2 * middle)
    far = (np.abs(centers - middle) <= np.abs(middle) / 8).all(axis=0)
    everything = np.asarray(np.inf, dtype=centers.dtype)
    return (
        np.where(far, middle, 0).astype(centers.dtype),
        np.where(far, low, -everything),
        np.where(far, high, everything),
    )


def _decide_again(X: Array, centers: Array, labels: Labels) -> None:
    """Correct the labels of rows that have a center nearer than their own."""
    with one_blas_thread(), np.errstate(under="ignore"):
        for part, squares in _squares(X, centers):
            mine = labels[part]
            own = np.take_along_axis(squares, mine[:, None], axis=1)[:, 0]
            wrong = own > squares.min(axis=1)
            mine[wrong] = squares[wrong].argmin(axis=1)


def _squares(X: Array, centers: Array) -> Iterator[tuple[slice, Squares]]:
    """Yield slices of rows with their squared distances, which the next one overwrites."""
    (n_samples, n_features), n_clusters = X.shape, len(centers)
    wide = centers.astype(np.float64)
    width = max(n_clusters, n_features)
    block = min(n_samples, rows_of_a_block(width))
    squares, difference = np.empty((2, block, n_clusters))
    few = n_features <= _FEW_FEATURES or X.size * n_clusters <= _FEW_PAIRS
    product = None if few else _Product(wide, block)
    for part in row_blocks(n_samples, width):
        rows = X[part].astype(np.float64)
        found = squares[: len(rows)]
        if product is None or not product.write(rows, found):
            _write_directly(rows, wide, found, difference[: len(rows)])
        yield part, found


def _write_directly(rows: Squares, centers: Squares, squares: Squares, difference: Squares) -> None:
    squares.fill(0)
    for f in range(rows.shape[1]):
        np.subtract(rows[:, f, None], centers[:, f], out=difference)
        difference *= difference
        squares += difference


class _Product:
    """Squared distances by ‖x‖² − 2x·c + ‖c‖² about the middle of the centers."""

    def __init__(self, centers: Squares, block: int) -> None:
        n_clusters, n_features = centers.shape
        self._centers = centers
        self._middle = centers.mean(axis=0)
        near = centers - self._middle
        norms = np.einsum("jf,jf->j", near, near)
        self._longest = float(np.sqrt(norms.max()))
        self._right = np.concatenate([-2 * near.T, norms[None], np.ones((1, n_clusters))])
        self._left = np.ones((block, n_features + 2))
        self._steps = n_features + 8  # roundings or underflows: product, middle, differences

    def write(self, rows: Squares, squares: Squares) -> bool:
        """Write the squared distances of rows; False where too many would need differences."""
        left = self._left[: len(rows)]
        moved = left[:, :-2]
        np.subtract(rows, self._middle, out=moved)
        norms = np.einsum("if,if->i", moved, moved, out=left[:, -1])
        np.matmul(left, self._right, out=squares)
        info = np.finfo(np.float64)
        error = self._steps * (info.eps * (np.sqrt(norms) + self._longest) ** 2 + info.tiny)
        # The nearest center is among those that are within twice the error of the least square.
        limit = np.maximum(squares.min(axis=1) + 2 * error, error / _ERROR)
        near = np.flatnonzero(squares <= limit[:, None])
        if len(near) > squares.size // _MANY:
            return False
        self._write_some(rows, near, squares)
        return True

    def _write_some(self, rows: Squares, which: NDArray[np.intp], squares: Squares) -> None:
        i, j = np.divmod(which, squares.shape[1])
        differences = rows.take(i, axis=0)
        differences -= self._centers.take(j, axis=0)
        differences *= differences
        total = np.zeros(len(which))
        for f in range(rows.shape[1]):  # not einsum, which adds in another order
            total += differences[:, f]
        squares.reshape(-1)[which] = total
