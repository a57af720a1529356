"""Data of few features on which bounds of boxes may fail: rows and the centers to begin with."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Made = tuple[Values, Values]


def _start(rng: np.random.Generator, X: Values, k: int) -> Made:
    return X, X[rng.choice(len(X), k, replace=False)].copy()


def overlapping(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Clusters that touch: most tiles lie on borders."""
    centers = rng.normal(size=(30, d)) * 2
    X = centers[rng.integers(30, size=3000)] + rng.normal(size=(3000, d))
    return _start(rng, X.astype(kind), 30)


def crowded(rng: np.random.Generator, d: int, kind: str) -> Made:
    """More centers than tiles are tested against at once."""
    return _start(rng, rng.normal(size=(2500, d)).astype(kind), 150)


def tight(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Clusters a hundred thousand times as far apart as they are wide, several centers in each."""
    spots = rng.normal(size=(5, d)) * 100
    X = spots[rng.integers(5, size=3000)] + rng.normal(size=(3000, d)) * 1e-3
    return _start(rng, X.astype(kind), 20)


def whole(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Small integers: rows exactly between centers, centers that coincide, duplicates."""
    X = rng.integers(-9, 10, size=(3000, d)).astype(kind)
    X, centers = _start(rng, X, 12)
    centers[7] = centers[2]
    return X, centers


def equal(_: np.random.Generator, d: int, kind: str) -> Made:
    """All rows the same, and centers that are all the same."""
    X = np.full((2100, d), 3.0).astype(kind)
    return X, X[:9].copy()


def outlier(rng: np.random.Generator, d: int, kind: str) -> Made:
    """One row so far away that all others lie in one cell."""
    X = rng.normal(size=(3000, d)).astype(kind)
    X[1234] = 1e9
    return _start(rng, X, 10)


def offset(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Far from the origin, where float32 tells rows apart by few digits."""
    X = rng.normal(size=(3000, d)) + 1e6
    return _start(rng, X.astype(kind), 12)


def heavy(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Cauchy's distribution: tails without a variance."""
    X = rng.standard_cauchy(size=(3000, d)).clip(-1e12, 1e12)
    return _start(rng, X.astype(kind), 25)


def few(rng: np.random.Generator, d: int, kind: str) -> Made:
    """Fewer rows than a tile has places."""
    return _start(rng, rng.normal(size=(13, d)).astype(kind), 13)


def scaled(power: float) -> Callable[[np.random.Generator, int, str], Made]:
    """Return what makes overlapping clusters times a power of ten."""

    def make(rng: np.random.Generator, d: int, kind: str) -> Made:
        X, centers = overlapping(rng, d, "f8")
        factor = 10.0 ** (power / 9 if kind == "f4" and abs(power) > 100 else power)
        return (X * factor).astype(kind), (centers * factor).astype(kind)

    return make


DATA: dict[str, Callable[[np.random.Generator, int, str], Made]] = {
    "overlapping": overlapping,
    "crowded": crowded,
    "tight": tight,
    "whole": whole,
    "equal": equal,
    "outlier": outlier,
    "offset": offset,
    "heavy": heavy,
    "few": few,
    "tiny": scaled(-12),
    "vanishing": scaled(-150),
    "huge": scaled(30),
    "overflowing": scaled(150),
}
