"""Exact sums in NumPy, and what follows: weighted fits, relocated rows, the middle of X."""

from fractions import Fraction

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.numerics.exact_sums import ExactTotal, RunningSums, column_sums, row_squares

RNG = np.random.default_rng


def exactly(values):
    """Return the sum of float64 numbers, rounded once."""
    return float(sum(map(Fraction, np.asarray(values).tolist()), Fraction(0)))


def numbers(rng, shape, span):
    """Return numbers of any sign, their sizes spread over ``span`` decades."""
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-span / 2, span / 2, size=shape)


@pytest.mark.parametrize("span", [0, 3, 15, 60, 300])
@pytest.mark.parametrize("n", [1, 2, 7, 1000, 4099])
def test_a_total_is_rounded_once(n, span):
    values = numbers(RNG(n), n, span)
    values[::3] *= -1
    total = ExactTotal()
    for block in np.array_split(values, 3):
        total.add(block.copy())
    assert total.value() == exactly(values)


def test_a_total_of_what_cancels_keeps_the_rest():
    values = np.array([1e300, 1e-300, -1e300, 2.0**-1074, 3.0])
    total = ExactTotal()
    total.add(values.copy())
    assert total.value() == 3.0
    total.add(np.array([-3.0]))
    assert total.value() == exactly([1e-300, 2.0**-1074])


def test_a_total_beyond_float64_is_infinite_and_nan_stays():
    total = ExactTotal()
    total.add(np.full(4, 1e308))
    assert total.value() == np.inf
    total.add(np.array([np.nan]))
    assert np.isnan(total.value())


@pytest.mark.parametrize("span", [0, 12, 40, 280])
def test_running_sums_are_those_of_the_rows_that_are_there(span):
    rng = RNG(span)
    columns = numbers(rng, (3, 400), span)
    columns[1] = 0
    sums = RunningSums(columns, 5)
    labels = rng.integers(4, size=400).astype(np.int32)  # cluster 4 owns none at first
    for _ in range(6):
        found = sums.move(labels)
        for j in range(5):
            mine = columns[:, labels == j]
            assert found[:, j].tolist() == [exactly(row) for row in mine]
        labels = labels.copy()
        labels[rng.integers(400, size=60)] = rng.integers(5, size=60)


def test_a_sum_halfway_between_two_numbers_is_rounded_to_even_or_by_its_last_bit():
    for hair in (0.0, 2.0**-80, -(2.0**-80)):
        values = np.array([2.0**60, 2.0**7, hair, 2.0**-30, -(2.0**-30)])
        sums = RunningSums(values[None, :], 1)
        assert sums.move(np.zeros(5, np.int32)).item() == exactly(values)


def test_row_squares_are_added_feature_by_feature():
    rows = numbers(RNG(1), (50, 9), 6)
    for row, square in zip(rows.tolist(), row_squares(rows).tolist(), strict=True):
        total = 0.0
        for value in row:
            total += value * value
        assert square == total


def test_column_sums_are_rounded_once():
    rows = numbers(RNG(2), (300, 3), 20)
    assert column_sums(rows).tolist() == [exactly(column) for column in rows.T]


@pytest.mark.parametrize("kernel", ["numpy", "cpp", "cpp-simd"])
def test_weighted_centers_are_exact_means(kernel):
    rng = RNG(3)
    X = numbers(rng, (300, 2), 8)
    weights = 10.0 ** rng.uniform(-9, 9, 300)
    weights[:40] = 0
    result = kmeans(X, 4, kernel=kernel, init=X[:4], tol=0, sample_weight=weights)
    scale = 2.0 ** -int(np.frexp(weights.max())[1])
    for j in range(4):
        mine = (result.labels == j) & (weights > 0)
        mass = exactly(weights[mine] * scale)
        for f in range(2):
            assert result.centers[j, f] == exactly(weights[mine] * scale * X[mine, f]) / mass


def test_a_large_row_that_is_relocated_leaves_the_digits_of_the_small_ones(kernel_name):
    small = RNG(4).normal(1, 0.1, 60) * 1e-9
    X = np.append(small, 1e9)[:, None]
    seen = []
    kmeans(
        X, 2, kernel=kernel_name, init=np.zeros((2, 1)), max_iter=2, tol=0,
        callback=lambda it: seen.append(it.centers.copy()),
    )  # fmt: skip
    assert sorted(seen[1].ravel().tolist()) == pytest.approx([small.mean(), 1e9], rel=1e-12)


def test_rows_near_the_origin_keep_their_digits_beside_far_ones(kernel_name):
    rng = RNG(5)
    near, further = rng.normal(1e-11, 1e-12, 50), rng.normal(3e-11, 1e-12, 50)
    X = np.concatenate([near, further, rng.normal(1e6, 1, 100)])[:, None]
    start = np.array([[1e-11], [4e-11], [1e6]])
    result = kmeans(X, 3, kernel=kernel_name, init=start, tol=0)
    assert np.bincount(result.labels).tolist() == [50, 50, 100]
    assert result.centers[:2, 0].tolist() == pytest.approx([near.mean(), further.mean()], rel=1e-9)


def test_the_middle_and_the_variance_do_not_depend_on_the_order_of_rows(dtype):
    rng = RNG(6)
    for _ in range(200):
        n, d = rng.integers(1, 60, 2) % (60, 4) + 1
        kinds = [
            numbers(rng, (n, d), 8) + 100,
            rng.integers(-3, 9, (n, d)) / 2,
            rng.choice([1e16, 1.0, -1e16, 3.0], size=(n, d)),
            np.full((n, d), rng.normal() * 1e3),
        ]
        for X in kinds:
            given = X.astype(dtype)
            middle, variance = middle_and_variance(given)
            again, other = middle_and_variance(given[rng.permutation(n)])
            assert (middle == again).all()
            assert variance == other


def test_an_iteration_tells_the_inertia_of_clusters_that_are_far_apart(kernel_name):
    X = np.concatenate([RNG(7).normal(at, 1e-3, (50, 1)) for at in (1e6, -1e6)])
    result = kmeans(X, 2, kernel=kernel_name, init=[[9e5], [-9e5]], tol=0, history=True)
    assert result.history[-1].inertia == pytest.approx(result.inertia, rel=1e-12)
    assert result.inertia == pytest.approx(1e-4, rel=0.5)
