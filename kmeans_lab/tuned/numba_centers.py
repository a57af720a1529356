# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""What a pass takes from its centers: panels, drifts, what rounding may do; compiled by Numba.

A row's slack is the gap between its distances to the two nearest centers when it was scored, plus
the drift of its center then. A center's drift grows by its own way and by the longest way of all
others: the gap shrinks by no more. So the row keeps its center while slack > drift (Hamerly,
"Making k-means even faster", SDM 2010).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from kmeans_lab.tuned.numba_balls import spread_centers
from kmeans_lab.tuned.numba_jit import jit
from kmeans_lab.tuned.numba_layout import (
    BACK,
    DONE,
    FARTHEST,
    FILTERING,
    FLAT,
    LEAST,
    LOSS,
    NEXT,
    PANEL,
    RATE,
    SCALE,
    SCALES,
    SCREEN_FLAT,
    SCREEN_RATE,
    SCREENING,
    U64,
    UP,
    exchange,
)


def lay_scale(n_features: int, dtype: Any) -> Any:
    """Return the quantities on which rounding depends; each pass sets those of the tolerance."""
    kind = np.finfo(dtype)
    up, least = 1 + (2 * n_features + 16) * float(kind.eps), 64 * float(kind.tiny)
    scale = np.zeros(SCALES)
    scale[[UP, LEAST, LOSS]] = up, least, 1e-9 + 4 * (n_features + 8) * U64
    return scale


@jit()
def drift_on(given: Any, old: Any, way: Any, drift: Any, need: Any, scale: Any) -> None:
    """Add the ways of the centers to their drifts; ``need`` is what a row's slack must exceed.

    Rounded upwards: by ``loss`` for the squares, and by more than half a unit in the last place
    after each addition. Squares of differences below 2⁻⁵³⁷ vanish, wherefore 2⁻⁵⁰⁰ is added. What
    is not a number becomes infinite, and then no slack is enough. ``need[0]`` is for rows without
    a cluster.
    """
    most = second = 0.0
    who, k = -1, given.shape[0]
    kind = np.finfo(need.dtype)
    for j in range(k):
        square, moved = 0.0, False
        for f in range(given.shape[1]):
            diff = np.float64(given[j, f]) - np.float64(old[j, f])
            square += diff * diff
            moved |= diff != 0
        way[j] = np.sqrt(square) * (1 + scale[LOSS]) + 2.0**-500 if moved else 0.0
        if np.isnan(square):
            way[j] = np.inf
        if way[j] > most:
            second, most, who = most, way[j], j
        elif way[j] > second:
            second = way[j]
    for j in range(k):
        drift[j] += (way[j] + (second if j == who else most)) * (1 + scale[LOSS])
        drift[j] *= 1 + 2.0**-50
        up = max(drift[j] * (1 + 2 * np.float64(kind.eps)), np.float64(kind.tiny))
        need[j + 1] = up if drift[j] > 0 else 0.0


@jit()
def take_centers(
    given: Any, centers: Any, packed: Any, squares: Any, scale: Any, control: Any,
    across: Any, apart: Any, filtering: bool, screen: Any, screen_squares: Any,
) -> None:  # fmt: skip
    """Write −2c by panels, feature by feature, and ‖c‖²; free the chunks for taking."""
    longest = 0.0
    for j in range(given.shape[0]):
        square = 0.0
        for f in range(given.shape[1]):
            value = given[j, f]
            centers[j, f] = value
            packed[j // PANEL, f * PANEL + j % PANEL] = -2 * value
            square += np.float64(value) * np.float64(value)
        squares[j] = square
        longest = max(longest, square)
    _choose_tolerance(longest, given.shape[1], np.finfo(given.dtype), scale)
    _lay_screen(packed, squares, longest, given.shape[1], scale, screen, screen_squares)
    if filtering:
        spread_centers(centers, across, apart, scale)
    control[FILTERING] = filtering
    exchange(control, DONE, 0)
    exchange(control, NEXT, 0)  # last: from here on a helper that is late may take a chunk


@numba.njit(inline="always")
def _choose_tolerance(square: float, n_features: int, kind: Any, scale: Any) -> None:
    """Set up to which gap two scores are decided by direct differences.

    That is flat + rate · ‖x‖²: twice the rounding of ‖c‖² − 2x·c and of ‖c‖², plus twice that of
    the direct sum, so that a gap beyond it gives the label that direct sums would give. Where C is
    the longest center, 2 (d + 4) (u C (C + 2‖x‖) + u64 (‖x‖ + C)² + tiny), as steps may underflow,
    and 2C‖x‖ ≤ C² + ‖x‖².
    """
    unit, steps = np.float64(kind.eps) / 2, 1.001 * 2 * (n_features + 4)
    scale[FLAT] = steps * (2 * (unit + U64) * square + np.float64(kind.tiny))
    scale[RATE] = steps * (unit + 2 * U64)


@numba.njit(inline="always")
def _lay_screen(
    packed: Any, squares: Any, longest: float, n_features: int, scale: Any, screen: Any,
    screen_squares: Any,
) -> None:  # fmt: skip
    """Write the centers as rows of float64 are scored against them in float32, where they can be.

    Rows and centers are scaled by a power of two that makes the longest of them about as long as
    one, so that no square overflows. Rounding the two factors of each product adds two steps to
    those of the tolerance, and what vanishes is less than ``tiny``.
    """
    most = max(scale[FARTHEST], longest)
    scale[SCREENING] = screen.shape[0] > 0 and 2.0**-800 < most < 2.0**800
    if scale[SCREENING] == 0:
        return
    exponent = math.frexp(np.sqrt(most))[1]
    back, unit, steps = math.ldexp(1.0, 2 * exponent), 2.0**-24, 1.001 * 2 * (n_features + 6)
    scale[SCALE], scale[BACK] = math.ldexp(1.0, -exponent), back
    scale[SCREEN_FLAT] = steps * (2 * (unit + U64) * longest + 2.0**-126 * back)
    scale[SCREEN_RATE] = steps * (unit + 2 * U64)
    for q in range(screen.shape[0]):
        for i in range(screen.shape[1]):
            screen[q, i] = packed[q, i] * scale[SCALE]
    for j in range(screen_squares.shape[0]):
        screen_squares[j] = squares[j] * scale[SCALE] * scale[SCALE]
