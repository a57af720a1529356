"""Initial centers: five named ways, an array, or a function of yours.

Every kernel of a comparison is handed the same array, so nothing here depends on a kernel.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.registry import first_ready, load_kernel

Array = NDArray[np.floating[Any]]
InitFunction: TypeAlias = "Callable[[Array, int, np.random.Generator], Any]"

Weights = NDArray[np.float64] | None  # (n_samples,), ≥ 0

#: Rows whose differences are held at once, so that a start costs no second copy of X.
_BLOCK_VALUES = 65_536


def squared_distances(X: Samples, point: Array, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Write each row's squared distance to one point, from directly computed differences.

    X is (n_samples, n_features), point (n_features,), out (n_samples,) float64.
    """
    block = max(1, _BLOCK_VALUES // X.shape[1])
    center = point.astype(np.float64)
    for first in range(0, len(X), block):
        diff = X[first : first + block] - center
        np.einsum("if,if->i", diff, diff, out=out[first : first + block])
    return out


def first_rows(
    X: Array, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return the first rows: reproducible, and poor when the rows are sorted."""
    return X[:n_clusters]


def random_rows(
    X: Array, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return distinct rows, drawn without replacement (Forgy, 1965); with weights, by them.

    Rows of weight 0 are drawn only when the others are too few.
    """
    if weights is None:
        return X[rng.choice(len(X), size=n_clusters, replace=False)]
    n_drawn = min(n_clusters, int(np.count_nonzero(weights)))
    chosen = rng.choice(len(X), size=n_drawn, replace=False, p=weights / weights.sum())
    rest = rng.permutation(np.flatnonzero(weights == 0))[: n_clusters - n_drawn]
    return np.asarray(X[np.concatenate([chosen, rest])])


def random_partition(
    X: Array, n_clusters: int, rng: np.random.Generator, weights: Weights = None
) -> Array:
    """Return the means of uniformly random labels; a cluster that got no row gets a random one."""
    labels = rng.integers(n_clusters, size=len(X))
    centers = np.empty((n_clusters, X.shape[1]))
    for j in range(n_clusters):
        mine = labels == j
        if weights is not None and weights[mine].any():
            centers[j] = np.average(X[mine], axis=0, weights=weights[mine])
        elif weights is None and mine.any():
            centers[j] = X[mine].mean(axis=0, dtype=np.float64)
        else:
            centers[j] = rng.choice(X)
    return centers


def d2(X: Array, n_clusters: int, rng: np.random.Generator, weights: Weights = None) -> Array:
    """k-means++ as published: one candidate at a time, drawn with probability D² / ΣD².

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    When every row already coincides with a center, the next one is drawn uniformly. With weights,
    wD² takes the place of D², and the first row is drawn by its weight.
    """
    n_samples = len(X)
    chosen = [_first_row(n_samples, rng, weights)]
    nearest = squared_distances(X, X[chosen[0]], np.empty(n_samples))
    trial = np.empty(n_samples)
    while len(chosen) < n_clusters:
        heavy = nearest if weights is None else nearest * weights
        total = heavy.sum()
        chosen.append(int(rng.choice(n_samples, p=heavy / total if total > 0 else None)))
        np.minimum(nearest, squared_distances(X, X[chosen[-1]], trial), out=nearest)
    return X[chosen]


def _first_row(n_samples: int, rng: np.random.Generator, weights: Weights) -> int:
    """Draw the row that a seeding begins with."""
    if weights is None:
        return int(rng.integers(n_samples))
    return int(rng.choice(n_samples, p=weights / weights.sum()))


def greedy(
    X: Samples,
    n_clusters: int,
    rng: np.random.Generator,
    prepared: Any = None,
    weights: Weights = None,
) -> Array:
    """k-means++ with 2 + ⌊ln k⌋ candidates per center; keep the one that lowers ΣD² most.

    The variant that scikit-learn uses, described in the conclusion of Arthur and Vassilvitskii
    (2007). The first candidate wins a tie. Computed by the flagship kernel's distance code where
    that can run, whatever kernel the fit uses: on the standard preset 0.7 ms instead of 23, and
    0.5 where the flagship has ``prepared`` X for the fit already. The rows chosen are the same.
    With weights, which the flagship knows nothing of, NumPy computes.
    """
    first = _first_row(len(X), rng, weights)
    draws = rng.random((n_clusters - 1, 2 + int(np.log(n_clusters))))
    if weights is not None:
        return X[greedy_rows(X, first, draws, weights)]
    given, middle = (X.X, X.middle) if isinstance(X, Centered) else (X, None)
    if hasattr(prepared, "greedy"):
        return X[prepared.greedy(given, first, draws)]
    if first_ready(("cpp-simd",)) is None:
        return X[greedy_rows(X, first, draws)]
    flagship: Any = load_kernel("cpp-simd")
    return X[flagship.greedy(given, first, draws, 1, middle)]


def greedy_rows(
    X: Samples, first: int, draws: NDArray[np.float64], weights: Weights = None
) -> list[int]:
    """Return the rows that greedy k-means++ chooses, in NumPy.

    ``draws`` (n_clusters − 1, n_candidates) from [0, 1) say where in the running sum of squared
    distances, times weights, the candidates of each round lie.
    """
    n_samples = len(X)
    chosen = [first]
    nearest = squared_distances(X, X[first], np.empty(n_samples))
    best, trial = np.empty(n_samples), np.empty(n_samples)
    for draw in draws:
        cumulative = np.cumsum(nearest if weights is None else nearest * weights)
        if cumulative[-1] > 0:
            passing = np.searchsorted(cumulative, draw * cumulative[-1], side="right")
            candidates = passing.clip(max=n_samples - 1)
        else:  # every row is a center already
            candidates = (draw[:1] * n_samples).astype(np.intp)
        best_total = np.inf
        for candidate in candidates:
            np.minimum(nearest, squared_distances(X, X[candidate], trial), out=trial)
            if (total := float(trial.sum() if weights is None else trial @ weights)) < best_total:
                best_total, winner = total, int(candidate)
                best, trial = trial, best
        chosen.append(winner)
        nearest, best = best, nearest
    return chosen


#: Each is called as (X, n_clusters, rng), with weights=… where rows do not count alike.
INITS: dict[str, Callable[..., Any]] = {
    "k-means++": greedy,
    "d2": d2,
    "random": random_rows,
    "random-partition": random_partition,
    "first": first_rows,
}
