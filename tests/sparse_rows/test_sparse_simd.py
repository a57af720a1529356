"""The flagship for sparse rows, pass by pass beside the plain loops of ``cpp``."""

import signal
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import KMeans, driver, kmeans
from kmeans_lab.crews.means import Arrays
from kmeans_lab.registry import load_sparse
from kmeans_lab.seeding import greedy_rows
from kmeans_lab.sparse.numerics import own_squares
from kmeans_lab.sparse.reading import read_sparse
from tests.support.helpers import assert_same_fit
from tests.support.sparse_cases import DATA, START, K, start, texts

simd, plain = load_sparse("cpp-simd"), load_sparse("cpp")


def read(rows):
    return read_sparse("X", rows, ("float32", "float64"))


def passes(rows, centers, n_threads=1, most=12):
    """Yield labels, sums and counts of steps until nothing changes; each is checked first."""
    given, k = read(rows), len(centers)
    prepared = simd.prepare(given, k, n_threads)
    labels, expected = np.full((2, len(given)), -1, np.int32)
    counts = np.zeros(k, np.int64)
    sums, before = np.empty((2, *centers.shape))
    follows = False
    for _ in range(most):
        prepared.follow(None if follows else centers, labels, counts)
        plain.assign(given, centers, expected)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(counts, np.bincount(labels, minlength=k))
        if follows:
            prepared.sums(before, True)
            np.testing.assert_array_equal(before, sums)
        prepared.sums(sums)
        yield labels, sums, counts
        new = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
        new = new.astype(centers.dtype)
        follows = bool(counts.all())
        if follows:
            low, high = prepared.shift()
            with np.errstate(under="ignore"):
                moved = ((new - centers.astype(float)) ** 2).sum()
            assert low <= moved * (1 + 1e-9)
            assert moved <= high * (1 + 1e-9) or moved < 1e-290
        if (new == centers).all():
            return
        centers = new


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("k", [2, 20, 60])
def test_labels_are_those_of_the_plain_loops(isa, name, k, dtype):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = DATA[name](rng)
        if dtype == "float32" and name in ("huge", "tiny"):
            rows = rows * (1e-125 if name == "huge" else 1e125)
        rows = rows.astype(dtype)
        for _ in passes(rows, start(rng, rows, k)):
            pass


@pytest.mark.parametrize("name", DATA)
def test_no_bit_depends_on_the_threads(name):
    rng = np.random.default_rng(1)
    rows = DATA[name](rng)
    rows = sparse.vstack([rows] * 12).tocsr()  # several parts
    centers = start(rng, rows, 30)
    one, three = (
        [tuple(it.copy() for it in each) for each in passes(rows, centers, n_threads)]
        for n_threads in (1, 3)
    )
    assert len(one) == len(three)
    for mine, others in zip(one, three, strict=True):
        for left, right in zip(mine, others, strict=True):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", ["texts", "signed", "wide"])
def test_sums_are_rounded_once(name):
    rng = np.random.default_rng(2)
    rows = DATA[name](rng)
    *_, (labels, sums, _) = passes(rows, start(rng, rows, 4))
    dense = rows.toarray()
    for j in range(4):
        for f in range(0, dense.shape[1], 7):
            exact = sum(map(Fraction, dense[labels == j, f]), start=Fraction(0))
            assert sums[j, f] == float(exact)


def test_values_too_far_apart_for_exact_sums_still_add_up():
    rows = sparse.csr_array(np.array([[1e140, 1e-140], [1e-140, 0], [1.0, 1e120]]))
    centers = np.array([[1e139, 0], [0, 1e119]])
    *_, (_, sums, _) = passes(rows, centers)
    np.testing.assert_allclose(sums.sum(axis=0), [1e140, 1e120])


@pytest.mark.parametrize("stop", ["shift", "shift-norm", "labels", "max-iter"])
@pytest.mark.parametrize("empty", ["relocate", "random", "keep"])
def test_means_that_nobody_looks_at_change_nothing(monkeypatch, stop, empty, dtype):
    rows = texts(5, 500, dtype=dtype)
    options = {"kernel": "cpp-simd", "stop": stop, "empty": empty, "max_iter": 9, "random_state": 3}
    centers = np.vstack([rows[:20].toarray(), np.full((2, rows.shape[1]), 9, dtype)])
    kept = [kmeans(rows, 22, init=centers, **options), kmeans(rows, 9, n_init=3, **options)]
    monkeypatch.setattr(driver, "Kept", Arrays)
    for one, found in zip(kept, [(22, {"init": centers}), (9, {"n_init": 3})], strict=True):
        assert_same_fit(one, kmeans(rows, found[0], **found[1], **options))


def test_a_tolerance_that_bounds_cannot_tell_apart_is_decided_by_the_arrays(monkeypatch):
    rows = texts()
    history = kmeans(rows, K, init=START, kernel="cpp-simd", tol=0, history=True).history
    old, new = history[2].centers, history[3].centers
    moved = (new - old).ravel()
    shift = float(np.add.reduce(moved * moved))
    root = np.sqrt(shift)
    for tol in (np.nextafter(root, 0), root, np.nextafter(root, 1)):
        options = {"kernel": "cpp-simd", "init": START, "stop": "shift-norm", "tol": tol}
        kept = kmeans(rows, K, **options)
        with monkeypatch.context() as patch:
            patch.setattr(driver, "Kept", Arrays)
            assert_same_fit(kept, kmeans(rows, K, **options))


