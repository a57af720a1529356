"""Greedy k-means++ of rows that are read block by block: one pass for each center.

The rows that it chooses are those that ``kmeans_lab.seeding.greedy_rows`` chooses in memory, since
everything that is added up are whole numbers of steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.numerics.grids import Grid
from kmeans_lab.rows.distances import Distances, Steps, fine_enough


def choose_rows(X: Any, near: Distances, first: int, draws: NDArray[np.float64]) -> list[int]:
    """Return the rows that become centers; ``first`` and ``draws`` are as for ``greedy_rows``.

    X are ``StreamedRows``, or sparse rows that lie elsewhere; ``near`` knows of no point yet.
    """
    n_samples, chosen, grid = len(X), [first], Grid()
    near.add(X[[first]])
    steps: Steps | None = None
    for draw in draws:
        steps, total, grid = fine_enough(
            near, n_samples, near.steps(grid) if steps is None else steps, grid
        )
        if total > 0:
            candidates = near.rows_at(draw * total, steps, grid)
        else:  # every row is a center already
            candidates = (draw[:1] * n_samples).astype(np.intp)
        points = X[candidates]
        tried = near.tried(points, grid)
        best = int(np.argmin(tried.sum(axis=0)))
        chosen.append(int(candidates[best]))
        near.add(points[best : best + 1])
        steps = np.ascontiguousarray(tried[:, best])
    return chosen
