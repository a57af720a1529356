"""``kmeans_lab.MiniBatchKMeans``: whole fits, what it does not take, and company."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans as Theirs
from sklearn.datasets import make_blobs
from sklearn.metrics import v_measure_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from kmeans_lab import KMeans, MiniBatchKMeans
from kmeans_lab.presets import PRESETS
from tests.support.helpers import whole_numbers

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
    xfail_strict=True,  # an excuse that is needed no more is an error
)
def test_an_estimator_as_scikit_learn_wants_it(estimator, check):
    check(estimator)


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
    model = MiniBatchKMeans(5, random_state=0, batch_size=100)
    told = "inertia is larger than float64 can hold"
    with pytest.warns(RuntimeWarning, match=told) if scale == 1e307 else nullcontext():
        fitted = model.fit(X, sample_weight=weights)
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


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_that_values_are_finite_is_never_assumed(metric):
    found = MiniBatchKMeans(5, random_state=0, metric=metric).partial_fit(X)
    damaged = X.copy()
    damaged[3, 1] = np.inf
    with config_context(assume_finite=True):
        for take in (found.partial_fit, clone(found).partial_fit, found.fit):
            with pytest.raises(ValueError, match=r"X\[3, 1\] is inf and every value must"):
                take(damaged)


def test_parameters_are_checked_before_the_first_batch_only():
    with pytest.raises(ValueError, match="'verbose' parameter of MiniBatchKMeans must be"):
        MiniBatchKMeans(5, verbose=-1).partial_fit(X)
    MiniBatchKMeans(5).partial_fit(X).set_params(batch_size=-1).partial_fit(X)


def test_later_batches_are_held_to_the_first():
    found = MiniBatchKMeans(5, random_state=0).partial_fit(X.astype("f4"))
    assert found.partial_fit(X).cluster_centers_.dtype == np.float32
    with pytest.raises(ValueError, match="infinity"):
        found.partial_fit(X * 1e60)
    with pytest.raises(ValueError, match="X has 2 features, but MiniBatchKMeans is expecting 3"):
        found.partial_fit(X[:, :2])


def test_it_works_in_company():
    search = GridSearchCV(MiniBatchKMeans(random_state=0), {"n_clusters": [2, 5]}, cv=3).fit(X)
    assert search.best_params_ == {"n_clusters": 5}
    copy = clone(MiniBatchKMeans(3, kernel="cpp", batch_size=9).fit(X))
    assert (copy.kernel, copy.batch_size) == ("cpp", 9)
    assert not hasattr(copy, "cluster_centers_")
    assert not hasattr(copy, "set_callbacks")  # which would never be called
    theirs, ours = Theirs().get_params(), MiniBatchKMeans().get_params()
    assert ours == theirs | {"kernel": "auto", "metric": "euclidean"}


def test_a_warning_names_who_is_meant():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MiniBatchKMeans(5, init=X[:5].copy(), n_init=4).fit(X)
    (said,) = caught
    assert "performing only one init in MiniBatchKMeans instead of n_init=4" in str(said.message)
