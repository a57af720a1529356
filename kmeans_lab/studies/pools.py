"""The multiprocessing study's parallel program, after its slides, and what it published.

Its defects are kept where they cost time: a row at a time through ``Pool.map``, sums and counters
moved in the parent, and as many counters as there are rows, sent along for each center.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.kernel import Array
from kmeans_lab.studies.originals import pools_nearest

SIZES, CLUSTERS, WORKERS = (10_000, 100_000, 1_000_000), (10, 20, 40), (1, 2, 4, 8, 16)

#: (n_clusters, n_samples) → serial over parallel seconds with 1, 2, 4, 8 and 16 processes.
PUBLISHED = {
    (10, 10_000): (0.70440, 1.04726, 1.11342, 0.85709, 0.53186),
    (10, 100_000): (0.90754, 1.43153, 1.84884, 1.73453, 1.51680),
    (10, 1_000_000): (0.91036, 1.48321, 2.02187, 2.07164, 2.02388),
    (20, 10_000): (0.84010, 1.15221, 1.31224, 1.05950, 0.67283),
    (20, 100_000): (0.95420, 1.64954, 2.25325, 2.37325, 2.23004),
    (20, 1_000_000): (0.97390, 1.61574, 2.26319, 2.38699, 2.37975),
    (40, 10_000): (0.96216, 1.47628, 1.92731, 1.78475, 1.33792),
    (40, 100_000): (1.02302, 1.72194, 2.38432, 2.56659, 2.39313),
    (40, 1_000_000): (0.99209, 1.66696, 2.34458, 2.48961, 2.46708),
}
#: The serial seconds beside them.
PUBLISHED_SERIAL = {
    (10, 10_000): 2.125, (10, 100_000): 13.265, (10, 1_000_000): 79.359,
    (20, 10_000): 2.844, (20, 100_000): 52.161, (20, 1_000_000): 616.883,
    (40, 10_000): 8.585, (40, 100_000): 83.167, (40, 1_000_000): 803.776,
}  # fmt: skip


@dataclass
class Spent:
    """Seconds of a fit: the distances, the sums and counters, the divisions; and iterations."""

    assign: float = 0.0
    update: float = 0.0
    centers: float = 0.0
    n_iter: int = 0

    @property
    def whole(self) -> float:
        """Seconds of all of it."""
        return self.assign + self.update + self.centers


def recenter(j: int, sums: Array, counters: Array) -> Any:
    """Return one center: a division, in a process of its own."""
    return sums[j] / counters[j]


def fit(X: Array, centers: Array, pool: Any = None, max_iter: int = 300) -> tuple[Any, Spent]:
    """Run the study's k-means, serial without a pool; return the labels and the seconds.

    X is (n_samples, 2), centers (n_clusters, 2). It ends when at most n_samples // 100 labels
    change. Sums and counters move with the rows that change.
    """
    n, k = len(X), len(centers)
    spent, changed = Spent(), n
    labels: Any = np.full(n, k)
    sums, counters = np.zeros((k, X.shape[1])), np.zeros(n if pool else k)
    while changed > n // 100 and spent.n_iter < max_iter:
        start = perf_counter()
        nearest = partial(pools_nearest, centers=centers)
        new = np.array(pool.map(nearest, X) if pool else [nearest(point) for point in X])
        assigned = perf_counter()
        changed = sum(labels != new)
        for i in range(n):
            if labels[i] != new[i]:
                if labels[i] < k:
                    sums[labels[i]] -= X[i]
                    counters[labels[i]] -= 1
                sums[new[i]] += X[i]
                counters[new[i]] += 1
        labels = new
        updated = perf_counter()
        mean = partial(recenter, sums=sums, counters=counters)
        centers = np.array(pool.map(mean, range(k)) if pool else [mean(j) for j in range(k)])
        spent.assign += assigned - start
        spent.update += updated - assigned
        spent.centers += perf_counter() - updated
        spent.n_iter += 1
    return labels, spent


@contextmanager
def start_pool(workers: int) -> Iterator[tuple[Any, float]]:
    """Yield a pool of new interpreters and the seconds that it took to start; None for none."""
    if workers == 0:
        yield None, 0.0
        return
    start = perf_counter()
    pool = get_context("spawn").Pool(workers)
    try:
        pool.map(abs, range(8 * workers), chunksize=1)
        yield pool, perf_counter() - start
    finally:
        pool.terminate()
        pool.join()
