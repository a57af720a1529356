"""The silhouette against scikit-learn's and, where that loses digits, plain differences."""

import doctest
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics
from sklearn.datasets import make_blobs

from kmeans_lab import kmeans, silhouette
from kmeans_lab.silhouette import PANEL_SUMS, SIDE, silhouette_samples, silhouette_score
from tests.support.helpers import cloud

TOLERANCE = 1e-10


def direct(X, labels):
    """Rousseeuw's definition, row by row, from differences: the oracle."""
    X = np.asarray(X, dtype=np.float64)
    _, labels, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    values = np.zeros(len(X))
    for i, mine in enumerate(labels):
        if sizes[mine] == 1:
            continue
        distances = np.sqrt(((X - X[i]) ** 2).sum(axis=1))
        sums = np.bincount(labels, distances)
        a = sums[mine] / (sizes[mine] - 1)
        b = np.delete(sums / sizes, mine).min()
        values[i] = (b - a) / max(a, b) if max(a, b) > 0 else 0.0
    return values


def check(X, labels, expected=None):
    found = silhouette_samples(X, labels)
    assert found.dtype == np.float64
    assert found.shape == (len(X),)
    np.testing.assert_allclose(found, direct(X, labels), rtol=0, atol=TOLERANCE)
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert silhouette_score(X, labels) == pytest.approx(found.mean(), abs=1e-15)


def test_four_rows_by_hand():
    # a = 1 everywhere; b = 9½ at both ends and 8½ inside.
    expected = [1 - 1 / 9.5, 1 - 1 / 8.5, 1 - 1 / 8.5, 1 - 1 / 9.5]
    check([[0.0], [1.0], [9.0], [10.0]], [0, 0, 1, 1], expected)


@pytest.mark.parametrize("n_samples", [3, SIDE - 1, SIDE, SIDE + 1, 3 * SIDE + 7])
@pytest.mark.parametrize("n_features", [1, 2, 7, 33])
def test_it_equals_scikit_learns(n_samples, n_features):
    X, labels = make_blobs(n_samples, n_features, centers=min(5, n_samples - 1), random_state=1)
    labels[:2] = [0, 1]
    check(X, labels, metrics.silhouette_samples(X, labels))
    wrong = np.random.default_rng(0).permutation(labels)
    check(X, wrong, metrics.silhouette_samples(X, wrong))


@pytest.mark.parametrize("n_clusters", [2, 300, 599])
@pytest.mark.parametrize("sums", [1, 1800, PANEL_SUMS])
def test_few_clusters_or_many_in_panels_of_any_size(monkeypatch, n_clusters, sums):
    monkeypatch.setattr(silhouette, "PANEL_SUMS", sums)
    X = cloud(3, 600, 3)
    labels = np.random.default_rng(4).permutation(np.arange(600) % n_clusters)
    check(X, labels, metrics.silhouette_samples(X, labels))


def test_a_fit_of_the_library():
    X, _ = make_blobs(1000, 4, centers=6, random_state=2)
    labels = kmeans(X, 6, random_state=0).labels
    check(X, labels, metrics.silhouette_samples(X, labels))


def test_far_from_the_origin_where_scikit_learn_loses_digits():
    X, labels = make_blobs(400, 2, centers=3, random_state=5)
    X += 1e6
    check(X, labels)
    assert abs(metrics.silhouette_samples(X, labels) - direct(X, labels)).max() > 1e-7


def test_the_origin_moves_to_the_rows_before_any_digits_are_lost(monkeypatch):
    X, labels = make_blobs(400, 2, centers=3, random_state=5)
    X += 1e6
    monkeypatch.setattr(silhouette, "NEAR", 0.0)  # nothing is made good afterwards
    np.testing.assert_allclose(silhouette_samples(X, labels), direct(X, labels), atol=1e-8)


def test_tight_clusters_far_from_each_other():
    X, labels = make_blobs(700, 3, centers=4, cluster_std=1e-7, random_state=6)
    check(X, labels)


