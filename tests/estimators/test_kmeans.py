"""``kmeans_lab.KMeans`` beside scikit-learn's: same names, same answers, same company."""

import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import kmeans_lab
from kmeans_lab import KERNELS, KMeans
from kmeans_lab.crews.cores import available_cores
from kmeans_lab.estimators.kmeans import usual_threads
from tests.support.helpers import require_ready

# Excused for scikit-learn's own KMeans, too: weights draw other starts than copies do.
WEIGHTS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "weights draw other starts than copies do"
    for kind in ("dense", "sparse")
}
X, _ = make_blobs(400, n_features=3, centers=6, random_state=1)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API")
@parametrize_with_checks(
    [KMeans(kernel=name) for name in ("auto", *KERNELS)],
    expected_failed_checks=lambda estimator: WEIGHTS,
    xfail_strict=True,  # an excuse that is needed no more is an error
)
def test_an_estimator_as_scikit_learn_wants_it(estimator, check, pytestconfig):
    if estimator.kernel != "auto":
        require_ready(estimator.kernel, pytestconfig.getoption("--require-kernels"))
    check(estimator)


@pytest.mark.slow  # what they ask of estimators is asked above
def test_scikit_learns_own_tests_pass():
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.sklearn_own", "-q", "--tb=line"]
    module = ["--pyargs", "sklearn.cluster.tests.test_k_means", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *module],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stdout[-3000:]
    (passed,) = re.findall(r"(\d+) passed", run.stdout)
    assert int(passed) >= 139


