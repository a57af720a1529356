"""The estimators with ``metric="cosine"``: rows of any length in, directions and 1 − cos out."""

import pickle

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.metrics.pairwise import cosine_distances
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.estimators.minibatch_means import Taken
from kmeans_lab.metric import unit_rows

rng = np.random.default_rng(8)
HUBS = rng.normal(size=(5, 6))
X = (HUBS[rng.integers(5, size=900)] + 0.3 * rng.normal(size=(900, 6))) * rng.lognormal(
    size=(900, 1)
)
NEW = rng.normal(size=(70, 6))
WEIGHTS = rng.random(900)
BOTH = [KMeans, MiniBatchKMeans]
EXCUSED = {
    "check_sample_weight_equivalence_on_dense_data": "weights draw other starts than copies do",
    "check_sample_weight_equivalence_on_sparse_data": "weights draw other starts than copies do",
    "check_estimators_dtypes": "its rows of small integers include zeros",
    # Four values of five are left out at random, and so all values of some rows.
    "check_estimator_sparse_tag": "its rows include zeros",
    "check_estimator_sparse_array": "its rows include zeros",
    "check_estimator_sparse_matrix": "its rows include zeros",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Number of distinct clusters"),
    pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API"),
]


def made(kind, n_clusters=5, **options):
    return kind(n_clusters, **({"metric": "cosine", "random_state": 0} | options))


def cosines(rows, centers):
    units = [it / np.linalg.norm(it, axis=1, keepdims=True) for it in (rows, centers)]
    return units[0] @ units[1].T


@parametrize_with_checks(
    [KMeans(metric="cosine"), MiniBatchKMeans(metric="cosine")],
    expected_failed_checks=lambda estimator: EXCUSED,
)
def test_an_estimator_as_scikit_learn_wants_it(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_labels_are_those_of_the_nearest_directions(kind, weights, dtype):
    fitted = made(kind).fit(X.astype(dtype), sample_weight=weights)
    eps = float(np.finfo(dtype).eps)
    found = cosines(X, fitted.cluster_centers_.astype(float))
    np.testing.assert_array_equal(fitted.labels_, found.argmax(axis=1))
    np.testing.assert_allclose(np.linalg.norm(fitted.cluster_centers_, axis=1), 1, rtol=4 * eps)
    off = (np.ones(900) if weights is None else weights) * (1 - found.max(axis=1))
    assert fitted.inertia_ == pytest.approx(off.sum(), rel=50 * eps)
    assert fitted.inertia_ < 60
    assert fitted.cluster_centers_.dtype == dtype
    for rows in (X.astype(dtype), (X * 7).astype(dtype), (X[::-1] * 1e-9)[::-1].astype(dtype)):
        np.testing.assert_array_equal(fitted.predict(rows), fitted.labels_)
        score = fitted.score(rows, sample_weight=weights)
        assert -score == pytest.approx(fitted.inertia_, rel=50 * eps)


def test_the_class_and_the_function_agree():
    fitted = made(KMeans, init=X[:5], n_init=1, tol=0).fit(X)
    result = kmeans(X, 5, metric="cosine", init=X[:5], tol=0)
    assert fitted.cluster_centers_.tobytes() == result.centers.tobytes()
    assert fitted.inertia_ == result.inertia


@pytest.mark.parametrize("kind", BOTH)
def test_transform_gives_cosine_distances(kind, dtype):
    fitted = made(kind).fit(X.astype(dtype))
    rows = (NEW * rng.lognormal(size=(70, 1))).astype(dtype)
    found = fitted.transform(rows)
    expected = cosine_distances(rows.astype(float), fitted.cluster_centers_.astype(float))
    np.testing.assert_allclose(found, expected, atol=4 * np.finfo(dtype).eps)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.argmin(axis=1), fitted.predict(rows))
    np.testing.assert_array_equal(fitted.fit_transform(X), fitted.transform(X))


def test_transform_keeps_the_digits_of_small_and_right_and_straight_angles():
    angles = np.array([1e-8, 1e-5, np.pi / 2, np.pi])
    fitted = KMeans(1, metric="cosine").fit([[1.0, 0.0]])
    found = fitted.transform(np.stack([np.cos(angles), np.sin(angles)], axis=1))[:, 0]
    np.testing.assert_allclose(found, 2 * np.sin(angles / 2) ** 2, rtol=1e-12)
    rows = rng.normal(size=(500, 3))
    for row in rows:
        assert KMeans(1, metric="cosine").fit([row]).transform([-row]) <= 2


@pytest.mark.parametrize("kind", BOTH)
def test_centers_set_by_hand_may_have_any_length(kind):
    fitted = made(kind).fit(X)
    labels, off = fitted.predict(NEW), fitted.transform(NEW)
    fitted.cluster_centers_ = fitted.cluster_centers_ * [[2.0], [1e200], [1e-200], [4.0], [0.5]]
    np.testing.assert_array_equal(fitted.predict(NEW), labels)
    np.testing.assert_allclose(fitted.transform(NEW), off, rtol=1e-12)
    fitted.cluster_centers_[3] = 0
    with pytest.raises(ValueError, match=r"cluster_centers_\[3\] holds only zeros"):
        fitted.predict(NEW)
    fitted.cluster_centers_[3] = np.nan
    with pytest.raises(ValueError, match=r"cluster_centers_\[3, 0\] is nan"):
        fitted.predict(NEW)


