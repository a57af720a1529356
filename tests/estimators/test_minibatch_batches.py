"""Which rows are in a batch, and which batch is the last."""

import numpy as np
from sklearn.datasets import make_blobs

from kmeans_lab import MiniBatchKMeans
from kmeans_lab.estimators.minibatch_batches import Patience, batches, some_rows

X, TRUTH = make_blobs(600, n_features=3, centers=5, cluster_std=0.6, random_state=4)


def patience(**options):
    given = {"newest": 0.5, "n_steps": 99, "least_movement": 0.0, "longest": 2, "settled": 1}
    return Patience(**given | options, loud=False)


def ends(rule, inertias, moved=0.0):
    found = [n for n, it in enumerate(inertias, 1) if rule.ended(n, it, moved)]
    return found[0] if found else None


def test_patience_ends_with_no_new_low():
    """Smoothed from the second batch on: 8, 8, 6, 7, 7."""
    rule = patience()
    assert ends(rule, [1, 8, 8, 4, 8, 7]) == 6
    assert rule.smoothed == 7
    assert ends(patience(longest=None), [1] + [8] * 50) is None
    assert ends(patience(settled=5), [1, 8, 8, 8, 8, 8, 8, 8]) == 7


def test_patience_ends_with_hardly_any_movement():
    assert ends(patience(least_movement=0.5), [9, 8, 7, 6], moved=0.5) == 2
    assert ends(patience(least_movement=0.5), [9, 8, 7, 6], moved=0.6) is None
    assert ends(patience(), [9, 8, 7, 6], moved=0.0) is None


def test_tol_is_relative_to_the_variance():
    found = []
    for scale in (1.0, 1024.0):
        fits = [
            MiniBatchKMeans(5, tol=tol, batch_size=60, max_no_improvement=None, random_state=0)
            for tol in (1e-3, 1e-5)
        ]
        found.append([it.fit(X * scale).n_steps_ for it in fits])
    assert found[0] == found[1]
    assert found[0][0] < found[0][1]


def test_a_pass_has_every_row_once():
    drawn = batches(10, 4, np.random.default_rng(0))
    rows = np.concatenate([next(drawn) for _ in range(15)])
    for first in range(0, 60, 10):
        assert sorted(rows[first : first + 10]) == list(range(10))
    drawn = batches(np.array([5, 9]), 2, np.random.default_rng(0))
    assert sorted(next(drawn)) == [5, 9]


def test_a_start_is_drawn_from_rows_that_count():
    rng = np.random.default_rng(0)
    weights = np.array([0.0, 1.0, 0.0, 2.0, 0.0, 1.0])
    assert set(some_rows(6, 6, 2, rng, weights)) == {1, 3, 5}
    assert {1, 3, 5} < set(some_rows(6, 6, 4, rng, weights))
    assert len(set(some_rows(6, 4, 2, rng, None))) == 4
