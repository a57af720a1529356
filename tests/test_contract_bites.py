"""The contract suite can fail: each of these wrong kernels is caught by the test beside it."""

from types import SimpleNamespace

import numpy as np
import pytest
import test_contract as contract

from kmeans_lab import load_kernel


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
    ({"assign": ties_to_the_highest}, contract.test_ties_go_to_the_lowest_index),
    ({"assign": ties_to_the_highest}, contract.test_equal_rows_get_equal_labels),
    ({"assign": last_row_left_out}, contract.test_exact_with_more_features_than_16_bits_count),
    ({"assign": numpy_scalar_returned}, contract.test_assign_returns_a_float),
    ({"assign": centers_as_scratch_space}, contract.test_inputs_are_not_modified),
    ({"update": sums_cleared}, contract.test_update_adds_to_what_is_there),
    ({"update": counts_overwritten}, contract.test_update_adds_to_what_is_there),
    ({"update": sums_in_float32}, contract.test_sums_are_wider_than_float32),
]


@pytest.mark.parametrize(("wrong", "test"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_kernel_is_caught(wrong, test):
    kernel = SimpleNamespace(**{"assign": right_assign, "update": right_update} | wrong)
    with pytest.raises(AssertionError):
        test(kernel, "float64")


def test_a_rounding_kernel_is_caught():
    kernel = SimpleNamespace(assign=rows_rounded_to_float32, update=right_update)
    with pytest.raises(AssertionError):
        contract.test_random_numbers_within_rounding(kernel, "float64", (400, 64, 2), 0.0)


def test_a_fused_kernel_that_forgets_unchanged_rows_is_caught():
    kernel = SimpleNamespace(
        assign=right_assign, update=right_update, assign_update=fused_without_clearing_the_past
    )
    with pytest.raises(AssertionError):
        contract.test_steps_of_a_fit_are_exact_fused_or_not(kernel, "float64", (129, 9, 3))


def test_rows_are_handed_over_in_the_form_that_prepare_returns():
    kernel = SimpleNamespace(
        prepare=lambda X, n_clusters, n_threads: (X, n_clusters, n_threads),
        assign=lambda rows, centers, labels: right_assign(rows[0], centers, labels),
        update=lambda rows, *rest: right_update(rows[0], *rest),
    )
    contract.test_exact_on_whole_numbers(kernel, "float64", (37, 8, 9))
    contract.test_steps_of_a_fit_are_exact_fused_or_not(kernel, "float64", (129, 9, 3))
