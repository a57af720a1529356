"""Inertia from direct differences: what a fit returns, whatever its kernel computed on the way."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import ExactTotal, row_squares
from kmeans_lab.sparse.numerics import own_squares
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]

_LEAST_ROWS = 512  # with fewer at a time, NumPy calls cost more than the sums


def direct_inertia(
    rows: Samples, centers: Array, labels: Labels, weights: Floats | None = None
) -> float:
    """Sum the (weighted) squared distances to the chosen centers, from differences in float64.

    The sum over rows is exact, and so the same in whatever order they are.
    """
    total = ExactTotal()
    for part, squares in squares_of(rows, centers, labels):
        if weights is not None:
            squares *= weights[part]
        total.add(squares)
    return total.value()


def squares_of(rows: Samples, centers: Array, labels: Labels) -> Iterator[tuple[slice, Floats]]:
    """Yield slices of rows and their squared distances to the chosen centers."""
    if isinstance(rows, SparseRows):
        for part, _, squares in own_squares(rows, centers, labels):
            yield part, squares
        return
    wide = centers.astype(np.float64)
    for part in row_blocks(len(rows), rows.shape[1], least=_LEAST_ROWS):
        yield part, row_squares(rows[part] - wide[labels[part]])
