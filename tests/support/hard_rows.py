"""Rows on which bounds of distances are hard put to it, or of no use."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]

#: Rows, features and clusters: so many that k-means++ screens rows.
N, D, K = 3000, 9, 40


def blobs(rng: np.random.Generator, apart: float = 2.0, n: int = N, d: int = D, k: int = K) -> Rows:
    """Return rows around k points."""
    return rng.normal(scale=apart, size=(k, d))[rng.integers(k, size=n)] + rng.normal(size=(n, d))


def with_far_row(rng: np.random.Generator, far: float) -> Rows:
    """Return rows of which one is far away."""
    X = blobs(rng)
    X[1234] *= far
    return X


def near_the_error(rng: np.random.Generator) -> Rows:
    """Return tight groups far apart: distances within one are about the error of the bound."""
    return rng.normal(scale=1000, size=(3, D))[rng.integers(3, size=N)] + rng.normal(
        scale=0.05, size=(N, D)
    )


def on_a_sphere(rng: np.random.Generator) -> Rows:
    """Return rows near the middle, and others at nearly the same distance from all of them."""
    X = rng.normal(size=(N, D))
    X *= (1 + 1e-5 * rng.random((N, 1))) / np.linalg.norm(X, axis=1, keepdims=True)
    X[: N // 2] *= 1e-7
    return X


def turned_cube(rng: np.random.Generator) -> Rows:
    """Return the corners of a cube, some often, around its middle: candidates that nearly tie."""
    corners = np.array(list(product((-1.0, 1.0), repeat=D)))
    turn, _ = np.linalg.qr(rng.normal(size=(D, D)))
    return np.concatenate(
        [np.zeros((1, D)), corners[rng.integers(len(corners), size=N - 1)] @ turn]
    )


KINDS: dict[str, Callable[[np.random.Generator], Rows]] = {
    "a cube": turned_cube,
    "overlapping": blobs,
    "apart": lambda rng: blobs(rng, 50),
    "near the error": near_the_error,
    "on a sphere": on_a_sphere,
    "heavy tails": lambda rng: rng.standard_t(1, size=(N, D)),
    "all sizes": lambda rng: rng.normal(size=(N, D)) * 10.0 ** rng.integers(-9, 9, (N, 1)),
    "features of all sizes": lambda rng: blobs(rng) * 10.0 ** -np.arange(D),
    "one far row": lambda rng: with_far_row(rng, 1e9),
    "one row farther than the units reach": lambda rng: with_far_row(rng, 1e18),
    "copies": lambda rng: rng.normal(size=(30, D))[rng.integers(30, size=N)],  # fewer than K
    "copies and others": lambda rng: np.concatenate([np.ones((N // 2, D)), blobs(rng, n=N // 2)]),
    "equal": lambda rng: np.full((N, D), 0.3),
    "offset": lambda rng: blobs(rng) + 1e6,
    "whole": lambda rng: rng.integers(-2, 3, size=(N, D)).astype(float),
    "small": lambda rng: blobs(rng) * 1e-12,
    "large": lambda rng: blobs(rng) * 1e17,
}
ONLY_FLOAT64: dict[str, Callable[[np.random.Generator], Rows]] = {
    "vanishing squares": lambda rng: blobs(rng) * 1e-161,
    "tiny": lambda rng: blobs(rng) * 1e-200,
    "subnormal": lambda rng: blobs(rng) * 1e-310,
    "huge": lambda rng: blobs(rng) * 1e150,
}
