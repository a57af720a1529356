"""Sums that are the same on every machine: of numbers rounded to whole steps of a grid.

What a sum of floats rounds to depends on what is added first, which differs between libraries and
processors. Whole numbers below 2⁵³ are added without rounding.
"""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

#: A sum of fewer steps deserves a finer grid.
LEAST_STEPS = 1 << 44


class Grid:
    """Multiples of a power of two.

    Parameters
    ----------
    bound : float
        Of the sum of all numbers that are rounded to it at a time: 2⁵¹ steps at most.

    Attributes
    ----------
    step : float
    """

    def __init__(self, bound: float = np.inf) -> None:
        exponent = int(np.frexp(bound)[1]) if np.isfinite(bound) else 1022
        exponent = min(max(exponent, -1023), 1022)
        self.step = float(np.ldexp(1.0, exponent - 51))
        # Adding it rounds a number correctly, and the last bit of the sum is a step.
        self._shift = np.ldexp(1.5, exponent + 1)
        self._offset = self._shift.view(np.int64)

    def steps(self, values: Values) -> NDArray[np.int64]:
        """Return the numbers ≥ 0, rounded, as whole numbers of steps."""
        steps: NDArray[np.int64] = (values + self._shift).view(np.int64)
        steps -= self._offset
        return steps


def in_steps(values: Values, grid: Grid) -> tuple[NDArray[np.int64], int, Grid]:
    """Return numbers ≥ 0 in steps, the sum of these, and the grid that they refer to.

    That is the given one, or a finer one where their sum would be few steps of it. The flagship
    follows the same rule (``Seeding::refine``), so that both round alike.
    """
    steps, n = grid.steps(values), len(values)
    total = int(steps.sum())
    if total <= n:  # the sum may consist of rounding errors alone
        steps, total, grid = _in_finer_steps(values, n * float(values.max()), steps, grid)
    if total < LEAST_STEPS:
        steps, total, grid = _in_finer_steps(values, (total + n) * grid.step, steps, grid)
    return steps, total, grid


def _in_finer_steps(
    values: Values, bound: float, steps: NDArray[np.int64], grid: Grid
) -> tuple[NDArray[np.int64], int, Grid]:
    finer = Grid(bound)
    if finer.step < grid.step:
        steps, grid = finer.steps(values), finer
    return steps, int(steps.sum()), grid


def shares(values: Values) -> Values:
    """Return numbers ≥ 0, of which one is positive, rounded and divided by their sum."""
    steps, total, _ = in_steps(values, Grid())
    return np.asarray(steps / total)
