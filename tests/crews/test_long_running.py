"""A long-running process: many fits, many threads, forks; nothing is left behind."""

import gc
import multiprocessing
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.registry import find_spec
from tests.support.helpers import cloud, some_rows

X = cloud(seed=3, n_samples=600, n_features=3)
START = some_rows(X, 5)


def fit(name, n_threads=None):
    own = find_spec(name).threading == "own"
    return kmeans(X, 5, kernel=name, init=START, n_threads=(n_threads or 2) if own else None)


def test_eight_threads_fit_at_once(kernel_name):
    expected = fit(kernel_name)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: fit(kernel_name), range(16)))
    for result in results:
        assert result.centers.tobytes() == expected.centers.tobytes()
        assert result.labels.tobytes() == expected.labels.tobytes()


def in_child(name, expected, queue):
    queue.put(fit(name).centers.tobytes() == expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_that_was_forked_after_a_fit_fits(kernel_name):
    expected = fit(kernel_name).centers.tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(kernel_name, expected, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() is True
    child.close()
    queue.close()


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
@pytest.mark.slow_for("python", "numpy-broadcast", "numba", "cython", "numba-tiled")
def test_hundreds_of_fits_leave_nothing_behind(kernel_name):
    n_fits = 50 if find_spec(kernel_name).threading == "gil" else 600
    rows, start = cloud(seed=4, n_samples=4000, n_features=3), START
    own = find_spec(kernel_name).threading == "own"
    options = {"kernel": kernel_name, "init": start, "max_iter": 1, "n_threads": 2 if own else None}
    for _ in range(10):
        kmeans(rows, 5, **options)
    gc.collect()
    files, before = len(os.listdir("/proc/self/fd")), resident()
    tasks = len(os.listdir("/proc/self/task"))
    for _ in range(n_fits):
        kmeans(rows, 5, **options)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == files
    time.sleep(0.01)  # a thread that has left is there a moment longer
    assert len(os.listdir("/proc/self/task")) <= tasks
    assert resident() - before < 5 * 2**20  # the labels of all fits would be 9


def test_labels_of_a_fit_outlive_the_next_ones(kernel_name):
    first = fit(kernel_name)
    labels, kept = first.labels, first.labels.copy()
    for _ in range(3):
        kmeans(X + 1.0, 5, kernel=kernel_name, init=START[::-1].copy())
    np.testing.assert_array_equal(labels, kept)
