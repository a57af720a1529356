"""What is shared: prepared rows by threads, arrays by the loop and the functions that see them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.stopping import Shift
from tests.support.helpers import assert_same_fit, cloud, prepared

pytestmark = pytest.mark.hostile

X = cloud(seed=2, n_samples=3000, n_features=4)
N_THREADS = 8


def answer(kernel, rows, centers, labels):
    """Return what the functions of a kernel say of these centers."""
    sums, counts = np.zeros(centers.shape), np.zeros(len(centers), dtype=np.int64)
    fused = getattr(kernel, "assign_update", None)
    if fused is None:
        kernel.assign(rows, centers, labels)
        kernel.update(rows, labels, sums, counts)
    else:
        fused(rows, centers, labels, sums, counts)
    again = np.empty_like(labels)
    inertia = kernel.assign(rows, centers, again)
    return labels.copy(), again, counts, np.round(sums, 6), round(inertia, 6)


@pytest.mark.slow_for("python")
def test_eight_threads_share_prepared_rows(kernel, kernel_name):
    n_samples = 150 if kernel_name == "python" else len(X)
    few = X[:n_samples]
    rows = prepared(kernel, few, 20)
    starts = [few[i :: n_samples // 20][:20].copy() for i in range(N_THREADS)]
    alone = [
        answer(kernel, prepared(kernel, few, 20), start, np.full(n_samples, -1, np.int32))
        for start in starts
    ]
    together = threading.Barrier(N_THREADS)

    def work(i):
        together.wait(30)
        found = []
        for _ in range(1 if kernel_name == "python" else 12):
            labels = np.full(n_samples, -1, np.int32)
            found.append(answer(kernel, rows, starts[i], labels))
        return found

    with ThreadPoolExecutor(N_THREADS) as pool:
        for i, found in enumerate(pool.map(work, range(N_THREADS))):
            for answers in found:
                for one, other in zip(answers, alone[i], strict=True):
                    np.testing.assert_array_equal(one, other)


def spoil(*arrays):
    for array in arrays:
        try:
            array[...] = -7
        except ValueError:  # read-only is an answer, too
            assert not array.flags.writeable


class Spoiling(Shift):
    def fired(self, step):
        verdict = super().fired(step)
        spoil(step.old, step.new)
        return verdict


@pytest.mark.parametrize("mode", ["serial", "threads"])
def test_functions_that_write_into_what_they_are_given_change_nothing(mode):
    options = {"kernel": "cpp", "mode": mode, "history": True, "max_iter": 9}
    expected = kmeans(X, 5, init=lambda rows, k, rng: rows[:k], **options)
    kept, start = [], X[:5].copy()

    def callback(seen):
        spoil(seen.centers, seen.labels)
        kept.append(seen)

    def init(rows, k, rng):
        spoil(rows)
        return start

    found = kmeans(X, 5, init=init, callback=callback, stop=Spoiling(), **options)
    assert_same_fit(found, expected)
    for mine, theirs in zip(found.history, expected.history, strict=True):
        np.testing.assert_array_equal(mine.centers, theirs.centers)
    np.testing.assert_array_equal(start, X[:5])
    assert all((seen.centers == -7).all() for seen in kept)  # nor does the loop write there


class Told:
    """A callback of scikit-learn that writes into all it is told."""

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, fitted_estimator=None):
        self.spoil(X, fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, X=None, metadata=None, fitted_estimator=None):
        self.spoil(X, fitted_estimator)
        spoil(*(metadata or {}).values())

    def teardown(self, estimator, context):
        pass

    def spoil(self, X, model):
        spoil(X)
        if hasattr(model, "cluster_centers_"):
            spoil(model.cluster_centers_, model.labels_)


@pytest.mark.parametrize("n_init", [1, 3])
def test_callbacks_of_scikit_learn_that_write_change_nothing(n_init):
    rows, weights = X[:400].copy(), np.arange(1.0, 401)
    expected = KMeans(4, n_init=n_init, random_state=0).fit(rows, sample_weight=weights)
    told = KMeans(4, n_init=n_init, random_state=0).set_callbacks(Told())
    found = told.fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(rows, X[:400])
    np.testing.assert_array_equal(weights, np.arange(1.0, 401))


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_an_init_function_that_writes_changes_nothing(estimator):
    rows, options = X[:400].copy(), {"n_init": 2, "random_state": 0}
    start = rows[:4].copy()
    expected = estimator(4, init=lambda rows, k, random_state: start, **options).fit(rows)

    def init(rows, k, random_state):
        spoil(rows)
        return start

    found = estimator(4, init=init, **options).fit(rows)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(rows, X[:400])
    np.testing.assert_array_equal(start, X[:4])
