"""The loop: when it ends, what it returns, what its history and its callback see."""

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.centering import middle_and_variance
from tests.support import oracle
from tests.support.helpers import assert_same_fit, cloud, some_rows, whole_numbers

X = cloud(seed=1, n_samples=400, n_features=3)
START = some_rows(X, 6)


def fit(**options):
    """A fit that would need some thirty iterations to come to rest."""
    return kmeans(X, 6, **{"kernel": "numpy", "init": START, "tol": 0.0} | options)


def ends_in(exit_, **options):
    """Fit until the exit that is asked for; return the result and the last labels seen."""
    seen = []

    def callback(iteration):
        seen.append(iteration.labels)
        return exit_ == "callback" and iteration.n_iter == 4

    limits = {"at rest": {}, "loose tol": {"tol": 0.01}, "max-iter": {"max_iter": 4}}
    result = fit(callback=callback, **limits.get(exit_, {}), **options)
    return result, seen[-1]


EXITS = {"at rest": "shift", "loose tol": "shift", "max-iter": "max-iter", "callback": "callback"}


@pytest.mark.parametrize("exit_", EXITS)
def test_labels_and_inertia_describe_the_returned_centers(kernel_name, exit_):
    result, last_seen = ends_in(exit_, kernel=kernel_name)
    assert result.stop == EXITS[exit_]
    assert result.converged == (result.stop == "shift")
    # Unless the centers rest, the last assignment of the loop is one step behind.
    assert np.array_equal(last_seen, result.labels) == (exit_ == "at rest")
    assert oracle.count_ties(X, result.centers, result.labels) == 0
    expected = oracle.inertia(X, result.centers, result.labels)
    assert result.inertia == pytest.approx(expected, rel=1e-13)


def test_max_iter_1_stops_after_one_iteration(kernel_name):
    result = fit(kernel=kernel_name, max_iter=1, history=True)
    assert (result.n_iter, len(result.history)) == (1, 1)
    assert (result.stop, result.converged) == ("max-iter", False)
    labels, _ = oracle.assign(X, START)
    means = oracle.means(*oracle.update(X, labels, 6), START)
    np.testing.assert_allclose(result.centers, np.array(means, float), rtol=1e-13)


@pytest.mark.parametrize("max_iter", [1, 2, 7])
def test_n_iter_counts_iterations_in_every_exit(max_iter):
    calls = []
    result = fit(max_iter=max_iter, callback=lambda seen: calls.append(seen.n_iter), history=True)
    assert result.n_iter == max_iter
    assert calls == list(range(1, max_iter + 1))
    assert [seen.n_iter for seen in result.history] == calls


def test_the_rule_wins_over_max_iter_and_callback_when_all_end_at_once():
    n_iter = fit().n_iter
    result = fit(max_iter=n_iter, callback=lambda seen: seen.n_iter == n_iter)
    assert (result.stop, result.converged, result.n_iter) == ("shift", True, n_iter)


def test_a_fit_at_rest_is_at_a_fixed_point(kernel_name):
    result = fit(kernel=kernel_name)
    assert result.n_iter < 300
    again = fit(kernel=kernel_name, init=result.centers)
    np.testing.assert_array_equal(again.labels, result.labels)
    np.testing.assert_allclose(again.centers, result.centers, rtol=1e-12)


def test_inertia_never_increases(kernel_name, dtype):
    rows = X.astype(dtype)
    result = kmeans(rows, 6, kernel=kernel_name, init=START, tol=0, history=True)
    inertias = np.array([seen.inertia for seen in result.history])
    assert len(inertias) > 5
    rounding = oracle.inertia_bound(rows, result.centers)
    assert (np.diff(inertias) <= rounding).all()
    assert inertias[-1] < 0.9 * inertias[0]
    assert result.inertia <= inertias[-1] + rounding


def test_history_is_kept_on_request_only():
    assert fit().history == ()


def test_history_holds_centers_inertia_and_changed_labels(kernel_name):
    seen_labels = []
    result = fit(
        kernel=kernel_name, history=True, callback=lambda seen: seen_labels.append(seen.labels)
    )
    assert len(result.history) == len(seen_labels) == result.n_iter
    np.testing.assert_allclose(result.history[0].centers, START, rtol=1e-13)
    before = np.full(len(X), -1)
    for seen, labels in zip(result.history, seen_labels, strict=True):
        assert oracle.count_ties(X, seen.centers, labels) == 0
        assert seen.inertia == pytest.approx(oracle.inertia(X, seen.centers, labels), rel=1e-12)
        assert seen.changed == np.count_nonzero(labels != before)
        assert seen.labels is None
        before = labels
    assert result.history[0].changed == len(X)
    assert result.history[-1].changed == 0
    np.testing.assert_array_equal(result.history[-1].centers, result.centers)


def test_labels_are_counted_anew_in_every_repetition(kernel_name):
    starts = iter([X[:4], X[4:8], X[8:12]])
    seen = []
    kmeans(X, 4, kernel=kernel_name, init=lambda *_: next(starts), n_init=3, callback=seen.append)
    firsts = [iteration.changed for iteration in seen if iteration.n_iter == 1]
    assert firsts == [len(X)] * 3


