"""The sources' own loops: the same clusters as ours where nothing goes wrong, and what goes wrong.

Each defect is shown twice: in the loop that has it, and by its absence in ``kmeans``.
"""

import random
import warnings
from functools import partial
from itertools import pairwise
from math import fsum

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.studies import originals
from kmeans_lab.studies.originals import demo_loop, pools_loop, tutorial_loop, walk_through_loop
from kmeans_lab.studies.sources import tutorial_start
from tests.support import oracle
from tests.support.helpers import cloud, some_rows

X = cloud(seed=2, n_samples=330, n_features=3)
START = some_rows(X, 4)
#: Two clusters; and a start whose third center is nearest to no row.
PAIRS = np.array([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]])
FAR = np.array([[0.0, 0.0], [5.0, 5.0], [900.0, 900.0]])

LOOPS = {  # name → the loop, and what makes ``kmeans`` stop as it does
    "tutorial": (tutorial_loop, {"stop": "allclose"}),
    "walk-through": (walk_through_loop, {"stop": "equal"}),
    "pools": (pools_loop, {"stop": "labels", "tol": 0.01}),
    "demo, naive": (
        partial(demo_loop, algorithm="naive", tol=0.05),
        {"stop": "shift-norm", "tol": 0.05},
    ),
    "demo, numpy": (
        partial(demo_loop, algorithm="numpy", tol=0.05),
        {"stop": "shift-norm", "tol": 0.05},
    ),
}
every_loop = pytest.mark.parametrize("source", LOOPS)


def frames(loop, *arguments, **options):
    """Run a loop; return what it ended with, and its labels and centers of every iteration."""
    seen = []
    run = loop(*arguments, callback=lambda *frame: seen.append(frame), **options)
    return run, seen


def ours(X, init, **options):
    seen = []
    options = {"kernel": "python", "max_iter": 1000} | options
    return kmeans(X, len(init), init=init, callback=seen.append, **options), seen


@every_loop
def test_from_one_start_all_loops_give_the_labels_of_ours_at_every_iteration(source):
    loop, options = LOOPS[source]
    run, seen = frames(loop, X, 4, init=START)
    result, expected = ours(X, START, **options)
    assert run.n_iter == result.n_iter == len(seen) > 5
    for (labels, centers), iteration in zip(seen, expected, strict=True):
        assert labels.tolist() == iteration.labels.tolist()
        np.testing.assert_allclose(centers, iteration.centers, rtol=0, atol=1e-13)


def test_no_row_of_that_comparison_is_near_a_tie():
    passes = oracle.lloyd(X, START, max_iter=8)
    bound = max(oracle.distance_bound(X, np.array(it.centers, float)).max() for it in passes)
    assert float(min(it.gap for it in passes)) > 1000 * bound


@every_loop
def test_without_a_start_a_loop_draws_its_own_and_leaves_the_data_alone(source):
    loop, _ = LOOPS[source]
    rows = X[:90].copy()
    runs = [frames(loop, rows, 3, seed=seed) for seed in (5, 5, 6)]
    assert rows.tolist() == X[:90].tolist()
    (a, *_), (b, *_), (c, *_) = ([centers.tolist() for _, centers in seen] for _, seen in runs)
    assert a == b != c
    assert all(center in rows.tolist() for center in a)
    assert len(np.unique(a, axis=0)) == 3
    given = START.copy()
    loop(rows, 4, init=given)
    assert given.tolist() == START.tolist()


def test_the_starts_are_drawn_as_described():
    drawn = frames(tutorial_loop, X, 4, seed=42)[1][0][1]
    assert drawn.tolist() == tutorial_start(X, 4, 42).tolist()
    rows = random.Random(433).sample(range(len(X)), 4)
    assert frames(pools_loop, X, 4)[1][0][1].tolist() == X[rows].tolist()


@pytest.mark.parametrize("source", ["tutorial", "walk-through"])
def test_a_center_without_rows_becomes_nan_and_takes_all_of_them(source):
    loop, options = LOOPS[source]
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        run, seen = frames(loop, PAIRS, 3, init=FAR, max_iter=2)
    assert seen[0][0].tolist() == [0, 0, 1, 1]
    assert np.isnan(seen[1][1]).all(axis=1).tolist() == [False, False, True]
    assert run.labels.tolist() == [2, 2, 2, 2]
    result, _ = ours(PAIRS, FAR, **options)
    assert np.isfinite(result.centers).all()
    assert sorted(np.bincount(result.labels)) == [1, 1, 2]


