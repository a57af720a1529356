"""Bounds carried for groups of centers: labels are those of `cpp` in every pass."""

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab._cpp_kernel import assign as plain_assign
from kmeans_lab.tuned import simd
from tests.support.helpers import force_isa

KINDS = [
    "clouds",
    "equal",
    "offset",
    "tiny",
    "huge",
    "heavy tails",
    "outlier",
    "duplicates",
    "integers",
    "lengths",
]


def rows_of(kind, n, d):
    """Return rows that are easy or hard for bounds in float32."""
    rng = np.random.default_rng(n + d)
    X = rng.normal(size=(40, d))[rng.integers(0, 40, n)] * 2 + rng.normal(size=(n, d))
    if kind == "equal":
        return np.repeat(X[:1], n, axis=0)
    if kind == "offset":
        return X + 1e6
    if kind in ("tiny", "huge"):
        return X * (1e-30 if kind == "tiny" else 1e30)
    if kind == "heavy tails":
        return rng.standard_cauchy(size=(n, d))
    if kind == "outlier":
        X[n // 2] = 1e12
    if kind == "duplicates":
        return X[rng.integers(0, 50, n)]
    if kind == "integers":
        return np.rint(X)
    if kind == "lengths":
        return X * np.exp(8 * rng.normal(size=(n, 1)))
    return X


def passes(X, centers, n_threads, weights=None, n=8):
    """Return the rows, and centers and labels of each pass."""
    rows = simd.prepare(X, len(centers), n_threads, weights=weights)
    labels, seen = np.full(len(X), -1, np.int32), []
    for _ in range(n):
        sums, counts = (
            np.zeros(centers.shape),
            np.zeros(len(centers), np.int64 if weights is None else float),
        )
        simd.assign_update(rows, centers, labels, sums, counts)
        seen.append((centers.copy(), labels.copy(), sums, counts))
        centers[counts > 0] = (sums / np.where(counts > 0, counts, 1)[:, None])[counts > 0]
    return rows, seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_labels_are_those_of_plain_loops(kind, level, monkeypatch):
    force_isa(monkeypatch, "cpp-simd", level)
    for dtype in ["float64"] if kind in ("tiny", "huge") else ["float64", "float32"]:
        X = rows_of(kind, 2100, 33).astype(dtype)
        rows, seen = passes(X, X[::16].copy(), 1)
        assert rows.engine == "bounds per group"
        for centers, labels, _, _ in seen:
            expected = np.empty_like(labels)
            plain_assign(X, centers, expected)
            np.testing.assert_array_equal(labels, expected)


def test_threads_and_weights_change_no_bit(dtype):
    X = rows_of("clouds", 9000, 40).astype(dtype)
    weights = np.random.default_rng(0).random(len(X))
    for some in (None, weights):
        one, seen = passes(X, X[:120].copy(), 1, some)
        three, again = passes(X, X[:120].copy(), 3, some)
        assert (one.met, one.rescored) == (three.met, three.rescored)
        for mine, other in zip(seen, again, strict=True):
            for a, b in zip(mine, other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_rows_that_stay_are_hardly_looked_at():
    X = rows_of("clouds", 20_000, 32)
    rows, _ = passes(X, X[:200].copy(), 1, n=15)
    assert rows.met < 0.1


def test_centers_of_another_fit_are_met_anew():
    X = rows_of("clouds", 3000, 40)
    rows, labels, expected = (
        simd.prepare(X, 150, 2),
        np.full(3000, -1, np.int32),
        np.empty(3000, np.int32),
    )
    for start in (0, 500, 1500, 0):
        centers = X[start : start + 150].copy()
        simd.assign(rows, centers, labels)
        plain_assign(X, centers, expected)
        np.testing.assert_array_equal(labels, expected)


def test_a_fit_is_that_of_cpp():
    X = rows_of("offset", 4000, 40)
    start = X[::20]
    mine, plain = (
        kmeans(X, len(start), init=start, max_iter=12, tol=0, kernel=kernel, empty="keep")
        for kernel in ("cpp-simd", "cpp")
    )
    np.testing.assert_array_equal(mine.labels, plain.labels)
