"""Sums of the tuned kernels are exact until they are rounded, whatever is done to the rows."""

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from kmeans_lab import kmeans
from tests.support.helpers import prepared

pytestmark = pytest.mark.hostile

NAMES = ("numba-tiled", "cython-tiled", "cpp-simd")
EXACT = pytest.mark.kernels(*NAMES)


def ranges(rng, n, d):
    """Magnitudes from 1e-150 to 1e150 in every column, and zeros."""
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-150, 151, size=(n, d))
    X[rng.random(size=(n, d)) < 0.1] = 0
    return X


def cancelling(rng, n, d):
    """Values that are there twice, once of either sign, beside ones lost among them."""
    X = rng.normal(size=(n, d)) * 10.0 ** rng.integers(0, 12, size=(n, d))
    X[: n // 3] = -X[n - n // 3 :]
    X[n // 3 : n // 2] *= 1e-25
    return X


def tiny(rng, n, d):
    """Magnitudes near 1e-153, the smallest whose squares are kept."""
    return rng.normal(size=(n, d)) * 1e-153


def denormal(rng, n, d):
    """Columns that are next to nothing, or nothing but denormal numbers, beside others."""
    return rng.normal(size=(n, d)) * np.resize([1e-302, 1.0, 1e-310, 1e140, 1e-305], d)


def plain(rng, n, d):
    return rng.normal(size=(n, d))


def whole(rng, n, d):
    return rng.integers(-9, 10, size=(n, d)) * 1.0


def one_sign(rng, n, d):
    return rng.uniform(0.9, 1.0, size=(n, d))


KINDS = {
    kind.__name__: kind for kind in (ranges, cancelling, tiny, denormal, plain, whole, one_sign)
}


@cache
def rows_of(kind, n, d, dtype):
    X = KINDS[kind](np.random.default_rng(n + d), n, d)
    if dtype == "float32" and kind in ("ranges", "tiny", "denormal"):
        X = np.sign(X) * np.abs(X) ** (1 / 8)
    X = X.astype(dtype)
    X.setflags(write=False)
    return X


def exact_sums(X, labels, k):
    """Sums of the rows by label, rounded once from what they are exactly."""
    return np.array(
        [[float(sum(map(Fraction, column.tolist()))) for column in X[labels == j].T]
         for j in range(k)]
    ).reshape(k, X.shape[1])  # fmt: skip


def exact_total(values):
    return float(sum(map(Fraction, values)))


def lengths(X):
    """Squared lengths by rows: products and sums rounded one by one, in the order of features."""
    total = np.zeros(len(X))
    for column in X.astype(np.float64).T:
        total += column * column
    return total


def expected_inertia(X, centers, sums, counts):
    total = exact_total(lengths(X).tolist())
    for center, row, count in zip(centers.astype(np.float64), sums, counts, strict=True):
        change = 0.0
        for c, value in zip(center.tolist(), row.tolist(), strict=True):
            change += c * (float(count) * c - 2 * value)
        total += change
    return max(total, 0.0)


def passes(kernel, X, k, n_threads, n_passes=6, order=None):
    """Passes with centers that jump, so that rows leave clusters and come back."""
    rows = kernel.prepare(X, k, n_threads)
    labels = np.full(len(X), -1, np.int32)
    order = np.arange(len(X)) if order is None else order
    undo = np.argsort(order)
    for step in range(n_passes):
        rng = np.random.default_rng(step % 4)  # some come back as they were
        some = rng.choice(len(X), k, replace=k > len(X))
        centers = np.ascontiguousarray(X[undo][some])
        sums, counts = np.zeros(centers.shape), np.zeros(k, np.int64)
        inertia = kernel.assign_update(rows, centers, labels, sums, counts)
        yield centers, labels, sums, counts, inertia


@pytest.mark.parametrize(("n", "d", "k"), [(400, 3, 5), (3, 1, 2), (900, 1, 4), (257, 17, 7)])
@pytest.mark.parametrize("kind", KINDS)
@EXACT
def test_sums_are_exact_after_every_pass(kernel, dtype, kind, n, d, k):
    X = rows_of(kind, n, d, dtype)
    for centers, labels, sums, counts, inertia in passes(kernel, X, k, 1):
        assert sums.tolist() == exact_sums(X, labels, k).tolist()
        assert counts.tolist() == np.bincount(labels, minlength=k).tolist()
        assert inertia == expected_inertia(X, centers, sums, counts)


@pytest.mark.parametrize("kind", KINDS)
@EXACT
def test_neither_order_nor_threads_change_a_bit(kernel, dtype, kind):
    X, k = rows_of(kind, 5000, 3, dtype), 6
    order = np.random.default_rng(1).permutation(len(X))
    shuffled = np.ascontiguousarray(X[order])
    first = passes(kernel, X, k, 1, n_passes=3)
    others = passes(kernel, X, k, 3, 3), passes(kernel, shuffled, k, 3, 3, order=order)
    for (_, labels, sums, counts, inertia), *rest in zip(first, *others, strict=True):
        for at, (_, other_labels, *other) in zip((slice(None), order), rest, strict=True):
            np.testing.assert_array_equal(other_labels, labels[at])
            assert [array.tolist() for array in other[:2]] == [sums.tolist(), counts.tolist()]
            assert other[2] == inertia


@pytest.mark.parametrize("kind", KINDS)
@EXACT
def test_update_rounds_once_and_then_adds(kernel, dtype, kind):
    X, k = rows_of(kind, 500, 5, dtype), 4
    labels = np.random.default_rng(2).integers(k, size=500).astype(np.int32)
    sums, counts = np.full((k, 5), 7.0), np.full(k, 3)
    kernel.update(prepared(kernel, X, k), labels, sums, counts)
    assert sums.tolist() == (exact_sums(X, labels, k) + 7.0).tolist()
    assert counts.tolist() == (np.bincount(labels, minlength=k) + 3).tolist()


@EXACT
def test_the_smallest_bit_decides_sums_halfway_between_two_numbers(kernel):
    signs = np.array(np.meshgrid([1.0, -1.0], [1.0, -1.0], [1.0, -1.0, 0.0])).reshape(3, -1).T
    far = [2.0**60 * signs[:, 0], 2.0**7 * signs[:, 1]]
    X = np.stack([*far, *(signs[:, 2] * 2.0**power for power in (-45, -150, -500))], axis=1)
    k = len(X)  # each row's values become one cluster's rows
    for last in (2, 3, 4):
        rows = X[:, [0, 1, last]].reshape(-1, 1)
        labels = np.repeat(np.arange(k, dtype=np.int32), 3)
        sums, counts = np.zeros((k, 1)), np.zeros(k, np.int64)
        kernel.update(prepared(kernel, rows, k), labels, sums, counts)
        assert sums.tolist() == exact_sums(rows, labels, k).tolist()


@EXACT
def test_sums_of_many_rows_outgrow_the_first_limb(kernel, dtype):
    X = rows_of("one_sign", 50_000, 8, dtype)
    labels, sums, counts = np.zeros(len(X), np.int32), np.zeros((1, 8)), np.zeros(1, np.int64)
    kernel.update(prepared(kernel, X, 1), labels, sums, counts)
    assert sums[0].tolist() == [math.fsum(column) for column in X.T.tolist()]


@pytest.mark.parametrize("kind", ["ranges", "plain", "one_sign"])
@pytest.mark.parametrize("shape", [(1, 1), (6, 2), (1003, 3), (401, 67)])
@EXACT
def test_the_final_inertia_is_an_exact_sum_of_rounded_distances(kernel, dtype, kind, shape):
    X, k = rows_of(kind, *shape, dtype), 4
    rng = np.random.default_rng(3)
    centers = rng.choice(X, k) / X.dtype.type(2)
    labels = rng.integers(k, size=len(X)).astype(np.int32)
    expected = exact_total(lengths(X.astype(np.float64) - centers[labels]).tolist())
    assert kernel.inertia(X, centers, labels) == expected
    order = rng.permutation(len(X))
    assert kernel.inertia(np.ascontiguousarray(X[order]), centers, labels[order]) == expected


@EXACT
def test_another_number_of_clusters_begins_with_no_row_in_any_sum(kernel, dtype):
    X = rows_of("ranges", 700, 3, dtype)
    rows, labels = kernel.prepare(X, 4, 2), np.full(700, -1, np.int32)
    for k in (4, 9, 1, 4, 1200):
        sums, counts = np.zeros((k, 3)), np.zeros(k, np.int64)
        centers = np.random.default_rng(k).choice(X, k)
        kernel.assign_update(rows, centers, labels, sums, counts)
        assert sums.tolist() == exact_sums(X, labels, k).tolist()


@EXACT
def test_rows_that_leave_take_out_no_digit_of_small_ones(kernel_name):
    rng = np.random.default_rng(0)
    near = rng.normal(1, 0.1, 3700) * 1e-9, rng.uniform(0.9, 1.0, 150) * 1e6
    X = np.concatenate([*near, rng.uniform(1.05, 1.2, 150) * 1e6])[:, None]
    rng.shuffle(X)
    init = np.array([[1e-9], [2.1e6]])
    result = kmeans(X, 2, kernel=kernel_name, init=init, tol=0)
    assert result.converged
    for j in range(2):
        own = X[result.labels == j, 0]
        assert result.centers[j, 0] == pytest.approx(exact_total(own.tolist()) / len(own), 1e-15)


@pytest.mark.parametrize("wrong", [-1, 4, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("at", [0, 640, 999])
@EXACT
def test_labels_out_of_range_are_refused_before_anything_is_added(kernel, at, wrong):
    X = rows_of("plain", 1000, 3, "float64")
    labels, sums, counts = np.zeros(1000, np.int32), np.zeros((4, 3)), np.zeros(4, np.int64)
    labels[at] = wrong
    with pytest.raises(ValueError, match=r"labels from 0 to n_clusters - 1"):
        kernel.update(prepared(kernel, X, 4), labels, sums, counts)
    assert not sums.any()
    assert not counts.any()
    with pytest.raises(ValueError, match=r"labels from 0 to n_clusters - 1"):
        kernel.inertia(X, X[:4], labels)