def test_the_walk_through_never_stops_where_a_center_is_nan():
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        run, seen = frames(walk_through_loop, PAIRS, 3, init=FAR)
    assert run.n_iter == len(seen) == 500
    result, _ = ours(PAIRS, FAR, stop="equal")
    assert result.converged
    assert result.n_iter < 5


def test_the_walk_throughs_labels_are_floats_and_ours_whole_numbers():
    assert walk_through_loop(X, 4, init=START).labels.dtype == np.float64
    assert ours(X, START)[0].labels.dtype == np.int32


def test_in_the_multiprocessing_study_an_empty_cluster_dies_unheard():
    with pytest.warns(RuntimeWarning, match="invalid value"):
        run = pools_loop(PAIRS, 3, init=FAR)
    assert run.labels.tolist() == [0, 0, 1, 1]
    assert np.isnan(run.centers[2]).all()
    assert originals.pools_nearest(PAIRS[0], np.full((3, 2), np.nan)) == 3  # no center at all
    result, _ = ours(PAIRS, FAR, stop="labels", tol=0.01)
    assert set(result.labels.tolist()) == {0, 1, 2}


@every_loop
def test_the_first_of_equally_near_centers_wins(source):
    loop, _ = LOOPS[source]
    twins = np.array([[4.0, 0.0], [0.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    rows = np.array([[1.0, 1.0], [4.0, 0.0], [2.0, 5.0], [2.0, 6.0]])
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # the second twin is left without rows
        _, seen = frames(loop, rows, 4, init=twins, max_iter=1)
    assert (
        seen[0][0].tolist() == ours(rows, twins, max_iter=1)[1][0].labels.tolist() == [1, 0, 3, 3]
    )


def test_allclose_stops_the_tutorial_early_far_from_the_origin_and_not_us():
    for offset, theirs in ((0.0, 20), (1e6, 1)):
        rows, start = X + offset, START + offset
        run = tutorial_loop(rows, 4, init=start)
        assert run.n_iter == theirs
        assert (run.centers == start).all() == (theirs == 1)  # those before the update (D3)
        assert ours(rows, start, stop="allclose")[0].n_iter == 20
        assert walk_through_loop(rows, 4, init=start).n_iter == 20


def test_the_tutorial_returns_the_centers_before_the_last_update_only_where_it_converged():
    stopped = tutorial_loop(X, 4, init=START, max_iter=2)
    whole, seen = frames(tutorial_loop, X, 4, init=START)
    assert whole.centers.tolist() == seen[-1][1].tolist()  # the labels are theirs
    assert stopped.centers.tolist() == seen[2][1].tolist()  # one update on from the labels
    assert stopped.labels.tolist() == seen[1][0].tolist() != seen[2][0].tolist()
    result, _ = ours(X, START, stop="max-iter", max_iter=2)
    np.testing.assert_allclose(result.centers, stopped.centers, rtol=0, atol=1e-13)
    assert result.labels.tolist() == seen[2][0].tolist()


@pytest.mark.parametrize("algorithm", ["naive", "numpy"])
def test_the_demos_labels_belong_to_the_centers_before_the_last(algorithm):
    run, seen = frames(demo_loop, X, 4, algorithm=algorithm, init=START, max_iter=3)
    nearest, _ = oracle.assign(X, run.centers)
    assert run.labels.tolist() == seen[-1][0].tolist() != nearest
    result, _ = ours(X, START, stop="max-iter", max_iter=3)
    assert result.labels.tolist() == nearest


@pytest.mark.parametrize("algorithm", ["naive", "numpy"])
def test_the_demo_counts_one_iteration_too_few_where_max_iter_ends_it(algorithm):
    for limit in (1, 3):
        run, seen = frames(demo_loop, X, 4, algorithm=algorithm, init=START, max_iter=limit)
        assert len(seen) == limit
        assert run.n_iter == limit - 1
        assert ours(X, START, stop="max-iter", max_iter=limit)[0].n_iter == limit


def test_the_demos_numpy_path_cuts_the_means_of_whole_numbers_off():
    whole = np.rint(X * 3).astype(np.int32)
    start = whole[:4] + np.array([0.3, 0.2, 0.1])
    naive = demo_loop(whole, 4, algorithm="naive", init=start)
    cut = demo_loop(whole, 4, algorithm="numpy", init=start)
    assert cut.centers.dtype == np.int32
    assert cut.labels.tolist() != naive.labels.tolist()
    result, _ = ours(whole, start, stop="shift-norm")
    np.testing.assert_allclose(result.centers, naive.centers, rtol=0, atol=1e-13)
    assert result.labels.tolist() == naive.labels.tolist()


def test_the_demo_cannot_start_on_copies_of_one_row():
    with (
        pytest.warns(RuntimeWarning, match="invalid value"),
        pytest.raises(ValueError, match="contain NaN"),
    ):
        demo_loop(np.ones((10, 2)), 3)
    for init in ("d2", "k-means++"):
        result = kmeans(np.ones((10, 2)), 3, init=init, random_state=0)
        assert result.centers.tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize("algorithm", ["naive", "numpy"])
def test_the_demo_gives_an_empty_cluster_a_random_row(algorithm):
    seen = frames(demo_loop, PAIRS, 3, algorithm=algorithm, init=FAR, seed=1, max_iter=2)[1]
    assert seen[1][1][2].tolist() == PAIRS[np.random.default_rng(1).integers(4)].tolist()


def test_the_profiled_program_has_cluster_0_at_the_mean_of_the_rows_that_are_not_its_own():
    run, seen = frames(pools_loop, X, 4, init=START, older=True)
    assert run.n_iter == len(seen) > 6
    changed = [int((a[0] != b[0]).sum()) for a, b in pairwise(seen)]
    assert changed[-1] == 0 < min(changed[:-1])
    for (labels, _), (_, centers) in zip(seen, [*seen[1:], (None, run.centers)], strict=True):
        means = np.array([X[labels == j].mean(axis=0) for j in range(4)])
        np.testing.assert_allclose(centers[1:], means[1:], rtol=0, atol=1e-13)
        np.testing.assert_allclose(centers[0], X[labels != 0].mean(axis=0), rtol=0, atol=1e-12)
        assert np.abs(centers[0] - means[0]).max() > 0.01


@pytest.mark.parametrize(("n_samples", "threshold"), [(99, 0), (199, 1), (330, 3)])
def test_the_multiprocessing_study_stops_at_one_change_in_a_hundred_rows(n_samples, threshold):
    rows = X[:n_samples]
    run, seen = frames(pools_loop, rows, 4, init=START)
    labels = [np.full(n_samples, -1), *(frame[0] for frame in seen)]
    changed = [int((a != b).sum()) for a, b in pairwise(labels)]
    assert changed[-1] <= threshold < min(changed[:-1])
    result, expected = ours(rows, START, stop="labels", tol=0.01)
    assert (result.n_iter, [it.changed for it in expected]) == (run.n_iter, changed)


def test_incremental_sums_equal_fresh_ones_over_a_thousand_passes():
    """The study's, and ours in its fastest kernel, which moves sums by differences, too."""
    rows, n_clusters = X[:70], 3
    rng = np.random.default_rng(8)
    labels, counters = np.full(70, n_clusters), np.zeros(n_clusters)
    sums = np.zeros((n_clusters, 3))
    flagship = load_kernel("cpp-simd")
    prepared = flagship.prepare(rows, n_clusters, 1)
    for i in range(1000):
        centers = rng.normal(size=(n_clusters, 3))
        originals.pools_pass(rows, centers, labels, sums, counters, subtract=i > 0)
        our_labels, our_counts = np.empty(70, np.int32), np.zeros(n_clusters, np.int64)
        our_sums = np.zeros((n_clusters, 3))
        flagship.assign_update(prepared, centers, our_labels, our_sums, our_counts)
        assert our_labels.tolist() == labels.tolist()
        counts = np.bincount(labels, minlength=n_clusters).tolist()
        assert counters.tolist() == our_counts.tolist() == counts
        if i % 20 == 19:
            fresh = [[fsum(rows[labels == j, f]) for f in range(3)] for j in range(n_clusters)]
            np.testing.assert_allclose(sums, fresh, rtol=0, atol=1e-12)
            np.testing.assert_allclose(our_sums, fresh, rtol=0, atol=1e-12)


def test_a_long_fit_of_the_fastest_kernel_has_the_means_of_fresh_sums():
    rows = cloud(seed=3, n_samples=4000, n_features=2)
    result = kmeans(
        rows, 30, kernel="cpp-simd", init=rows[:30], stop="max-iter", max_iter=1000, history=True
    )
    moving = [it for it in result.history if it.changed]
    assert len(result.history) == 1000
    assert len(moving) > 50
    for it in [*moving[1::25], *result.history[200::400]]:
        before = result.history[it.n_iter - 2].centers
        labels = np.array(oracle.distances(rows, before).argmin(axis=1))
        for j in range(30):
            mine = rows[labels == j]
            expected = [fsum(mine[:, f]) / len(mine) for f in range(2)]
            np.testing.assert_allclose(it.centers[j], expected, rtol=0, atol=1e-12)
