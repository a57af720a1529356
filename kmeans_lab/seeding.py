"""Initial centers: six named methods, an array, or a function.

Every kernel of a comparison is handed the same array, so nothing here depends on a kernel.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks, rows_of_a_block
from kmeans_lab.numerics.grids import Grid, in_steps, shares
from kmeans_lab.numerics.oversampling import oversample
from kmeans_lab.registry import PROVIDERS, load_kernel
from kmeans_lab.rows.distances import start_distances
from kmeans_lab.rows.seeding_stream import choose_rows
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.numerics import add_weighed
from kmeans_lab.sparse.numerics import distances_to_rows as sparse_distances
from kmeans_lab.sparse.rows import SparseRows

InitFunction: TypeAlias = "Callable[[Array, int, np.random.Generator], Any]"

Rows: TypeAlias = Array | SparseRows | StreamedRows
Weights = NDArray[np.float64] | None  # (n_samples,), ≥ 0

#: Values that are held in float64 at once, and of how many features: they stay in the cache.
_TILE_VALUES, _TILE_FEATURES = 32_768, 16


def squared_distances(
    X: Array | Centered | StreamedRows, points: Array, out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Write the squared distance of each row to each point; the same bits on every machine.

    X is (n_samples, n_features), points (n_points, n_features), out (n_points, n_samples) float64.
    Differences and their squares are rounded one by one and added in the order of the features.
    Sums of products, such as ``einsum`` gives, are added in another order on other processors.
    """
    if isinstance(X, StreamedRows):
        for block in X.blocks():
            squared_distances(block.rows, points, out[:, block.part])
        return out
    n_samples, n_features = X.shape
    width = min(n_features, _TILE_FEATURES)
    height = min(n_samples, rows_of_a_block(width, _TILE_VALUES))
    tile, squares = np.empty((2, width, height))
    wide = points.astype(np.float64)[:, :, None]
    out[...] = 0
    for rows in row_blocks(n_samples, width, _TILE_VALUES):
        for f in range(0, n_features, width):
            features = slice(f, min(f + width, n_features))
            columns = _columns(X, rows, features, tile)
            differences = squares[: len(columns), : columns.shape[1]]
            for point, sums in zip(wide[:, features], out[:, rows], strict=True):
                np.subtract(columns, point, out=differences)
                np.multiply(differences, differences, out=differences)
                for square in differences:
                    np.add(sums, square, out=sums)
    return out


