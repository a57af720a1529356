"""Running means: exact whatever comes in which batch, and new beginnings for starved centers."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans as Theirs
from sklearn.datasets import make_blobs
from sklearn.metrics import v_measure_score

from kmeans_lab import MiniBatchKMeans, kmeans
from kmeans_lab.estimators import minibatch_means
from kmeans_lab.estimators.minibatch_means import RunningMeans
from kmeans_lab.presets import PRESETS
from tests.support.helpers import whole_numbers

X, TRUTH = make_blobs(600, n_features=3, centers=5, cluster_std=0.6, random_state=4)


def parts(rows, seed, size=40):
    """Cut rows into batches of many sizes, the smallest of one row."""
    rng, first = np.random.default_rng(seed), 0
    while first < len(rows):
        last = first + int(rng.integers(1, size))
        yield slice(first, last)
        first = last


def oracle(rows, start, cuts, weights=None):
    """Return the exact means of all that each center was ever given, batch after batch."""
    centers = [[Fraction(float(v)) for v in c] for c in start]
    sums = [[Fraction(0)] * len(c) for c in centers]
    mass = [Fraction(0)] * len(centers)
    for cut in cuts:
        chosen = []
        for row in rows[cut].tolist():
            off = [
                sum((Fraction(x) - c) ** 2 for x, c in zip(row, it, strict=True)) for it in centers
            ]
            chosen.append(off.index(min(off)))
        ones = np.ones(len(rows)) if weights is None else weights
        for row, j, w in zip(rows[cut].tolist(), chosen, ones[cut].tolist(), strict=True):
            sums[j] = [s + Fraction(w) * Fraction(x) for s, x in zip(sums[j], row, strict=True)]
            mass[j] += Fraction(w)
        centers = [
            [s / m for s in total] if m else where
            for total, m, where in zip(sums, mass, centers, strict=True)
        ]
        # What the next batch meets is what floating point can hold.
        centers = [[Fraction(float(v)) for v in c] for c in centers]
    return np.array([[float(v) for v in c] for c in centers])


def fed(rows, start, cuts, weights=None, **options):
    """Return the estimator after one partial_fit for each cut."""
    found = MiniBatchKMeans(len(start), init=start, reassignment_ratio=0, **options)
    for cut in cuts:
        found.partial_fit(rows[cut], sample_weight=None if weights is None else weights[cut])
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_fits_are_running_means_to_the_last_bit(kernel_name, weighted):
    """Of whole numbers around zero, whose sums are exact."""
    rows = whole_numbers(1, (300, 3), -9, 9)
    sizes = 4.0 ** (np.arange(300) // 50)  # of other weights in other batches
    weights = sizes * np.random.default_rng(2).integers(1, 5, 300) if weighted else None
    start, cuts = rows[[3, 50, 120, 7]].copy(), list(parts(rows, 3))
    cuts[0] = slice(0, cuts[0].stop + 4)
    found = fed(rows, start, cuts, weights, kernel=kernel_name)
    np.testing.assert_array_equal(found.cluster_centers_, oracle(rows, start, cuts, weights))
    assert found.n_steps_ == len(cuts)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_partial_fits_are_running_means_anywhere(kind, offset):
    rows = (np.random.default_rng(5).normal(size=(400, 2)) + np.float64(offset)).astype(kind)
    if kind == "f4":
        rows = (rows - np.float32(offset)) + np.float32(min(offset, 100.0))
    start, cuts = rows[:3].copy(), [slice(0, 50), *parts(rows, 6)]
    found = fed(rows, start, cuts)
    assert found.cluster_centers_.dtype == rows.dtype
    expected = oracle(rows.astype("f8"), start.astype("f8"), cuts)
    spacing = np.spacing(np.abs(rows).max())
    np.testing.assert_allclose(found.cluster_centers_, expected, rtol=0, atol=4 * spacing)


def test_float32_loses_no_digits_over_many_batches():
    rows = np.random.default_rng(8).random((60_000, 1), dtype="f4") + np.float32(1.0)
    ours = MiniBatchKMeans(1, init=rows[:1].copy())
    for first in range(0, len(rows), 30):
        ours.partial_fit(rows[first : first + 30])
    assert ours.cluster_centers_[0, 0] == np.float32(rows.mean(dtype=np.longdouble))


def test_from_one_array_partial_fits_are_scikit_learns():
    start = X[[1, 200, 300, 400, 500]].copy()
    ours, theirs = (
        it(5, init=start, n_init=1, reassignment_ratio=0, random_state=0)
        for it in (MiniBatchKMeans, Theirs)
    )
    for cut in parts(X, 9, 100):
        cut = slice(cut.start, max(cut.stop, cut.start + 5))
        ours.partial_fit(X[cut])
        theirs.partial_fit(X[cut])
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-12)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_)
    assert ours.n_steps_ == theirs.n_steps_


def test_centers_that_somebody_set_are_gone_on_from():
    found = fed(X, X[:5].copy(), [slice(0, 300)])
    moved = found.cluster_centers_ + 0.25
    found.cluster_centers_ = moved
    found.partial_fit(X[:1])
    (j,) = found.labels_
    others = np.delete(np.arange(5), j)
    np.testing.assert_allclose(found.cluster_centers_[others], moved[others])
    n = np.bincount(fed(X, X[:5].copy(), [slice(0, 300)]).labels_, minlength=5)
    assert n.sum() == 300
    step = np.linalg.norm(found.cluster_centers_[j] - moved[j])
    assert 0 < step < np.linalg.norm(X[0] - moved[j]) / 10  # it counts as the mean of dozens


def test_a_pickle_goes_on_as_if_nothing_had_been():
    whole = MiniBatchKMeans(5, random_state=1).partial_fit(X[:200])
    again = pickle.loads(pickle.dumps(whole))
    for it in (whole, again):
        it.partial_fit(X[200:300]).partial_fit(X[300:])
    assert again.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()


def test_partial_fit_goes_on_from_a_fit():
    fitted = MiniBatchKMeans(5, random_state=0).fit(X)
    before, steps = fitted.cluster_centers_, fitted.n_steps_
    fitted.partial_fit(X[:50])
    assert fitted.n_steps_ == steps + 1
    assert 0 < np.abs(fitted.cluster_centers_ - before).max() < 0.1


@pytest.mark.parametrize("batch_size", [30, 1024])
def test_a_center_that_gets_nothing_begins_anew(batch_size):
    start = np.array([X[j == TRUTH].mean(axis=0) for j in range(5)])
    start[2] += 1e5
    options = {"init": start, "random_state": 0, "batch_size": batch_size}
    found = MiniBatchKMeans(5, **options).fit(X)
    assert v_measure_score(TRUTH, found.labels_) == pytest.approx(1)
    kept = MiniBatchKMeans(5, **options, reassignment_ratio=0).fit(X)
    np.testing.assert_array_equal(kept.cluster_centers_[2], start[2])


def test_it_begins_anew_where_no_center_is():
    """Two centers on one spot and none on the third: the one that starves goes there, each time."""
    spots = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = spots[np.arange(90) % 3] + np.random.default_rng(0).normal(0, 0.1, (90, 2))
    for seed in range(20):
        found = MiniBatchKMeans(3, init=spots[[0, 0, 1]], random_state=seed)
        for _ in range(60):
            found.partial_fit(rows)
        nearest = np.linalg.norm(found.cluster_centers_[:, None] - spots, axis=2).min(axis=0)
        assert nearest.max() < 0.5


def starved(rows, start, seed):
    """Return means, one of whose centers began anew at one of the rows."""
    means = RunningMeans("cpp", start, np.zeros(2))
    while not (begun := means.restart_starved(0.01, rows, np.random.default_rng(seed))):
        means.take(rows)
    assert begun == 1
    return means


SPOTS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [0.0, 40.0]])


def test_the_rows_far_from_all_centers_are_drawn_and_the_best_of_them_is_kept():
    """Twenty rows of one spot lower the inertia by more than one that lies four times as far."""
    rows = SPOTS[np.repeat([0, 1, 2, 3], [150, 150, 20, 1])]
    rows = rows + np.random.default_rng(0).normal(0, 0.01, rows.shape)
    # The center that gets nothing is far away; the spots 2 and 3 are given to the first.
    start = np.array([[0.0, 3.0], [10.0, 0.0], [1e6, 1e6]])
    found = [starved(rows, start, seed).centers[2] for seed in range(20)]
    where = [int(np.linalg.norm(SPOTS - it, axis=1).argmin()) for it in found]
    assert set(where) <= {2, 3}
    assert where.count(2) > 12


def test_who_begins_anew_forgets():
    means = RunningMeans("cpp", SPOTS[:3].copy(), np.zeros(2))
    means.take(np.repeat(SPOTS[:3], 100, axis=0))
    assert means.restart_starved(0.01, SPOTS, np.random.default_rng(0)) == 0
    means.take(np.repeat(SPOTS[[0, 1, 3]], [200, 200, 0], axis=0))
    assert means.restart_starved(0.01, SPOTS, np.random.default_rng(0)) == 1
    kept = means.centers[2].copy()
    means.take(kept[None] + [[0.0, 0.5]])
    np.testing.assert_array_equal(means.centers[2], kept + np.array([0.0, 0.5]))


def test_a_row_that_a_center_misses_by_rounding_is_no_place_to_begin():
    rows = np.full((3, 2), 0.1)
    means = RunningMeans("cpp", np.array([[0.1, 0.1], [5.0, 5.0]]), np.zeros(2))
    for _ in range(70):
        means.take(rows)
    assert means.centers[0, 0] != 0.1
    assert means.restart_starved(0.01, rows, np.random.default_rng(0)) == 0


def test_who_is_starved_is_counted_in_one_unit():
    """Two rows that weigh 1024 each, and before them thirty of one center that weigh 1."""
    means = RunningMeans("cpp", SPOTS[:2], np.zeros(2))
    means.take(np.repeat(SPOTS[:1], 300, axis=0))
    means.take(SPOTS[:2].copy(), np.full(2, 1024.0))
    assert means.restart_starved(0.5, SPOTS[:4].copy(), np.random.default_rng(0)) == 0
    means.take(np.repeat(SPOTS[:1], 300, axis=0))
    assert means.restart_starved(0.5, SPOTS[:4].copy(), np.random.default_rng(0)) == 1


def test_a_small_cluster_is_not_starved():
    rows = np.concatenate([np.zeros((970, 1)), np.full((30, 1), 9.0)])
    rows += np.random.default_rng(0).normal(0, 0.1, rows.shape)
    start = np.array([[0.0], [9.0]])
    for batch_size in (20, 1024):
        found = MiniBatchKMeans(2, init=start, random_state=0, batch_size=batch_size).fit(rows)
        np.testing.assert_allclose(found.cluster_centers_, start, atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_small_batches_throw_no_start_away(seed):
    """With fewer rows than centers in a batch, most centers get none: that is no reason to move."""
    preset = PRESETS["grid-10000-40"].load()
    best = kmeans(preset.X, 40, random_state=0, n_init=5)
    found = MiniBatchKMeans(40, init=best.centers, batch_size=20, random_state=seed).fit(preset.X)
    assert found.inertia_ < 1.15 * best.inertia


def test_every_center_may_be_poor():
    """A ratio above 1 leaves no center to compare with but the largest."""
    found = MiniBatchKMeans(5, reassignment_ratio=3.0, random_state=0, max_iter=5).fit(X)
    assert np.isfinite(found.cluster_centers_).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("n_rows", [300, 3000])  # one thread, and as many as there are
def test_labels_that_rows_remember_are_those_of_all_distances(
    n_rows, offset, weighted, metric, dtype, monkeypatch
):
    """Centers that move a little, and centers that are moved elsewhere, after each batch."""
    monkeypatch.setattr(minibatch_means, "ROWS_BETWEEN_LOOKS", 1)
    rng, n_clusters = np.random.default_rng(n_rows), 64
    blobs = rng.normal(size=(n_clusters, 32)).repeat(2, axis=0)
    batches = [
        (blobs[rng.integers(0, 128, n_rows)] + rng.normal(size=(n_rows, 32)) + offset).astype(dtype)
        for _ in range(4)
    ]
    weights = rng.random(n_rows) * 10 if weighted else None

    def states(least):
        monkeypatch.setattr(minibatch_means, "_WORTH_REMEMBERING", least)
        found = MiniBatchKMeans(
            n_clusters, random_state=0, reassignment_ratio=0.3, metric=metric, kernel="cpp-simd"
        )
        for batch in batches:
            found.partial_fit(batch, sample_weight=weights)
            np.testing.assert_array_equal(found.labels_, found.predict(batch))
            yield found.labels_, found.inertia_, found.cluster_centers_

    for remembered, anew in zip(list(states(1)), list(states(np.inf)), strict=True):
        np.testing.assert_array_equal(remembered[0], anew[0])
        np.testing.assert_array_equal(remembered[2], anew[2])
        assert remembered[1] == pytest.approx(anew[1], rel=1e-12 if dtype == "float64" else 1e-5)
