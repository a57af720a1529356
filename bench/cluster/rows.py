"""Rows per second of one thread in the steps of a cluster: ``python -m bench.cluster.rows``.

Each step is that of ``kmeans_lab.dask.tasks``, on one block, with bounds that are kept from pass to
pass. Beside it, the same rows labelled by meeting every center, as in a first pass. Times are
processor seconds of this process, which load from elsewhere hardly changes.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.dask import tasks
from kmeans_lab.dask.plan import Plan
from kmeans_lab.formatting import digits
from kmeans_lab.io.streams import spell_out
from kmeans_lab.measure import machine
from kmeans_lab.numerics.block_sums import start_sums
from kmeans_lab.registry import load_kernel

KERNEL = "cpp-simd"
SPREADS = {"clusters that overlap": 1.0, "clusters apart": 0.1, "no clusters": None}


def draw(
    shape: tuple[int, int], n_clusters: int, spread: float | None, seed: int = 0
) -> NDArray[np.float32]:
    """Return normal rows around normal centers; around none where spread is None."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal(shape, np.float32)
    if spread is None:
        return X
    centers = rng.standard_normal((n_clusters, shape[1]), np.float32)
    found = centers[rng.integers(0, n_clusters, len(X))]
    found += np.float32(spread) * X
    return found


def steps(X: NDArray[np.float32], centers: Any) -> Iterator[tuple[float, int]]:
    """Yield the seconds of each step of a fit, and how many rows changed their label."""
    shape = len(X), len(centers)
    magnitudes = np.abs(X)
    most, least = magnitudes.max(0).astype(float), magnitudes.min(0, initial=1, where=X != 0)
    known = most, least.astype(float), len(X), X.shape[1], len(centers)
    plan = Plan("rows", KERNEL, None, *known, None, 1)
    before, step = None, 0
    sums, counts = np.empty(centers.shape), np.empty(len(centers), np.int64)
    while True:
        start = process_time()
        answer = tasks.step([X], [(0, None)], plan, step, centers, before)
        yield process_time() - start, answer.changed
        total: Any = start_sums(plan.largest, plan.least, None, X.dtype, shape, None, 1)
        total.add(answer.parts)
        total.read(sums, counts)
        before, step = centers, step + 1
        means = sums / np.maximum(counts, 1)[:, None]
        centers = np.where(counts[:, None] > 0, means, centers).astype(X.dtype)


def every_center(X: NDArray[np.float32], centers: Any) -> float:
    """Return the seconds in which rows meet every center, the least of five calls."""
    kernel: Any = load_kernel(KERNEL)
    labels, spent = np.empty(len(X), np.int32), []
    for _ in range(5):
        start = process_time()
        kernel.label_rows(X, centers, labels, 1, None)
        spent.append(process_time() - start)
    return min(spent)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster.rows", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=10)
    given = parser.parse_args()
    print(f"{given.rows} × {given.features} float32, k = {given.clusters}, one thread")
    print(f"{'rows':<24}{'every center':>14}  rows/s in each step (rows that changed)")
    for name, spread in SPREADS.items():
        X = draw((given.rows, given.features), given.clusters, spread)
        centers = X[: given.clusters].copy()
        rate = given.rows / every_center(X, centers)
        print(f"{name:<24}{digits(rate):>14} ", end="")
        for spent, changed in islice(steps(X, centers), given.passes):
            print(f" {digits(given.rows / spent)} ({changed / given.rows:.0%})", end="", flush=True)
        tasks.forget("rows")
        print()
    print(*machine.lines(), sep="\n")


if __name__ == "__main__":
    spell_out()
    main()
