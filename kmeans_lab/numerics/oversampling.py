"""k-means‖: a start from a few passes over the rows, whatever the number of clusters.

Bahmani, Moseley, Vattani, Kumar and Vassilvitskii, "Scalable k-means++", Proceedings of the VLDB
Endowment 5, 2012. Each round draws rows independently of each other, each with a probability in
proportion to its squared distance from what was drawn before; some 2k of them. The rows drawn are
weighed by how many rows are nearest to them, and k of them are chosen by k-means++.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import row_squares
from kmeans_lab.numerics.grids import Grid, in_steps
from kmeans_lab.registry import PROVIDERS, load_kernel
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]

ROUNDS = 5
#: Where a few rows are much farther than all others, these alone are drawn at first.
_MOST_ROUNDS = 40
#: Rows drawn in a round, times the number of clusters.
_EACH = 2
_BLOCK_VALUES = 1 << 20
_POINTS = 8  # that sparse rows are measured to at a time

#: Writes squared distances of all rows to rows of some numbers, (n_numbers, n_samples).
Measure = Callable[[Any, NDArray[np.intp], Floats], Floats]


def oversample(
    X: Any, n_clusters: int, rng: np.random.Generator, weights: Floats | None, measure: Measure
) -> tuple[NDArray[np.intp], Floats]:
    """Draw rows; return their numbers, and how many rows, or which weight, is nearest to each.

    Parameters
    ----------
    X : ndarray, SparseRows or StreamedRows of shape (n_samples, n_features)
    n_clusters : int
    rng : Generator
        Draws a number for each row in each round.
    weights : ndarray of shape (n_samples,), float64, optional
    measure : callable
        ``kmeans_lab.seeding.distances_to_rows``.
    """
    n_samples = len(X)
    first = rng.integers(n_samples) if weights is None else _by_weight(weights, rng)
    drawn = [np.array([first], dtype=np.intp)]
    nearest, owners = _for_each_row(X, np.float64), _for_each_row(X, np.int32)
    nearest.fill(np.inf)
    owners.fill(0)
    found, grid = 0, Grid()
    for again in range(_MOST_ROUNDS):
        if again >= ROUNDS and sum(map(len, drawn)) > n_clusters:
            break
        _come_nearer(X, drawn[-1], found, nearest, owners, measure)
        found = sum(map(len, drawn))
        heavy = nearest if weights is None else nearest * weights
        steps, total, grid = in_steps(heavy, grid)
        if total == 0:  # every row has been drawn, or one like it
            break
        chances = rng.random(n_samples)
        chances *= total
        drawn.append(np.flatnonzero(chances < _EACH * n_clusters * steps.astype(np.float64)))
    if found < sum(map(len, drawn)):
        _come_nearer(X, drawn[-1], found, nearest, owners, measure)
    numbers = np.concatenate(drawn)
    return numbers, np.bincount(owners, weights, len(numbers)).astype(np.float64)


def _for_each_row(X: Any, dtype: DTypeLike) -> NDArray[Any]:
    if isinstance(X, StreamedRows):
        return X.scratch.array(len(X), dtype, "distances of all rows")
    return np.empty(len(X), dtype)


def _by_weight(weights: Floats, rng: np.random.Generator) -> int:
    steps, total, _ = in_steps(weights, Grid())
    return int(np.searchsorted(np.cumsum(steps), rng.random() * total, side="right"))


def _come_nearer(
    X: Any,
    numbers: NDArray[np.intp],
    found: int,
    nearest: Floats,
    owners: NDArray[np.int32],
    measure: Measure,
) -> None:
    """Lower distances, and say whose they are, where a new row is nearer than all before it."""
    if isinstance(X, SparseRows):
        for some in row_blocks(len(numbers), 1, _POINTS):
            squares = measure(X, numbers[some], np.empty((len(numbers[some]), len(X))))
            best = squares.argmin(axis=0)
            _keep(slice(None), squares.min(axis=0), best + some.start + found, nearest, owners)
        return
    if len(numbers) == 0:
        return
    points = np.ascontiguousarray(X[numbers])
    wide = points.astype(np.float64)
    for part, rows in _blocks(X):
        labels = _nearest_of(rows, points, measure)
        squares = row_squares(rows - wide[labels])
        _keep(part, squares, labels + found, nearest, owners)


def _keep(
    part: slice,
    squares: Floats,
    whose: NDArray[Any],
    nearest: Floats,
    owners: NDArray[np.int32],
) -> None:
    nearer = squares < nearest[part]
    nearest[part][nearer] = squares[nearer]
    owners[part][nearer] = whose[nearer]


def _blocks(X: Array | StreamedRows) -> Iterator[tuple[slice, Array]]:
    if isinstance(X, StreamedRows):
        for block in X.blocks():
            yield block.part, block.rows
        return
    for part in row_blocks(len(X), X.shape[1], _BLOCK_VALUES):
        yield part, X[part]


def _nearest_of(rows: Array, points: Array, measure: Measure) -> NDArray[np.int32]:
    """Return the nearest of some points of each row, the first of equals."""
    labels = np.empty(len(rows), np.int32)
    if name := first_ready((PROVIDERS["blocks"],)):
        provider: Any = load_kernel(name)
        provider.label_rows(np.ascontiguousarray(rows), points, labels, 1)
        return labels
    k = len(points)
    for part in row_blocks(len(rows), k, _BLOCK_VALUES):
        both = np.concatenate([points, rows[part]])
        squares = measure(both, np.arange(k), np.empty((k, len(both))))
        labels[part] = squares[:, k:].argmin(axis=0)
    return labels
