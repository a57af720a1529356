"""Whole fits of sparse rows: those of the same rows as an array, in every kernel and mode."""

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import kmeans
from kmeans_lab.registry import KERNELS, SPARSE, load_sparse
from kmeans_lab.sparse.reading import read_sparse
from tests.support.helpers import assert_same_fit, require_ready
from tests.support.sparse_cases import START, K, texts

PLAIN = [name for name in SPARSE if name != "python"]


X = texts()


@pytest.fixture(params=SPARSE)
def name(request):
    require_ready(request.param, request.config.getoption("--require-kernels"))
    return request.param


def whole_counts(seed, shape):
    """Return small whole numbers, most of them zero: whatever adds them up is exact."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, shape) * (rng.random(shape) < 0.15)


def test_a_fit_is_that_of_the_dense_rows(name, dtype):
    rows = texts(dtype=dtype)
    found = kmeans(rows, K, init=START, kernel=name, tol=0)
    dense = kmeans(rows.toarray(), K, init=START, kernel="cpp", tol=0)
    np.testing.assert_array_equal(found.labels, dense.labels)
    assert found.n_iter == dense.n_iter
    assert found.centers.dtype == dtype
    tight = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(found.centers, dense.centers, atol=tight)
    assert found.inertia == pytest.approx(dense.inertia, rel=tight)


@pytest.mark.parametrize("seed", range(5))
def test_whole_numbers_leave_nothing_to_rounding(name, seed):
    counts = whole_counts(seed, (60, 9))
    start = counts[:4].astype(float)
    one, dense = (
        kmeans(rows, 4, init=start, kernel=kernel, tol=0, max_iter=1, empty="keep")
        for rows, kernel in ((sparse.csr_array(counts), name), (counts, "python"))
    )
    np.testing.assert_array_equal(one.centers, dense.centers)


def test_ties_go_to_the_first_center(name):
    rows = sparse.csr_array(np.eye(5))
    start = np.eye(5)[[4, 0, 0]]
    found = kmeans(rows, 3, init=start, kernel=name, max_iter=1, empty="keep")
    kernel = load_sparse(name)
    labels = np.empty(5, np.int32)
    kernel.assign(read_sparse("X", rows, ("float64",)), start, labels)
    assert labels.tolist() == [1, 0, 0, 0, 0]
    assert found.n_iter == 1


@pytest.mark.parametrize("mode", ["threads", "processes"])
@pytest.mark.parametrize("kernel", PLAIN)
def test_neither_mode_nor_threads_change_a_bit(kernel, mode):
    rows = texts(1, 5000, 60)
    if mode == "threads" and KERNELS[kernel].threading == "own":
        mode = None
    one, several = (
        kmeans(rows, K, init=rows[:K].toarray(), kernel=kernel, max_iter=8, **more)
        for more in ({}, {"n_threads": 2, "mode": mode})
    )
    assert_same_fit(one, several)


@pytest.mark.parametrize(
    "init", ["k-means++", "k-means||", "d2", "random", "random-partition", "first"]
)
def test_starts_are_those_of_the_dense_rows(init):
    found = kmeans(X, K, init=init, random_state=7, kernel="cpp")
    dense = kmeans(X.toarray(), K, init=init, random_state=7, kernel="cpp")
    np.testing.assert_array_equal(found.labels, dense.labels)
    assert found.inertia == pytest.approx(dense.inertia, rel=1e-12)


def test_a_function_that_draws_the_start_sees_a_matrix_of_scipys():
    def init(rows, n_clusters, rng):
        assert sparse.issparse(rows)
        with pytest.raises(ValueError, match="read-only"):
            rows.data[0] = 7
        return rows[rng.choice(rows.shape[0], n_clusters)].toarray()

    assert kmeans(X, K, init=init, random_state=0).n_iter > 1


def test_weights_count_as_they_do_for_dense_rows(name):
    weights = np.random.default_rng(0).random(X.shape[0])
    weights[:9] = 0
    found = kmeans(X, K, init=START, kernel=name, sample_weight=weights, tol=0)
    dense = kmeans(X.toarray(), K, init=START, kernel="cpp", sample_weight=weights, tol=0)
    np.testing.assert_array_equal(found.labels, dense.labels)
    np.testing.assert_allclose(found.centers, dense.centers, atol=1e-12)
    assert found.inertia == pytest.approx(dense.inertia, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("empty", ["relocate", "random", "keep"])
def test_empty_clusters_are_filled_as_for_dense_rows(empty, weighted):
    start = np.concatenate([START, 100 + np.eye(3, X.shape[1])])
    weights = np.random.default_rng(1).random(X.shape[0]) if weighted else None
    settings = {"init": start, "empty": empty, "random_state": 3, "sample_weight": weights}
    found = kmeans(X, len(start), kernel="cpp", **settings)
    dense = kmeans(X.toarray(), len(start), kernel="cpp", **settings)
    np.testing.assert_array_equal(found.labels, dense.labels)
    np.testing.assert_allclose(found.centers, dense.centers, atol=1e-12)


def test_an_empty_cluster_may_be_an_error():
    start = np.concatenate([START, 100 + np.eye(1, X.shape[1])])
    with pytest.raises(ValueError, match="owns no row"):
        kmeans(X, K + 1, init=start, empty="error")


@pytest.mark.parametrize("stop", ["shift", "shift-norm", "allclose", "equal", "labels"])
def test_rules_history_and_callbacks_work(stop):
    seen = []
    found = kmeans(X, K, init=START, stop=stop, history=True, callback=seen.append)
    dense = kmeans(X.toarray(), K, init=START, stop=stop, history=True, kernel="cpp")
    assert (found.n_iter, found.stop) == (dense.n_iter, dense.stop)
    assert len(seen) == len(found.history) == found.n_iter
    for mine, theirs in zip(found.history, dense.history, strict=True):
        assert mine.inertia == pytest.approx(theirs.inertia, rel=1e-12)
        assert mine.changed == theirs.changed


def test_rows_without_any_value_have_a_place(name):
    dense = np.zeros((8, 5))
    dense[0, 1] = dense[3, 1] = 2.0
    found = kmeans(sparse.csr_array(dense), 2, init=dense[:2], kernel=name)
    assert found.labels.tolist() == [0, 1, 1, 0, 1, 1, 1, 1]
    assert found.inertia == 0


@pytest.mark.parametrize("n_clusters", [1, 40])
def test_one_cluster_and_as_many_as_rows(name, n_clusters):
    rows = texts(2, 40, 30)
    found = kmeans(rows, n_clusters, init="first", kernel=name)
    dense = kmeans(rows.toarray(), n_clusters, init="first", kernel="cpp")
    np.testing.assert_array_equal(found.labels, dense.labels)
    assert found.inertia == pytest.approx(dense.inertia, rel=1e-12, abs=1e-300)


def test_rows_that_are_alike_are_no_distance_from_their_center(name):
    row = texts(3, 1, 200).toarray()
    found = kmeans(sparse.csr_array(np.repeat(row, 64, axis=0)), 1, init=row, kernel=name)
    assert found.inertia < 1e-27  # their mean is rounded, as the sum of 64 numbers is


def test_x_stays_as_it_is():
    given = texts(4)
    given.indices[:2] = given.indices[1::-1]  # not in order
    before = [part.copy() for part in (given.data, given.indices, given.indptr)]
    kmeans(given, K, random_state=0)
    for part, was in zip((given.data, given.indices, given.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)


@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - set(SPARSE)))
def test_other_kernels_say_which_ones_take_sparse_rows(kernel):
    with pytest.raises(ValueError, match=r"takes no sparse rows.*choose one of .*cpp.*toarray"):
        kmeans(X, K, kernel=kernel)


def test_an_own_kernel_is_told_too():
    from kmeans_lab import _cpp_kernel

    with pytest.raises(ValueError, match=r"takes no sparse rows"):
        kmeans(X, K, kernel=_cpp_kernel)


def test_labels_out_of_range_add_nothing(name):
    rows, kernel = read_sparse("X", X, ("float64",)), load_sparse(name)
    for wrong in (-1, 2):
        labels = np.zeros(len(rows), np.int32)
        labels[5] = wrong
        sums, counts = np.zeros((2, rows.n_features)), np.zeros(2, np.int64)
        with pytest.raises(ValueError, match="update needs labels from 0 to n_clusters - 1"):
            kernel.update(rows, labels, sums, counts)
        assert not sums.any()
        assert not counts.any()


# The loops of the others cannot run out of bounds.
@pytest.mark.parametrize("name", [it for it in PLAIN if it != "numpy"], indirect=True)
def test_arrays_that_do_not_fit_are_refused(name):
    rows, kernel = read_sparse("X", X, ("float64",)), load_sparse(name)
    labels = np.zeros(len(rows), np.int32)
    with pytest.raises(ValueError, match="assign needs rows"):
        kernel.assign(rows, START[:, :-1].copy(), labels)
    with pytest.raises(ValueError, match="assign needs rows"):
        kernel.assign(rows, START, labels[:-1])
    with pytest.raises(ValueError, match="at least one center"):
        kernel.assign(rows, START[:0], labels)
    with pytest.raises(ValueError, match="update needs rows"):
        kernel.update(rows, labels, np.zeros((2, 3)), np.zeros(2, np.int64))
