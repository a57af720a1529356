"""The four sources' own loops, rebuilt from their descriptions, for the studies to try.

Each does the work that its source describes, the slow parts and the defects included, and each
docstring names the defects that it keeps. Nothing else in this package uses them: ``kmeans`` does
none of this. tests/studies/test_originals.py shows every defect here, and its absence there.

All take the same arguments and return the same ``Run``. Theirs return less; the loops are theirs.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

#: Called after every assignment with the labels, and the centers that they belong to.
Callback: TypeAlias = Callable[[Array, Array], Any]


class Run(NamedTuple):
    """What a loop ended with."""

    labels: Array  # (n_samples,)
    centers: Array  # (n_clusters, n_features)
    n_iter: int  # as the source counts


def tutorial_loop(
    X: Array,
    n_clusters: int,
    *,
    init: Array | None = None,
    seed: int = 42,
    max_iter: int = 100,
    callback: Callback | None = None,
) -> Run:
    """Run the tutorial's loop: all differences at once, means by mask, ``numpy.allclose``.

    Kept: the mean of no rows is NaN, which ``argmin`` then takes for the nearest, for all rows
    (D1). ``allclose`` is relative, so that data far from the origin stop early (D2). The centers
    are those before the last update where it converged, and those after it where it did not (D3).
    Differences and squares take 8 · n_samples · n_clusters · n_features bytes each (D4).
    """
    legacy = np.random.RandomState(seed)
    centers = _start(X, init, legacy.choice(len(X), n_clusters, replace=False))
    for n_iter in range(1, max_iter + 1):
        squares = np.sum((X[:, None] - centers[None]) ** 2, axis=2)
        labels = np.argmin(squares, axis=1)
        _show(callback, labels, centers)
        means = np.array([X[labels == j].mean(axis=0) for j in range(n_clusters)])
        if np.allclose(centers, means):
            return Run(labels, centers, n_iter)
        centers = means
    return Run(labels, centers, max_iter)


def walk_through_loop(
    X: Array,
    n_clusters: int,
    *,
    init: Array | None = None,
    seed: int = 0,
    max_iter: int = 500,
    callback: Callback | None = None,
) -> Run:
    """Run the walk-through's loop: a distance per call, ``argmin``, exactly equal centers.

    Kept: the labels are floats (S3-04). A cluster without rows becomes NaN, takes all rows, and
    is never equal to itself: always ``max_iter`` iterations. Its start has no seed; this has.
    """
    legacy = np.random.RandomState(seed)
    centers = _start(X, init, legacy.choice(len(X), n_clusters, replace=False))
    for n_iter in range(1, max_iter + 1):
        labels = np.empty(len(X))
        for i in range(len(X)):
            labels[i] = _nearest_of_all(X[i], centers)
        _show(callback, labels, centers)
        before, centers = centers, np.empty_like(centers)
        for j in range(n_clusters):
            centers[j] = np.mean(X[labels == j], axis=0)
        if not (before - centers).any():
            return Run(labels, centers, n_iter)
    return Run(labels, centers, max_iter)


def _nearest_of_all(row: Array, centers: Array) -> int:
    distances = np.empty(len(centers))
    for j in range(len(centers)):
        distances[j] = np.sqrt(np.sum(np.power(centers[j] - row, 2)))
    return int(np.argmin(distances))


def pools_loop(
    X: Array,
    n_clusters: int,
    *,
    init: Array | None = None,
    seed: int = 433,
    max_iter: int = 1000,
    older: bool = False,
    callback: Callback | None = None,
) -> Run:
    """Run the multiprocessing study's serial loop: sums that follow the rows that change.

    Stops when at most n_samples // 100 rows changed. Kept: an empty cluster becomes 0 / 0, which is
    never nearer than anything, so that it dies unheard (C10); where all centers are NaN there is
    no nearest one, and the label is n_clusters (S1-06). ``max_iter`` is ours: theirs has no limit.

    ``older`` is the program of the study's profile: it goes on until no row changes, and its labels
    begin at 0, not at none. Rows that leave cluster 0 are taken off its sum without having been
    added, so that its center is for ever the mean of the rows that are not its own (C1).
    """
    centers = _start(X, init, random.Random(seed).sample(range(len(X)), n_clusters))
    labels = np.full(len(X), 0 if older else n_clusters)
    sums, counters = np.zeros_like(centers), np.zeros(n_clusters)
    few = 0 if older else len(X) // 100
    for n_iter in range(1, max_iter + 1):
        subtract = older or n_iter > 1
        changed = pools_pass(X, centers, labels, sums, counters, subtract=subtract)
        _show(callback, labels, centers)
        for j in range(n_clusters):
            centers[j] = sums[j] / counters[j]
        if changed <= few:
            return Run(labels, centers, n_iter)
    return Run(labels, centers, max_iter)


def pools_pass(
    X: Array,
    centers: Array,
    labels: Array,  # INOUT (n_samples,)
    sums: Array,  # INOUT (n_clusters, n_features)
    counters: Array,  # INOUT (n_clusters,)
    *,
    subtract: bool = True,
) -> int:
    """Label every row and move the sums and counters of those that change; return how many."""
    changed = 0
    for i, row in enumerate(X):
        nearest = pools_nearest(row, centers)
        if labels[i] != nearest:
            changed += 1
            if subtract:
                sums[labels[i]] -= row
                counters[labels[i]] -= 1
            sums[nearest] += row
            counters[nearest] += 1
            labels[i] = nearest
    return changed


def pools_nearest(row: Array, centers: Array) -> int:
    """Return the nearest center, the first on a tie; their number where none is near (S1-06)."""
    least, nearest = np.inf, len(centers)
    for j, center in enumerate(centers):
        # Python's sum over an array's scalars, and a root that no comparison needs: theirs (S1-05).
        distance = np.sqrt(sum((row - center) ** 2))
        if distance < least:
            least, nearest = distance, j
    return nearest


def demo_loop(
    X: Array,
    n_clusters: int,
    *,
    algorithm: str = "naive",
    init: Array | None = None,
    seed: int = 7,
    max_iter: int = 300,
    tol: float = 1e-4,
    callback: Callback | None = None,
) -> Run:
    """Run the demo's loop by one of its two algorithms, "naive" or "numpy".

    Stops when the Frobenius norm of the shift is at most ``tol``. Kept: ``n_iter`` is one too few
    where ``max_iter`` ends it (B4); the labels belong to the centers before the last update (B6);
    and "numpy" computes means in the dtype of X, which cuts those of integers off (B9).
    """
    assign, update = {
        "naive": (demo_assign_naive, demo_update_naive),
        "numpy": (demo_assign_numpy, demo_update_numpy),
    }[algorithm]
    rng = np.random.default_rng(seed)
    centers = demo_plus_plus(X, n_clusters, rng) if init is None else np.array(init, dtype=float)
    for n_iter in range(max_iter):
        labels, _ = assign(X, centers)
        _show(callback, labels, centers)
        before, centers = centers, update(X, labels, n_clusters, rng)
        if np.linalg.norm(centers - before) <= tol:
            return Run(labels, centers, n_iter + 1)
    return Run(labels, centers, n_iter)


def demo_plus_plus(X: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Start as the demo does, by D². Kept: copies of one row make 0 / 0 of the weights (B10)."""
    centers = np.empty((n_clusters, X.shape[1]))
    centers[0] = X[rng.integers(len(X))]
    nearest = np.sum((X - centers[0]) ** 2, axis=1)
    for j in range(1, n_clusters):
        centers[j] = X[rng.choice(len(X), p=nearest / nearest.sum())]
        nearest = np.minimum(nearest, np.sum((X - centers[j]) ** 2, axis=1))
    return centers


