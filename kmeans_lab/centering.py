"""Move the origin into the data, without rounding them.

A kernel that expands ‖x − c‖² loses digits when the data lie far from the origin, so the driver
subtracts a middle first and adds it back at the end. The middle is the column means rounded to a
coarse power of two, about one standard deviation: close enough for the expansion, and exact for
data on a grid — integers stay integers, so ties stay ties. Data that already lie around the
origin get a middle of zero, and no copy of X is made.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_BLOCK_VALUES = 65_536  # differences held at once: no temporary of the size of X


def middle_and_variance(X: Array) -> tuple[Array, float]:
    """Return the middle (n_features,) in the dtype of X, and the mean variance of the features."""
    mean = X.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    block = max(1, _BLOCK_VALUES // X.shape[1])
    for first in range(0, len(X), block):
        diff = X[first : first + block] - mean
        squares += np.einsum("if,if->f", diff, diff)
    variance = squares / len(X)
    # frexp: std = fraction · 2**exponent with fraction in [½, 1), and 2**0 for a constant column.
    _, exponent = np.frexp(np.sqrt(variance))
    grid = np.ldexp(1.0, exponent)
    # Finer than the dtype resolves at the mean is no grid at all.
    grid = np.maximum(grid, np.spacing(np.abs(mean).astype(X.dtype)).astype(np.float64))
    return (np.rint(mean / grid) * grid).astype(X.dtype), float(variance.mean())
