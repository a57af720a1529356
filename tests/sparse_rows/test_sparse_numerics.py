"""Distances and variances of sparse rows against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab.centering import middle_and_variance
from kmeans_lab.numerics.distances import distances, nearest
from kmeans_lab.numerics.inertia import direct_inertia
from kmeans_lab.sparse.numerics import own_squares, squared_distances
from kmeans_lab.sparse.reading import read_sparse


def rows_of(dense):
    return read_sparse("X", sparse.csr_array(dense), ("float32", "float64"))


def some(seed, shape, density=0.3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * (rng.random(shape) < density)


def exact(x, c):
    return sum(
        (Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x.tolist(), c.tolist(), strict=True)
    )


@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
@pytest.mark.parametrize("near", [1.0, 1e-7, 1e-15])
def test_squares_to_the_own_center_keep_their_digits(near, scale):
    dense = some(0, (40, 25)) * scale
    centers = (dense[:7] + near * scale * some(1, (7, 25), 0.9)) * (1 + np.zeros((7, 1)))
    labels = (np.arange(40) % 7).astype(np.int32)
    (found,) = [squares for _, _, squares in own_squares(rows_of(dense), centers, labels)]
    expected = [float(exact(x, centers[j])) for x, j in zip(dense, labels, strict=True)]
    lost = 1e-30 * float((centers**2).sum(axis=1).max())
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=lost)


def test_rows_on_their_center_are_no_distance_away():
    dense = some(2, (30, 50), 0.8)
    rows, labels = rows_of(dense), np.arange(30, dtype=np.int32)
    assert direct_inertia(rows, dense, labels) == 0
    assert (squared_distances(rows, dense, np.empty((30, 30))).diagonal() == 0).all()


def test_distances_to_all_points():
    dense, points = some(3, (40, 25)), some(4, (5, 25), 0.7)
    found = squared_distances(rows_of(dense), points, np.empty((5, 40)))
    expected = [[float(exact(x, c)) for x in dense] for c in points]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_transform_is_accurate_where_an_expansion_is_not(dtype):
    dense = some(5, (20, 30)).astype(dtype)
    centers = (dense[:4] * (1 + 1e-6)).astype(dtype)
    found = distances(rows_of(dense), centers)
    assert found.dtype == dtype
    expected = [[float(exact(x, c)) ** 0.5 for c in centers] for x in dense]
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == "float32" else 1e-9)


def test_the_nearest_center_is_the_first_of_equals():
    dense = np.eye(3)
    centers = np.array([[0.0, 0, 9], [1, 1, 0], [1, 1, 0]])
    assert nearest("cpp", rows_of(dense), centers).tolist() == [1, 1, 1]


def test_the_mean_variance_is_that_of_the_dense_rows():
    dense = some(6, (200, 40))
    middle, variance = middle_and_variance(rows_of(dense))
    assert not middle.any()
    assert variance == pytest.approx(dense.var(axis=0).mean(), rel=1e-6)
    shuffled = np.random.default_rng(0).permutation(dense)
    assert middle_and_variance(rows_of(shuffled))[1] == variance


def test_blocks_change_nothing(monkeypatch):
    dense, labels = some(7, (300, 20)), np.arange(300, dtype=np.int32) % 5
    rows, centers = rows_of(dense), some(8, (5, 20))
    whole = direct_inertia(rows, centers, labels)
    monkeypatch.setattr("kmeans_lab.sparse.rows._BLOCK_VALUES", 64)
    assert direct_inertia(rows, centers, labels) == whole
