"""``kmeans_lab.MiniBatchKMeans``: running means, whatever comes in which batch."""

import pickle
import warnings
from fractions import Fraction

import numpy as np
import pytest
from helpers import whole_numbers
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans as Theirs
from sklearn.datasets import make_blobs
from sklearn.metrics import v_measure_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.batches import Patience, batches, some_rows
from kmeans_lab.presets import PRESETS
from kmeans_lab.running import RunningMeans

# Excused for scikit-learn's own MiniBatchKMeans, too.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "batches differ where rows are repeated"
    for kind in ("dense", "sparse")
}
X, TRUTH = make_blobs(600, n_features=3, centers=5, cluster_std=0.6, random_state=4)


@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API")
@parametrize_with_checks(
    [MiniBatchKMeans(kernel=name) for name in ("auto", "cpp", "numpy")],
    expected_failed_checks=lambda estimator: WEIGHTS,
    xfail_strict=True,
)
def test_an_estimator_as_scikit_learn_wants_it(estimator, check):
    check(estimator)


# --- running means --------------------------------------------------------------------------


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


# --- fits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [30, 1024])
def test_it_finds_blobs(kernel_name, batch_size):
    if kernel_name == "python" and batch_size > 100:
        batch_size = 100
    fitted = MiniBatchKMeans(
        5, batch_size=batch_size, random_state=0, kernel=kernel_name, n_init=3
    ).fit(X)
    assert v_measure_score(TRUTH, fitted.labels_) == pytest.approx(1)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    assert fitted.inertia_ == pytest.approx(-fitted.score(X))


def test_the_inertia_is_nearly_that_of_all_rows():
    """On average: each start ends in one of several optima, 15 % apart."""
    preset = PRESETS["standard"].load()
    mini, full = (
        np.mean([it(25, n_init=3, random_state=seed).fit(preset.X).inertia_ for seed in range(10)])
        for it in (MiniBatchKMeans, KMeans)
    )
    assert mini < 1.06 * full


@pytest.mark.parametrize("name", ["auto", "numpy", "cpp"])
def test_the_same_seed_gives_the_same_bits(name):
    fits = [
        MiniBatchKMeans(12, batch_size=50, random_state=3, kernel=name).fit(X) for _ in range(2)
    ]
    assert fits[0].cluster_centers_.tobytes() == fits[1].cluster_centers_.tobytes()
    other = MiniBatchKMeans(12, batch_size=50, random_state=4, kernel=name).fit(X)
    assert other.cluster_centers_.tobytes() != fits[0].cluster_centers_.tobytes()


def test_kernels_agree_on_whole_numbers():
    rows = whole_numbers(0, (500, 4))
    fits = [
        MiniBatchKMeans(6, batch_size=64, random_state=3, max_iter=2, kernel=name).fit(rows)
        for name in ("python", "cpp", "cpp-simd")
    ]
    assert len({it.cluster_centers_.tobytes() for it in fits}) == 1


def test_a_batch_may_be_larger_than_the_data():
    fitted = MiniBatchKMeans(3, batch_size=5000, random_state=0, max_iter=4).fit(X[:7])
    assert (fitted._batch_size, fitted.n_steps_, fitted.n_iter_) == (7, 4, 4)
    assert MiniBatchKMeans(7, random_state=0).fit(X[:7]).inertia_ == pytest.approx(0, abs=1e-20)
    one = MiniBatchKMeans(1, random_state=0).fit(X)
    np.testing.assert_allclose(one.cluster_centers_[0], X.mean(axis=0), rtol=1e-12)


