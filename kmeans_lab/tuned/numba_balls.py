# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Balls around the rows of a tile, and the centers that they leave: compiled by Numba.

The ball around neighbouring rows is tested against the centers. Center b is ruled out when, for
some center a, the whole ball lies on a's side of the plane between the two: score(b) − score(a) >
2 · radius · ‖a − b‖. Mostly one center is left, or a few; the rows are scored against those alone.
Centers may move as they like.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kmeans_lab.tuned.numba_jit import jit
from kmeans_lab.tuned.numba_layout import (
    FAST,
    LEAST,
    UNBOUNDED,
    UP,
)


@jit(fastmath=FAST | {"reassoc"})
def fit_balls(tiles: Any, n_samples: int, middle: Any, square: Any, scale: Any) -> None:
    """Put a ball around each tile's rows; rounded upwards, and no square underflows."""
    width = tiles.shape[2]
    distances = np.empty(width)
    for t in range(square.shape[0]):
        rows = min(width, n_samples - t * width)
        distances[:] = 0.0
        for f in range(tiles.shape[1]):
            x = tiles[t, f]
            total = 0.0
            for p in range(rows):
                total += np.float64(x[p])
            middle[t, f] = total / rows
            near = np.float64(middle[t, f])
            for p in range(rows):
                diff = np.float64(x[p]) - near
                distances[p] += diff * diff
        farthest = 0.0
        for p in range(rows):
            farthest = max(farthest, distances[p])
        square[t] = max(farthest * scale[UP], scale[LEAST])


@jit(fastmath=FAST)
def spread_centers(centers: Any, across: Any, apart: Any, scale: Any) -> None:
    """Write −2c feature by feature, and 4‖a − b‖² of each pair, rounded upwards."""
    for j in range(centers.shape[0]):
        for f in range(centers.shape[1]):
            across[f, j] = -2 * centers[j, f]
    for a in range(apart.shape[0]):
        row = apart[a]
        row[:] = 0
        for f in range(centers.shape[1]):
            values = across[f]
            own = values[a]
            for j in range(row.shape[0]):
                row[j] += (values[j] - own) * (values[j] - own)
        for j in range(row.shape[0]):
            row[j] = max(row[j] * scale[UP], scale[LEAST])


@jit()
def worthwhile(n_features: int) -> float:
    """Return up to which share of centers left balls take less time than what else there is."""
    return 0.4 if n_features > UNBOUNDED else 0.6


@jit(fastmath=FAST, forceinline=True)
def list_near(
    scores: Any, apart: Any, near: Any, t: int, square: Any, beyond: Any, out: Any, found: Any
) -> int:
    """List the centers that may be nearest to a row of a ball, in order; return how many.

    The center that was near last time rules others out first, then the nearest of all.
    """
    a: Any = np.int64(near[t])
    while True:
        base, far = scores[a] + beyond, apart[a]
        for j in range(far.shape[0]):  # what is not a number stays
            above = scores[j] - base
            out[j] = (above > 0) & (above * above > far[j] * square)
        n = 0
        for j in range(apart.shape[0]):
            found[n] = j
            n += 1 - out[j]
        best = a
        for i in range(n):
            if scores[found[i]] < scores[best]:
                best = np.int64(found[i])
        if best == a:
            return n
        a = best
        near[t] = a


@jit(fastmath=FAST, forceinline=True)
def pack_centers(
    packed: Any, squares: Any, found: Any, n: int, few: Any, few_squares: Any, few_names: Any
) -> None:
    """Put listed centers side by side."""
    for i in range((n + 3) // 4 * 4):
        j = np.int64(found[min(i, n - 1)])
        own, to = packed[j // 4], few[i // 4]
        few_names[i] = j
        few_squares[i] = squares[j] if i < n else np.inf
        for f in range(packed.shape[1] // 4):
            to[f * 4 + i % 4] = own[f * 4 + j % 4]
