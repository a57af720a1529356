"""The contract of a kernel, stated once.

A kernel is a *module* with two functions (PEP 544 lets a module satisfy a Protocol; there is
no base class). Kernels decide how the two steps of Lloyd's algorithm are computed; the driver
decides what is computed. Copy ``_py_kernel.py``, write your own loops, add a row to
``registry.py``: every test, benchmark and table picks it up.

Arrays, as the driver hands them over:

========  =========================  ===============================================
rows      (n_samples, n_features)    float32 or float64, C-contiguous, read-only
centers   (n_clusters, n_features)   dtype of rows, C-contiguous, read-only
labels    (n_samples,)               int32, each in 0 … n_clusters−1 once assigned
sums      (n_clusters, n_features)   float64
counts    (n_clusters,)              int64
========  =========================  ===============================================

The caller owns every array. Sums are added up in float64, whatever the dtype of the rows, and they
*add*: ``update(A); update(B)`` equals ``update(A ∪ B)``, so blocks, threads and processes all use
the same two functions. ``assign`` doubles as predict.

Three more functions are optional, and only where a published benchmark shows that they pay:

``prepare(X, n_clusters, n_threads) -> rows``
    Called once per chunk and fit. What it returns is handed to the other functions in place of
    the chunk: a transposed copy, row norms, bounds, a thread team.
``assign_update(rows, centers, labels, sums, counts) -> float``
    Both steps in one pass; ``labels`` holds the previous labels on entry (−1: none).
``inertia(X, centers, labels) -> float``
    The sum of squared distances to the chosen centers, from differences in float64, which ends
    every fit; X is no prepared copy. A million rows of two features: 1.1 ms instead of NumPy's 8.7.

The driver moves the origin into the data. Where a kernel's row in the registry says ``centers``,
``prepare`` and ``inertia`` are given X as it is and, where that is not zero, its ``middle``
(n_features,) as a last argument, and subtract it in the dtype of X; for others the driver does.

What ``prepare`` returns may have four attributes:

``changed``
    How many labels the last pass changed: a rule that counts them needs no copy of the labels.
``rescored``
    How many near-ties were decided by direct differences since the rows were prepared.
``greedy(X, first, draws) -> indices``
    The rows that greedy k-means++ chooses, as ``kmeans_lab.seeding.greedy_rows`` does: a start
    that finds the rows prepared saves a fifth of the time of a small fit.
``close()``
    Called when the fit ends, however it does: ends threads, and waits until they have left.
"""

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int32]
Sums: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]
Array: TypeAlias = NDArray[np.floating[Any]]


class Kernel(Protocol):
    """What the driver needs of a kernel module."""

    def assign(self, rows: Any, centers: Any, labels: Labels, /) -> float:
        """Overwrite labels with each row's nearest center (lowest index on a tie).

        Returns the sum of squared distances to the chosen centers.
        """

    def update(self, rows: Any, labels: Labels, sums: Sums, counts: Counts, /) -> None:
        """Add each row to the sum of its cluster and one to its count. Adds; never clears.

        A label outside 0 … n_clusters−1 raises ValueError, and nothing has been added.
        """


def read_only(array: Array) -> Array:
    """Return a view that cannot be written to: kernels never modify what they are given."""
    view = array.view()
    view.flags.writeable = False
    return view
