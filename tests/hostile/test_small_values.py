"""Small values beside large ones, and light weights: all digits are kept, or it is refused."""

from fractions import Fraction

import numpy as np
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.measure.certify import certify_fit

pytestmark = pytest.mark.hostile

RNG = np.random.default_rng(0)
EPS = float(np.finfo(np.float64).eps)


def near(value, n, spread=0.1):
    return RNG.normal(1, spread, n) * value


def rows_of(*groups, dtype="float64"):
    """Return a column of some groups of rows, beside one that says which group a row is of."""
    groups = [np.asarray(group) for group in groups]
    which = np.repeat(np.arange(float(len(groups))), [len(group) for group in groups])
    return np.column_stack([which, np.concatenate(groups)]).astype(dtype)


#: What a middle near most rows of the second column would do to the others.
MIXED = {
    "1e-9 beside many near 1e6": rows_of(near(1e-9, 20), RNG.normal(1e6, 1, 980)),
    "three magnitudes": rows_of(near(1e-12, 10), near(3e-11, 10), RNG.normal(1e6, 1, 980)),
    "float32": rows_of(near(1e-3, 10), near(2e-2, 10), RNG.normal(1e6, 1, 980), dtype="float32"),
    "below zero": -rows_of(near(1e-9, 20), RNG.normal(1e6, 1, 980)),
    "squares that vanish": rows_of(near(1e-200, 50), near(1e-170, 50)),
    "squares that nearly vanish": rows_of(near(1e-180, 50), near(1e-161, 50)),
    "denormal numbers": rows_of(near(1e-315, 50), near(1e-300, 50)),
}


def exact_means(X, labels, k, weights=None):
    """Means of the rows by label, rounded once."""
    weights = np.ones(len(X)) if weights is None else weights
    means = np.empty((k, X.shape[1]))
    for j in range(k):
        mine = labels == j
        mass = list(map(Fraction, weights[mine].tolist()))
        for f, column in enumerate(X[mine].T.tolist()):
            total = sum(w * Fraction(x) for w, x in zip(mass, column, strict=True))
            means[j, f] = float(total / sum(mass))
    return means


@pytest.mark.parametrize("case", MIXED)
def test_small_values_beside_many_far_ones_keep_their_digits(kernel_name, case):
    X = MIXED[case]
    k = int(np.abs(X[:, 0]).max()) + 1
    options = {"init": X[[int((X[:, 0] == j).argmax()) for j in np.unique(X[:, 0])]], "tol": 0}
    result = kmeans(X, k, kernel=kernel_name, **options)
    rtol = 8 * np.finfo(X.dtype).eps
    expected = exact_means(X, result.labels, k)
    np.testing.assert_allclose(result.centers[:, 1], expected[:, 1], rtol=rtol)
    certify_fit(X, k, options, kernel_name)


@pytest.mark.parametrize("case", MIXED)
def test_their_column_is_not_moved(case):
    assert middle_and_variance(MIXED[case])[0][1] == 0


def test_no_value_loses_a_digit_to_the_middle(dtype):
    moved = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        X = rng.normal(10.0 ** rng.integers(-3, 4), 10.0 ** rng.integers(-4, 2), size=(400, 4))
        X[0, :2] *= 10.0 ** rng.integers(-20, 1, size=2)
        X = X.astype(dtype)
        middle = middle_and_variance(X)[0]
        moved += np.count_nonzero(middle)
        assert ((X - middle) + middle == X).all()
    assert moved > 200


def test_mini_batches_lose_none_to_rows_that_came_first():
    small, far = near(1e-9, 40), RNG.normal(1e6, 1, 40)
    init = [[1e-9], [1e6]]
    model = MiniBatchKMeans(2, init=init).partial_fit(far[:, None])
    model.partial_fit(small[:20, None]).partial_fit(small[20:, None])
    expected = exact_means(np.r_[small, far][:, None], np.repeat([0, 1], 40), 2)
    np.testing.assert_allclose(model.cluster_centers_, expected, rtol=8 * EPS)


@pytest.mark.parametrize("seed", range(4))
def test_mini_batches_lose_none_to_the_rows_that_the_start_is_drawn_from(seed):
    small, far = near(1e-9, 20), RNG.normal(1e6, 1, 1980)
    X = np.r_[small, far][:, None]
    options = {"batch_size": len(X), "init_size": 20, "max_iter": 1, "random_state": seed}
    model = MiniBatchKMeans(2, init=[[1e-9], [1e6]], **options).fit(X)
    expected = exact_means(X, np.repeat([0, 1], [20, 1980]), 2)
    np.testing.assert_allclose(model.cluster_centers_, expected, rtol=8 * EPS)


LIGHT = {
    "twice": (1e-150, 1e-170),
    "both ends": (1e-20, 1e-303),
    "a value near the end": (1e-300, 1e-12),
}
WAYS = {
    "kmeans": lambda X, w: kmeans(X, 2, sample_weight=w, random_state=0),
    "KMeans": lambda X, w: KMeans(2, random_state=0).fit(X, sample_weight=w),
    "MiniBatchKMeans": lambda X, w: MiniBatchKMeans(2, batch_size=7).fit(X, sample_weight=w),
    "partial_fit": lambda X, w: MiniBatchKMeans(2).partial_fit(X, sample_weight=w),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", LIGHT)
@pytest.mark.parametrize("heaviest", [1.0, 3e300])
def test_a_weight_that_vanishes_times_a_value_is_refused_in_the_callers_numbers(
    way, case, heaviest
):
    value, light = LIGHT[case]
    X = rows_of(np.full(20, 7.0), np.full(20, value))
    weights = np.repeat([1.0, light], 20) * heaviest
    weights[20:30] = 0
    expected = (
        rf"sample_weight\[30\] is {weights[30]:.3g} beside a largest one of {heaviest:.3g}, and "
        rf"underflows times {value:.3g}, the value of its row in feature 1;"
    )
    with pytest.raises(ValueError, match=expected.replace("+", r"\+")):
        WAYS[way](X, weights)


def test_weights_just_above_that_give_means_with_all_their_digits():
    X = rows_of(np.full(20, 7.0), near(1e-150, 20))
    weights = np.repeat([1.0, 1e-157], 20) * RNG.uniform(0.5, 1, 40)
    result = kmeans(X, 2, init=X[[0, -1]], tol=0, sample_weight=weights)
    expected = exact_means(X, result.labels, 2, weights)
    np.testing.assert_allclose(result.centers, expected, rtol=4 * EPS)
