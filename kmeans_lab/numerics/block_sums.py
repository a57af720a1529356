"""Exact sums of rows that come in blocks, by the kernel that adds them up for all, or in NumPy."""

from __future__ import annotations

from math import fsum
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import AddsBlocks, Array, Labels, SumsOfBlocks
from kmeans_lab.numerics.exact_sums import MovingSums
from kmeans_lab.registry import PROVIDERS, load_kernel

Floats = NDArray[np.float64]


def adds_blocks() -> AddsBlocks | None:
    """Return the kernel that adds blocks up for all others; None where it cannot run."""
    name = first_ready((PROVIDERS["blocks"],))
    return None if name is None else cast(AddsBlocks, load_kernel(name))


class MovingRows:
    """The same in NumPy, with the same bits.

    Parameters
    ----------
    most : ndarray of shape (n_columns,), float64
        Magnitudes that no value of a column lies beyond.
    n_samples, n_clusters : int
    """

    def __init__(self, most: Floats, n_samples: int, n_clusters: int) -> None:
        self._sums = MovingSums(most, n_samples, n_clusters)
        self._counts = np.zeros(n_clusters, np.int64)

    def move(
        self, X: Array, middle: Array | None, weights: Floats | None, before: Labels, after: Labels
    ) -> int:
        """Move rows whose labels differ between sums; see ``kernel.SumsOfBlocks``."""
        changed = np.flatnonzero(before != after)
        if len(changed) == 0:
            return 0
        begun = before[changed[0]] >= 0  # all rows of a block have labels, or none
        to = after[changed].astype(np.intp)
        left = before[changed].astype(np.intp) if begun else None
        rows = X[changed] if middle is None else X[changed] - middle
        columns = list(np.ascontiguousarray(rows.astype(np.float64).T))
        if weights is not None:
            heavy = weights[changed]
            columns = [*(column * heavy for column in columns), heavy.copy()]
        self._sums.move(columns, left, to)
        self._counts += np.bincount(to, minlength=len(self._counts))
        if left is not None:
            self._counts -= np.bincount(left, minlength=len(self._counts))
        return len(changed)

    def read(self, sums: Floats, counts: NDArray[Any]) -> None:
        """Overwrite sums and counts, or masses; see ``kernel.SumsOfBlocks``."""
        found = self._sums.sums()
        sums[:] = found[: sums.shape[1]].T
        counts[:] = self._counts if len(found) == sums.shape[1] else found[-1]


def start_sums(
    most: Floats,
    least: Floats | None,
    middle: Array | None,
    dtype: np.dtype[Any],
    shape: tuple[int, int],
    lightest: float | None,
    n_threads: int,
) -> SumsOfBlocks:
    """Return empty sums of rows less a middle.

    Parameters
    ----------
    most : ndarray of shape (n_features,), float64
        The largest magnitude of each feature, less its middle.
    least : ndarray of shape (n_features,), float64, optional
        The smallest before the middle is subtracted, zeros aside; None: NumPy adds up.
    middle : ndarray of shape (n_features,), optional
    dtype : dtype
        Of the rows.
    shape : tuple of int
        (n_samples, n_clusters).
    lightest : float, optional
        The smallest weight above 0 of any row, where rows have weights.
    n_threads : int
    """
    adding = None if least is None else adds_blocks()
    tops = most if lightest is None else np.append(most, 1.0)
    if adding is None or least is None or not _ordinary(most, least, lightest):
        return MovingRows(tops, *shape)
    # A value, less its middle and rounded, is a multiple of the last place of either.
    exponents = np.frexp(np.where(np.isfinite(least), least, np.maximum(most, 1e-300)))[1]
    if middle is not None:
        own = np.frexp(np.abs(middle).astype(np.float64))[1]
        exponents = np.where(middle != 0, np.minimum(exponents, own), exponents)
    ends = np.ldexp(0.5, exponents)
    if lightest is not None:
        digits = np.finfo(dtype).nmant + 1
        ends = np.append(np.ldexp(ends, -digits) * lightest, lightest)
    wide = dtype == np.float64
    return adding.sums_of_blocks(wide, tops, ends, *shape, lightest is not None, n_threads)


def lightest_of(weights: Floats | None) -> float | None:
    """Return the smallest weight above 0; None where rows have none."""
    return None if weights is None else float(weights[weights > 0].min())


def _ordinary(most: Floats, least: Floats, lightest: float | None) -> bool:
    """Return whether magnitudes are so far from the ends of float64 that no product leaves it."""
    least = least[np.isfinite(least)]
    light = 1.0 if lightest is None else lightest
    return bool((most < 1e250).all() and (least > 1e-150).all() and light > 1e-100)


def inertia_of_blocks(parts: list[Floats]) -> float:
    """Return the exact sum of what ``AddsBlocks.inertia_parts`` returned, rounded once."""
    together = np.concatenate(parts)
    if not np.isfinite(together).all():
        return float(together.sum())
    return fsum(together.tolist())
