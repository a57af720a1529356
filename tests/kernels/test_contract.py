"""The contract, for every kernel of the registry and every dtype that its row promises.

On small whole numbers, bit for bit against the exact oracle: however a kernel computes its
distances, nothing is rounded. On random numbers, with the judge that forgives true ties only.
A kernel of your own is tested by its row in the registry.
"""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import load_kernel
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.crews.chunks import Chunks
from kmeans_lab.crews.partial import Partials
from tests.support import oracle
from tests.support.helpers import cloud, frozen, prepared, some_rows, whole_numbers

# Around the widths of vector registers and tiles: (n_samples, n_clusters, n_features).
SHAPES = [
    *[(37, 8, d) for d in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 33)],
    *[(71, k, 3) for k in (1, 2, 7, 8, 9, 25, 64)],
    *[(n, 7, 5) for n in (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 127, 128, 129, 257)],
    (70, 64, 33),
    (65, 25, 17),
    (1025, 64, 2),  # 65 600 distances: one row more than the NumPy kernel takes at once
]
POISON = -1_234_567


@cache
def exact_case(n_samples, n_clusters, n_features):
    """Return rows and centers of small whole numbers and what follows from them, all exact."""
    rows = whole_numbers(n_features, (n_samples, n_features))
    centers = whole_numbers(1000 + n_clusters, (n_clusters, n_features))
    return rows, centers, *answers(rows, centers)


def answers(rows, centers):
    labels, inertia = oracle.assign(rows, centers)
    sums, counts = oracle.update(rows, labels, len(centers))
    return labels, inertia, sums, counts


def run_assign(kernel, rows, centers):
    """Assign with read-only inputs into poisoned labels; return labels and inertia."""
    labels = np.full(len(rows), POISON, np.int32)
    rows, centers = frozen(rows), frozen(centers)
    inertia = kernel.assign(prepared(kernel, rows, len(centers)), centers, labels)
    return labels, inertia


def run_update(kernel, rows, labels, sums, counts):
    """Update with read-only inputs."""
    labels = frozen(np.asarray(labels, np.int32))
    kernel.update(prepared(kernel, frozen(rows), len(counts)), labels, sums, counts)


def check_exactly(kernel, rows, centers, expected):
    """Both functions agree with the oracle bit for bit."""
    labels, inertia, sums, counts = expected
    got, value = run_assign(kernel, rows, centers)
    assert got.tolist() == labels
    assert value == inertia
    totals = np.zeros(centers.shape)
    sizes = np.zeros(len(centers), np.int64)
    run_update(kernel, rows, labels, totals, sizes)
    assert totals.tolist() == sums
    assert sizes.tolist() == counts


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_exact_on_whole_numbers(kernel, dtype, shape):
    rows, centers, *expected = exact_case(*shape)
    check_exactly(kernel, rows.astype(dtype), centers.astype(dtype), expected)


def test_exact_with_more_features_than_16_bits_count(kernel, dtype):
    rows, centers, *expected = wide_case()
    check_exactly(kernel, rows.astype(dtype), centers.astype(dtype), expected)


@cache
def wide_case():
    rows, centers = whole_numbers(5, (3, 65_537), -1, 1), whole_numbers(6, (2, 65_537), -1, 1)
    return rows, centers, *answers(rows, centers)


@pytest.mark.parametrize("n_samples", [1, 9, 64])
def test_centers_equal_to_the_rows_give_inertia_zero(kernel, dtype, n_samples):
    rows = np.arange(3 * n_samples, dtype=dtype).reshape(n_samples, 3)
    labels, inertia = run_assign(kernel, rows, rows[::-1])
    assert inertia == 0.0
    assert labels.tolist() == list(range(n_samples))[::-1]


def test_ties_go_to_the_lowest_index(kernel, dtype):
    # Every row lies halfway between two centers, and every center is there four times.
    rows = np.array([[4.0 * i + 2, 1] for i in range(20)], dtype)
    centers = np.array([[4.0 * j, 1] for j in range(21)] * 4, dtype)
    labels, inertia = run_assign(kernel, rows, centers)
    assert labels.tolist() == list(range(20))
    assert inertia == 80.0
    labels, _ = run_assign(kernel, rows, centers[::-1])
    assert labels.tolist() == [19 - i for i in range(20)]


def test_equal_rows_get_equal_labels(kernel, dtype):
    rows = np.repeat(whole_numbers(8, (5, 4), dtype=dtype), 30, axis=0)
    centers = np.tile(whole_numbers(9, (3, 4), dtype=dtype), (2, 1))
    check_exactly(kernel, rows, centers, answers(rows, centers))
    assert run_assign(kernel, rows, centers)[0].max() < 3


