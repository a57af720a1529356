"""Points drawn around centers, from a seed and with NumPy alone: the data of the presets."""

import random

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array


def ring_blobs(
    seed: int,
    n_clusters: int,
    points_per_cluster: int,
    n_features: int,
    center_scale: float,
    cluster_std: float,
) -> NDArray[np.float64]:
    """Overlapping blobs around a ring in the first two coordinates; rows in cluster order.

    Returns X of shape (n_clusters · points_per_cluster, n_features ≥ 2). The recipe of the
    Python-vs-C++ demo that the standard preset comes from.
    """
    rng = np.random.default_rng(seed)
    angles = np.linspace(0.0, 2.0 * np.pi, n_clusters, endpoint=False)
    circle = np.column_stack((np.cos(angles), np.sin(angles)))
    centers = np.empty((n_clusters, n_features))
    centers[:, :2] = center_scale * np.sqrt(2.0) * circle
    centers[:, :2] += rng.normal(scale=0.25 * center_scale, size=(n_clusters, 2))
    centers[:, 2:] = rng.normal(scale=0.35 * center_scale, size=(n_clusters, n_features - 2))
    covariance = cluster_std**2 * np.eye(n_features)
    return np.vstack(
        [rng.multivariate_normal(c, covariance, size=points_per_cluster) for c in centers]
    )


def quick_blobs() -> NDArray[np.float64]:
    """Return the demo's 2-D set: five blobs of 260 points and 140 points of uniform noise."""
    rng = np.random.default_rng(7)
    angles = np.linspace(0.0, 2.0 * np.pi, 5, endpoint=False)
    centers = 7.0 * np.column_stack((np.cos(angles), np.sin(angles)))
    centers += rng.normal(scale=0.35, size=(5, 2))
    blobs = [rng.multivariate_normal(c, 0.65**2 * np.eye(2), size=260) for c in centers]
    noise = rng.uniform((-11.0, -10.0), (11.0, 10.0), size=(140, 2))
    return np.vstack([*blobs, noise])


def grid_blobs(n_samples: int, n_clusters: int) -> NDArray[np.float64]:
    """Return one of the multiprocessing study's nine data sets, before rounding to six decimals.

    The study drew point by point from Python's and NumPy's legacy generators; the generators
    are independent, so all the normals can be drawn at once and stay the same numbers.
    """
    which = random.Random(11)  # the study's generator
    legacy = np.random.RandomState(11)  # the study's generator
    centers = legacy.random_sample((n_clusters, 2))
    labels = [which.randint(0, n_clusters - 1) for _ in range(n_samples)]
    return centers[labels] + legacy.normal(0.0, 0.02, size=(n_samples, 2))


def grid_start(X: Array, n_clusters: int) -> Array:
    """Return the study's starting centers: ``random.sample`` of the rows, seed 433."""
    return X[random.Random(433).sample(range(len(X)), n_clusters)]


def wide_blobs(n_samples: int, n_features: int, n_clusters: int) -> NDArray[np.float64]:
    """Return unit Gaussian clusters whose centers are drawn from a unit Gaussian: much overlap."""
    rng = np.random.default_rng(11)
    centers = rng.normal(size=(n_clusters, n_features))
    return centers[rng.integers(n_clusters, size=n_samples)] + rng.normal(
        size=(n_samples, n_features)
    )
