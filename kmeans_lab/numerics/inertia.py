"""Inertia from direct differences: what a fit returns, whatever its kernel computed on the way."""

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.numerics.exact_sums import ExactTotal, row_squares

_BLOCK_VALUES = 65_536  # differences held at once
_LEAST_ROWS = 512  # with fewer at a time, NumPy calls cost more than the sums


def direct_inertia(
    rows: Samples,
    centers: NDArray[np.floating],
    labels: NDArray[np.int32],
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Sum the (weighted) squared distances to the chosen centers, from differences in float64.

    The sum over rows is exact, and so the same in whatever order they are.
    """
    wide = centers.astype(np.float64)
    block = max(_LEAST_ROWS, _BLOCK_VALUES // rows.shape[1])
    total = ExactTotal()
    for first in range(0, len(rows), block):
        part = slice(first, first + block)
        squares = row_squares(rows[part] - wide[labels[part]])
        if weights is not None:
            squares *= weights[part]
        total.add(squares)
    return total.value()
