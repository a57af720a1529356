"""Rows and steps that the tests of tuned kernels share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import load_kernel

#: n, d and k of fits for cells, one bound per row, bounds per group, few clusters, and k = n.
ENGINE_SHAPES = [(3000, 2, 9), (3000, 10, 25), (2500, 64, 200), (700, 33, 3), (40, 1, 40)]


def middled(X: NDArray[Any]) -> NDArray[Any]:
    """Rows so far from the origin that a middle is taken off, which no dtype adds without error."""
    far: NDArray[Any] = X + X.dtype.type(1000 / 3)
    return far


def blobs(
    n: int, d: int, k: int, seed: int, kind: str = "f8", spread: float = 10.0
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows around k points, shuffled, and centers near those points."""
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=spread, size=(k, d))
    X = points[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return X.astype(kind), (points + rng.normal(size=(k, d))).astype(kind)


def steps(
    X: NDArray[Any],
    centers: NDArray[Any],
    n_steps: int = 6,
    n_threads: int = 1,
    kernel: str = "cpp-simd",
) -> list[float]:
    """Lloyd steps of a kernel, each held to the reference; return the shares of pairs met."""
    tested: Any = load_kernel(kernel)
    reference = load_kernel("cpp")
    n, k = len(X), len(centers)
    rows, labels = tested.prepare(X, k, n_threads), np.full(n, -1, np.int32)
    met: list[float] = []
    for _ in range(n_steps):
        expected, sums, counts = np.empty(n, np.int32), np.zeros(centers.shape), np.zeros(k, int)
        inertia = reference.assign(X, centers, expected)
        ours = tested.assign_update(rows, centers, labels, sums, counts)
        np.testing.assert_array_equal(labels, expected)
        assert counts.tolist() == np.bincount(expected, minlength=k).tolist()
        scale = float((X.astype(float) ** 2).sum() + (centers[expected].astype(float) ** 2).sum())
        rounding = 40 * np.finfo(X.dtype).eps + n * np.finfo(float).eps  # n terms are added
        assert abs(ours - inertia) <= rounding * scale
        with np.errstate(invalid="ignore"):
            centers = np.where(counts[:, None] > 0, sums / counts[:, None], centers).astype(X.dtype)
        met.append(rows.met)
    return met


def nearest(X: NDArray[Any], centers: NDArray[Any]) -> NDArray[np.int32]:
    """The reference kernel's labels."""
    labels = np.empty(len(X), np.int32)
    load_kernel("cpp").assign(X, centers, labels)
    return labels