def test_the_callback_sees_what_the_history_keeps():
    seen = []
    result = fit(history=True, callback=seen.append)
    for shown, kept in zip(seen, result.history, strict=True):
        assert (shown.n_iter, shown.inertia, shown.changed) == (
            (kept.n_iter, kept.inertia, kept.changed)
        )
        np.testing.assert_array_equal(shown.centers, kept.centers)


@pytest.mark.parametrize("shift", [0.0, 4096.0])
def test_the_callback_may_write_into_what_it_is_given(shift):
    def vandal(seen):
        seen.centers[:] = np.nan
        seen.labels[:] = -5

    options = {"kernel": "numpy", "init": START + shift, "tol": 0, "history": True}
    expected = kmeans(X + shift, 6, **options)
    assert_same_fit(kmeans(X + shift, 6, callback=vandal, **options), expected)


def test_watching_a_fit_does_not_change_it(kernel_name):
    plain = fit(kernel=kernel_name)
    watched = fit(kernel=kernel_name, callback=lambda seen: None)
    assert_same_fit(watched, plain)


def test_an_exception_in_the_callback_reaches_the_caller():
    def callback(seen):
        raise LookupError("from the callback")

    for mode in ("serial", "threads"):
        with pytest.raises(LookupError, match="from the callback"):
            fit(mode=mode, callback=callback)


def test_n_init_keeps_the_best_repetition_whole():
    options = {"kernel": "numpy", "init": "random", "tol": 0.0, "history": True}
    rng = np.random.default_rng(0)
    singles = [kmeans(X, 6, random_state=rng, **options) for _ in range(5)]
    inertias = [single.inertia for single in singles]
    best = int(np.argmin(inertias))
    # The best one is neither first nor last, and the others differ in length.
    assert best not in (0, 4)
    assert len({single.n_iter for single in singles}) > 2
    result = kmeans(X, 6, random_state=np.random.default_rng(0), n_init=5, **options)
    assert_same_fit(result, singles[best])


SQUARE = np.array([[0.0, 0.0], [0.0, 1.0], [8.0, 0.0], [8.0, 1.0]])
BOTH_SIDES = np.array([[0.0, 0.5], [8.0, 0.5]])  # inertia 1
TOP_AND_BOTTOM = np.array([[4.0, 0.0], [4.0, 1.0]])  # a worse fixed point: inertia 64


def repeat(*starts):
    """One repetition from each start in turn."""
    queue = list(starts)
    options = {"init": lambda X, k, rng: queue.pop(0), "n_init": len(starts)}
    result = kmeans(SQUARE, 2, kernel="numpy", tol=0, **options)
    assert queue == []
    return result


def test_a_tie_between_repetitions_keeps_the_first():
    assert repeat(BOTH_SIDES, BOTH_SIDES[::-1]).labels.tolist() == [0, 0, 1, 1]
    assert repeat(BOTH_SIDES[::-1], BOTH_SIDES).labels.tolist() == [1, 1, 0, 0]


def test_a_later_repetition_wins_when_it_is_strictly_better():
    result = repeat(TOP_AND_BOTTOM, BOTH_SIDES[::-1], BOTH_SIDES)
    assert (result.labels.tolist(), result.inertia) == ([1, 1, 0, 0], 1.0)
    assert repeat(BOTH_SIDES, TOP_AND_BOTTOM).inertia == 1.0


def test_one_cluster_is_the_mean(kernel_name, dtype):
    rows = whole_numbers(2, (64, 3), dtype=dtype)
    result = kmeans(rows, 1, kernel=kernel_name, random_state=0)
    np.testing.assert_array_equal(result.centers, rows.mean(axis=0, dtype="f8").astype(dtype)[None])
    assert result.labels.tolist() == [0] * 64


def test_as_many_clusters_as_rows_give_inertia_zero(kernel_name, dtype):
    rows = whole_numbers(2, (40, 3), -50, 50, dtype)
    assert len(np.unique(rows, axis=0)) == 40
    result = kmeans(rows, 40, kernel=kernel_name, init="first")
    assert (result.inertia, result.n_iter) == (0.0, 1)
    np.testing.assert_array_equal(result.centers, rows)


def test_the_result_says_what_ran():
    result = fit(mode="threads", n_threads=3)
    assert (result.kernel, result.mode, result.n_threads) == ("numpy", "threads", 3)
    assert result.labels.dtype == np.int32
    assert result.centers.dtype == np.float64
    single = kmeans(X.astype("f4"), 2, kernel="python", init="first")
    assert (single.kernel, single.mode, single.n_threads) == ("python", "serial", 1)
    assert single.centers.dtype == np.float32


def test_the_default_tolerance_is_scaled_by_the_mean_variance():
    _, variance = middle_and_variance(X)
    assert variance == pytest.approx(X.var(axis=0).mean(), rel=2.0**-24)
    assert middle_and_variance(X + 1e6)[1] == pytest.approx(variance, rel=1e-9)
