"""The engine for few features: boxes of rows, each decided as a whole where that is certain."""

import numpy as np
import pytest

from kmeans_lab import load_kernel
from kmeans_lab.isolation.availability import state_of
from tests.support.balls import blobs, nearest, steps
from tests.support.cells import DATA

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_labels_of_each_pass_are_those_of_the_reference(isa, name, kind):
    for d in range(1, 6):
        X, centers = DATA[name](np.random.default_rng(d), d, kind)
        steps(X, centers, 4, n_threads=1 + d % 2)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 511, 512, 513, 2047, 2049])
def test_tiles_and_groups_that_are_not_full_keep_the_labels(isa, n):
    for k in {1, 2, 3, n} - {3 if n < 3 else 0}:
        X, centers = blobs(n, 2, min(k, n), seed=n)
        steps(X, centers, 3)


@pytest.mark.parametrize("d", [1, 3, 5])
def test_weights_leave_and_join_sums_exactly(isa, d):
    rng = np.random.default_rng(d)
    X, centers = blobs(3001, d, 12, seed=d, spread=2.0)
    weights = np.round(rng.random(3001) * 64) / 8  # sums of products are exact in float64
    X = np.round(X * 256) / 256
    simd, labels = load_kernel("cpp-simd"), np.full(3001, -1, np.int32)
    rows = simd.prepare(X, 12, 2, weights=weights, engine="cells")
    for _ in range(4):
        sums, masses = np.zeros((12, d)), np.zeros(12)
        simd.assign_update(rows, centers, labels, sums, masses)
        np.testing.assert_array_equal(labels, nearest(X, centers))
        expected = np.zeros((12, d))
        np.add.at(expected, labels, X * weights[:, None])
        np.testing.assert_array_equal(sums, expected)
        np.testing.assert_array_equal(masses, np.bincount(labels, weights, minlength=12))
        centers = np.where(masses[:, None] > 0, sums / masses[:, None], centers)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_sums_are_the_same_bits_for_any_threads_and_instructions(monkeypatch, kind):
    X, centers = blobs(20_000, 3, 40, seed=1, kind=kind, spread=2.0)
    simd, seen = load_kernel("cpp-simd"), set()
    for level in ("", "avx2", "baseline"):
        monkeypatch.setenv("KMEANS_LAB_ISA", level)
        for n_threads in (1, 2, 5):
            rows = simd.prepare(X, 40, n_threads, engine="cells")
            labels = np.full(len(X), -1, np.int32)
            there, bits = centers, []
            for _ in range(4):
                sums, counts = np.zeros(centers.shape), np.zeros(40, int)
                inertia = simd.assign_update(rows, there, labels, sums, counts)
                bits += [sums.tobytes(), counts.tobytes(), np.float64(inertia).tobytes()]
                there = (sums / np.maximum(counts, 1)[:, None]).astype(kind)
            seen.add((b"".join(bits), labels.tobytes(), rows.rescored, rows.changed))
    assert len(seen) == 1


@pytest.mark.parametrize("d", [2, 5])
def test_labels_that_changed_are_counted_and_written(isa, d):
    X, centers = blobs(9000, d, 25, seed=d, spread=2.0)
    simd, labels = load_kernel("cpp-simd"), np.full(9000, -1, np.int32)
    rows = simd.prepare(X, 25, 2, engine="cells")
    for step in range(5):
        before, moved = labels.copy(), centers + 0.05 * step
        simd.assign_update(rows, moved, labels, np.zeros((25, d)), np.zeros(25, int))
        np.testing.assert_array_equal(labels, nearest(X, moved))
        assert rows.changed == np.count_nonzero(labels != before)


def test_near_ties_of_tight_clusters_are_few_and_counted():
    X, centers = DATA["tight"](np.random.default_rng(0), 2, "f8")
    simd, labels = load_kernel("cpp-simd"), np.full(len(X), -1, np.int32)
    rows = simd.prepare(X, len(centers), 1, engine="cells")
    simd.assign_update(rows, centers, labels, np.zeros(centers.shape), np.zeros(len(centers), int))
    assert rows.rescored < 0.05 * len(X)  # scores are relative to the middle of their tile


def test_equal_centers_are_near_ties_of_all_rows():
    X, centers = blobs(3000, 2, 4, seed=3)
    doubled = np.repeat(centers, 2, axis=0)
    simd, labels = load_kernel("cpp-simd"), np.full(3000, -1, np.int32)
    rows = simd.prepare(X, 8, 1, engine="cells")
    simd.assign_update(rows, doubled, labels, np.zeros((8, 2)), np.zeros(8, int))
    np.testing.assert_array_equal(labels, 2 * nearest(X, centers))
    assert rows.rescored == 3000


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_rows_most_of_which_share_a_cell_stay_where_they_are(isa, kind):
    rng = np.random.default_rng(5)
    X = rng.standard_cauchy(size=(20_000, 2)).astype(kind)
    X[rng.random(20_000) < 0.95] *= 1e-6  # too many for one bucket of a sort
    steps(X, X[rng.choice(20_000, 7, replace=False)].copy(), 3, n_threads=2)


@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_rows_sorted_into_tiles_are_all_there(isa, n_threads):
    X, centers = blobs(33_333, 2, 9, seed=2, spread=2.0)
    X[5000:5400] = X[0]  # buckets of very different sizes, some of them empty
    weights = np.arange(33_333.0)
    simd, labels = load_kernel("cpp-simd"), np.full(33_333, -1, np.int32)
    rows = simd.prepare(X, 9, n_threads, weights=weights, engine="cells")
    masses = np.zeros(9)
    simd.assign_update(rows, centers, labels, np.zeros((9, 2)), masses)
    np.testing.assert_array_equal(labels, nearest(X, centers))
    np.testing.assert_array_equal(masses, np.bincount(labels, weights, minlength=9))


@pytest.mark.parametrize(
    ("n", "d", "k", "engine"),
    [
        (100, 2, 9, "cells"),
        (9_999, 3, 40, "bound per row"),
        (10_000, 3, 40, "cells"),
        (74_999, 4, 400, "bound per row"),
        (75_000, 4, 400, "cells"),
        (99_999, 5, 1000, "bound per row"),
        (100_000, 5, 1000, "cells"),
        (9_999, 3, 3000, "bound per row"),
        (20_000, 5, 2999, "bound per row"),
        (20_000, 5, 3000, "bounds per group"),
        (200_000, 6, 999, "bound per row"),
    ],
)
def test_boxes_are_for_few_features_and_many_pairs(n, d, k, engine):
    assert load_kernel("cpp-simd").prepare(np.zeros((n, d)), k, 1).engine == engine
