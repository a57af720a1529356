"""Soft assignment: the probability of each center for each row, instead of the nearest one.

This is the E-step of a mixture of spherical Gaussians with equal weights and one common width
(Dempster, Laird, Rubin, "Maximum likelihood from incomplete data via the EM algorithm", Journal of
the Royal Statistical Society B 39, 1977). As the width goes to 0 it becomes the assignment of
k-means.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kmeans_lab import checks
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.magnitudes import least_of, refuse_narrow, spread


@checks.numpys_own_errors
def responsibilities(X: Any, centers: Any, sigma: float) -> Array:
    """Return the probability of each center for each row, p ∝ exp(−‖x − μ‖² / 2σ²).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers, taken as float64. Never modified.
    centers : array-like of shape (n_clusters, n_features)
        The means μ, for instance ``kmeans(…).centers``.
    sigma : float
        The width σ > 0, a standard deviation in the units of X.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters), float64
        Each row sums to 1. The largest is the nearest center's, as long as sigma is not so large
        that float64 holds all of them to be equal.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind; the sentence says what to do.

    Notes
    -----
    Nothing overflows and no row becomes 0/0, however small sigma is or however far away the row:
    exponents are taken relative to the row's nearest center. The difference of two squared
    distances is computed as (μ' − μ)·((x − μ') + (x − μ)), so that it keeps its digits even where
    both are huge.

    Examples
    --------
    >>> responsibilities([[0.0], [1.0]], [[0.0], [2.0]], sigma=1.0).round(3).tolist()
    [[0.881, 0.119], [0.5, 0.5]]
    """
    width = checks.real(sigma)
    if width is None:
        raise TypeError(f"sigma={sigma!r} must be a number > 0")
    if not 0 < width < np.inf:
        raise ValueError(f"sigma={sigma} must be a finite number > 0; 1e-9 is nearly hard")
    rows = np.asarray(checks.samples(X, ("float64",)), dtype=np.float64)
    means = np.asarray(checks.initial_centers(centers, None, rows, "centers"), dtype=np.float64)
    if spread(rows, least_of(rows.dtype)) == 0:  # otherwise the spread of X sets the scale
        refuse_narrow(np.vstack([rows[:1], means]))
    found = np.empty((len(rows), len(means)))
    for some in row_blocks(len(rows), max(rows.shape[1], len(means))):
        _write_excess(rows[some], means, found[some])
        _write_shares(found[some], width)
    return found


def _write_excess(rows: Array, centers: Array, excess: Array) -> None:
    """Write how much larger each squared distance is than that to the nearest center."""
    for j, center in enumerate(centers):
        difference = rows - center
        np.einsum("if,if->i", difference, difference, out=excess[:, j])
    mine = centers[excess.argmin(axis=1)]
    away = rows - mine
    for j, center in enumerate(centers):
        np.einsum("if,if->i", mine - center, away + (rows - center), out=excess[:, j])
    # Far away, where squares are equal but for rounding, another one may be the nearest.
    excess -= excess.min(axis=1, keepdims=True)


def _write_shares(values: Array, sigma: float) -> None:
    """Turn excesses into probabilities; what vanishes beside the nearest center is 0."""
    with np.errstate(over="ignore", under="ignore"):
        values /= sigma  # twice: the square of a small sigma would be 0
        values /= -2 * sigma
        np.exp(values, out=values)
    values /= values.sum(axis=1, keepdims=True)
