"""Data that cost digits: far from the origin, of mixed scales, of many features, and long fits."""

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.centering import middle_and_variance
from tests.support import oracle
from tests.support.helpers import cloud, some_rows, whole_numbers

TILED = pytest.mark.kernels("numba-tiled", "cython-tiled", "cpp-simd")


def few_ties(X, result):
    """Judge a fit's labels in the coordinates that its kernel saw; return how many ties it met."""
    middle = middle_and_variance(X)[0]
    return oracle.count_ties(X - middle, result.centers - middle, result.labels)


def blobs(seed, n_samples, n_features, n_clusters, spread=1.0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n_clusters, n_features)) * 10
    rows = points[rng.integers(n_clusters, size=n_samples)]
    return rows + rng.normal(scale=spread, size=rows.shape)


def test_an_offset_of_100_million_changes_no_bit_of_whole_numbers(kernel_name):
    X = whole_numbers(1, (400, 5), -50, 50)
    options = {"kernel": kernel_name, "tol": 0, "max_iter": 40}
    near = kmeans(X, 7, init=X[:7], **options)
    far = kmeans(X + 1e8, 7, init=X[:7] + 1e8, **options)
    assert far.n_iter == near.n_iter > 3
    np.testing.assert_array_equal(far.labels, near.labels)
    # Only adding the offset to a mean rounds.
    np.testing.assert_allclose(far.centers, near.centers + 1e8, rtol=np.finfo("f8").eps)
    assert far.inertia == pytest.approx(near.inertia, rel=1e-12)


def test_an_offset_of_100_million(kernel_name):
    X = blobs(2, 600, 4, 6) + 1e8
    result = kmeans(X, 6, kernel=kernel_name, init=some_rows(X, 6), tol=0)
    assert few_ties(X, result) == 0
    assert result.inertia == pytest.approx(oracle.inertia(X, result.centers, result.labels), 1e-7)


def test_features_of_scales_from_a_millionth_to_a_million(kernel_name):
    X = blobs(3, 500, 7, 8) * 10.0 ** np.array([-6, -4, -2, 0, 2, 4, 6])
    result = kmeans(X, 8, kernel=kernel_name, init=some_rows(X, 8), tol=0)
    assert few_ties(X, result) == 0
    exact = oracle.inertia(X, result.centers, result.labels)
    assert result.inertia == pytest.approx(exact, rel=1e-12)


def test_clusters_much_closer_to_each_other_than_to_the_origin(kernel_name, dtype):
    # Two groups far apart keep the middle away from both; within each, an expansion cancels.
    eps = float(np.finfo(dtype).eps)
    rng = np.random.default_rng(4)
    signs = np.repeat([-1.0, 1.0], 150)[:, None]
    inner = rng.integers(-1, 2, (300, 3)) * np.sqrt(eps) * 64
    X = (signs * 1000 + 1000 * inner + rng.normal(size=(300, 3)) * np.sqrt(eps)).astype(dtype)
    result = kmeans(X, 6, kernel=kernel_name, init=some_rows(X, 6, seed=1), tol=0, max_iter=30)
    few_ties(X, result)  # nearest, up to what rounding explains
    exact = oracle.inertia(X, result.centers, result.labels)
    # Directly computed differences do not cancel; the centers round to the dtype.
    slack = len(X) * 3 * (1000 * eps) ** 2 + 4 * 1000 * eps * np.sqrt(3 * len(X) * exact)
    assert abs(result.inertia - exact) <= slack


def test_float32_of_ten_thousand_features(kernel_name):
    X = blobs(5, 90, 10_000, 5, spread=3).astype(np.float32)
    result = kmeans(X, 5, kernel=kernel_name, init=some_rows(X, 5), tol=0, max_iter=20)
    assert result.centers.dtype == np.float32
    assert few_ties(X, result) == 0
    exact = oracle.inertia(X, result.centers, result.labels)
    assert result.inertia == pytest.approx(exact, rel=1e-6)
    for j in range(5):
        mean = X[result.labels == j].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(result.centers[j], mean, rtol=1e-6, atol=1e-5)


@TILED
def test_sums_by_differences_stay_as_good_as_fresh_ones(kernel_name, dtype):
    """Hundreds of passes, rows of very different lengths: no center drifts from its rows' mean."""
    X = cloud(6, 12_000, 3, dtype)
    X[::6000] *= 1000
    worst, moving, before = [], [], []

    def compare(seen):
        if before:
            labels, n_clusters = before.pop(), len(seen.centers)
            sums = np.zeros(seen.centers.shape, np.longdouble)
            np.add.at(sums, labels, X.astype(np.longdouble))
            counts = np.bincount(labels, minlength=n_clusters)
            owned = counts > 0
            off = seen.centers[owned] - sums[owned] / counts[owned, None]
            worst.append(float(np.abs(off).max()))
        before.append(seen.labels)
        moving.append(seen.changed > 0)

    options = {"stop": "max-iter", "max_iter": 300, "n_threads": 2, "empty": "keep"}
    result = kmeans(X, 40, kernel=kernel_name, init=X[1:41], callback=compare, **options)
    assert len(worst) == result.n_iter - 1 == 299
    assert sum(moving) > 60  # the fit was long indeed
    # A sum of up to n values of the largest size, rounded each time, over the smallest count; and
    # the mean is rounded to the dtype.
    largest = float(np.abs(X).max())
    assert max(worst) <= 16 * largest * (float(np.finfo(dtype).eps) + 12_000 * 2.0**-53)


@TILED
def test_near_ties_that_were_decided_directly_are_counted(kernel_name):
    rng = np.random.default_rng(8)
    centers = rng.normal(size=(4, 6)) + np.array([[0], [0], [50], [-50]])
    halfway = (centers[0] + centers[1]) / 2
    X = np.concatenate([np.tile(halfway, (50, 1)), centers])
    options = {"kernel": kernel_name, "max_iter": 1}
    assert kmeans(X, 4, init=centers, **options).rescored >= 50
    apart = blobs(9, 200, 6, 4, spread=0.01)
    assert kmeans(apart, 4, random_state=0, **options).rescored == 0  # a start in each cluster
