"""The silhouette: how much nearer a row is to its own cluster than to the next one.

Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
Journal of Computational and Applied Mathematics 20, 1987. All pairs of rows are looked at, each
once, in square tiles that stay in a core's cache. A tile's squared distances are one matrix
product, as in the kernel ``numpy``, in float64 and from an origin among the tile's own rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.arrays import read
from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.formatting import plural
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import BLOCK_VALUES, row_blocks

Indices = NDArray[np.intp]

#: Rows on each side of a tile of distances.
SIDE = int(BLOCK_VALUES**0.5)
#: Sums of distances, from each row to each of some clusters, held at once: 8 MiB.
PANEL_SUMS = 1 << 20
#: An expanded ‖x − y‖² below this part of ‖x‖² is computed again by differences. Otherwise its root
#: is right to a relative (n_features + 2) · 10⁻¹² at worst: ‖y‖ ≤ 2 ‖x‖, or y is far from x.
NEAR = 2.0**-10


@checks.numpys_own_errors
def silhouette_samples(X: Any, labels: Any) -> Array:
    """Return each row's silhouette, s = (b − a) / max(a, b), between −1 and 1.

    a is the row's mean distance to the other rows of its cluster, b the least of its mean
    distances to the rows of another cluster. A row that is alone in its cluster gets 0, as in
    scikit-learn, and so does one with a = b = 0.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers; distances are computed in float64 whatever the dtype, and keep their
        digits far from the origin. Never modified.
    labels : array-like of shape (n_samples,)
        Which cluster each row belongs to: numbers or strings, any 2 … n_samples − 1 different
        ones. What DBSCAN calls noise, −1, is a label like any other.

    Returns
    -------
    ndarray of shape (n_samples,), float64

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind; the sentence says what to do.

    Notes
    -----
    Time grows with n_samples², memory with n_samples: 12.5 s and 17 MB beyond X for 10⁵ rows of
    two features in ten clusters.

    Examples
    --------
    >>> silhouette_samples([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1]).round(3).tolist()
    [0.895, 0.882, 0.882, 0.895]
    """
    rows = checks.samples(X, ("float32", "float64"))
    clusters, sizes = _read_labels(labels, len(rows))
    order = np.argsort(clusters, kind="stable")
    with one_blas_thread():
        inside, nearest = _mean_distances(rows, order, clusters[order], sizes)
    larger = np.maximum(inside, nearest)
    silhouettes = np.zeros(len(rows))
    counts = (larger > 0) & (sizes[clusters[order]] > 1)
    np.divide(nearest - inside, larger, out=silhouettes, where=counts)
    found = np.empty(len(rows))
    found[order] = silhouettes
    return found


def silhouette_score(X: Any, labels: Any) -> float:
    """Return the mean silhouette of all rows; arguments and errors as ``silhouette_samples``.

    Examples
    --------
    >>> round(silhouette_score([[0.0], [1.0], [9.0], [10.0]], ["a", "a", "b", "b"]), 3)
    0.889
    """
    return float(silhouette_samples(X, labels).mean())


def _read_labels(labels: Any, n_samples: int) -> tuple[Indices, Indices]:
    """Return clusters as 0, 1, … (n_samples,), and how many rows each has."""
    given = read("labels", labels)
    if given.shape != (n_samples,):
        raise ValueError(
            f"labels has shape {given.shape} and must have ({n_samples},): one for each row of X"
        )
    if len(nameless := np.flatnonzero(given != given)):  # NaN or NaT
        raise ValueError(
            f"labels[{nameless[0]}] is {given[nameless[0]]} and must name a cluster; drop such rows"
        )
    try:
        names, clusters = np.unique(given, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"labels must be all numbers or all strings ({error})") from None
    if not 2 <= len(names) < n_samples:
        raise ValueError(
            f"labels has {plural(len(names), 'different value')} for n_samples="
            f"{n_samples} and must have 2 … n_samples − 1; cluster the rows otherwise"
        )
    return clusters, np.bincount(clusters)


def _mean_distances(
    X: NDArray[Any], order: Indices, clusters: Indices, sizes: Indices
) -> tuple[Array, Array]:
    """Return mean distances of X[order] within clusters and to the nearest other ones.

    ``clusters`` are sorted. They are taken some at a time, so that sums never outgrow
    ``PANEL_SUMS``; each pair of rows of one panel is computed once for both.
    """
    n_samples, n_clusters = len(order), len(sizes)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    inside, nearest = np.zeros(n_samples), np.full(n_samples, np.inf)
    tile = _Tile(X, order)
    width = max(1, PANEL_SUMS // n_samples)
    for first in range(0, n_clusters, width):
        last = min(first + width, n_clusters)
        begin, end = int(edges[first]), int(edges[last])
        sums = np.zeros((n_samples, last - first))
        _add_panel(tile, clusters - first, begin, end, sums)
        own = np.arange(begin, end), clusters[begin:end] - first
        inside[begin:end] = sums[own] / np.maximum(sizes[clusters[begin:end]] - 1, 1)
        sums /= sizes[first:last]
        sums[own] = np.inf
        np.minimum(nearest, sums.min(axis=1), out=nearest)
    return inside, nearest


def _add_panel(tile: _Tile, clusters: Indices, begin: int, end: int, sums: Array) -> None:
    """Add each row's distances to the rows begin … end − 1 to the sums of their clusters."""
    for columns in _blocks(begin, end):
        tile.turn_to(columns)
        below = [*_blocks(0, begin), *_blocks(columns.start, end), *_blocks(end, len(clusters))]
        for some in below:
            distances = tile.distances(some)
            _add(distances, clusters[columns], sums[some])
            if columns.start < some.start < end:
                _add(distances.T, clusters[some], sums[columns])


