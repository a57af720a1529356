"""A callback, init function or stop rule that forks: the parent's fit is as ever, the child's ends.

In the child, that is, which may end inside the function, and may call kmeans anew.
"""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.stopping import Equal
from tests.support.helpers import cloud

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]

X = cloud(seed=1, n_samples=9000, n_features=3)
WAYS = [
    ("cpp", "serial", None),
    ("cpp", "threads", 2),
    ("cpp", "processes", 2),
    ("numpy", "threads", 2),
    pytest.param("numpy", "processes", 2, marks=pytest.mark.slow),
    ("numba-tiled", "serial", 2),
    ("cython-tiled", "serial", 2),
    ("cpp-simd", "serial", 2),
]
IN_THE_CHILD = "was forked inside a callback, init function, stop rule or kernel of a fit"


class Forking:
    """Forks once, when it is called for the ``at``-th time, and lets the child do something."""

    def __init__(self, at=1, then=lambda: None):
        self.at, self.then, self.parent, self.child = at, then, os.getpid(), None

    def __call__(self):
        self.at -= 1
        if self.at == 0:
            self.child = os.fork()
            if self.child == 0:
                self.then()

    def run(self, fit):
        """Return what the fit returns, and how the child has ended: 0 where the fit refused it."""
        try:
            found, status = fit(), 4  # of a child that has gone on
        except BaseException as error:
            if os.getpid() == self.parent:
                raise
            status = 0 if isinstance(error, RuntimeError) and IN_THE_CHILD in str(error) else 3
        if os.getpid() != self.parent:
            os._exit(status)
        return found, self.wait()

    def wait(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        return "hangs"


def fit(kernel, mode, n_threads, **options):
    fixed = {"init": "first", "stop": "max-iter", "max_iter": 5}
    return kmeans(X, 5, kernel=kernel, mode=mode, n_threads=n_threads, **fixed | options)


class Rule(Equal):
    def __init__(self, fork):
        object.__setattr__(self, "fork", fork)
        super().__init__()

    def fired(self, step):
        self.fork()
        return False


PLACES = {
    "callback": lambda fork: {"callback": lambda seen: fork()},
    "stop": lambda fork: {"stop": Rule(fork)},
    "init": lambda fork: {"init": lambda rows, k, rng: fork() or rows[:k]},
}


@pytest.mark.parametrize(("kernel", "mode", "n_threads"), WAYS)
def test_a_child_that_returns_into_the_fit_is_refused(kernel, mode, n_threads):
    """With worker processes, which take a second to start, from one place; else from three."""
    expected = fit(kernel, mode, n_threads)
    for place in ("callback",) if mode == "processes" else PLACES:
        options = PLACES[place]
        fork = Forking(at=1 if place == "init" else 3)
        found, status = fork.run(lambda: fit(kernel, mode, n_threads, **options(fork)))  # noqa: B023
        assert status == 0, place
        assert found.labels.tobytes() == expected.labels.tobytes(), place
        assert found.centers.tobytes() == expected.centers.tobytes(), place
        assert found.n_iter == expected.n_iter, place


@pytest.mark.parametrize(("kernel", "mode"), [("numpy", "threads"), ("cpp", "processes")])
def test_a_child_may_fit_anew_and_exit_there(kernel, mode):
    expected = fit(kernel, mode, 2)

    def then():
        same = fit(kernel, "threads", 2).labels.tobytes() == expected.labels.tobytes()
        # Those that are left, multiprocessing would end when the child exits.
        os._exit(0 if same and not multiprocessing.active_children() else 5)

    fork = Forking(at=2, then=then)
    found, status = fork.run(lambda: fit(kernel, mode, 2, callback=lambda seen: fork()))
    assert status == 0
    assert found.centers.tobytes() == expected.centers.tobytes()


class Told:
    """A callback of scikit-learn that forks."""

    def __init__(self, fork):
        self.fork = fork

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.fork()

    def on_fit_task_end(self, estimator, context):
        self.fork()

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize("at", [1, 3, 4])  # the fit, a repetition and an iteration
def test_a_callback_of_scikit_learn_that_forks(at):
    def estimator():
        return KMeans(3, n_init=2, max_iter=3, random_state=0)

    rows = X[:600]
    expected = estimator().fit(rows)
    fork = Forking(at)
    found, status = fork.run(lambda: estimator().set_callbacks(Told(fork)).fit(rows))
    assert status == 0
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_an_estimator_whose_init_forks(estimator):
    rows, options = X[:600], {"n_init": 1, "random_state": 0}
    expected = estimator(3, init=lambda X, k, random_state: X[:k], **options).fit(rows)
    fork = Forking()
    forked = estimator(3, init=lambda X, k, random_state: fork() or X[:k], **options)
    found, status = fork.run(lambda: forked.fit(rows))
    assert status == 0
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
