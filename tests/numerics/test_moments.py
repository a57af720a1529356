"""Moments of columns decide what exact sums decide, or say that they do not know."""

from dataclasses import replace

import numpy as np
import pytest

from kmeans_lab import centering
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.numerics.exact_sums import column_sums
from kmeans_lab.numerics.moments import moments_of
from kmeans_lab.registry import load_kernel

EPS = np.finfo(np.float64).eps


pytestmark = pytest.mark.usefixtures("isa")


def hard(rng, n, d):
    """Return rows of one hard kind after the other."""
    X = rng.normal(size=(n, d))
    yield X
    yield np.round(X * 3)
    yield X + 1e9
    yield np.repeat(X[:1] * 0.1, n, axis=0)  # 3 · 0.1 / 3 is not 0.1
    yield np.where(rng.random(d) < 0.5, 0.1, X)
    yield X * 1e-160
    yield X * 10.0 ** rng.integers(-150, 30, d)
    yield np.where(np.arange(n)[:, None] == n // 2, 1e8, X)
    yield rng.integers(0, 5, (n, d)) * 0.1
    yield np.round(X) + 2.0**20 + 0.5
    # The mean lies halfway between two middles, and no single sum of float64 finds it.
    half = np.round(X[: n // 2] * 0.7 * 2**44) / 2**44
    yield rng.permutation(np.concatenate([half, -half, X[: n % 2] * 0])) + 100.5


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (7, 8), (1000, 7), (333, 33), (40, 257), (5, 700)]
)
def test_moments_are_those_of_each_column(dtype, shape, n_threads):
    for X in hard(np.random.default_rng(shape), *shape):
        rows = np.ascontiguousarray(X, dtype=dtype)
        found, wide = moments_of(rows, load_kernel("cpp-simd"), n_threads), rows.astype(np.float64)
        assert np.array_equal(found.low, wide.min(axis=0))
        assert np.array_equal(found.high, wide.max(axis=0))
        assert found.largest() == np.abs(wide).max()
        off = wide - found.pivot
        for sums, values in (found.sums, off), (found.squares, off * off):
            bound = len(X) * EPS * column_sums(np.abs(values)) + len(X) * 5e-324
            assert (np.abs(sums - column_sums(values)) <= bound).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (9, 2), (1000, 7), (64, 33)])
def test_middle_and_variance_are_those_of_exact_sums(monkeypatch, dtype, shape):
    def doubtful(found, n_samples):
        mean, variance, off, _ = estimates(found, n_samples)
        return mean, variance, off, variance / 2 + 1e-300

    estimates = centering._estimates
    for X in hard(np.random.default_rng(shape), *shape):
        rows = np.ascontiguousarray(X, dtype=dtype)
        found = [
            middle_and_variance(rows, moments_of(rows, load_kernel("cpp-simd"))),
            middle_and_variance(rows),
        ]
        with monkeypatch.context() as patch:
            patch.setattr(centering, "_estimates", doubtful)
            exact, variance = middle_and_variance(rows)
        for own in found:
            assert np.array_equal(own[0], exact)
            assert own[1] == variance


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_value_that_is_not_finite_is_seen(dtype, value, place):
    for shape in [(1, 1), (3, 2), (50, 7), (20, 300)]:
        X = np.ones(shape, dtype)
        X.flat[min(place, X.size - 1)] = value
        assert np.isnan(moments_of(X, load_kernel("cpp-simd")).largest())
        assert np.isnan(moments_of(X).largest())


def on_the_edge():
    """Return a value whose square lies halfway between two numbers of 24 binary digits."""
    for whole in range(2**23, 2**23 + 999):
        square = (whole + 0.5) / 2**23
        root = np.sqrt(square)
        if root * root == square:
            return root
    raise AssertionError("there is none")


def test_squares_that_only_their_sum_takes_beyond_float64_are_finite():
    found = moments_of(np.array([[1.0, -3.0], [2.0, 0.0]]))
    assert replace(found, squares=np.full(2, 1.5e308)).largest() == 3


@pytest.mark.parametrize("factor", [1 - 100 * EPS, 1 + 100 * EPS])
def test_a_variance_that_rounding_could_decide_is_summed_exactly(factor):
    X = np.repeat([[on_the_edge()], [-on_the_edge()]], 100, axis=0)
    known = moments_of(X)
    # Half of the rounding that the sum of 200 squares may have.
    rounded = replace(known, squares=known.squares * factor)
    assert middle_and_variance(X, rounded)[1] == middle_and_variance(X, known)[1]