def test_no_rows_change_nothing(kernel, dtype):
    rows, centers = np.empty((0, 3), dtype), whole_numbers(1, (4, 3), dtype=dtype)
    labels, inertia = run_assign(kernel, rows, centers)
    assert (labels.size, inertia) == (0, 0.0)
    sums, counts = np.full((4, 3), 7.0), np.full(4, 9)
    run_update(kernel, rows, labels, sums, counts)
    assert (sums == 7.0).all()
    assert (counts == 9).all()


def test_assign_returns_a_float(kernel, dtype):
    rows, centers, *_ = exact_case(37, 8, 3)
    assert isinstance(run_assign(kernel, rows.astype(dtype), centers.astype(dtype))[1], float)


def test_update_adds_to_what_is_there(kernel, dtype):
    rows, _, labels, _, sums, counts = exact_case(37, 8, 3)
    totals, sizes = np.full((8, 3), 1000.0), np.full(8, 500)
    run_update(kernel, rows.astype(dtype), labels, totals, sizes)
    assert (totals - 1000.0).tolist() == sums
    assert (sizes - 500).tolist() == counts


@pytest.mark.parametrize("cut", [0, 1, 17, 36, 37])
def test_cutting_the_rows_anywhere_changes_nothing(kernel, dtype, cut):
    rows, centers, labels, inertia, sums, counts = exact_case(37, 8, 9)
    rows, centers = rows.astype(dtype), centers.astype(dtype)
    totals, sizes = np.zeros((8, 9)), np.zeros(8, np.int64)
    parts = [run_assign(kernel, part, centers) for part in (rows[:cut], rows[cut:])]
    for part, (found, _) in zip((rows[:cut], rows[cut:]), parts, strict=True):
        run_update(kernel, part, found, totals, sizes)
    assert np.concatenate([found for found, _ in parts]).tolist() == labels
    assert sum(value for _, value in parts) == inertia
    assert (totals.tolist(), sizes.tolist()) == (sums, counts)


def test_inputs_are_not_modified(kernel, dtype):
    # Writable this time: a kernel that uses its inputs as scratch space would succeed.
    rows, centers, labels, *_ = exact_case(37, 8, 9)
    inputs = rows.astype(dtype), centers.astype(dtype), np.array(labels, np.int32)
    copies = [array.copy() for array in inputs]
    kernel.assign(prepared(kernel, inputs[0], 8), inputs[1], np.empty(37, np.int32))
    kernel.update(prepared(kernel, inputs[0], 8), inputs[2], np.zeros((8, 9)), np.zeros(8, "i8"))
    for array, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("shape", [(129, 9, 3), (37, 25, 17)])
def test_steps_of_a_fit_are_exact_fused_or_not(kernel, dtype, shape):
    """As the driver calls it: prepared once, previous labels on entry, centers that move."""
    n_samples, n_clusters, n_features = shape
    rows = whole_numbers(3, (n_samples, n_features), dtype=dtype)
    labels = np.full(n_samples, -1, np.int32)
    partials = Partials.empty(1, n_clusters, n_features)
    bounds = [(0, n_samples)]
    chunks = Chunks(kernel, rows, labels, partials, bounds, range(1), 1)
    for seed in (0, 1, 1, 2):
        centers = whole_numbers(seed, (n_clusters, n_features), dtype=dtype)
        expected = answers(rows, centers)
        partials.clear()
        chunks.assign_update(frozen(centers))
        totals = partials.sums[0].tolist(), partials.counts[0].tolist()
        assert (labels.tolist(), partials.inertia[0], *totals) == expected


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("shape", [(501, 25, 10), (300, 9, 33), (400, 64, 2)])
def test_random_numbers_within_rounding(kernel, dtype, shape, offset):
    n_samples, n_clusters, n_features = shape
    X = (cloud(n_samples, n_samples, n_features) + offset).astype(dtype)
    rows = X - middle_and_variance(X)[0]  # as the driver does
    centers = some_rows(rows, n_clusters) + rows[:n_clusters] / 8
    labels, inertia = run_assign(kernel, rows, centers)
    assert oracle.count_ties(rows, centers, labels) <= 1
    exact = oracle.inertia(rows, centers, labels)
    assert abs(inertia - exact) <= oracle.inertia_bound(rows, centers)


