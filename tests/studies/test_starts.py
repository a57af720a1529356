"""The counting behind the study of starts: who found the best, at what cost, from how far apart."""

from itertools import combinations
from math import dist

import numpy as np
import pytest

from kmeans_lab import kmeans, seeding
from kmeans_lab.studies.notebook import Notebook
from kmeans_lab.studies.trials import SAME, STARTS, Fit, Trials, between, closest, try_starts
from tests.support.helpers import cloud

X = cloud(seed=4, n_samples=60, n_features=2)
N_CLUSTERS = 3


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    book = Notebook("trial", "What?", tmp_path_factory.mktemp("starts"))
    return try_starts(book, "a cloud", "nobody", lambda seed: X, N_CLUSTERS, 12)


def planted(inertias, best, *, varies=False, n_iter=3):
    """Return trials whose random starts ended at these inertias."""
    it = Trials("planted", "nobody", 100, 5, varies)
    it.fits = {"random": [Fit(9.0, inertia, n_iter, 1.0, True) for inertia in inertias]}
    answer = kmeans(X, 2, random_state=0)
    it.best = [type(answer)(**fields(answer) | {"inertia": value}) for value in best]
    return it


def fields(result):
    return {name: getattr(result, name) for name in result.__slots__}


def test_every_start_is_fitted_with_every_seed_and_a_fixed_one_once(trials):
    assert {start: len(fits) for start, fits in trials.fits.items()} == {
        start: 1 if start == "first" else 12 for start in STARTS
    }
    for start, fits in trials.fits.items():
        for seed, fit in enumerate(fits):
            alone = kmeans(
                X, N_CLUSTERS, init=start, stop="equal", max_iter=1000, random_state=seed
            )
            assert fit.inertia == pytest.approx(alone.inertia, rel=1e-12)
            assert fit.n_iter == alone.n_iter


def test_no_fit_is_below_the_best_known(trials):
    assert len(set(trials.least())) == 1
    assert trials.least()[0] <= kmeans(X, N_CLUSTERS, n_init=100, random_state=0).inertia
    for start in STARTS:
        assert trials.ratios(start).min() >= 1
        assert (trials.first_ratios(start) >= trials.ratios(start)).all()


def test_data_that_vary_have_a_best_of_their_own(tmp_path):
    book = Notebook("trial", "What?", tmp_path)
    it = try_starts(book, "clouds", "n", lambda seed: cloud(seed, 40, 2), 3, 4, varies=True)
    assert [len(fits) for fits in it.fits.values()] == [4] * 5
    expected = [kmeans(cloud(seed, 40, 2), 3, n_init=100, random_state=1) for seed in range(4)]
    np.testing.assert_allclose(it.least(), [each.inertia for each in expected], rtol=1e-9)
    assert len(set(it.least())) == 4


def test_a_fit_better_than_the_best_of_a_hundred_becomes_the_best_known():
    assert planted([8.0, 16.0, 20.0], [10.0] * 3).ratios("random").tolist() == [1.0, 2.0, 2.5]
    varying = planted([8.0, 16.0, 20.0], [10.0, 12.0, 20.0], varies=True)
    assert varying.least().tolist() == [8.0, 12.0, 20.0]
    assert varying.first_ratios("random").tolist() == [9 / 8, 9 / 12, 9 / 20]


def test_to_find_the_best_is_to_come_within_a_millionth():
    it = planted([1.0, 1 + SAME / 2, 1 + 2 * SAME, 3.0], [1.0] * 4)
    assert it.found("random") == 0.5


@pytest.mark.parametrize(("n_found", "expected"), [(0, None), (1, 459), (50, 7), (90, 2), (100, 1)])
def test_so_many_repetitions_find_the_best_with_99_percent(n_found, expected):
    it = planted([1.0] * n_found + [2.0] * (100 - n_found), [1.0] * 100)
    assert it.repetitions("random") == expected
    if n_found and expected > 1:
        failing = 1 - n_found / 100
        assert failing**expected <= 0.01 < failing ** (expected - 1)


def test_the_distances_of_a_start_are_those_that_its_code_computes(monkeypatch):
    """As NumPy computes it; the flagship leaves distances out that cannot matter."""
    counted = []
    original = seeding.squared_distances

    def counting(rows, points, out):
        counted.append(len(rows) * len(points))
        return original(rows, points, out)

    monkeypatch.setattr(seeding, "squared_distances", counting)
    rng = np.random.default_rng(0)
    draws = rng.random((N_CLUSTERS - 1, 2 + int(np.log(N_CLUSTERS))))
    ways = {
        "d2": lambda: seeding.d2(X, N_CLUSTERS, rng),
        "k-means++": lambda: seeding.greedy_rows(X, 0, draws),
        "random": lambda: seeding.random_rows(X, N_CLUSTERS, rng),
        "random-partition": lambda: seeding.random_partition(X, N_CLUSTERS, rng),
    }
    for start, draw in ways.items():
        counted.clear()
        draw()
        it = Trials("planted", "nobody", len(X), N_CLUSTERS, varies=False)
        it.fits = {start: [Fit(1.0, 1.0, n_iter, 1.0, True) for n_iter in (4, 6)]}
        assert it.distances(start) == sum(counted) + 5 * len(X) * N_CLUSTERS


def test_starting_centers_are_counted_as_one_in_each_cluster_and_measured(trials):
    best = trials.best[0].centers
    ways = {"random": seeding.random_rows, "d2": seeding.d2}
    tried = [(name, seed, fit) for name in ways for seed, fit in enumerate(trials.fits[name])]
    assert {fit.one_each for *_, fit in tried} == {True, False}
    for name, seed, fit in tried:
        start = ways[name](X, N_CLUSTERS, np.random.default_rng(seed))
        nearest = {min(range(N_CLUSTERS), key=lambda j: dist(row, best[j])) for row in start}
        assert fit.one_each == (len(nearest) == N_CLUSTERS)
        spread = smallest(start) / smallest(best)
        assert fit.spread == pytest.approx(spread, rel=1e-12)
        assert fit.first == pytest.approx(
            sum(min(dist(row, center) ** 2 for center in start) for row in X), rel=1e-12
        )


def smallest(centers):
    return min(dist(a, b) for a, b in combinations(centers.tolist(), 2))


def test_distances_between_few_rows():
    a, b = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    assert between(a, b).tolist() == [[1.0, 9.0, 0.0], [18.0, 16.0, 25.0]]
    assert closest(b) == 1.0
    assert closest(a) == 5.0
