"""Worker processes: whatever ends a fit, no process and no shared memory stays behind."""

import itertools
import multiprocessing
import os
import shutil
import signal
import threading
import time
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab.crews import processes
from kmeans_lab.crews.layout import Layout
from tests.support.helpers import assert_same_fit
from tests.support.process_fits import START, fit, is_gone


def test_a_fit_leaves_nothing_behind(left_behind):
    pids = []

    def callback(seen):
        pids.extend(child.pid for child in multiprocessing.active_children())
        assert is_gone(left_behind[0])  # all have mapped it: no kill can leave it behind

    fit(callback=callback, max_iter=1)
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_work_is_done_in_the_workers_and_timed_there():
    result = fit()
    assert result.seconds["assign"] > 0
    assert result.seconds["update"] > 0
    assert result.labels.flags.owndata  # not a view of shared memory that is gone
    assert result.centers.flags.owndata


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("n_iter", [1, 3])
def test_a_killed_worker_ends_the_fit_at_once_and_the_next_fit_works(left_behind, victim, n_iter):
    def callback(seen):
        if seen.n_iter == n_iter:
            children = sorted(multiprocessing.active_children(), key=lambda child: child.pid)
            os.kill(children[victim].pid, signal.SIGKILL)

    start = time.perf_counter()
    with pytest.raises(RuntimeError, match=r"worker process [12] of 2 was killed by signal 9"):
        fit(callback=callback)
    assert time.perf_counter() - start < 10
    assert all(is_gone(name) for name in left_behind)
    assert_same_fit(fit(), fit(mode="serial", n_threads=None))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize(
    "seconds",
    [0, 0.1, 0.3, 0.6, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.05, 0.2, 0.4, 1.0))],
)
@pytest.mark.usefixtures("left_behind")
def test_a_worker_killed_at_any_moment(seconds):
    """While it starts, imports, prepares or computes: one error, and nothing is left."""

    def kill():
        while not (children := multiprocessing.active_children()):
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(children[-1].pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    start = time.perf_counter()
    with pytest.raises(RuntimeError, match=r"worker process [12] of 2 was killed by signal 9"):
        fit(stop="max-iter", max_iter=10**9)
    thread.join()
    assert time.perf_counter() - start < 10
    assert multiprocessing.active_children() == []
    assert fit(max_iter=2).n_iter == 2


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_callback_ends_the_workers(left_behind, error):
    def callback(seen):
        raise error("stop here")

    with pytest.raises(error, match="stop here"):
        fit(callback=callback)


def test_an_error_between_the_steps_ends_the_workers(left_behind):
    start = START.copy()
    start[2] = 1e6
    with pytest.raises(ValueError, match="cluster 2 owns no row"):
        fit(init=start, empty="error")


def test_a_start_that_is_refused_ends_the_workers(left_behind):
    with pytest.raises(ValueError, match="must have shape"):
        fit(init=lambda X, n_clusters, rng: X[:1])


def test_a_worker_that_cannot_start_leaves_nothing_behind(monkeypatch):
    real = multiprocessing.get_context("spawn")
    started = []

    def process(**arguments):
        if started:
            raise OSError("no more processes")
        started.append(real.Process(**arguments))
        return started[0]

    context = SimpleNamespace(Pipe=real.Pipe, Process=process)
    monkeypatch.setattr(processes, "get_context", lambda method: context)
    monkeypatch.setattr(SharedMemory, "__init__", None)  # processes come first: no block yet
    with pytest.raises(OSError, match="no more processes"):
        fit()
    assert started
    assert multiprocessing.active_children() == []


def test_shared_memory_that_does_not_fit_is_refused_before_it_is_touched(monkeypatch):
    full = SimpleNamespace(total=2**30, used=2**30 - 4096, free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    monkeypatch.setattr(SharedMemory, "__init__", None)
    with pytest.raises(MemoryError, match=r"needs \d+ MiB of shared memory.*use mode='threads'"):
        fit()


def test_where_shared_memory_has_no_folder_the_system_refuses_by_itself(monkeypatch):
    def disk_usage(folder):
        raise FileNotFoundError(folder)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert fit(max_iter=1).n_iter == 1


def test_the_layout_of_the_block_has_no_overlaps():
    for dtype in ("float32", "float64"):
        layout = Layout.of(np.zeros((37, 5), dtype), n_clusters=3, n_chunks=2)
        ranges = sorted(
            (offset, offset + int(np.prod(shape)) * np.dtype(kind).itemsize)
            for shape, kind, offset in layout.arrays.values()
        )
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(ranges))
        assert ranges[-1][1] <= layout.size
        assert all(first % 64 == 0 for first, _ in ranges)