def same(ours, theirs, rows):
    """Hold two fits to each other, up to the names of clusters.

    Where several clusters are empty at once, scikit-learn hands them the farthest rows in the order
    of a partial sort, and we the farthest first: the same rows, under other numbers.
    """
    pairs = np.unique(np.stack([ours.labels_, theirs.labels_]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    np.testing.assert_allclose(
        ours.cluster_centers_[pairs[0]],
        theirs.cluster_centers_[pairs[1]],
        rtol=1e-7,
        atol=1e-9 * np.ptp(rows),
    )


@pytest.mark.parametrize("seed", range(100))
def test_answers_are_scikit_learns(seed):
    """From the same array and tol = 0: labels, n_iter, inertia; weights, empty clusters, copies."""
    rng = np.random.default_rng(seed)
    n, d, k = rng.integers(20, 900), rng.integers(1, 12), rng.integers(2, 15)
    rows, _ = make_blobs(n, n_features=d, centers=k, random_state=seed, cluster_std=2.0)
    if seed % 3 == 0:
        rows[n // 2 :] = rows[: n - n // 2]  # copies
    weights = rng.random(n) + 0.1 if seed % 2 else None
    # Of different rows: which of two equal centers is nearest is for rounding to say.
    start = np.unique(rows, axis=0)
    start = start[rng.choice(len(start), min(k, len(start)), replace=False)]
    k = len(start)
    if seed % 5 == 0:
        start[0] += 1e4  # nobody's: relocated
    options = {"n_clusters": int(k), "init": start, "n_init": 1, "tol": 0.0, "max_iter": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = TheirKMeans(**options).fit(rows, sample_weight=weights)
        for kernel in ("auto", "cpp"):
            ours = KMeans(**options, kernel=kernel).fit(rows, sample_weight=weights)
            same(ours, theirs, rows)
            if seed % 5:
                np.testing.assert_array_equal(ours.labels_, theirs.labels_)


def test_the_other_methods_give_what_theirs_give():
    start = X[:6].copy()
    ours, theirs = (it(6, init=start, n_init=1).fit(X) for it in (KMeans, TheirKMeans))
    new, _ = make_blobs(50, n_features=3, centers=6, random_state=2)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    np.testing.assert_allclose(ours.transform(new), theirs.transform(new))
    assert ours.score(new) == pytest.approx(theirs.score(new))
    weights = np.arange(50.0)
    assert ours.score(new, sample_weight=weights) == pytest.approx(
        theirs.score(new, sample_weight=weights)
    )
    assert list(ours.get_feature_names_out()) == [f"kmeans{j}" for j in range(6)]
    np.testing.assert_array_equal(ours.fit_predict(X), theirs.fit_predict(X))


def test_predict_is_exact_far_from_the_origin(kernel_name):
    far = X + 1e8
    fitted = KMeans(6, init=far[:6].copy(), kernel=kernel_name).fit(far)
    np.testing.assert_array_equal(fitted.predict(far), fitted.labels_)


def test_it_works_in_company():
    pipe = make_pipeline(StandardScaler(), KMeans(4, random_state=0))
    assert pipe.fit_predict(X).shape == (400,)
    search = GridSearchCV(KMeans(random_state=0), {"n_clusters": [2, 6]}, n_jobs=2, cv=3).fit(X)
    get_reusable_executor().shutdown(wait=True)  # or its processes outlive this test
    assert search.best_params_ == {"n_clusters": 6}
    assert clone(KMeans(3, kernel="cpp", n_threads=2)).get_params()["kernel"] == "cpp"


def test_a_frame_gives_its_names():
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    fitted = KMeans(3, random_state=0).fit(frame)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[["c", "b", "a"]])


def test_a_pickle_of_another_release_says_so(monkeypatch):
    fitted = KMeans(3, random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.labels_)
    monkeypatch.setattr("kmeans_lab.estimators.base.release", lambda: "9.9")
    old = pickle.dumps(fitted)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match=r"pickled by kmeans_lab 9\.9 and is read by 0"):
        pickle.loads(old)


def test_the_same_fit_with_any_number_of_threads():
    fits = [KMeans(6, random_state=3, n_threads=n).fit(X) for n in (1, 2, 3)]
    assert len({it.cluster_centers_.tobytes() for it in fits}) == 1
    assert fits[0].labels_.dtype == np.int32
    assert KMeans(6, random_state=3).fit(X.astype("f4")).cluster_centers_.dtype == np.float32


def test_threads_by_default_are_the_cores_or_what_openmp_is_held_to():
    with threadpool_limits(1):
        assert usual_threads() == 1
    code = "from kmeans_lab.estimators.kmeans import usual_threads; print(usual_threads())"
    for said, threads in (("1", 1), ("9999", available_cores())):
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": said},
        )
        assert int(run.stdout) == threads


def test_the_random_state_is_left_alone_where_nothing_is_drawn():
    state = np.random.RandomState(0)
    KMeans(5, init=X[:5].copy(), random_state=state).fit(X)
    assert state.randint(1000) == np.random.RandomState(0).randint(1000)
    KMeans(5, random_state=state).fit(X)
    assert state.randint(1000) != np.random.RandomState(0).randint(1000, size=2)[1]


def test_a_start_of_ones_own_is_called_as_scikit_learn_calls_it():
    def start(rows, n_clusters, random_state):
        rows *= 1.0  # a copy of its own
        return rows[random_state.permutation(len(rows))[:n_clusters]]

    far = X + 50.0
    fits = [
        it(6, init=start, random_state=3, n_init=2, tol=0).fit(far) for it in (KMeans, TheirKMeans)
    ]
    same(*fits, far)


def test_dtypes_mix_as_they_do_there():
    wide, narrow = KMeans(4, random_state=0).fit(X), KMeans(4, random_state=0).fit(X.astype("f4"))
    assert narrow.transform(X).dtype == np.float64
    assert narrow.transform(X.astype("f4")).dtype == np.float32
    for fitted in (wide, narrow):
        np.testing.assert_array_equal(fitted.predict(X), fitted.predict(X.astype("f4")))


def test_weights_that_are_alike_change_nothing_but_the_inertia():
    plain = KMeans(6, random_state=0).fit(X)
    double = KMeans(6, random_state=0).fit(X, sample_weight=np.full(len(X), 2.0))
    np.testing.assert_array_equal(plain.labels_, double.labels_)
    assert double.inertia_ == pytest.approx(2 * plain.inertia_)


def test_a_star_import_needs_no_scikit_learn():
    assert "KMeans" not in kmeans_lab.__all__


def test_an_unknown_kernel_is_refused_by_the_choices():
    with pytest.raises(ValueError, match="kernel='gpu' is not known; choose one of python"):
        KMeans(2, kernel="gpu").fit(X)
    fitted = KMeans(2, random_state=0).fit(X).set_params(kernel="gpu")
    for verb in ("predict", "score", "transform"):
        with pytest.raises(ValueError, match="kernel='gpu' is not known"):
            getattr(fitted, verb)(X)


@pytest.mark.parametrize("missing", ["KMeans", "MiniBatchKMeans"])
def test_without_scikit_learn_the_name_says_what_to_install(monkeypatch, missing):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for name in ("kmeans", "base", "minibatch"):
        monkeypatch.delitem(sys.modules, f"kmeans_lab.estimators.{name}", raising=False)
    why = rf"kmeans_lab\.{missing} needs .* type pip install 'kmeans-lab\[sklearn\]'"
    with pytest.raises(ModuleNotFoundError, match=why):
        getattr(kmeans_lab, missing)