def test_fits_of_all_kinds_are_those_of_the_plain_loops(dtype):
    rows = texts(6, 300, dtype=dtype)
    for options in (
        {},
        {"sample_weight": np.arange(1, 301.0)},
        {"n_threads": 2},
        {"history": True},
        {"max_iter": 2},
    ):
        centers = rows[:K].toarray()
        found = kmeans(rows, K, init=centers, tol=0, kernel="cpp-simd", **options)
        options.pop("n_threads", None)
        expected = kmeans(rows, K, init=centers, tol=0, kernel="cpp", **options)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.centers, expected.centers, rtol=1e-12, atol=1e-7)
        assert found.inertia == pytest.approx(expected.inertia, rel=1e-6)


def test_ties_are_counted():
    rows = sparse.csr_array(np.eye(40))
    found = kmeans(rows, 4, init=np.eye(40)[:4], kernel="cpp-simd", max_iter=1)
    assert found.rescored >= 36  # rows that share nothing with any center
    assert (found.labels[4:] == found.labels[4]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (7, 300)])
def test_a_cluster_for_each_row_and_one_for_all(shape):
    rows = sparse.csr_array(np.random.default_rng(0).random(shape) * (np.arange(shape[1]) % 2 == 0))
    for k in (1, shape[0]):
        for _ in passes(rows, rows[:k].toarray()):
            pass


@pytest.mark.parametrize("name", DATA)
def test_kmeans_plus_plus_draws_the_rows_that_numpy_draws(isa, name, dtype):
    rng = np.random.default_rng(4)
    rows = DATA[name](rng)
    if dtype == "float32" and name in ("huge", "tiny"):
        rows = rows * (1e-125 if name == "huge" else 1e125)
    given = read(rows.astype(dtype))
    for k, n_candidates in ((2, 1), (25, 5), (230, 9)):
        first, draws = int(rng.integers(len(given))), rng.random((k - 1, n_candidates))
        expected = greedy_rows(given, first, draws)
        for n_threads in (1, 2):
            found = simd.prepare(given, k, n_threads).greedy(given, first, draws)
            np.testing.assert_array_equal(found, expected)


def test_inertia_is_from_differences():
    rows = texts()
    labels = np.arange(rows.shape[0], dtype=np.int32) % K
    expected = sum(float(it.sum()) for *_, it in own_squares(read(rows), START, labels))
    assert simd.inertia(read(rows), START, labels) == pytest.approx(expected, rel=1e-14)
    on_centers = np.zeros(1, np.int32)
    assert simd.inertia(read(sparse.csr_array(START[:1])), START[:1], on_centers) == 0


def test_new_rows_are_labelled_by_a_fitted_model():
    rows, others = texts(1), texts(2, 40)
    model = KMeans(K, kernel="cpp-simd", random_state=0).fit(rows)
    expected = np.empty(40, np.int32)
    plain.assign(read(others), model.cluster_centers_, expected)
    np.testing.assert_array_equal(model.predict(others), expected)


def test_labels_of_another_array_are_written_whole():
    rows = texts()
    prepared = simd.prepare(read(rows), K, 1)
    counts = np.empty(K, np.int64)
    first, second = np.full((2, rows.shape[0]), -1, np.int32)
    prepared.follow(START, first, counts)
    prepared.follow(START, second, counts)
    np.testing.assert_array_equal(first, second)
    assert prepared.changed == len(second)


def test_a_pass_that_is_interrupted_leaves_rows_that_can_be_used_again():
    rng = np.random.default_rng(0)
    rows = sparse.random(30_000, 2_000, 0.02, format="csr", random_state=rng)
    centers = start(rng, rows, 1_500)
    prepared = simd.prepare(read(rows), len(centers), 2)
    labels, counts = np.full(rows.shape[0], -1, np.int32), np.empty(len(centers), np.int64)

    def interrupt(*_):
        raise KeyboardInterrupt

    def run_on():
        for _ in range(200):
            prepared.follow(centers, labels, counts)

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            run_on()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    prepared.follow(centers, labels, counts)
    expected = np.empty_like(labels)
    plain.assign(read(rows), centers, expected)
    np.testing.assert_array_equal(labels, expected)


def test_arrays_of_a_step_that_do_not_fit_are_refused():
    prepared = simd.prepare(read(texts()), K, 1)
    labels, counts = np.zeros(300, np.int32), np.zeros(K, np.int64)
    for wrong in (
        (START[:, :-1].copy(), labels, counts),
        (START.astype("f4"), labels, counts),
        (START, labels[1:], counts),
        (START, labels, counts[1:]),
        (None, labels.astype("i8"), counts),
        (START[:0], labels, counts),
    ):
        with pytest.raises((TypeError, ValueError)):
            prepared.follow(*wrong)
