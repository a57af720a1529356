"""What scikit-learn's callbacks are told of a fit of ``kmeans_lab.KMeans``."""

import subprocess
import sys

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kmeans_lab import KMeans

X, truth = make_blobs(600, n_features=3, centers=9, random_state=1, cluster_std=3.0)
X += 50.0


class Recorder:
    """Writes down what it is told, and says stop at the ends of the tasks named in stop_at."""

    def __init__(self, *stop_at):
        self.told, self.stop_at, self.fitted, self.data = [], stop_at, {}, []

    def setup(self, estimator, context):
        self.told.append("setup")

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.told.append(("begin", *place(context)))
        self.fitted[self.told[-1]] = fitted_estimator

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.told.append(("end", *place(context)))
        self.fitted[self.told[-1]] = fitted_estimator
        self.data.append((X, y, metadata))
        return place(context) in self.stop_at

    def teardown(self, estimator, context):
        self.told.append("teardown")


class Simple(Recorder):
    """Asks for nothing."""

    def on_fit_task_begin(self, estimator, context):
        super().on_fit_task_begin(estimator, context)

    def on_fit_task_end(self, estimator, context):
        return super().on_fit_task_end(estimator, context)


def place(context):
    """Return a task's name and number, after those of the tasks that it is in."""
    return (*(place(context.parent) if context.parent else ()), context.task_name, context.task_id)


def as_it_should_be(repetitions):
    """Return what a recorder is told of repetitions with these numbers of iterations."""
    root, told = ("fit", 0), ["setup", ("begin", "fit", 0)]
    for number, iterations in enumerate(repetitions):
        here = root if len(repetitions) == 1 else (*root, "repetition", number)
        told += [("begin", *here)] * (here != root)
        for i in range(iterations):
            told += [(what, *here, "iteration", i) for what in ("begin", "end")]
        told += [("end", *here)] * (here != root)
    return [*told, ("end", *root), "teardown"]


@pytest.mark.parametrize("kernel", ["numpy", "cpp", "cpp-simd"])
@pytest.mark.parametrize("options", [{}, {"max_iter": 3}, {"tol": 0.0}, {"init": X[:5].copy()}])
def test_each_iteration_is_a_task_and_the_fit_is_as_without(options, kernel):
    for recorder in (Recorder(), Simple()):
        plain = KMeans(5, random_state=0, kernel=kernel, **options)
        told = clone(plain).set_callbacks(recorder).fit(X)
        plain.fit(X)
        assert recorder.told == as_it_should_be([plain.n_iter_])
        assert told.cluster_centers_.tobytes() == plain.cluster_centers_.tobytes()
        assert (told.inertia_, told.n_iter_) == (plain.inertia_, plain.n_iter_)
        np.testing.assert_array_equal(told.labels_, plain.labels_)


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_each_repetition_is_a_task_with_the_same_starts_as_without(init):
    recorder, options = Recorder(), {"n_init": 4, "init": init, "random_state": 3, "max_iter": 40}
    told = KMeans(9, **options).set_callbacks(recorder).fit(X)
    plain = KMeans(9, **options).fit(X)
    assert told.cluster_centers_.tobytes() == plain.cluster_centers_.tobytes()
    ends = {it[4]: it[-1] + 1 for it in recorder.told if it[0] == "end" and "iteration" in it}
    assert recorder.told == as_it_should_be([ends[number] for number in range(4)])
    inertias = [recorder.fitted["end", "fit", 0, "repetition", i].inertia_ for i in range(4)]
    assert min(inertias) == plain.inertia_
    assert len(set(inertias)) > 1


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 3.0, len(X))])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_a_fitted_estimator_is_what_the_fit_would_be_if_it_stopped_there(kind, weights):
    rows = X.astype(kind)
    for iteration in (0, 2, 4):
        recorder = Recorder(("fit", 0, "iteration", iteration))
        final = KMeans(9, random_state=0, tol=0).set_callbacks(recorder)
        final.fit(rows, sample_weight=weights)
        assert recorder.told == as_it_should_be([iteration + 1])
        there = recorder.fitted["end", "fit", 0, "iteration", iteration]
        assert there.cluster_centers_.tobytes() == final.cluster_centers_.tobytes()
        assert there.cluster_centers_.dtype == kind
        np.testing.assert_array_equal(there.labels_, final.labels_)
        np.testing.assert_array_equal(there.predict(rows), final.labels_)
        assert there.inertia_ == pytest.approx(final.inertia_)
        assert there.n_iter_ == final.n_iter_ == iteration + 1
        assert there.transform(rows).shape == (len(X), 9)
        assert list(there.get_feature_names_out()) == [f"kmeans{j}" for j in range(9)]
        if iteration:
            before = recorder.fitted["end", "fit", 0, "iteration", iteration - 1]
            begun = recorder.fitted["begin", "fit", 0, "iteration", iteration]
            np.testing.assert_array_equal(before.cluster_centers_, begun.cluster_centers_)
    assert recorder.fitted["begin", "fit", 0, "iteration", 0] is None
    assert all(
        np.array_equal(x, rows)
        and y is None
        and (m is weights if weights is None else np.array_equal(m["sample_weight"], weights))
        for x, y, m in recorder.data
    )


