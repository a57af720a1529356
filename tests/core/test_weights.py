"""Weights: a row of weight 3 is three rows, one of weight 0 is none, whatever the kernel."""

from fractions import Fraction

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.empty import POLICIES
from kmeans_lab.seeding import INITS, greedy_rows

rng = np.random.default_rng(5)
X = rng.integers(-50, 50, size=(240, 3)).astype(np.float64)
TIMES = rng.integers(0, 4, size=240)
TIMES[0] = 2
REPEATED = np.repeat(X, TIMES, axis=0)
START = X[TIMES > 0][:7]


def fit(rows, **options):
    return kmeans(rows, 7, **({"init": START, "tol": 0.0} | options))


def test_a_weight_is_a_number_of_copies(kernel_name):
    weighted = fit(X, kernel=kernel_name, sample_weight=TIMES)
    copies = fit(REPEATED, kernel=kernel_name)
    # Integers: all sums are exact, so that nothing but the last division rounds.
    np.testing.assert_allclose(weighted.centers, copies.centers, rtol=1e-14, atol=1e-13)
    np.testing.assert_array_equal(np.repeat(weighted.labels, TIMES), copies.labels)
    assert weighted.inertia == pytest.approx(copies.inertia, rel=1e-13)
    assert weighted.n_iter == copies.n_iter


@pytest.mark.parametrize(("mode", "n_threads"), [("threads", 3), ("processes", 2)])
def test_who_computes_makes_no_difference(mode, n_threads):
    weights = rng.random(240)
    one = fit(X, kernel="cpp", sample_weight=weights, random_state=1, init="k-means++")
    many = fit(
        X, kernel="cpp", sample_weight=weights, random_state=1, init="k-means++", mode=mode,
        n_threads=n_threads,
    )  # fmt: skip
    assert one.centers.tobytes() == many.centers.tobytes()
    assert (one.inertia, one.n_iter) == (many.inertia, many.n_iter)


def test_every_kernel_gives_the_same_weighted_fit(kernel_name):
    weights = rng.random(240)
    reference = fit(X, kernel="python", sample_weight=weights, history=True)
    other = fit(X, kernel=kernel_name, sample_weight=weights, history=True)
    assert other.centers.tobytes() == reference.centers.tobytes()
    assert [it.changed for it in other.history] == [it.changed for it in reference.history]
    assert [it.inertia for it in other.history] == [it.inertia for it in reference.history]


