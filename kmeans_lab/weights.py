"""Rows that count unequally: weighted sums and inertia, once for all kernels.

Kernels assign, and know nothing of weights: the nearest center of a row does not depend on its
weight. What depends on it — sums, the mass of a cluster, inertia — is added up here, in NumPy and
in the order of the rows, so that results stay bit-identical for any kernel, mode and n_threads.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.kernel import Labels
from kmeans_lab.partial import direct_inertia

Array = NDArray[np.floating[Any]]

_BLOCK_VALUES = 65_536  # differences held at once


class Weighting:
    """Weights relative to the largest, and the rows multiplied by them.

    They are divided by a power of two, exactly, so that no sum of huge ones overflows. Keeps one
    copy of X in float64: to multiply anew would take as long as adding up.

    Attributes
    ----------
    values : ndarray of shape (n_samples,), float64
        The largest lies in [½, 1).
    exponent : int
        Of the power of two that they were divided by.
    """

    def __init__(self, weights: NDArray[np.float64], rows: Samples) -> None:
        self.exponent = int(np.frexp(weights.max())[1])
        self.values = np.ldexp(weights, -self.exponent)
        n_samples, n_features = rows.shape
        self._columns = np.empty((n_features, n_samples))
        block = max(1, _BLOCK_VALUES // n_features)
        for first in range(0, n_samples, block):
            part = slice(first, first + block)
            np.multiply(rows[part].T, self.values[part], out=self._columns[:, part])

    def add_up(self, labels: Labels, sums: Array, mass: Array) -> None:
        """Overwrite the sums (n_clusters, n_features) and the mass (n_clusters,) of clusters."""
        places, k = labels.astype(np.intp), len(mass)
        mass[:] = np.bincount(places, self.values, k)
        for column, total in zip(self._columns, sums.T, strict=True):
            total[:] = np.bincount(places, column, k)

    def inertia(self, rows: Samples, centers: Array, labels: Labels) -> float:
        """Sum the weighted squared distances to the chosen centers, from differences."""
        total = direct_inertia(rows, centers, labels, self.values)
        return float(np.ldexp(total, self.exponent))
