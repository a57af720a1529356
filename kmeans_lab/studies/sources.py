"""The sources' data and ways of starting, after their descriptions: same seeds, same numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array

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


def fireworks() -> tuple[Array, NDArray[Any]]:
    """Return 5 bursts of 11 spokes of 55 points, and 260 of noise; and each one's burst, or −1.

    The counts and the seed are the demo's; where bursts lie and how large they are is ours.
    """
    rng = np.random.default_rng(7)
    rows, truth = [], []
    bursts = [
        (-3.4, 1.5, 2.9),
        (3.3, 2.7, 2.1),
        (0.3, -2.6, 2.3),
        (4.3, -1.6, 1.6),
        (-3.7, -3.1, 1.2),
    ]
    for j, (x, y, radius) in enumerate(bursts):
        for spoke in range(11):
            angle = 2 * np.pi * spoke / 11 + j  # each burst is turned another way
            along = np.linspace(0.05, 1.0, 55)[:, None] * radius
            line = [x, y] + along * [np.cos(angle), np.sin(angle)]
            rows.append(line + rng.normal(scale=0.03, size=(55, 2)))
        truth += [j] * (11 * 55)
    rows.append(rng.uniform([-7.0, -5.5], [7.0, 5.5], size=(260, 2)))
    return np.vstack(rows), np.array(truth + [-1] * 260)


def noisy_blobs() -> tuple[Array, NDArray[Any]]:
    """Return blobs of 250, 220 and 210 points, and 120 of noise; and each one's blob, or −1.

    The counts and standard deviations are the demo's; the seed and the places are ours.
    """
    rng = np.random.default_rng(7)
    blobs = [(250, 0.22, (0.0, 0.0)), (220, 0.18, (2.4, 0.5)), (210, 0.20, (1.0, 2.2))]
    rows = [rng.normal(center, std, size=(size, 2)) for size, std, center in blobs]
    rows.append(rng.uniform([-1.6, -1.6], [4.0, 3.8], size=(120, 2)))
    truth = np.repeat([0, 1, 2, -1], [250, 220, 210, 120])
    return np.vstack(rows), truth


def clouds() -> Array:
    """Return 95 000 points of twenty clouds and 5 000 of noise."""
    rng = np.random.default_rng(7)
    centers, scales = rng.uniform(0, 10, size=(20, 2)), rng.uniform(0.1, 0.5, size=20)
    own = rng.integers(20, size=95_000)
    points = centers[own] + scales[own, None] * rng.normal(size=(95_000, 2))
    return np.vstack([points, rng.uniform(-1, 11, size=(5_000, 2))])
