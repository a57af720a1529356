"""Balls of rows in the tiled kernels: one level of them, rows in their own order."""

import numpy as np
import pytest

from kmeans_lab import load_kernel
from tests.support.balls import blobs, nearest, steps

pytestmark = pytest.mark.kernels("numba-tiled", "cython-tiled")


def in_blob_order(*shape, **options):
    X, centers = blobs(*shape, **options)
    return X[np.argsort(nearest(X, centers), kind="stable")], centers


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("n", "d", "k"), [(6001, 3, 25), (9000, 5, 11), (16_000, 10, 40)])
def test_blobs_meet_few_centers_and_keep_the_labels(kernel_name, n, d, k, kind, n_threads):
    X, centers = in_blob_order(n, d, k, seed=n + d, kind=kind)
    met = steps(X, centers, n_threads=n_threads, kernel=kernel_name)
    assert met[-1] < 0.6  # by balls, or by bounds where balls leave too many


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_ties_on_a_grid_go_to_the_lowest_index(kernel_name, kind):
    rng = np.random.default_rng(0)
    X = rng.integers(-20, 21, size=(8000, 2)).astype(kind)
    X = X[np.lexsort(X.T)]
    centers = rng.integers(-5, 6, size=(16, 2)).astype(kind) * 4
    centers[9] = centers[3]
    steps(X, centers, kernel=kernel_name)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_a_ball_of_equal_rows_between_two_centers_is_decided_by_its_rows(kernel_name, kind):
    # No radius to speak of: what is left is the rounding of the two scores.
    rng = np.random.default_rng(3)
    centers = (rng.normal(size=(6, 9)) * 100).astype(kind)
    points = np.tile((centers[1] + centers[4]) / 2, (40, 1)).astype(kind)
    points += (rng.normal(size=points.shape) * np.finfo(kind).eps * 100).astype(kind)
    centers[[0, 2, 3, 5]] += 1000
    steps(np.repeat(points, 256, axis=0), centers, 1, kernel=kernel_name)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("power", [-160, -22, -17, 15, 17, 150])
def test_values_whose_squares_leave_the_range_keep_their_labels(kernel_name, kind, power):
    X, centers = in_blob_order(4000, 2, 9, seed=2)
    if kind == "f4" and abs(power) > 100:
        power //= 9
    X, centers = (X * 10.0**power).astype(kind), (centers * 10.0**power).astype(kind)
    labels = np.full(4000, -1, np.int32)
    tested = load_kernel(kernel_name)
    rows = tested.prepare(X, 9, 1)
    tested.assign_update(rows, centers, labels, np.zeros((9, 2)), np.zeros(9, int))
    np.testing.assert_array_equal(labels, nearest(X, centers))


def test_equal_rows_and_equal_centers_share_one_ball(kernel_name):
    X = np.tile([3.0, 4.0], (5000, 1))
    steps(X, np.tile([3.0, 4.0], (7, 1)), 3, kernel=kernel_name)
    steps(X, X[:7] + np.arange(7)[:, None], 3, kernel=kernel_name)


def test_rows_that_no_ball_can_tell_apart_cost_one_try_and_ever_fewer(kernel_name):
    # Between these two sets of centers the others go so far that no row keeps a bound.
    X = np.random.default_rng(4).normal(size=(6000, 20))
    tested, labels = load_kernel(kernel_name), np.full(6000, -1, np.int32)
    rows, met = tested.prepare(X, 32, 1), []
    for step in range(20):
        tested.assign(rows, X[step % 2 * 32 :][:32].copy(), labels)
        met.append(rows.met)
    assert 1.0 < met[0] < 1.1  # tried, and given up after the first balls
    assert [step for step, share in enumerate(met) if share != 1.0] == [0, 2, 6, 14]


def test_another_number_of_clusters_forgets_who_owned_the_balls(kernel_name):
    tested = load_kernel(kernel_name)
    X, centers = in_blob_order(5000, 2, 12, seed=6)
    rows = tested.prepare(X, 12, 1)
    for k in (12, 5, 12, 1, 12):
        labels, sums, counts = np.full(5000, -1, np.int32), np.zeros((k, 2)), np.zeros(k, int)
        tested.assign_update(rows, centers[:k], labels, sums, counts)
        np.testing.assert_array_equal(labels, nearest(X, centers[:k]))
        assert counts.tolist() == np.bincount(labels, minlength=k).tolist()
        tested.assign(rows, centers[::-1][:k].copy(), labels)
        np.testing.assert_array_equal(labels, nearest(X, centers[::-1][:k].copy()))
