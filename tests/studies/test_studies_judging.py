"""What the studies ``how-many``, ``limits`` and ``soft`` judge by, on cases known beforehand."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import make_blobs

from kmeans_lab.studies import how_many, limits, soft
from tests.support.helpers import cloud


@pytest.mark.parametrize("knee", range(2, 9))
def test_the_bend_is_where_two_lines_meet_however_the_axes_are_stretched(knee):
    ks = np.arange(1, 10)
    values = np.maximum(100 - 10 * (ks - 1), 100 - 10 * (knee - 1) - 0.1 * (ks - knee))
    assert how_many.bend(values) == knee
    assert how_many.bend(1e-6 * values + 7) == knee


def test_the_gap_statistic_finds_four_clusters_and_one():
    X, truth = make_blobs(200, centers=4, cluster_std=0.5, random_state=42)
    assert how_many.ask(X, truth).chosen["gap statistic"] == 4
    even = np.random.default_rng(0).uniform(size=(200, 2))
    assert how_many.ask(even, truth).chosen["gap statistic"] == 1


def test_the_gap_statistic_does_not_depend_on_the_signs_of_the_components(monkeypatch):
    X, inertia = cloud(1, 60, 3) * [5, 2, 1], np.array([100.0, 50.0])
    expected = how_many.gap_statistic(X, inertia)
    svd = np.linalg.svd

    def turned(*arguments, **options):
        left, lengths, axes = svd(*arguments, **options)
        return left, lengths, axes * np.array([[-1], [1], [-1]])

    monkeypatch.setattr(np.linalg, "svd", turned)
    np.testing.assert_allclose(how_many.gap_statistic(X, inertia), expected, rtol=1e-12)


def test_the_best_possible_label_is_the_likeliest_cluster():
    few, many = limits.Gaussian(30, (0, 0), (1, 3)), limits.Gaussian(170, (2, 1), (0.5, 0.7))
    X, truth, best = limits.draw([few, many], 0)
    densities = [
        it.n * multivariate_normal(it.mean, np.square(it.std)).pdf(X) for it in (few, many)
    ]
    np.testing.assert_array_equal(best, np.argmax(densities, axis=0))
    assert np.bincount(truth).tolist() == [30, 170]
    assert 0 < (best != truth).sum() < 30


def test_colours_follow_the_truth_and_noise_stays_noise():
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(limits.like(truth, (truth + 1) % 3), truth)
    found = np.array([3, 3, 3, -1, 0, 0, 2, 1, 1, 1])
    expected = [0, 0, 0, -1, 1, 1, 3, 2, 2, 2]
    np.testing.assert_array_equal(limits.like(truth, found), expected)
    np.testing.assert_array_equal(limits.like(truth, np.zeros(10, dtype=int)), np.zeros(10))
    np.testing.assert_array_equal(limits.like(truth, np.full(10, -1)), np.full(10, -1))


def test_zero_has_no_sign():
    assert limits.in_words(-0.003) == "0.00"
    assert limits.in_words(-0.25) == "-0.25"


def test_entropy_goes_from_nothing_to_the_logarithm_of_the_number_of_clusters():
    shares = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    np.testing.assert_allclose(soft.entropy(shares), np.log([1, 2, 4]))
    colors = soft.shade(shares)
    np.testing.assert_allclose(colors[2], 1)
    assert (colors[0] < 0.9).any()