def test_sums_are_wider_than_float32(kernel, dtype):
    rows = cloud(4, 5000, 3, dtype) + np.array(100, dtype)
    labels = np.random.default_rng(5).integers(4, size=5000).astype(np.int32)
    sums, counts = np.zeros((4, 3)), np.zeros(4, np.int64)
    run_update(kernel, rows, labels, sums, counts)
    for j in range(4):
        members = rows[labels == j].astype(np.longdouble)
        bound = len(members) * np.finfo(np.float64).eps * np.abs(members).sum(axis=0)
        assert (np.abs(sums[j] - members.sum(axis=0)) <= bound).all()
    assert counts.tolist() == np.bincount(labels).tolist()


# The suite can fail: each of these wrong kernels is caught by the test beside it.


def right_assign(rows, centers, labels):
    return load_kernel("numpy").assign(rows, centers, labels)


def right_update(rows, labels, sums, counts):
    load_kernel("numpy").update(rows, labels, sums, counts)


def ties_to_the_highest(rows, centers, labels):
    inertia = right_assign(rows, centers[::-1], labels)
    labels[:] = len(centers) - 1 - labels
    return inertia


def last_row_left_out(rows, centers, labels):
    return right_assign(rows[:-1], centers, labels[:-1])


def numpy_scalar_returned(rows, centers, labels):
    return np.float32(right_assign(rows, centers, labels))


def centers_as_scratch_space(rows, centers, labels):
    inertia = right_assign(rows, centers, labels)
    centers *= -2
    return inertia


def rows_rounded_to_float32(rows, centers, labels):
    return right_assign(rows.astype("f4").astype(rows.dtype), centers, labels)


def sums_cleared(rows, labels, sums, counts):
    sums[:], counts[:] = 0, 0
    right_update(rows, labels, sums, counts)


def counts_overwritten(rows, labels, sums, counts):
    counts[:] = 0
    right_update(rows, labels, sums, counts)


def sums_in_float32(rows, labels, sums, counts):
    narrow = sums.astype(np.float32)
    np.add.at(narrow, labels, rows.astype(np.float32))
    sums[:] = narrow
    counts += np.bincount(labels, minlength=len(counts))


def fused_without_clearing_the_past(rows, centers, labels, sums, counts):
    changed = labels.copy()
    inertia = right_assign(rows, centers, labels)
    right_update(rows[labels != changed], labels[labels != changed], sums, counts)
    return inertia


WRONG = [
    ({"assign": ties_to_the_highest}, test_ties_go_to_the_lowest_index),
    ({"assign": ties_to_the_highest}, test_equal_rows_get_equal_labels),
    ({"assign": last_row_left_out}, test_exact_with_more_features_than_16_bits_count),
    ({"assign": numpy_scalar_returned}, test_assign_returns_a_float),
    ({"assign": centers_as_scratch_space}, test_inputs_are_not_modified),
    ({"update": sums_cleared}, test_update_adds_to_what_is_there),
    ({"update": counts_overwritten}, test_update_adds_to_what_is_there),
    ({"update": sums_in_float32}, test_sums_are_wider_than_float32),
]


@pytest.mark.parametrize(("wrong", "test"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_kernel_is_caught(wrong, test):
    kernel = SimpleNamespace(**{"assign": right_assign, "update": right_update} | wrong)
    with pytest.raises(AssertionError):
        test(kernel, "float64")


def test_a_rounding_kernel_is_caught():
    kernel = SimpleNamespace(assign=rows_rounded_to_float32, update=right_update)
    with pytest.raises(AssertionError):
        test_random_numbers_within_rounding(kernel, "float64", (400, 64, 2), 0.0)


def test_a_fused_kernel_that_forgets_unchanged_rows_is_caught():
    kernel = SimpleNamespace(
        assign=right_assign, update=right_update, assign_update=fused_without_clearing_the_past
    )
    with pytest.raises(AssertionError):
        test_steps_of_a_fit_are_exact_fused_or_not(kernel, "float64", (129, 9, 3))


def test_rows_are_handed_over_in_the_form_that_prepare_returns():
    kernel = SimpleNamespace(
        prepare=lambda X, n_clusters, n_threads: (X, n_clusters, n_threads),
        assign=lambda rows, centers, labels: right_assign(rows[0], centers, labels),
        update=lambda rows, *rest: right_update(rows[0], *rest),
    )
    test_exact_on_whole_numbers(kernel, "float64", (37, 8, 9))
    test_steps_of_a_fit_are_exact_fused_or_not(kernel, "float64", (129, 9, 3))
