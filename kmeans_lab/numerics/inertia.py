"""Inertia from direct differences: what a fit returns, whatever its kernel computed on the way."""

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import ExactTotal, row_squares

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
    total = ExactTotal()
    for part in row_blocks(len(rows), rows.shape[1], least=_LEAST_ROWS):
        squares = row_squares(rows[part] - wide[labels[part]])
        if weights is not None:
            squares *= weights[part]
        total.add(squares)
    return total.value()
