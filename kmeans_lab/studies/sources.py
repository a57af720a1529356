"""The sources' data and ways of starting, after their descriptions: same seeds, same numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: What the four are called.
DEMO, POOLS = "the demo", "the multiprocessing study"
TUTORIAL, WALK = "the tutorial", "the walk-through"


def tutorial_blobs() -> tuple[Array, NDArray[Any]]:
    """Return the tutorial's 300 points around four centers, and which center each came from."""
    from sklearn.datasets import make_blobs

    X, truth = make_blobs(n_samples=300, centers=4, cluster_std=0.8, random_state=42)
    return X, truth


def tutorial_start(X: Array, n_clusters: int, seed: int) -> Array:
    """Return the rows that the tutorial starts from: drawn without replacement."""
    legacy = np.random.RandomState(seed)
    return X[legacy.choice(len(X), n_clusters, replace=False)]


def tutorial_plus_plus(X: Array, n_clusters: int, seed: int) -> Array:
    """Return the tutorial's k-means++ start: one candidate at a time, as D² says."""
    legacy = np.random.RandomState(seed)
    chosen = [X[legacy.randint(len(X))]]
    nearest = np.full(len(X), np.inf)
    while len(chosen) < n_clusters:
        np.minimum(nearest, ((X - chosen[-1]) ** 2).sum(axis=1), out=nearest)
        chosen.append(X[legacy.choice(len(X), p=nearest / nearest.sum())])
    return np.array(chosen)
