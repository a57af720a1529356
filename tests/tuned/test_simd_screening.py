"""k-means++ that screens rows by bounds: the rows that NumPy chooses, whatever they are like."""

import numpy as np
import pytest

from kmeans_lab import load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.seeding import greedy_rows
from tests.support.hard_rows import KINDS, ONLY_FLOAT64, K, blobs

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")


def assert_chosen_as_by_numpy(X, k, *, seed=0, middle=None):
    rng, flagship = np.random.default_rng(seed), load_kernel("cpp-simd")
    draws, first = rng.random((k - 1, 2 + int(np.log(k)))), int(rng.integers(len(X)))
    expected = greedy_rows(X if middle is None else X - middle, first, draws)
    for n_threads in (1, 3):
        assert flagship.greedy(X, first, draws, n_threads, middle).tolist() == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in KINDS for kind in ("f4", "f8")),
        *((n, "f8") for n in ONLY_FLOAT64),
    ],
)
def test_rows_of_every_kind_are_chosen_as_by_numpy(isa, name, kind):
    rng = np.random.default_rng(5)
    X = (KINDS | ONLY_FLOAT64)[name](rng).astype(kind)
    assert_chosen_as_by_numpy(X, K)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(1, 8, 1), (2, 9, 2), (15, 7, 15), (33, 8, 33), (1025, 15, 30), (2500, 16, 7), (2049, 17, 3),
     (700, 33, 200), (3, 70_001, 3)],
)  # fmt: skip
def test_shapes_around_vectors_and_tiles_are_chosen_as_by_numpy(isa, n, d, k, kind):
    rng = np.random.default_rng(n)
    assert_chosen_as_by_numpy(rng.normal(size=(n, d)).astype(kind), k)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_rows_relative_to_a_middle_are_chosen_as_centered_ones(isa, kind):
    X = (blobs(np.random.default_rng(3)) + 70.3).astype(kind)
    assert_chosen_as_by_numpy(X, K, middle=X.mean(axis=0, dtype=np.float64).astype(kind))


def test_many_candidates_of_a_round_are_told_apart(isa):
    rng, X = np.random.default_rng(1), blobs(np.random.default_rng(0))
    draws = rng.random((20, 32))
    assert load_kernel("cpp-simd").greedy(X, 7, draws, 2).tolist() == greedy_rows(X, 7, draws)
