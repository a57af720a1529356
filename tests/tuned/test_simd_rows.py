"""Rows as they lie, one bound each; and sums that several threads add to."""

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
    for d in (6, 7, 13, 33):
        X, centers = DATA[name](np.random.default_rng(d), d, kind)
        if len(centers) * d < 4000:
            assert load_kernel("cpp-simd").prepare(X, len(centers), 1).engine == "bound per row"
        steps(X, centers, 5, n_threads=1 + d % 2)


@pytest.mark.parametrize("n", [1, 2, 15, 31, 33, 63, 65, 1023, 1025, 2049])
def test_tiles_and_parts_that_are_not_full_keep_the_labels(isa, n):
    for k in {1, 2, 3, n if n < 400 else 9} - {2 if n < 2 else 0, 3 if n < 3 else 0}:
        X, centers = blobs(n, 8, min(k, n), seed=n)
        steps(X, centers, 4)


@pytest.mark.parametrize("engine", ["bound per row", "bounds per group", "cells"])
def test_centers_far_beyond_all_rows_and_back_keep_the_labels(isa, engine):
    d = 5 if engine == "cells" else 7
    X, centers = blobs(2000, d, 6, seed=0)
    simd, labels = load_kernel("cpp-simd"), np.full(2000, -1, np.int32)
    rows = simd.prepare(X, 6, 1, engine=engine)
    for factor in (1.0, 1.0, 1e13, 1e13, 1e200, 1.0, 1.001, 0.0):
        simd.assign_update(rows, centers * factor, labels, np.zeros((6, d)), np.zeros(6, int))
        np.testing.assert_array_equal(labels, nearest(X, centers * factor))


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_sums_are_the_same_bits_for_any_threads_and_instructions(monkeypatch, kind):
    X, centers = blobs(9000, 11, 40, seed=1, kind=kind, spread=2.0)
    weights = np.random.default_rng(0).exponential(size=9000)
    simd, seen = load_kernel("cpp-simd"), set()
    for level in ("", "avx2", "baseline"):
        monkeypatch.setenv("KMEANS_LAB_ISA", level)
        for n_threads in (1, 3):
            rows = simd.prepare(X, 40, n_threads, weights=weights)
            there, bits, labels = centers, [], np.full(len(X), -1, np.int32)
            for _ in range(4):
                sums, masses = np.zeros(centers.shape), np.zeros(40)
                inertia = simd.assign_update(rows, there, labels, sums, masses)
                bits += [sums.tobytes(), masses.tobytes(), np.float64(inertia).tobytes()]
                there = (sums / np.maximum(masses, 1e-9)[:, None]).astype(kind)
            seen.add((b"".join(bits), labels.tobytes(), rows.changed))
    assert len(seen) == 1


def test_threads_that_share_sums_add_up_the_same_bits():
    # So many values of centers that sixteen threads have fewer sums than one each.
    X, centers = blobs(12_000, 40, 3000, seed=4, spread=1.0)
    seen = set()
    for n_threads in (1, 16):
        simd, labels = load_kernel("cpp-simd"), np.full(len(X), -1, np.int32)
        rows, there, bits = simd.prepare(X, 3000, n_threads), centers, []
        for _ in range(3):
            sums, counts = np.zeros(centers.shape), np.zeros(3000, int)
            simd.assign_update(rows, there, labels, sums, counts)
            bits += [sums.tobytes(), counts.tobytes()]
            there = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], there)
        assert counts.sum() == len(X)
        seen.add((b"".join(bits), labels.tobytes()))
    assert len(seen) == 1


def test_weights_are_refused_where_they_do_not_fit():
    simd, X = load_kernel("cpp-simd"), np.ones((40, 7))
    with pytest.raises(ValueError, match=r"weights must have shape \(n,\)"):
        simd.prepare(X, 2, 1, weights=np.ones(39))
    rows = simd.prepare(X, 2, 1, weights=np.ones(40))
    labels, sums = np.zeros(40, np.int32), np.zeros((2, 7))
    with pytest.raises(TypeError, match="float64 array where rows have weights"):
        simd.assign_update(rows, X[:2], labels, sums, np.zeros(2, int))
    with pytest.raises(ValueError, match="rows with weights are added up by assign_update"):
        simd.update(rows, labels, sums, np.zeros(2, int))