@pytest.mark.parametrize("scale", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8])
def test_two_and_two_rows_close_together_and_other_such_groups_far_away(scale):
    groups, offsets = cloud(1, 60, 2), scale * cloud(2, 240, 2)
    check(np.repeat(groups, 4, axis=0) + offsets, np.arange(240) // 2)


def test_a_row_far_out_costs_the_others_no_digits():
    X, labels = make_blobs(300, 2, centers=2, random_state=7)
    X[17] = 1e12
    check(X, labels)
    check(np.random.default_rng(8).standard_cauchy((600, 2)), np.arange(600) % 3)


def test_rows_that_are_equal_have_no_distance():
    X = np.repeat(cloud(9, 40, 5) + 1e3, 8, axis=0)
    labels = np.repeat(np.arange(40) % 4, 8)
    check(X, labels)
    check(X, np.arange(320) // 8)  # a = 0: as good as can be
    assert silhouette_samples(X, np.arange(320) // 8) == pytest.approx(np.ones(320))
    assert not silhouette_samples(np.ones((6, 2)), [0, 1, 0, 1, 0, 1]).any()  # a = b = 0
    assert not silhouette_samples(np.full((6, 2), 0.1), [0, 1, 0, 1, 0, 1]).any()


def test_a_row_alone_in_its_cluster_gets_0():
    X, labels = make_blobs(100, 2, centers=3, random_state=10)
    labels[[4, 50]] = [7, 9]
    check(X, labels, metrics.silhouette_samples(X, labels))
    assert (silhouette_samples(X, labels)[[4, 50]] == 0).all()


def test_float32_is_computed_in_float64():
    X, labels = make_blobs(300, 6, centers=3, random_state=11)
    narrow = X.astype(np.float32)
    check(narrow, labels, metrics.silhouette_samples(narrow.astype(np.float64), labels))


@pytest.mark.parametrize(
    "names",
    [np.array([3, 7]), np.array([-1, 2**40]), np.array(["ab", "c"]), np.array([False, True])],
    ids=["gaps", "noise", "strings", "booleans"],
)
def test_any_two_values_name_clusters(names):
    X, labels = make_blobs(50, 2, centers=2, random_state=12)
    expected = silhouette_samples(X, labels)
    np.testing.assert_array_equal(silhouette_samples(X, names[labels]), expected)
    np.testing.assert_array_equal(silhouette_samples(X.tolist(), names[labels].tolist()), expected)
    np.testing.assert_array_equal(silhouette_samples(X, names[labels].astype(object)), expected)


def test_neither_argument_is_written_to():
    X, labels = cloud(13, 50, 2), np.arange(50) % 3
    X.flags.writeable = labels.flags.writeable = False
    silhouette_samples(X, labels)


def test_the_order_of_the_rows_does_not_matter():
    X, labels = make_blobs(700, 2, centers=3, random_state=14)
    order = np.random.default_rng(15).permutation(700)
    moved = silhouette_samples(X[order], labels[order])
    np.testing.assert_allclose(moved, silhouette_samples(X, labels)[order], atol=1e-13)


@pytest.mark.parametrize("n_clusters", [2, 400])
def test_memory_is_a_tile_a_panel_and_a_few_numbers_for_each_row(monkeypatch, n_clusters):
    monkeypatch.setattr(silhouette, "PANEL_SUMS", 1 << 16)
    n_samples, n_features = 6000, 4
    X, labels = cloud(16, n_samples, n_features), np.arange(n_samples) % n_clusters
    silhouette_samples(X[:500], labels[:500])  # what is loaded once does not count
    tracemalloc.start()
    silhouette_samples(X, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tile = SIDE * (SIDE + 4 * (n_features + 2))
    assert peak < 8 * (tile + 2 * (1 << 16) + 12 * n_samples)
    assert peak < n_samples**2 * 8 / 100


REFUSED = [
    ([0] * 6, ValueError, r"labels has 1 different value for n_samples=6 and must have 2 … n_s"),
    (range(6), ValueError, r"labels has 6 different values for n_samples=6 and must have 2 … n_s"),
    ([0, 1], ValueError, r"labels has shape \(2,\) and must have \(6,\): one for each row of X"),
    (np.zeros((6, 1)), ValueError, r"labels has shape \(6, 1\) and must have \(6,\)"),
    ([0, 1, 0, 1, np.nan, 0], ValueError, r"labels\[4\] is nan and must name a cluster"),
    (np.array([0, "a", 0, 1, 0, 0], object), TypeError, "must be all numbers or all strings"),
]


@pytest.mark.parametrize(("labels", "error", "sentence"), REFUSED)
def test_labels_that_name_no_clusters_are_refused(labels, error, sentence):
    with pytest.raises(error, match=sentence):
        silhouette_samples(cloud(0, 6, 2), labels)
    with pytest.raises(error, match=sentence):
        silhouette_score(cloud(0, 6, 2), labels)


def test_rows_that_cannot_be_measured_are_refused():
    with pytest.raises(ValueError, match=r"X\[2, 0\] is nan and every value must be finite"):
        silhouette_score([[0.0], [1.0], [np.nan]], [0, 0, 1])
    with pytest.raises(ValueError, match="X has 1 dimension and must have 2"):
        silhouette_score([0.0, 1.0, 2.0], [0, 0, 1])


def test_examples_run():
    assert doctest.testmod(silhouette).failed == 0
