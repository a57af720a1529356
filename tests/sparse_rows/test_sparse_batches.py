"""Batches of sparse rows: the compiled loops find the reference's bits, and so do whole fits."""

import pickle
import sys

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import MiniBatchKMeans, kmeans, registry
from kmeans_lab.estimators.minibatch_columns import ColumnMeans
from kmeans_lab.estimators.minibatch_means import RunningMeans
from kmeans_lab.metric import Directions
from kmeans_lab.registry import load_sparse
from kmeans_lab.sparse import numerics
from kmeans_lab.sparse.reading import read_sparse

batches = load_sparse("cpp-simd")
INSTRUCTIONS = ["baseline", "avx2", "avx512"]


@pytest.fixture(params=INSTRUCTIONS)
def isa(request, monkeypatch):
    monkeypatch.setenv("KMEANS_LAB_ISA", request.param)
    try:
        return batches.isa()
    except ValueError:  # nothing is missing from the build: these instructions cannot run here
        pytest.skip(f"this processor has no {request.param}")


def texts(seed, n=90, d=70, kind="f8", whole=False):
    """Rows of a few values, some of them empty, some alike."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, (n, d)) if whole else rng.normal(size=(n, d))
    dense = (values * (rng.random((n, d)) < 0.1)).astype(kind)
    dense[::17] = 0
    dense[3::11] = dense[5]
    return dense


def rows_of(dense):
    return read_sparse("X", sparse.csr_array(dense), ("float32", "float64"))


def squares_of(centers):
    return np.add.accumulate(np.square(centers, dtype="f8"), axis=1)[:, -1].copy()


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("k", [1, 2, 3, 7, 16, 33, 70])
def test_labels_and_inertia_are_the_references(isa, kind, k):
    dense = texts(k, kind=kind)
    centers = np.concatenate([dense[: k // 2], texts(k + 1, kind=kind)[: k - k // 2]])
    centers[-1] = centers[0]  # the first of equals wins
    rows, found, expected = rows_of(dense), np.empty((2, 90), "i4"), np.empty((2, 90), "i4")
    inertia = [
        batches.assign_batch(rows, np.ascontiguousarray(centers.T), squares_of(centers), found[0]),
        load_sparse("cpp").assign(rows, centers, expected[0]),
    ]
    np.testing.assert_array_equal(found[0], expected[0])
    assert inertia[0] == inertia[1]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("k", [1, 5, 19, 64])
def test_means_and_squares_are_numpys(isa, kind, k):
    rng = np.random.default_rng(k)
    sums, mass = rng.normal(size=(k, 300)), rng.integers(0, 9, k).astype("f8")
    old, squares = rng.normal(size=(k, 300)).astype(kind), np.empty(k)
    expected = old.copy()
    given = mass > 0
    expected[given] = sums[given] / mass[given, None]
    columns = np.ascontiguousarray(old.T)
    batches.settle_columns(np.ascontiguousarray(sums.T), mass, columns, squares)
    np.testing.assert_array_equal(columns.T, expected)
    np.testing.assert_array_equal(squares, squares_of(expected))
    batches.settle_columns(None, None, columns, squares)
    np.testing.assert_array_equal(columns.T, expected)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("d", [1, 7, 8, 301])
def test_directions_are_numpys(isa, kind, d):
    rng = np.random.default_rng(d)
    sums, mass = rng.normal(size=(21, d)), rng.integers(1, 9, 21).astype("f8")
    old = np.zeros((21, d), kind)
    expected, squares = np.empty_like(old), np.empty(21)
    directions = Directions(21, np.zeros(d, kind), 0)
    directions.scale(sums / mass[:, None], old, expected)
    columns, turned = np.ascontiguousarray(old.T), np.ascontiguousarray(sums.T)
    batches.square_means(turned, mass, squares)
    lengths, directed = directions.lengths_of(squares)
    assert directed.all()
    batches.settle_columns(turned, mass, columns, squares, lengths)
    np.testing.assert_array_equal(columns.T, expected)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("numbers", [[4], [9, 0, 30], range(8), range(1, 22), range(89, -1, -1)])
def test_squared_distances_are_numpys(isa, kind, numbers, monkeypatch):
    rows, numbers = rows_of(texts(1, kind=kind)), np.array(numbers)
    found, expected = np.full((2, len(numbers), 90), np.nan)
    numerics.distances_to_rows(rows, numbers, found)
    monkeypatch.setattr(numerics, "batches", lambda: None)
    numerics.distances_to_rows(rows, numbers, expected)
    np.testing.assert_array_equal(found, expected)
    assert (found[range(len(numbers)), numbers] == 0).all()


def test_more_points_than_are_laid_out_together():
    rows = rows_of(texts(1, 700))
    found = numerics.distances_to_rows(rows, np.arange(700), np.empty((700, 700)))
    expected = numerics.squared_distances(rows, rows[np.arange(700)], np.empty((700, 700)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_squared_distances_to_the_own_center_are_numpys(kind):
    dense = texts(1, kind=kind)
    rows, points, labels = rows_of(dense), dense[[4, 9, 0, 30]], (np.arange(90) % 4).astype("i4")
    own, expected = np.empty(90), np.empty((4, 90))
    batches.measure_own(rows, np.ascontiguousarray(points.T), squares_of(points), labels, own)
    numerics.squared_distances(rows, points, expected)
    np.testing.assert_array_equal(own, expected[labels, np.arange(90)])
    np.testing.assert_array_equal(own, numerics.plain_squares(rows, points, labels))


def fitted(dense, monkeypatch=None, **options):
    if monkeypatch is not None:  # without the compiled loops
        monkeypatch.setattr("kmeans_lab.estimators.minibatch_columns.batches", lambda: None)
        monkeypatch.setattr(numerics, "batches", lambda: None)
    settings = {"n_clusters": 6, "batch_size": 30, "random_state": 3, "max_iter": 30}
    found = MiniBatchKMeans(**settings | options).fit(sparse.csr_array(dense))
    assert type(found._means) is (ColumnMeans if monkeypatch is None else RunningMeans)
    return found


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_fits_are_those_of_the_other_way(kind, metric, monkeypatch):
    """Of whole numbers, whose sums are exact in any order; with centers that starve."""
    dense = texts(7, 400, kind=kind, whole=True)
    dense[~dense.any(axis=1), 0] = 1
    found = fitted(dense, metric=metric, reassignment_ratio=0.5)
    other = fitted(dense, monkeypatch, metric=metric, reassignment_ratio=0.5)
    assert found.n_steps_ == other.n_steps_
    exact = metric == "euclidean"  # rows of length 1 are no whole numbers
    within = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-6, "atol": 1e-7}
    np.testing.assert_allclose(found.cluster_centers_, other.cluster_centers_, **within)
    np.testing.assert_array_equal(found.labels_, other.labels_)
    assert found.cluster_centers_.flags.c_contiguous


def test_batches_with_weights_without_and_in_arrays_go_on_from_each_other():
    dense = texts(8, 200, whole=True)
    weights = np.random.default_rng(0).integers(1, 4, 200).astype("f8")
    found, other = (MiniBatchKMeans(4, init=dense[[1, 2, 4, 6]], n_init=1) for _ in range(2))
    for first in range(0, 200, 20):
        some = slice(first, first + 20)
        rows = dense[some] if first == 100 else sparse.csr_array(dense[some])
        share = weights[some] if first in (40, 60, 180) else None
        found.partial_fit(rows, sample_weight=share)
        other.partial_fit(dense[some], sample_weight=share)
        if first == 120:
            found = pickle.loads(pickle.dumps(found))
        if first == 140:
            found.cluster_centers_ = other.cluster_centers_ = other.cluster_centers_ + 0.25
    assert type(found._means) is ColumnMeans
    np.testing.assert_array_equal(found.labels_, other.labels_)
    np.testing.assert_allclose(found.cluster_centers_, other.cluster_centers_, rtol=1e-14)


class Interrupted:
    """The compiled loops; Ctrl-C comes before or after one of them."""

    def __init__(self, name, *, done):
        self.name, self.done = name, done

    def __getattr__(self, name):
        return self.interrupted if name == self.name else getattr(batches, name)

    def interrupted(self, *arguments):
        if self.done:
            getattr(batches, self.name)(*arguments)
        raise KeyboardInterrupt


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("name", ["assign_batch", "add_batch", "settle_columns"])
@pytest.mark.parametrize("weighted", [False, True])
def test_after_ctrl_c_a_batch_was_taken_or_not(name, done, weighted, monkeypatch):
    rows, later = rows_of(texts(2, whole=True)), rows_of(texts(3, whole=True))
    start = texts(1, whole=True)[[1, 2, 4]]
    means, other = (ColumnMeans("cpp", start, np.zeros(70)) for _ in range(2))
    for it in (means, other):
        it.take(rows)
    with monkeypatch.context() as patch:
        patch.setattr(
            "kmeans_lab.estimators.minibatch_columns.batches", lambda: Interrupted(name, done=done)
        )
        with pytest.raises(KeyboardInterrupt):
            means.take(later)
    if name == "settle_columns" or (name == "add_batch" and done):
        other.take(later)
    weights = np.arange(90.0) % 3 + 1 if weighted else None
    np.testing.assert_array_equal(means.take(rows, weights), other.take(rows, weights))
    np.testing.assert_array_equal(means.centers, other.centers)
    np.testing.assert_array_equal(means._mass, other._mass)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_centers_that_somebody_set_are_gone_on_from(metric):
    """With nothing in between that would look at them: their squared lengths are theirs."""
    dense = texts(9, 300, whole=True)
    dense[~dense.any(axis=1), 0] = 1
    settings = {"init": dense[[1, 2, 4]], "n_init": 1, "metric": metric}
    found, other = (MiniBatchKMeans(3, kernel=it, **settings) for it in ("auto", "cpp"))
    for it in (found, other):
        it.partial_fit(sparse.csr_array(dense[:100]))
        it.cluster_centers_ = it.cluster_centers_[::-1] * [[5.0], [1.0], [0.2]]
        it.partial_fit(sparse.csr_array(dense[100:200]))
    np.testing.assert_array_equal(found.labels_, other.labels_)
    np.testing.assert_allclose(found.cluster_centers_, other.cluster_centers_, rtol=1e-12)


def test_without_the_compiled_module_the_others_compute(monkeypatch):
    monkeypatch.setitem(sys.modules, "kmeans_lab.sparse.simd", None)
    monkeypatch.delitem(registry._complete, "kmeans_lab.sparse.simd", raising=False)
    X = sparse.csr_array(texts(4))
    assert numerics.batches() is None
    for kernel in ("numpy", "cpp"):
        assert kmeans(X, 3, kernel=kernel, random_state=0).kernel == kernel
        MiniBatchKMeans(3, kernel=kernel, random_state=0).fit(X)
    assert kmeans(X, 3, random_state=0).kernel != "cpp-simd"
    assert MiniBatchKMeans(3, random_state=0).fit(X).n_steps_ >= 1


@pytest.mark.parametrize("times", [1e19, 1e30, 1e39])
def test_a_batch_that_float32_cannot_hold_is_refused_and_changes_nothing(times):
    dense = texts(5)
    found = MiniBatchKMeans(3, random_state=0).partial_fit(sparse.csr_array(dense.astype("f4")))
    before = found.cluster_centers_.copy()
    with pytest.raises(ValueError, match="overflows in a squared distance"):
        found.partial_fit(sparse.csr_array(dense * times))
    np.testing.assert_array_equal(found.cluster_centers_, before)
    assert np.isfinite(found.partial_fit(sparse.csr_array(dense)).cluster_centers_).all()


WRONG = [
    lambda r, c, s, i: batches.assign_batch(r, c[:-1].copy(), s, i),
    lambda r, c, s, i: batches.assign_batch(r, c.astype("f4"), s, i),
    lambda r, c, s, i: batches.assign_batch(r, c.T, s, i),
    lambda r, c, s, i: batches.assign_batch(r, c, s[:-1], i),
    lambda r, c, s, i: batches.assign_batch(r, c, s, i[:-1]),
    lambda r, c, s, i: batches.assign_batch(r, c, s, i.astype("i8")),
    lambda r, c, s, i: batches.assign_batch(r, np.empty((70, 0)), np.empty(0), i),
    lambda r, c, s, i: batches.measure_own(r, c, s, i + 3, np.empty(90)),
    lambda r, c, s, i: batches.measure_own(r, c, s, i, np.empty(89)),
    lambda r, c, s, i: batches.add_batch(r, i + 3, np.zeros((70, 3)), s),
    lambda r, c, s, i: batches.add_batch(r, i, np.zeros((69, 3)), s),
    lambda r, c, s, i: batches.add_batch(r, i, np.zeros((70, 3)), s[:2]),
    lambda r, c, s, i: batches.settle_columns(c, None, c, s),
    lambda r, c, s, i: batches.settle_columns(c, s[:-1], c, s),
    lambda r, c, s, i: batches.settle_columns(c[:-1].copy(), s, c, s),
    lambda r, c, s, i: batches.settle_columns(c, s, c, s, s[:-1]),
    lambda r, c, s, i: batches.settle_columns(None, None, c, s[:-1]),
    lambda r, c, s, i: batches.square_means(c, s[:-1], s),
    lambda r, c, s, i: batches.square_means(c, s, s[:-1]),
    lambda r, c, s, i: batches.measure_batch(r, np.array([1, 90]), np.empty((2, 90))),
    lambda r, c, s, i: batches.measure_batch(r, np.array([-1, 3]), np.empty((2, 90))),
    lambda r, c, s, i: batches.measure_batch(r, np.array([1.0, 3]), np.empty((2, 90))),
    lambda r, c, s, i: batches.measure_batch(r, np.arange(2), np.empty((2, 89))),
    lambda r, c, s, i: batches.measure_batch(object(), np.arange(3), np.empty((3, 90))),
]


@pytest.mark.parametrize("call", WRONG)
def test_arrays_that_do_not_fit_get_a_sentence(call):
    rows, centers = rows_of(texts(3)), np.ascontiguousarray(texts(4)[:3].T)
    with pytest.raises((ValueError, TypeError, AttributeError), match=r"\w+ \w+"):
        call(rows, centers, np.ones(3), np.zeros(90, "i4"))