def test_the_inertia_is_that_of_exact_arithmetic():
    weights = rng.random(240)
    result = fit(X, sample_weight=weights)
    exact = Fraction(0)
    for weight, row, center in zip(weights, X, result.centers[result.labels], strict=True):
        for a, b in zip(row, center, strict=True):
            exact += Fraction(weight) * (Fraction(a) - Fraction(b)) ** 2
    assert result.inertia == pytest.approx(float(exact), rel=1e-14)
    for j in range(7):
        mine = result.labels == j
        mean = np.average(X[mine], axis=0, weights=weights[mine])
        np.testing.assert_allclose(result.centers[j], mean, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_only_the_inertia_knows_the_unit_of_weights(scale):
    weights = np.ldexp(rng.random(240), 3)
    one, other = fit(X, sample_weight=weights), fit(X, sample_weight=weights * scale)
    np.testing.assert_allclose(other.centers, one.centers, rtol=1e-13)
    assert other.inertia == pytest.approx(one.inertia * scale, rel=1e-13)


def test_weights_of_one_are_no_weights_bit_for_bit():
    plain = fit(X, random_state=3, init="k-means++")
    for weights in (np.ones(240), 1, [1] * 240):
        same = fit(X, random_state=3, init="k-means++", sample_weight=weights)
        assert same.centers.tobytes() == plain.centers.tobytes()
        assert same.inertia == plain.inertia


@pytest.mark.parametrize("init", [name for name in INITS if name != "first"])
def test_rows_without_weight_are_never_a_start(init):
    weights = np.zeros(240)
    weights[[3, 50, 51, 120, 180, 200, 239]] = rng.random(7) + 0.1
    result = fit(X, init=init, sample_weight=weights, random_state=0, max_iter=1)
    counting = X[weights > 0]
    for center in result.centers:  # any start of these rows ends in means of them
        assert (center >= counting.min(axis=0) - 1e-9).all()
        assert (center <= counting.max(axis=0) + 1e-9).all()


def test_heavy_rows_are_drawn_more_often():
    rows, heavy = np.arange(20.0)[:, None], np.ones(20)
    heavy[7] = 1000.0
    for init in ("random", "d2", "k-means++"):
        generators = map(np.random.default_rng, range(60))
        firsts = [float(INITS[init](rows, 1, it, weights=heavy)[0, 0]) for it in generators]
        assert firsts.count(7.0) > 50


def test_greedy_weighs_candidates_as_copies():
    draws = np.random.default_rng(0).random((5, 4))
    first = int(np.flatnonzero(TIMES)[0])
    place = int(TIMES[:first].sum())
    weighted = greedy_rows(X, first, draws, TIMES.astype(float))
    copies = greedy_rows(REPEATED, place, draws)
    np.testing.assert_array_equal(X[weighted], REPEATED[copies])


@pytest.mark.parametrize("policy", POLICIES)
def test_an_empty_cluster_gets_no_row_without_weight(policy):
    rows = np.array([[0.0], [1.0], [10.0], [11.0], [1000.0]])
    weights = np.array([1.0, 1.0, 2.0, 2.0, 0.0])
    options = {"sample_weight": weights, "empty": policy, "init": [[0.5], [10.5], [400.0]]}
    if policy == "error":
        with pytest.raises(ValueError, match="cluster 2 owns no row"):
            kmeans(rows, 3, **options)
        return
    result = kmeans(rows, 3, random_state=0, **options)
    assert np.isfinite(result.centers).all()
    kept = result.centers[2, 0]
    assert kept == 400.0 if policy == "keep" else kept <= 11
    if policy == "relocate":
        # All are as far from their centers, and the first goes: the heavy pair stays together.
        assert result.inertia == 1.0


@pytest.mark.parametrize(
    ("weights", "error", "sentence"),
    [
        ([1.0] * 239, ValueError, r"shape \(239,\) and must have \(240,\): one for each row"),
        (np.ones((240, 1)), ValueError, r"shape \(240, 1\)"),
        ([-1.0] + [1.0] * 239, ValueError, r"sample_weight\[0\] is -1\.0 and must be a finite"),
        ([1.0] * 239 + [np.nan], ValueError, r"sample_weight\[239\] is nan"),
        ([np.inf] * 240, ValueError, r"sample_weight\[0\] is inf"),
        (0.0, ValueError, "0 for every row; at least one row must count"),
        (["x"] * 240, TypeError, "dtype <U1 and must be numeric"),
    ],
)
def test_bad_weights_are_refused(weights, error, sentence):
    with pytest.raises(error, match=sentence):
        fit(X, sample_weight=weights)


def test_light_rows_are_left_when_a_heavy_one_goes():
    rows = np.array([[0.0], [1.0], [10.0]])
    weights = [1e-17, 1e-17, 0.3]
    result = kmeans(rows, 2, init=[[0.5], [100.0]], max_iter=1, sample_weight=weights)
    assert sorted(result.centers[:, 0]) == [0.5, 10.0]
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = rng.normal(size=(12, 2))
        options = {"sample_weight": 10.0 ** rng.uniform(-24, 0, size=12), "max_iter": 1}
        result = kmeans(rows, 5, init=np.vstack([rows[:2], rows[:3] + 50]), **options)
        assert (result.centers >= rows.min(axis=0) - 1e-9).all()
        assert (result.centers <= rows.max(axis=0) + 1e-9).all()


def test_the_heaviest_weight_there_is_gives_a_number():
    rows = np.array([[0.0], [10.0], [11.0]])
    result = kmeans(rows, 2, init=[[1.0], [9.0]], sample_weight=[1e308, 1.0, 1.0])
    assert result.inertia == 0.5