def test_rows_of_weight_zero_leave_no_trace():
    weights = np.where(np.arange(600) % 3 == 0, 0.0, 1.5)
    changed = X.copy()
    changed[weights == 0] = 99.0
    fits = [
        MiniBatchKMeans(5, batch_size=64, random_state=0).fit(rows, sample_weight=weights)
        for rows in (X, changed)
    ]
    assert fits[0].cluster_centers_.tobytes() == fits[1].cluster_centers_.tobytes()
    assert fits[0].n_iter_ == -(-fits[0].n_steps_ * 64 // 400)
    few = np.zeros(600)
    few[:3] = 1
    found = MiniBatchKMeans(5, random_state=0).fit(X, sample_weight=few)
    assert np.isfinite(found.cluster_centers_).all()
    assert found.inertia_ == pytest.approx(0, abs=1e-20)


def test_weights_count_as_copies_do():
    """Where every row is in every batch; and in partial_fit, to the last bit."""
    rows, times = whole_numbers(3, (80, 2)), np.arange(80) % 4 + 1
    start, copies = rows[:4].copy(), np.repeat(rows, times, axis=0)
    weighted, repeated = (
        MiniBatchKMeans(4, init=start, batch_size=1000, max_iter=7, reassignment_ratio=0).fit(*it)
        for it in ((rows, None, times), (copies,))
    )
    np.testing.assert_array_equal(weighted.cluster_centers_, repeated.cluster_centers_)
    assert weighted.inertia_ == pytest.approx(repeated.inertia_)


@pytest.mark.parametrize("scale", [5e-310, 1e-300, 1e300, 1e307])
def test_weights_of_any_size_give_finite_centers(scale):
    weights = np.random.default_rng(0).random(600) * scale
    fitted = MiniBatchKMeans(5, random_state=0, batch_size=100).fit(X, sample_weight=weights)
    plain = MiniBatchKMeans(5, random_state=0, batch_size=100).fit(X, sample_weight=weights / scale)
    np.testing.assert_allclose(fitted.cluster_centers_, plain.cluster_centers_, rtol=1e-6)
    mixed = MiniBatchKMeans(5, init=X[:5].copy(), reassignment_ratio=0)
    for size in (1.0, 1e300, 5e-324, 1.0):
        mixed.partial_fit(X, sample_weight=np.full(600, size))
        assert np.isfinite(mixed.cluster_centers_).all()


@pytest.mark.parametrize("batch_size", [4, 1024])
def test_copies_of_a_few_rows_are_no_trouble(batch_size):
    rows = np.repeat([[0.1, 0.2], [3.3, 0.7], [5.0, 9.1]], 30, axis=0)
    for seed in range(5):
        found = MiniBatchKMeans(5, random_state=seed, batch_size=batch_size).fit(rows)
        assert found.inertia_ == pytest.approx(0, abs=1e-20)
    same = MiniBatchKMeans(3, random_state=0).fit(np.full((20, 2), 0.1))
    np.testing.assert_allclose(same.cluster_centers_, 0.1)


def test_labels_are_left_out_on_request():
    fitted = MiniBatchKMeans(5, random_state=0).fit(X)
    true = fitted.inertia_
    fitted.set_params(compute_labels=False).fit(X)
    assert not hasattr(fitted, "labels_")
    assert fitted.inertia_ == pytest.approx(true, rel=0.1)
    np.testing.assert_array_equal(fitted.fit_predict(X), fitted.predict(X))
    one_batch = MiniBatchKMeans(5, random_state=0, max_iter=1, compute_labels=False).fit(X)
    assert np.isfinite(one_batch.inertia_)


# --- starved centers ------------------------------------------------------------------------


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


# --- when it ends ---------------------------------------------------------------------------


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


# --- what is refused, and company -----------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "options", "weights", "why"),
    [
        (X[:3], {}, None, r"n_samples=3 should be >= n_clusters=5"),
        (np.full((9, 2), np.nan), {}, None, "contains NaN"),
        (X * 1e155, {}, None, "overflows in a squared distance"),
        (X, {"init": X[:4]}, None, "does not match the number of clusters 5"),
        (X, {"init": X[:5] * 1e160}, None, "overflows in a squared distance"),
        (X, {"batch_size": 0}, None, "'batch_size' parameter of MiniBatchKMeans must be an int"),
        (X, {"kernel": "gpu"}, None, "kernel='gpu' is not known"),
        (X, {}, -np.ones(600), r"sample_weight\[0\] is -1.0 and must be a finite number ≥ 0"),
        (X, {}, np.zeros(600), "at least one non-zero number"),
    ],
)
def test_what_it_does_not_take(rows, options, weights, why):
    for verb in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=why):
            getattr(MiniBatchKMeans(5, **options), verb)(rows, sample_weight=weights)


def test_later_batches_are_held_to_the_first():
    found = MiniBatchKMeans(5, random_state=0).partial_fit(X.astype("f4"))
    assert found.partial_fit(X).cluster_centers_.dtype == np.float32
    with pytest.raises(ValueError, match="infinity"):
        found.partial_fit(X * 1e60)
    with pytest.raises(ValueError, match="X has 2 features, but MiniBatchKMeans is expecting 3"):
        found.partial_fit(X[:, :2])
    with pytest.raises(TypeError, match="Sparse data was passed"):
        MiniBatchKMeans(2).fit(csr_array(X))


def test_it_works_in_company():
    search = GridSearchCV(MiniBatchKMeans(random_state=0), {"n_clusters": [2, 5]}, cv=3).fit(X)
    assert search.best_params_ == {"n_clusters": 5}
    copy = clone(MiniBatchKMeans(3, kernel="cpp", batch_size=9).fit(X))
    assert (copy.kernel, copy.batch_size) == ("cpp", 9)
    assert not hasattr(copy, "cluster_centers_")
    assert not hasattr(copy, "set_callbacks")  # which would never be called
    theirs, ours = Theirs().get_params(), MiniBatchKMeans().get_params()
    assert ours == theirs | {"kernel": "auto"}


def test_a_warning_names_who_is_meant():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MiniBatchKMeans(5, init=X[:5].copy(), n_init=4).fit(X)
    (said,) = caught
    assert "performing only one init in MiniBatchKMeans instead of n_init=4" in str(said.message)