def _blocks(begin: int, end: int) -> list[slice]:
    return [slice(first, min(first + SIDE, end)) for first in range(begin, end, SIDE)]


def _add(distances: Array, clusters: Indices, sums: Array) -> None:
    """Add columns of distances to the sums of their clusters, which are sorted."""
    starts = np.flatnonzero(np.diff(clusters)) + 1
    if len(starts) == 0:
        sums[:, clusters[0]] += distances.sum(axis=1)
        return
    runs = np.add.reduceat(distances, [0, *starts], axis=1)
    sums[:, clusters[0] : clusters[-1] + 1] += runs


class _Tile:
    """Distances between two blocks of the rows X[order], in buffers that are allocated once."""

    def __init__(self, X: NDArray[Any], order: Indices) -> None:
        self._X, self._order = X, order
        self._left = np.ones((SIDE, X.shape[1] + 2))
        self._right = np.ones((X.shape[1] + 2, SIDE))
        self._squares = np.empty(SIDE * SIDE)

    def turn_to(self, columns: slice) -> None:
        """Move the origin to the mean of a block of rows, which later tiles have as columns."""
        self._columns = self._take(columns)
        self._middle = self._columns.mean(axis=0)
        moved = self._columns - self._middle
        self._factors = self._right[:, : len(moved)]
        self._factors[:-2] = -2 * moved.T
        self._factors[-2] = np.einsum("if,if->i", moved, moved)

    def distances(self, some: slice) -> Array:
        """Return the distances (rows of some, columns), which the next call overwrites."""
        rows = self._take(some)
        points = self._left[: len(rows)]
        np.subtract(rows, self._middle, out=points[:, :-2])
        norms = np.einsum("if,if->i", points[:, :-2], points[:, :-2], out=points[:, -1])
        shape = len(rows), len(self._columns)
        squares = self._squares[: shape[0] * shape[1]]
        table = np.matmul(points, self._factors, out=squares.reshape(shape))
        near = np.flatnonzero(table < NEAR * norms[:, None])
        for some in row_blocks(len(near), rows.shape[1]):
            these = near[some]
            i, j = np.divmod(these, shape[1])
            differences = rows[i] - self._columns[j]
            squares[these] = np.einsum("if,if->i", differences, differences)
        return np.sqrt(table, out=table)

    def _take(self, some: slice) -> Array:
        return self._X[self._order[some]].astype(np.float64, copy=False)
