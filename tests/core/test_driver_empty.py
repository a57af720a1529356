"""Clusters that own no row: four policies, all of which converge, and never NaN."""

import itertools

import numpy as np
import pytest

from kmeans_lab import kmeans
from tests.support import oracle
from tests.support.helpers import cloud, some_rows

LASTING = ["relocate", "random", "keep"]
RULES = ["shift", "shift-norm", "allclose", "equal", "labels"]

# Rows 0, 1, 2, 10, 20 and centers 1, 12, 1000: rows 0, 1, 2 go to the first center, 10 and 20 to
# the second, and the third owns nothing. Squared distances 1, 0, 1, 4, 64: row 20 is farthest.
LINE = np.array([[0.0], [1.0], [2.0], [10.0], [20.0]])
START = np.array([[1.0], [12.0], [1000.0]])
OFF_THE_ROWS = START + 0.25


def one_step(policy, start, X=LINE, **options):
    options = {"kernel": "numpy", "max_iter": 1} | options
    return kmeans(X, len(start), init=start, empty=policy, **options)


def test_relocate_moves_the_farthest_row_out_of_its_cluster():
    assert one_step("relocate", START).centers.ravel().tolist() == [1.0, 10.0, 20.0]


def test_relocate_leaves_a_cluster_its_only_row_and_takes_the_lowest_index_on_a_tie():
    # 20 goes first; 10 is then alone in its cluster and stays; rows 0 and 2 are equally far.
    start = np.concatenate([START, [[2000.0]]])
    assert one_step("relocate", start).centers.ravel().tolist() == [1.5, 10.0, 20.0, 0.0]


def test_relocate_keeps_the_center_where_every_row_is_at_home():
    X = np.array([[0.0], [0.0], [5.0], [5.0]])
    result = one_step("relocate", np.array([[0.0], [5.0], [99.0]]), X)
    assert result.centers.ravel().tolist() == [0.0, 5.0, 99.0]


def test_keep_leaves_the_center_where_it_was():
    assert one_step("keep", START).centers.ravel().tolist() == [1.0, 15.0, 1000.0]
    assert kmeans(LINE, 3, kernel="numpy", init=START, empty="keep").centers[2] == 1000.0


def test_random_takes_a_row_and_every_row_in_turn():
    fits = [one_step("random", OFF_THE_ROWS, random_state=seed) for seed in range(60)]
    taken = [fit.centers[:, 0] for fit in fits]
    assert {tuple(centers[:2]) for centers in taken} == {(1.0, 15.0)}
    assert {centers[2] for centers in taken} == set(LINE[:, 0].tolist())


def test_random_takes_no_row_that_is_at_its_center_already():
    taken = {one_step("random", START, random_state=seed).centers[2, 0] for seed in range(60)}
    assert taken == {0.0, 2.0, 10.0, 20.0}


def test_random_is_reproducible_by_seed():
    first, second = (one_step("random", START, random_state=8) for _ in range(2))
    assert first.centers.tobytes() == second.centers.tobytes()


def test_error_names_the_cluster_and_the_way_out():
    with pytest.raises(ValueError, match=r"cluster 2 owns no row \(1 of 3.*empty='relocate'"):
        one_step("error", START)


def test_error_is_silent_when_no_cluster_is_empty():
    result = kmeans(LINE, 2, kernel="numpy", init=START[:2], empty="error")
    assert result.converged


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_error_ends_a_fit_in_every_mode(mode):
    with pytest.raises(ValueError, match="owns no row"):
        one_step("error", START, mode=mode, n_threads=2)


def duplicates(dtype="float64"):
    """Three distinct rows, twenty times each: more clusters than that stay empty for ever."""
    return np.tile(np.array([[0.0, 1.0], [3.0, 3.0], [8.0, 0.5]], dtype), (20, 1))


