"""What all steps of a fit on a cluster have in common: arrays that are sent to its workers once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array, Labels, read_only
from kmeans_lab.numerics.block_sums import adds_blocks, start_sums
from kmeans_lab.registry import find_spec, load_kernel, load_sparse
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]


def aligned(array: Any) -> Any:
    """Return an array whose values lie where compiled code may read them.

    Those that came over the network may lie at any address.
    """
    if isinstance(array, SparseRows):
        data, indices, indptr = (aligned(it) for it in (array.data, array.indices, array.indptr))
        return SparseRows(data, indices, indptr, array.n_features)
    return None if array is None else np.require(array, requirements=["C", "A"])


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The kernel of a fit, and what is known of all rows together.

    Attributes
    ----------
    fit : str
        A name that no other fit has.
    kernel : str
    middle : ndarray of shape (n_features,), optional
        What is subtracted from each row.
    largest, least : ndarray of shape (n_features,), float64
        The largest magnitude of each feature, less its middle, and the smallest before, zeros
        aside. Of sparse rows, those of all values, (1,).
    n_samples, n_features, n_clusters : int
    lightest : float, optional
        The smallest weight above 0, where rows have weights.
    n_threads : int
        Of each task.
    """

    fit: str
    kernel: str
    middle: Array | None
    largest: Floats
    least: Floats
    n_samples: int
    n_features: int
    n_clusters: int
    lightest: float | None
    n_threads: int

    def aligned(self) -> Self:
        """Return the same with arrays that compiled code takes."""
        return replace(self, middle=aligned(self.middle))

    def module(self) -> Any:
        """Return the kernel."""
        return load_kernel(self.kernel)

    def prepared(self, rows: Any) -> Any:
        """Return rows as the kernel prepares them."""
        of = self.n_clusters, self.n_threads
        if self.middle is None:
            return self.module().prepare(read_only(rows), *of)
        if find_spec(self.kernel).centers:
            return self.module().prepare(read_only(rows), *of, self.middle)
        return self.module().prepare(read_only(rows - self.middle), *of)

    def start_sums(self, dtype: np.dtype[Any]) -> Any:
        """Return empty sums of rows of a dtype, which add up with those of other blocks."""
        shape = self.n_samples, self.n_clusters
        known = self.largest, self.least, self.middle, dtype, shape
        return start_sums(*known, self.lightest, self.n_threads)

    def move(
        self, sums: Any, rows: Any, weights: Floats | None, before: Labels, after: Labels
    ) -> int:
        """Move rows whose labels differ from sum to sum; return how many."""
        return int(sums.move(rows, self.middle, weights, before, after))

    def label(self, rows: Any, centers: Array) -> Labels:
        """Return each row's nearest center."""
        kernel, labels = self.module(), np.empty(len(rows), np.int32)
        if hasattr(kernel, "label_rows"):
            kernel.label_rows(read_only(rows), centers, labels, self.n_threads, self.middle)
            return labels
        prepared = self.prepared(rows)
        try:
            kernel.assign(prepared, centers, labels)
            return labels
        finally:
            if hasattr(prepared, "close"):
                prepared.close()

    def inertia_parts(
        self, rows: Any, centers: Array, labels: Labels, weights: Floats | None
    ) -> Floats:
        """Return numbers whose exact sum is the inertia of a block."""
        adding = adds_blocks()
        assert adding is not None  # or measuring would have failed
        more = labels, self.middle, weights, self.n_threads
        return adding.inertia_parts(read_only(rows), centers, *more)


class SparsePlan(Plan):
    """The same for sparse rows, which have neither a middle nor weights."""

    __slots__ = ()

    def module(self) -> Any:
        """Return the kernel's module for sparse rows."""
        return load_sparse(self.kernel)

    def prepared(self, rows: Any) -> Any:
        """Return rows as the kernel prepares them."""
        return self.module().prepare(rows, self.n_clusters, self.n_threads)

    def start_sums(self, dtype: np.dtype[Any]) -> Any:
        """Return empty sums of rows of a dtype, which add up with those of other blocks."""
        most, least = float(self.largest[0]), float(self.least[0])
        shape = self.n_samples, self.n_features, self.n_clusters
        return self.module().sums_of_blocks(dtype == np.float64, most, least, *shape)

    def move(
        self, sums: Any, rows: Any, weights: Floats | None, before: Labels, after: Labels
    ) -> int:
        """Move rows whose labels differ from sum to sum; return how many."""
        return int(sums.move(rows, before, after))

    def label(self, rows: Any, centers: Array) -> Labels:
        """Return each row's nearest center."""
        labels = np.empty(len(rows), np.int32)
        self.module().assign(rows, centers, labels, self.n_threads)
        return labels

    def inertia_parts(
        self, rows: Any, centers: Array, labels: Labels, weights: Floats | None
    ) -> Floats:
        """Return numbers whose exact sum is the inertia of a block."""
        found: Floats = self.module().inertia_parts(rows, centers, labels)
        return found