@pytest.mark.parametrize("kind", BOTH)
def test_zeros_are_refused_by_every_method(kind):
    rows = X.copy()
    rows[7] = 0
    fitted = made(kind).fit(X)
    for method in ("fit", "predict", "transform", "score", "fit_predict", "partial_fit"):
        if hasattr(fitted, method):
            with pytest.raises(ValueError, match=r"X\[7\] holds only zeros and metric='cosine'"):
                getattr(fitted, method)(rows)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_values_of_any_size_are_taken(kind, size):
    one, other = (made(kind, init=X[:5], n_init=1).fit(rows) for rows in (X, X * size))
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert other.inertia_ == pytest.approx(one.inertia_, rel=1e-12)
    assert other.score(X * size) == pytest.approx(one.score(X), rel=1e-12)


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_copies_and_pickles(kind):
    estimator = made(kind)
    assert estimator.get_params()["metric"] == "cosine"
    assert clone(estimator).metric == "cosine"
    assert kind(metric="euclidean").metric == kind().metric == "euclidean"
    fitted = estimator.fit(pandas.DataFrame(X, columns=list("abcdef")))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    assert list(again.feature_names_in_) == list("abcdef")
    with pytest.raises(InvalidParameterError, match="'metric' parameter"):
        kind(metric="manhattan").fit(X)
    with pytest.raises(TypeError):
        kind(*[1] * 9)
    fitted.set_params(metric="euclidean").fit(X)
    assert abs(np.linalg.norm(fitted.cluster_centers_, axis=1) - 1).min() > 1e-3


def test_a_pickle_from_before_there_were_metrics_is_euclidean():
    fitted = KMeans(3, random_state=0).fit(X)
    state = fitted.__getstate__()
    del state["metric"]
    older = KMeans.__new__(KMeans)
    older.__setstate__(state)
    np.testing.assert_array_equal(older.predict(X), fitted.labels_)


def test_a_function_that_starts_is_given_directions():
    seen = []

    def start(rows, n_clusters, random_state):
        seen.append(rows)
        return rows[:n_clusters] * 3

    fitted = made(KMeans, init=start, n_init=1).fit(X)
    np.testing.assert_array_equal(seen[0], unit_rows(X))
    other = made(KMeans, init=X[:5], n_init=1).fit(X)
    assert fitted.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()


class Recorder:
    """A callback that writes down the inertia at the end of each task."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, metadata, fitted_estimator):
        weights = (metadata or {}).get("sample_weight")
        score = fitted_estimator.score(X * 3, sample_weight=weights)
        self.seen.append((context.task_name, fitted_estimator.inertia_, -score))

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("weights", [None, WEIGHTS * 9], ids=["alike", "weighted"])
def test_callbacks_are_told_the_inertia_of_the_metric(weights, n_init):
    recorder = Recorder()
    estimator = made(KMeans, 4, tol=0, n_init=n_init).set_callbacks(recorder)
    fitted = estimator.fit(X, sample_weight=weights)
    for name in ("iteration", "repetition" if n_init > 1 else "fit"):
        told = [inertia for task, inertia, _ in recorder.seen if task == name]
        assert min(told) == pytest.approx(fitted.inertia_, rel=1e-12)
    for _, inertia, score in recorder.seen:
        assert inertia == pytest.approx(score, rel=1e-12)


def test_what_is_printed_is_in_the_same_unit(capsys):
    fitted = made(KMeans, verbose=1, tol=0).fit(X, sample_weight=WEIGHTS * 8)
    last = capsys.readouterr().out.splitlines()[-2]
    assert float(last.split("inertia ")[1].rstrip(".")) == pytest.approx(fitted.inertia_, rel=1e-9)


def test_batches_move_centers_to_the_scaled_means_of_all_their_rows():
    start = X[:5]
    running = made(MiniBatchKMeans, init=start, n_init=1)
    units, sums, now = unit_rows(X), np.zeros((5, 6)), unit_rows(start.copy())
    for first in range(0, 900, 300):
        some = slice(first, first + 300)
        labels = cosines(X[some], now).argmax(axis=1)
        for j in range(5):
            sums[j] += units[some][labels == j].sum(axis=0)
        now = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        running.partial_fit(X[some] * 10.0 ** (first // 100))
        np.testing.assert_allclose(running.cluster_centers_, now, rtol=1e-12, atol=1e-15)
        off = 1 - cosines(X[some], now).max(axis=1)
        assert running.inertia_ == pytest.approx(off.sum(), rel=1e-12)
    assert running.n_steps_ == 3


def test_batches_that_cancel_keep_their_center():
    running = MiniBatchKMeans(1, metric="cosine", init=[[0.0, 2.0]], n_init=1)
    running.partial_fit([[3.0, 0.0], [-1.0, 0.0]])
    assert running.cluster_centers_.tolist() == [[0.0, 1.0]]
    running.partial_fit([[5.0, 5.0], [9.0, 9.0]])
    np.testing.assert_allclose(running.cluster_centers_, [[0.5**0.5, 0.5**0.5]])


def test_batches_go_on_from_centers_set_by_hand(dtype):
    rows = (X + 4).astype(dtype)  # in a cone, so that the middle is not zero
    running = made(MiniBatchKMeans).partial_fit(rows[:300])
    means = running._means
    running.partial_fit(rows[300:600])
    before = means._sums.copy()
    running.cluster_centers_ = running.cluster_centers_ * 1.0
    running._means.take = lambda *_: Taken(0.0)
    running.partial_fit(rows[600:])
    np.testing.assert_array_equal(means._sums, before)  # those that were there: nothing was set


def test_the_mini_batch_fit_is_nearly_as_good_as_the_full_one():
    full, batches = (made(kind, n_init=3).fit(X) for kind in BOTH)
    assert batches.inertia_ < 1.02 * full.inertia_
