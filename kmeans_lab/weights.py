"""Rows that count unequally: weighted sums and inertia, once for all kernels.

The nearest center of a row does not depend on its weight, and most kernels are not given it. What
depends on it — sums, the mass of a cluster, inertia — is added up here, exactly: each product of a
weight and a value is rounded once, and their sum once, in whatever order they come. A kernel with
``KernelSpec.weights`` adds up the same sums in its own pass.
"""

import warnings
from math import isinf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.kernel import Labels
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import RunningSums
from kmeans_lab.sparse.numerics import add_weighed
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]


def relative(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return weights divided by a power of two, the largest of them in [½, 1), and its exponent.

    The quotients are exact, so that whatever follows from them is, too, and no sum overflows. A
    weight that is less than 2⁻¹⁰⁷⁴ of the largest vanishes beside it and becomes 0.
    """
    exponent = int(np.frexp(weights.max())[1])
    return np.asarray(np.ldexp(weights, -exponent)), exponent


def absolute(inertia: float, exponent: int) -> float:
    """Return an inertia for weights as they were given; infinite where float64 cannot hold it."""
    if exponent == 0:
        return float(inertia)
    with np.errstate(over="ignore"):
        return float(np.ldexp(inertia, exponent))


def warn_of_overflow(inertia: float) -> float:
    """Return the inertia of a fit; warn where it is infinite, though centers and labels are not."""
    if isinf(inertia):
        warnings.warn(
            "the weighted inertia is larger than float64 can hold and becomes inf, while centers "
            "and labels are right; scale sample_weight down to see it",
            RuntimeWarning,
            stacklevel=4,
        )
    return inertia


class Weighting:
    """Weights relative to the largest.

    Attributes
    ----------
    values : ndarray of shape (n_samples,), float64
        The largest lies in [½, 1).
    exponent : int
        Exponent of the power of two by which they were divided.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.values, self.exponent = relative(weights)

    def start_sums(self, rows: Samples, n_clusters: int) -> "WeightedSums":
        """Return weighted sums that follow labels.

        Those of dense rows keep a copy of X in float64: multiplying again would take as long as
        adding up.
        """
        if isinstance(rows, SparseRows):
            return _SparseSums(rows, self.values)
        n_samples, n_features = rows.shape
        columns = np.empty((n_features + 1, n_samples))
        for part in row_blocks(n_samples, n_features):
            np.multiply(rows[part].T, self.values[part], out=columns[:-1, part])
        columns[-1] = self.values
        return _DenseSums(RunningSums(columns, n_clusters))


class WeightedSums(Protocol):
    """Weighted sums of the rows of each cluster."""

    def move(self, labels: Labels, sums: Floats, mass: Floats, /) -> None:
        """Overwrite sums (n_clusters, n_features) and mass (n_clusters,) for these labels."""


class _DenseSums:
    """Exact ones, of each feature and, last, of the weights."""

    def __init__(self, running: RunningSums) -> None:
        self._running = running

    def move(self, labels: Labels, sums: Floats, mass: Floats, /) -> None:
        """Overwrite sums and mass; only rows whose label changed are looked at."""
        *totals, mass[:] = self._running.move(labels)
        for total, column in zip(totals, sums.T, strict=True):
            column[:] = total


class _SparseSums:
    """Sums in float64, added up row by row."""

    def __init__(self, rows: SparseRows, weights: Floats) -> None:
        self._rows, self._weights = rows, weights

    def move(self, labels: Labels, sums: Floats, mass: Floats, /) -> None:
        """Overwrite sums and mass."""
        sums.fill(0)
        mass.fill(0)
        add_weighed(self._rows, self._weights, labels, sums, mass)