def test_a_stop_after_a_repetition_ends_the_fit():
    recorder = Recorder(("fit", 0, "repetition", 1))
    options = {"random_state": 0, "init": "random", "max_iter": 5, "tol": 0}
    told = KMeans(9, n_init=8, **options).set_callbacks(recorder).fit(X)
    assert recorder.told == as_it_should_be([5, 5])
    assert told.inertia_ == KMeans(9, n_init=2, **options).fit(X).inertia_


@pytest.mark.parametrize("hook", ["on_fit_task_begin", "on_fit_task_end"])
def test_an_error_in_a_callback_is_raised_and_tears_down(hook):
    class Failing(Simple):
        pass

    def fail(self, estimator, context):
        if context.task_name == "iteration":
            raise OSError("disk full")

    setattr(Failing, hook, fail)
    recorder = Failing()
    estimator = KMeans(5, random_state=0).set_callbacks(recorder)
    with pytest.raises(OSError, match="disk full"):
        estimator.fit(X)
    assert recorder.told[-1] == "teardown"
    estimator.set_callbacks().fit(X)


def test_an_error_of_the_fit_tears_down():
    recorder = Simple()
    estimator = KMeans(5, kernel="gpu").set_callbacks(recorder)
    with pytest.raises(ValueError, match="kernel='gpu'"):
        estimator.fit(X)
    assert recorder.told[-1] == "teardown"


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 3.0, len(X))])
def test_scikit_learns_monitor_sees_the_inertia_fall(weights):
    def score(estimator, X, y, sample_weight=None):
        return {"score": estimator.score(X, y, sample_weight)}

    monitor = ScoringMonitor(scoring=score)
    fitted = KMeans(9, random_state=0).set_callbacks(monitor).fit(X, truth, weights)
    scores = [it["score"] for it in monitor.get_logs().data if it["task_name"] == "iteration"]
    assert len(scores) == fitted.n_iter_
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(-fitted.inertia_)


@pytest.mark.filterwarnings("ignore:.*does not support callbacks")
def test_a_progress_bar_over_a_pipeline_and_a_search(capsys):
    for estimator in (
        make_pipeline(StandardScaler(), KMeans(5, n_init=2, random_state=0)),
        GridSearchCV(KMeans(random_state=0), {"n_clusters": [2, 6]}, n_jobs=2, cv=3),
    ):
        estimator.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
        assert "KMeans" in capsys.readouterr().out
    get_reusable_executor().shutdown(wait=True)  # or its processes outlive this test


def test_every_kernel_tells(kernel_name):
    recorder = Simple()
    fit = KMeans(3, kernel=kernel_name, max_iter=2, tol=0, init=X[:3]).set_callbacks(recorder).fit
    fit(X[:50])
    assert recorder.told == as_it_should_be([2])


def test_a_scikit_learn_without_callbacks_is_enough():
    code = (
        "import sklearn.callback, sklearn.cluster; del sklearn.callback.CallbackSupportMixin; "
        "from kmeans_lab import KMeans; "
        "print(hasattr(KMeans, 'set_callbacks'), KMeans(2).fit([[0.0], [1.0]]).inertia_)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False 0.0"
