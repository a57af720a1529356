"""Running means of sparse rows, column by column: a batch looks at the columns that it stores.

A batch has some thousand values and the centers have millions: what walks through all of these,
center by center and several times, takes longer than everything else.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.estimators.minibatch_means import Floats, RunningMeans, Taken, Weights
from kmeans_lab.isolation.availability import choose_kernel
from kmeans_lab.kernel import Array
from kmeans_lab.metric import Directions, exponent_of
from kmeans_lab.registry import PROVIDERS
from kmeans_lab.sparse.numerics import batches, squared_lengths
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import absolute


class ColumnMeans(RunningMeans):
    """``RunningMeans`` whose arrays lie column by column, for the kernel that meets batches.

    Rows with weights are left to the other kernel, as are batches that are not sparse.
    """

    _squares: Floats | None = None  # of the centers; None: not known
    _due = False  # sums have a batch that the centers have not: Ctrl-C came in between

    def __init__(
        self, kernel: str, centers: Array, middle: Array, metric: str = "euclidean"
    ) -> None:
        super().__init__(kernel, centers, middle, metric)
        self._near, self._sums = np.asfortranarray(self._near), np.zeros(centers.shape, order="F")

    def take(self, X: Array | SparseRows, weights: Weights = None, n_threads: int = 1) -> Taken:
        """Assign a batch and move the centers, as ``RunningMeans.take`` says."""
        provider = batches()
        plain = weights is None and not self._exponents.any()
        if provider is None or not plain or not isinstance(X, SparseRows):
            if self._due and provider is not None:
                self._columns(provider)
            self._forget()
            # Row by row, as the other kernel has its own: not to be turned with each batch.
            self._near = np.ascontiguousarray(self._near)
            self._sums = np.ascontiguousarray(self._sums)
            return super().take(X, weights, n_threads)
        centers, squares = self._columns(provider)
        labels = np.empty(len(X), dtype=np.int32)
        inertia = float(provider.assign_batch(X, centers, squares, labels))
        self._since += len(X)
        self._lately += np.ldexp(np.bincount(labels, minlength=len(self)) * 1.0, -self._latest)
        self._forget()
        self._due = True
        provider.add_batch(X, labels, self._sums.T, self._mass)
        self._settle(provider, centers, squares)
        self._squares, self._due = squares, False
        return Taken(absolute(inertia, exponent_of(self._metric)))

    def _forget(self) -> None:
        self._squares, self._due = None, False

    def _settle(self, provider: Any, centers: Array, squares: Floats) -> None:
        """Overwrite centers with means, of length 1 where directions are compared, and squares."""
        sums, mass = self._sums.T, self._mass
        if self._metric == "euclidean":
            provider.settle_columns(sums, mass, centers, squares)
            return
        provider.square_means(sums, mass, squares)
        lengths, directed = Directions(0, self._middle, 0).lengths_of(squares)
        stays = (mass == 0) | ~directed
        provider.settle_columns(sums, np.where(stays, 0.0, mass), centers, squares, lengths)

    def _columns(self, provider: Any) -> tuple[Array, Floats]:
        """Return the centers column by column, and their squared lengths."""
        self._near, self._sums = np.asfortranarray(self._near), np.asfortranarray(self._sums)
        if self._squares is None:
            squares = np.empty(len(self))
            if self._due:
                self._settle(provider, self._near.T, squares)
            else:
                provider.settle_columns(None, None, self._near.T, squares)
            self._squares, self._due = squares, False
        return self._near.T, self._squares

    def _apart(self, near: Any, others: NDArray[np.intp]) -> tuple[Floats, Floats]:
        provider = batches()
        by_column = isinstance(near, SparseRows) and self._near.flags.f_contiguous
        if provider is None or not by_column:
            return super()._apart(near, others)
        centers, squares = self._columns(provider)
        far = np.full(len(squares), np.inf)  # of centers that are no others: no row is near them
        far[others] = squares[others]
        labels, nearest = np.empty(len(near), dtype=np.int32), np.empty(len(near))
        provider.assign_batch(near, centers, far, labels)
        provider.measure_own(near, centers, squares, labels, nearest)
        return nearest, squared_lengths(near)


def running_means(
    kernel: str, centers: Array, middle: Array, metric: str, *, sparse: bool
) -> RunningMeans:
    """Return the running means that take such batches fastest; kernel: a name, or "auto"."""
    able = sparse and kernel in ("auto", PROVIDERS["batches"])
    chosen = choose_kernel(sparse=sparse, once=True) if kernel == "auto" else kernel
    if able and batches() is not None:
        return ColumnMeans(chosen, centers, middle, metric)
    return RunningMeans(chosen, centers, middle, metric)
