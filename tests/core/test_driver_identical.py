"""One result: the same bits for any number of workers, the same labels from every kernel.

And the same labels, iterations and inertia as scikit-learn from the same start.
"""

from functools import cache

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.crews.partial import chunk_bounds
from kmeans_lab.isolation.availability import state_of
from tests.support import oracle
from tests.support.helpers import FIVE_CHUNKS, assert_same_fit, cloud, some_rows

N_WORKERS = [1, 2, 3, 5]


@cache
def rows_and_start(dtype):
    """Five chunks of a cloud off the origin, and centers of which one owns no row at first."""
    X = (cloud(1, FIVE_CHUNKS, 3) + 20).astype(dtype)
    start = some_rows(X, 6)
    start[5] = -1000
    return X, start


def fit(kernel_name, dtype, **options):
    X, start = rows_and_start(dtype)
    fixed = {"kernel": kernel_name, "init": start, "tol": 0.0, "max_iter": 8, "history": True}
    return kmeans(X, 6, **fixed | options)


@cache
def serial(kernel_name, dtype):
    return fit(kernel_name, dtype)


def test_the_cases_below_give_work_to_five_workers():
    assert len(chunk_bounds(FIVE_CHUNKS, 6)) == max(N_WORKERS) == 5


def test_two_serial_runs_are_identical(kernel_name, dtype):
    assert_same_fit(fit(kernel_name, dtype), serial(kernel_name, dtype))


@pytest.mark.parametrize("n_threads", N_WORKERS)
def test_threads_give_the_bits_of_serial(kernel_name, dtype, n_threads):
    result = fit(kernel_name, dtype, mode="threads", n_threads=n_threads)
    assert_same_fit(result, serial(kernel_name, dtype))


@pytest.mark.parametrize(
    "n_threads", [pytest.param(n, marks=() if n == 3 else pytest.mark.slow) for n in N_WORKERS]
)
def test_processes_give_the_bits_of_serial(kernel_name, n_threads):
    result = fit(kernel_name, "float64", mode="processes", n_threads=n_threads)
    assert_same_fit(result, serial(kernel_name, "float64"))
    assert (result.mode, result.n_threads) == ("processes", n_threads)


@pytest.mark.slow_for("python", "numpy-broadcast", "numba", "cython", "numba-tiled")
def test_processes_give_the_bits_of_serial_in_float32(kernel_name):
    result = fit(kernel_name, "float32", mode="processes", n_threads=2)
    assert_same_fit(result, serial(kernel_name, "float32"))


@pytest.mark.parametrize("mode", ["threads", "processes"])
@pytest.mark.parametrize("exit_", ["rest", "callback"])
def test_every_exit_is_identical_too(mode, exit_):
    def callback(seen):
        return exit_ == "callback" and seen.n_iter == 4

    options = {"max_iter": 300, "callback": callback, "init": "k-means++", "random_state": 3}
    result = fit("numpy", "float64", mode=mode, n_threads=2, **options)
    assert_same_fit(result, fit("numpy", "float64", **options))
    assert result.stop == {"rest": "shift", "callback": "callback"}[exit_]


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_repetitions_are_identical_in_every_mode(mode):
    options = {"init": "random", "random_state": 4, "n_init": 3}
    result = fit("numpy", "float64", mode=mode, **options)
    assert_same_fit(result, fit("numpy", "float64", **options))


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_more_workers_than_chunks_are_allowed(mode):
    X = cloud(0, 50, 2)
    result = kmeans(X, 3, kernel="numpy", init="first", mode=mode, n_threads=7)
    assert_same_fit(result, kmeans(X, 3, kernel="numpy", init="first"))


@pytest.mark.parametrize("shape", [(800, 2, 5), (700, 10, 12), (500, 33, 3)])
def test_all_kernels_give_the_same_labels_from_the_same_start(kernel_name, dtype, shape):
    n_samples, n_features, n_clusters = shape
    X = (cloud(n_clusters, n_samples, n_features) * 3 + 7).astype(dtype)
    start = some_rows(X, n_clusters)
    options = {"init": start, "tol": 0.0, "max_iter": 12}
    expected = kmeans(X, n_clusters, kernel="python", **options)
    result = kmeans(X, n_clusters, kernel=kernel_name, **options)
    np.testing.assert_array_equal(result.labels, expected.labels)
    assert result.n_iter == expected.n_iter > 5
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=0, atol=16 * 8 * eps)
    assert result.inertia == pytest.approx(expected.inertia, rel=16 * eps)
    assert oracle.count_ties(X, result.centers, result.labels) == 0


def test_the_reference_kernel_is_always_there():
    assert state_of("python") == ("ready", "")
    assert next(iter(KERNELS)) == "python"


SETS = [(0, 300, 2, 4), (1, 500, 3, 8), (2, 1000, 10, 12), (3, 400, 1, 5), (4, 250, 20, 3)]


@pytest.mark.parametrize("case", SETS, ids=lambda case: "-".join(map(str, case)))
def test_parity_with_scikit_learn(kernel_name, case):
    cluster = pytest.importorskip("sklearn.cluster")
    seed, n_samples, n_features, n_clusters = case
    X = cloud(seed, n_samples, n_features) + 3
    start = some_rows(X, n_clusters, seed)
    peer = cluster.KMeans(n_clusters, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd")
    peer.fit(X)
    result = kmeans(X, n_clusters, kernel=kernel_name, init=start, tol=0)
    np.testing.assert_array_equal(result.labels, peer.labels_)
    assert result.n_iter == peer.n_iter_ > 5
    assert result.inertia == pytest.approx(peer.inertia_, rel=1e-9)
    np.testing.assert_allclose(result.centers, peer.cluster_centers_, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tol", [1e-4, 1e-3, 1e-2])
def test_the_default_rule_stops_where_scikit_learn_stops(tol):
    cluster = pytest.importorskip("sklearn.cluster")
    X = cloud(2, 1000, 4) * [1, 2, 3, 4] + 3
    start = some_rows(X, 8)
    peer = cluster.KMeans(8, init=start, n_init=1, tol=tol, algorithm="lloyd").fit(X)
    result = kmeans(X, 8, kernel="numpy", init=start, tol=tol)
    assert result.n_iter == peer.n_iter_ > 3
    np.testing.assert_array_equal(result.labels, peer.labels_)


def test_relocation_of_one_empty_cluster_is_that_of_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    X = cloud(5, 300, 3)
    start = some_rows(X, 5)
    start[2] = 500.0
    peer = cluster.KMeans(5, init=start, n_init=1, tol=0, algorithm="lloyd").fit(X)
    result = kmeans(X, 5, kernel="numpy", init=start, tol=0)
    np.testing.assert_array_equal(result.labels, peer.labels_)
    assert result.n_iter == peer.n_iter_
