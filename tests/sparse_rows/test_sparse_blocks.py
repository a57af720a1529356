"""Sums of sparse blocks are those of all rows at once, and refuse what would write elsewhere."""

from math import fsum

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab.sparse import simd
from kmeans_lab.sparse.reading import read_sparse

rng = np.random.default_rng(3)
N, D, K = 500, 30, 6


def rows_of(kind, scale=1.0):
    matrix = sparse.random_array((N, D), density=0.2, format="csr", rng=rng)
    matrix.data = (matrix.data - 0.5) * scale
    return read_sparse("X", matrix.astype(kind), ("float32", "float64"))


def empty(rows):
    sizes = np.abs(rows.data[rows.data != 0])
    return simd.sums_of_blocks(
        rows.dtype == np.float64, float(sizes.max()), float(sizes.min()), N, D, K
    )


def read(sums):
    found, counts = np.full((K, D), np.nan), np.full(K, -1)
    sums.read(found, counts)
    return found, counts


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_blocks_in_any_order_have_the_sums_of_all_rows(kind):
    rows = rows_of(kind)
    labels = rng.integers(0, K, N).astype(np.int32)
    expected, counts = np.zeros((K, D)), np.zeros(K, np.int64)
    simd.update(simd.prepare(rows, K, 1), labels, expected, counts)
    total, wandering = empty(rows), labels.copy()
    for first in (300, 0, 150):
        last = {300: N, 0: 150, 150: 300}[first]
        part, sums = rows[first:last], empty(rows)
        nowhere, elsewhere = np.full(last - first, -1, np.int32), (labels[first:last] + 1) % K
        assert sums.move(part, nowhere, elsewhere) == last - first
        assert sums.move(part, elsewhere, labels[first:last]) == last - first
        assert sums.move(part, labels[first:last], wandering[first:last]) == 0
        total.add(sums.parts())
    found = read(total)
    assert found[0].tobytes() == expected.tobytes()
    np.testing.assert_array_equal(found[1], counts)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_parts_of_the_inertia_add_up(kind):
    rows, labels = rows_of(kind), rng.integers(0, K, N).astype(np.int32)
    centers = rng.normal(size=(K, D)).astype(kind)
    parts = [simd.inertia_parts(rows[a:b], centers, labels[a:b]) for a, b in ((0, 77), (77, N))]
    assert fsum(np.concatenate(parts)) == simd.inertia(rows, centers, labels)


def test_what_would_write_elsewhere_is_refused():
    rows = rows_of("f8")
    labels, none = np.zeros(N, np.int32), np.full(N, -1, np.int32)
    sums = empty(rows)
    for before, after in ((none, labels - 1), (none, labels + K), (labels - 2, labels)):
        with pytest.raises(ValueError, match="must name clusters"):
            sums.move(rows, before, after)
    with pytest.raises(TypeError, match="int32"):
        sums.move(rows, none, labels.astype(np.int64))
    with pytest.raises(ValueError, match="int32"):
        sums.move(rows, none[1:], labels[1:])
    with pytest.raises(ValueError, match="as many columns"):
        sums.move(read_sparse("X", sparse.csr_array((N, D + 1)), ("float64",)), none, labels)
    with pytest.raises(TypeError):
        sums.move(rows.astype(np.dtype(np.float32)), none, labels)
    with pytest.raises(ValueError, match="parts must be"):
        sums.add(np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="read needs sums"):
        sums.read(np.empty((K, D + 1)), np.empty(K, np.int64))
    for most, least, n, d, k in ((1.0, 2.0, N, D, K), (1.0, 0.0, N, D, K), (1.0, 1.0, 0, D, K)):
        with pytest.raises(ValueError, match="sums of blocks need"):
            simd.sums_of_blocks(True, most, least, n, d, k)
    assert not read(sums)[0].any()