def distances_to_rows(
    X: Samples, numbers: NDArray[np.intp], out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Write the squared distance of each row to some of the rows: (n_numbers, n_samples)."""
    if isinstance(X, SparseRows):
        return sparse_distances(X, numbers, out)
    return squared_distances(X, X[numbers], out)


def _columns(
    X: Array | Centered, rows: slice, features: slice, tile: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Copy some features of some rows to the tile, transposed; return the part that they fill."""
    given, middle = (X.X, X.middle) if isinstance(X, Centered) else (X, None)
    part = given[rows, features]
    if middle is not None:
        part = part - middle[features]
    columns = tile[: part.shape[1], : len(part)]
    columns[...] = part.T
    return columns


def first_rows(
    X: Rows, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return the first rows: reproducible, and poor when the rows are sorted."""
    return np.asarray(X[np.arange(n_clusters)])


def random_rows(
    X: Rows, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return distinct rows, drawn without replacement (Forgy, 1965); with weights, by them.

    Rows of weight 0 are drawn only when the others are too few.
    """
    if weights is None:
        return X[rng.choice(len(X), size=n_clusters, replace=False)]
    p = shares(weights)
    n_drawn = min(n_clusters, int(np.count_nonzero(p)))
    chosen = rng.choice(len(X), size=n_drawn, replace=False, p=p)
    rest = rng.permutation(np.flatnonzero(p == 0))
    rest = rest[np.argsort(weights[rest] == 0, kind="stable")]  # some were too small for a share
    return np.asarray(X[np.concatenate([chosen, rest[: n_clusters - n_drawn]])])


def random_partition(
    X: Rows, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return the means of uniformly random labels; a cluster that got no row gets a random one."""
    labels = rng.integers(n_clusters, size=len(X))
    centers = np.empty((n_clusters, X.shape[1]))
    if isinstance(X, SparseRows):
        centers.fill(0)
        mass = np.zeros(n_clusters)
        shares_of = np.ones(len(X)) if weights is None else weights
        add_weighed(X, shares_of, labels.astype(np.int32), centers, mass)
        for j in range(n_clusters):
            centers[j] = centers[j] / mass[j] if mass[j] > 0 else X[rng.integers(len(X))]
        return centers
    if isinstance(X, StreamedRows):
        return _means_of(X, labels, n_clusters, rng, weights)
    for j in range(n_clusters):
        mine = labels == j
        if weights is not None and weights[mine].any():
            centers[j] = np.average(X[mine], axis=0, weights=weights[mine])
        elif weights is None and mine.any():
            centers[j] = X[mine].mean(axis=0, dtype=np.float64)
        else:
            centers[j] = X[rng.integers(len(X))]
    return centers


def _means_of(
    X: StreamedRows,
    labels: NDArray[np.int64],
    n_clusters: int,
    rng: np.random.Generator,
    weights: Weights,
) -> Array:
    """Return the means of labels from one pass, added up row by row as NumPy does in memory."""
    sums = np.zeros((n_clusters, X.shape[1]))
    for block in X.blocks():
        mine = labels[block.part]
        order = np.argsort(mine, kind="stable")
        ends = np.cumsum(np.bincount(mine, minlength=n_clusters))
        rows = block.rows[order]
        if weights is not None:
            rows = np.multiply(rows, weights[block.part][order, None])
        for j, some in enumerate(np.split(rows, ends[:-1])):
            sums[j] = np.add.reduce(np.concatenate([sums[j : j + 1], some]), axis=0)
    for j in range(n_clusters):
        mass: Any = np.count_nonzero(labels == j)
        if weights is not None:
            mass = weights[labels == j][:, None].sum(axis=0)  # as numpy.average does
        if np.any(mass):
            sums[j] /= mass
        else:
            sums[j] = X[rng.integers(len(X))]
    return sums


def d2(X: Rows, n_clusters: int, rng: np.random.Generator, weights: Weights = None) -> Array:
    """k-means++ as published: one candidate at a time, drawn with probability D² / ΣD².

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    When every row already coincides with a center, the next one is drawn uniformly. With weights,
    wD² takes the place of D², and the first row is drawn by its weight.
    """
    n_samples = len(X)
    chosen = [_first_row(n_samples, rng, weights)]
    nearest, trial = np.empty((2, 1, n_samples))
    distances_to_rows(X, np.array(chosen), nearest)
    while len(chosen) < n_clusters:
        heavy = _heavy(nearest[0], weights)
        chosen.append(int(rng.choice(n_samples, p=shares(heavy) if heavy.any() else None)))
        np.minimum(nearest, distances_to_rows(X, np.array(chosen[-1:]), trial), out=nearest)
    return X[chosen]


def _first_row(n_samples: int, rng: np.random.Generator, weights: Weights) -> int:
    """Draw the row that a seeding begins with."""
    if weights is None:
        return int(rng.integers(n_samples))
    return int(rng.choice(n_samples, p=shares(weights)))


def greedy(
    X: Samples,
    n_clusters: int,
    rng: np.random.Generator,
    prepared: Any = None,
    weights: Weights = None,
) -> Array:
    """k-means++ with 2 + ⌊ln k⌋ candidates per center; keep the one that lowers ΣD² most.

    The variant that scikit-learn uses, described in the conclusion of Arthur and Vassilvitskii
    (2007). The first candidate wins a tie. Computed by the kernel that provides seeding where
    that can run, whatever kernel the fit uses: on the standard preset 0.7 ms instead of 23, and
    0.5 where it has ``prepared`` X for the fit already. The rows chosen are the same: they follow
    from X and ``rng`` alone, whatever the processor and the kernel. With weights, which that kernel
    does not support, NumPy is used.
    """
    first, draws = greedy_draws(len(X), n_clusters, rng, weights)
    if isinstance(X, StreamedRows) or hasattr(X, "start_distances"):
        with closing(start_distances(X, weights, squared_distances)) as near:
            return X[choose_rows(X, near, first, draws)]
    if weights is not None:
        return X[greedy_rows(X, first, draws, weights)]
    if isinstance(X, SparseRows) and not hasattr(prepared, "greedy"):
        return X[greedy_rows(X, first, draws)]
    given, middle = (X.X, X.middle) if isinstance(X, Centered) else (X, None)
    if hasattr(prepared, "greedy"):
        return X[prepared.greedy(given, first, draws)]
    if first_ready((PROVIDERS["seeding"],)) is None:
        return X[greedy_rows(X, first, draws)]
    provider: Any = load_kernel(PROVIDERS["seeding"])
    return X[provider.greedy(given, first, draws, 1, middle)]


def parallel(X: Rows, n_clusters: int, rng: np.random.Generator, weights: Weights = None) -> Array:
    """k-means‖: rows drawn in five passes, some 2k in each, of which k-means++ chooses k.

    Bahmani et al., "Scalable k-means++", VLDB 2012. Where rows are read block by block, k-means++
    needs a pass for each cluster.
    """
    numbers, mass = oversample(X, n_clusters, rng, weights, squared_distances)
    if len(numbers) <= n_clusters:  # few rows differ: others, whichever, are as good
        others = np.setdiff1d(np.arange(len(X)), numbers)
        if weights is not None:  # those that count come first
            others = others[np.argsort(weights[others] == 0, kind="stable")]
        return np.asarray(X[np.concatenate([numbers, others])[:n_clusters]])
    points = X[numbers]
    first, draws = greedy_draws(len(points), n_clusters, rng, mass)
    return np.asarray(points[greedy_rows(points, first, draws, mass)])


def greedy_draws(
    n_samples: int, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> tuple[int, NDArray[np.float64]]:
    """Make the random draws of greedy k-means++: its first row, and the ``draws`` of its rounds."""
    first = _first_row(n_samples, rng, weights)
    return first, rng.random((n_clusters - 1, 2 + int(np.log(n_clusters))))


def greedy_rows(
    X: Samples, first: int, draws: NDArray[np.float64], weights: Weights = None
) -> list[int]:
    """Return the rows that greedy k-means++ chooses, in NumPy.

    ``draws`` (n_clusters − 1, n_candidates) from [0, 1) say where in the running sum of squared
    distances, times weights, the candidates of each round lie.
    """
    n_samples, grid = len(X), Grid()
    chosen = [first]
    nearest = distances_to_rows(X, np.array(chosen), np.empty((1, n_samples)))[0]
    trials = np.empty((draws.shape[1], n_samples))
    for draw in draws:
        steps, total, grid = in_steps(_heavy(nearest, weights), grid)
        if total > 0:
            candidates = np.searchsorted(np.cumsum(steps), draw * total, side="right")
        else:  # every row is a center already
            candidates = (draw[:1] * n_samples).astype(np.intp)
        weigh = partial(_heavy, weights=weights)
        chosen.append(keep_best(X, candidates, nearest, trials, weigh, grid))
    return chosen


def keep_best(
    X: Samples,
    candidates: NDArray[np.intp],
    nearest: NDArray[np.float64],  # INOUT (n_samples,)
    trials: NDArray[np.float64],  # room for (n_candidates, n_samples)
    weigh: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    grid: Grid,
) -> int:
    """Return the candidate that lowers the weighed sum most; add it to ``nearest``."""
    after = distances_to_rows(X, candidates, trials[: len(candidates)])
    np.minimum(after, nearest, out=after)
    best = int(np.argmin([grid.steps(weigh(each)).sum() for each in after]))
    nearest[...] = after[best]
    return int(candidates[best])


def _heavy(distances: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
    return distances if weights is None else distances * weights


#: Each is called as (X, n_clusters, rng), with weights=… where rows are weighted.
INITS: dict[str, Callable[..., Any]] = {
    "k-means++": greedy,
    "k-means||": parallel,
    "d2": d2,
    "random": random_rows,
    "random-partition": random_partition,
    "first": first_rows,
}
