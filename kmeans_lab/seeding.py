"""Initial centers: five named ways, an array, or a function of yours.

Every kernel of a comparison is handed the same array, so nothing here depends on a kernel.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
InitFunction = Callable[[Array, int, np.random.Generator], Any]

#: Rows whose differences are held at once, so that a start costs no second copy of X.
_BLOCK_VALUES = 65_536


def squared_distances(X: Array, point: Array, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Write each row's squared distance to one point, from directly computed differences.

    X is (n_samples, n_features), point (n_features,), out (n_samples,) float64.
    """
    block = max(1, _BLOCK_VALUES // X.shape[1])
    center = point.astype(np.float64)
    for first in range(0, len(X), block):
        diff = X[first : first + block] - center
        np.einsum("if,if->i", diff, diff, out=out[first : first + block])
    return out


def first_rows(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return the first rows: reproducible, and poor when the rows are sorted."""
    return X[:n_clusters]


def random_rows(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return distinct rows, drawn uniformly without replacement (Forgy, 1965)."""
    return X[rng.choice(len(X), size=n_clusters, replace=False)]


def random_partition(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Return the means of uniformly random labels; a cluster that got no row gets a random one."""
    labels = rng.integers(n_clusters, size=len(X))
    centers = np.empty((n_clusters, X.shape[1]))
    for j in range(n_clusters):
        members = X[labels == j]
        centers[j] = members.mean(axis=0, dtype=np.float64) if len(members) else rng.choice(X)
    return centers


def d2(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """k-means++ as published: one candidate at a time, drawn with probability D² / ΣD².

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    When every row already coincides with a center, the next one is drawn uniformly.
    """
    n_samples = len(X)
    chosen = [int(rng.integers(n_samples))]
    nearest = squared_distances(X, X[chosen[0]], np.empty(n_samples))
    trial = np.empty(n_samples)
    while len(chosen) < n_clusters:
        total = nearest.sum()
        chosen.append(int(rng.choice(n_samples, p=nearest / total if total > 0 else None)))
        np.minimum(nearest, squared_distances(X, X[chosen[-1]], trial), out=nearest)
    return X[chosen]


def greedy(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """k-means++ with 2 + ⌊ln k⌋ candidates per center; keep the one that lowers ΣD² most.

    The variant that scikit-learn uses, described in the conclusion of Arthur and Vassilvitskii
    (2007). The first candidate wins a tie.
    """
    n_samples = len(X)
    n_candidates = 2 + int(np.log(n_clusters))
    chosen = [int(rng.integers(n_samples))]
    nearest = squared_distances(X, X[chosen[0]], np.empty(n_samples))
    best, trial = np.empty(n_samples), np.empty(n_samples)
    while len(chosen) < n_clusters:
        cumulative = np.cumsum(nearest)
        if cumulative[-1] > 0:
            draws = rng.random(n_candidates) * cumulative[-1]
            candidates = np.searchsorted(cumulative, draws, side="right").clip(max=n_samples - 1)
        else:
            candidates = rng.integers(n_samples, size=1)
        best_total = np.inf
        for candidate in candidates:
            np.minimum(nearest, squared_distances(X, X[candidate], trial), out=trial)
            if (total := trial.sum()) < best_total:
                best_total, winner = total, int(candidate)
                best, trial = trial, best
        chosen.append(winner)
        nearest, best = best, nearest
    return X[chosen]


INITS: dict[str, InitFunction] = {
    "k-means++": greedy,
    "d2": d2,
    "random": random_rows,
    "random-partition": random_partition,
    "first": first_rows,
}