def demo_assign_naive(X: Array, centers: Array) -> tuple[Array, float]:
    """Label each row by one ``numpy.dot`` per center: 14 218 750 of them for 35 iterations (B8)."""
    labels, inertia = np.empty(len(X), dtype=np.int32), 0.0
    for i in range(len(X)):
        least, nearest = np.inf, 0
        for j in range(len(centers)):
            difference = X[i] - centers[j]
            distance = np.dot(difference, difference)
            if distance < least:
                least, nearest = distance, j
        labels[i] = nearest
        inertia += least
    return labels, inertia


def demo_update_naive(X: Array, labels: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Add row by row; a cluster without rows gets a random one (S0R-06)."""
    sums, counts = np.zeros((n_clusters, X.shape[1])), np.zeros(n_clusters, dtype=np.int64)
    for i in range(len(X)):
        sums[labels[i]] += X[i]
        counts[labels[i]] += 1
    for j in range(n_clusters):
        if counts[j] == 0:
            sums[j] = X[rng.integers(len(X))]
        else:
            sums[j] /= counts[j]
    return sums


def demo_assign_numpy(X: Array, centers: Array) -> tuple[Array, float]:
    """Label all rows at once, by way of an array of (n_samples, n_clusters, n_features)."""
    difference = X[:, None, :] - centers[None, :, :]
    squares = np.sum(difference * difference, axis=2)
    labels = np.argmin(squares, axis=1).astype(np.int32)
    return labels, float(squares[np.arange(len(X)), labels].sum())


def demo_update_numpy(X: Array, labels: Array, n_clusters: int, rng: np.random.Generator) -> Array:
    """Take means by mask, in an array of the dtype of X (B9)."""
    centers = np.zeros((n_clusters, X.shape[1]), dtype=X.dtype)
    for j in range(n_clusters):
        mine = X[labels == j]
        centers[j] = mine.mean(axis=0) if len(mine) else X[rng.integers(len(X))]
    return centers


def _start(X: Array, init: Array | None, drawn: Any) -> Array:
    """Return a copy of init as floats, or of the rows that were drawn."""
    return np.array(X[drawn] if init is None else init, dtype=float)


def _show(callback: Callback | None, labels: Array, centers: Array) -> None:
    if callback is not None:
        callback(labels.copy(), centers.copy())
