"""The oracle, tested on four points that were worked by hand."""

from fractions import Fraction

import numpy as np
import pytest

from tests.support import oracle

# Rows (0, 0), (0, 2), (4, 0), (2, 1) and centers (0, 1), (4, 1); squared distances:
#   (0, 0): 1 and 17        → cluster 0
#   (0, 2): 1 and 17        → cluster 0
#   (4, 0): 17 and 1        → cluster 1
#   (2, 1): 4 and 4, a tie  → cluster 0, the lowest index
# Inertia 1 + 1 + 1 + 4 = 7. Sums: (0 + 0 + 2, 0 + 2 + 1) = (2, 3) of 3 rows, and (4, 0) of 1,
# so the means are (2/3, 1) and (4, 0). From there:
#   (0, 0): 4/9 + 1 = 13/9 and 16         → 0
#   (0, 2): 13/9 and 20                   → 0
#   (4, 0): 100/9 + 1 and 0               → 1
#   (2, 1): 16/9 and 5                    → 0
# The labels are the same, so the means are, and the loop ends after two passes with inertia
# 13/9 + 13/9 + 0 + 16/9 = 14/3. The narrowest lead of the second pass is row (2, 1)'s: 5 − 16/9.
ROWS = np.array([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [2.0, 1.0]])
CENTERS = np.array([[0.0, 1.0], [4.0, 1.0]])


def test_assign_by_hand():
    assert oracle.assign(ROWS, CENTERS) == ([0, 0, 1, 0], 7)


def test_update_and_means_by_hand():
    sums, counts = oracle.update(ROWS, [0, 0, 1, 0], 2)
    assert (sums, counts) == ([[2, 3], [4, 0]], [3, 1])
    assert oracle.means(sums, counts, CENTERS) == [[Fraction(2, 3), 1], [4, 0]]


def test_a_cluster_without_rows_keeps_its_center():
    assert oracle.means([[0, 0], [4, 0]], [0, 1], [[9, 9], [5, 5]]) == [[9, 9], [4, 0]]


def test_the_loop_by_hand():
    first, second = oracle.lloyd(ROWS, CENTERS)
    assert (first.labels, first.inertia, first.gap) == ([0, 0, 1, 0], 7, 0)
    assert (second.labels, second.inertia) == ([0, 0, 1, 0], Fraction(14, 3))
    assert second.centers == [[Fraction(2, 3), 1], [4, 0]]
    assert second.gap == 5 - Fraction(16, 9)


def test_fractions_are_kept_exactly():
    labels, inertia = oracle.assign(np.array([[0.1]]), np.array([[0.3]]))
    assert labels == [0]
    assert inertia == (Fraction(0.1) - Fraction(0.3)) ** 2


@pytest.mark.parametrize(("labels", "ties"), [([0, 0, 1, 0], 0), ([0, 0, 1, 1], 1)])
def test_the_judge_counts_ties(labels, ties):
    assert oracle.count_ties(ROWS, CENTERS, labels) == ties


def test_the_judge_names_the_wrong_row():
    with pytest.raises(AssertionError, match="row 2: label 0 is farther"):
        oracle.count_ties(ROWS, CENTERS, [0, 0, 0, 0])


@pytest.mark.parametrize(("roundings", "forgiven"), [(1, True), (1000, False)])
def test_the_judge_forgives_roundings_and_nothing_beyond(dtype, roundings, forgiven):
    shift = roundings * np.finfo(dtype).eps
    # The squared distances of the row are 1 and 1 + 2·shift + shift².
    rows, centers = np.zeros((1, 1), dtype), np.array([[-1.0], [1.0 + shift]], dtype)
    assert oracle.count_ties(rows, centers, [0]) == 0
    if forgiven:
        assert oracle.count_ties(rows, centers, [1]) == 1
    else:
        with pytest.raises(AssertionError, match="row 0"):
            oracle.count_ties(rows, centers, [1])


@pytest.mark.parametrize("label", [-1, 2])
def test_the_judge_refuses_labels_that_are_no_cluster(label):
    with pytest.raises(AssertionError, match=f"row 3: label {label} is no cluster"):
        oracle.count_ties(ROWS, CENTERS, [0, 0, 1, label])


def test_the_judge_refuses_missing_labels():
    with pytest.raises(AssertionError, match="3 labels for 4 rows"):
        oracle.count_ties(ROWS, CENTERS, [0, 0, 1])


@pytest.mark.parametrize("where", ["rows", "centers"])
def test_nan_cannot_pass_the_judge(where):
    arrays = {"rows": ROWS.copy(), "centers": CENTERS.copy()}
    arrays[where][0, 0] = np.nan
    with pytest.raises(AssertionError, match="row 0"):
        oracle.count_ties(**arrays, labels=[0, 0, 1, 0])


def test_inertia_in_long_double_agrees_with_the_fractions():
    assert oracle.inertia(ROWS, CENTERS, np.array([0, 0, 1, 0])) == 7.0