@pytest.mark.parametrize("policy", LASTING)
@pytest.mark.parametrize("rule", RULES)
def test_more_clusters_than_distinct_rows_come_to_rest_under_every_rule(policy, rule):
    X = duplicates()
    result = kmeans(
        X, 6, kernel="numpy", init="first", stop=rule, empty=policy, max_iter=50, random_state=1
    )
    assert result.converged
    assert (result.stop, result.inertia) == (rule, 0.0)
    assert np.isfinite(result.centers).all()
    np.testing.assert_array_equal(result.centers[result.labels], X)


@pytest.mark.parametrize("policy", LASTING)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("values", [(0.1, 0.7), (0.0, 0.1), (0.1, 0.2, 0.3)])
def test_the_same_with_rows_whose_means_round(policy, rule, values):
    """The mean of equal rows may be off by a rounding: nobody moves for that."""
    for seed, (n_features, n_clusters) in itertools.product(range(10), [(1, 18), (2, 8)]):
        X = np.random.default_rng(seed).choice(values, (30, n_features))
        options = {"stop": rule, "empty": policy, "max_iter": 60, "random_state": seed}
        result = kmeans(X, n_clusters, kernel="numpy", init="random", **options)
        assert result.converged, f"seed {seed}: {n_clusters} clusters, still moving"


@pytest.mark.parametrize("policy", LASTING)
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "d2", "random", "random-partition"])
def test_more_clusters_than_distinct_rows_from_every_start(kernel_name, dtype, policy, init):
    X = duplicates(dtype)
    options = {"tol": 0.0, "empty": policy, "max_iter": 60, "random_state": 3}
    result = kmeans(X, 7, kernel=kernel_name, init=init, **options)
    assert result.converged
    assert np.isfinite(result.centers).all()
    assert oracle.count_ties(X, result.centers, result.labels) == 0
    if init != "random-partition":  # whose start may leave distinct rows together
        assert result.inertia == 0.0


@pytest.mark.parametrize("policy", LASTING)
@pytest.mark.parametrize("tol", [0.0, None])
def test_one_center_far_away_does_not_keep_the_fit_from_converging(kernel_name, policy, tol):
    X = cloud(4, 300, 2)
    start = some_rows(X, 4)
    start[1] = [1e6, -1e6]
    options = {"init": start, "tol": tol, "empty": policy, "random_state": 2}
    result = kmeans(X, 4, kernel=kernel_name, history=True, **options)
    assert result.converged
    assert np.isfinite(result.centers).all()
    assert all(np.isfinite(seen.centers).all() for seen in result.history)
    assert oracle.count_ties(X, result.centers, result.labels) == 0
    expected = oracle.inertia(X, result.centers, result.labels)
    assert result.inertia == pytest.approx(expected, rel=1e-12)
    n_used = len(np.unique(result.labels))
    assert n_used == (3 if policy == "keep" else 4)


@pytest.mark.parametrize("policy", LASTING)
def test_all_centers_but_one_far_away(kernel_name, policy):
    X = cloud(4, 200, 3)
    start = np.array([[0.0, 0, 0], [500, 0, 0], [0, 600, 0], [0, 0, 700], [0, 0, 700]])
    result = kmeans(X, 5, kernel=kernel_name, init=start, empty=policy, random_state=0, tol=0)
    assert result.converged
    assert np.isfinite(result.centers).all()
    if policy == "relocate":
        assert len(np.unique(result.labels)) == 5


@pytest.mark.parametrize("policy", LASTING)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_identical_rows_are_one_cluster(kernel_name, policy, offset):
    X = np.full((30, 2), 7.25 + offset)
    result = kmeans(X, 3, kernel=kernel_name, random_state=0, empty=policy)
    assert result.converged
    assert result.inertia == 0.0
    assert result.labels.tolist() == [0] * 30
    assert (result.centers == 7.25 + offset).all()


def test_policies_do_not_matter_when_no_cluster_is_empty():
    X = cloud(1, 300, 3)
    fits = [
        kmeans(X, 4, kernel="numpy", init="first", tol=0, empty=policy, history=True)
        for policy in [*LASTING, "error"]
    ]
    assert len({(fit.inertia, fit.n_iter, fit.centers.tobytes()) for fit in fits}) == 1
    assert fits[0].n_iter > 5
