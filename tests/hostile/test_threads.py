"""Threads of a fit: what becomes of them when they cannot start, fail, or are interrupted."""

import dis
import gc
import importlib
import multiprocessing
import os
import sys
import time
import weakref
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import kmeans
from kmeans_lab.crews import helpers
from tests.support.helpers import FIVE_CHUNKS, cloud, require_ready, some_rows

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc/self"),
]

X = cloud(seed=0, n_samples=FIVE_CHUNKS, n_features=3)
START = some_rows(X, 5)

#: Whose threads are Python's: those of two kernels, and the driver's.
WAYS = {"numba-tiled": "serial", "cython-tiled": "serial", "cpp": "threads", "numpy": "threads"}


def fit(kernel, n_threads=4, rows=X, max_iter=3):
    options = {"init": START, "max_iter": max_iter, "mode": WAYS.get(kernel, "serial")}
    return kmeans(rows, 5, kernel=kernel, n_threads=n_threads, **options)


def tasks():
    return len(os.listdir("/proc/self/task"))


def at_rest():
    """Return the number of threads when none is ending: those of earlier tests may be."""
    gc.collect()
    found = 0
    while found != (found := tasks()):
        time.sleep(0.02)
    return found


def settled(expected):
    """Return the number of threads when it is the expected one, or after a while."""
    for _ in range(400):
        if tasks() <= expected:
            break
        time.sleep(0.01)
    return tasks()


@pytest.mark.kernels(*WAYS)
@pytest.mark.parametrize("started", [0, 1])
def test_fewer_threads_share_the_work(kernel_name, started, monkeypatch):
    expected, left = fit(kernel_name), [started]

    def start(*arguments):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        return real(*arguments)

    real = helpers.start_new_thread
    before = at_rest()
    monkeypatch.setattr(helpers, "start_new_thread", start)
    with pytest.warns(RuntimeWarning, match=f"started {started} of 3 helper threads") as said:
        result = fit(kernel_name)
    assert len(said) == 1
    assert said[0].filename == __file__  # the caller's line, not the library's
    assert result.centers.tobytes() == expected.centers.tobytes()
    assert result.labels.tobytes() == expected.labels.tobytes()
    assert settled(before) <= before


def no_room(*_):
    raise OSError(12, "Cannot allocate memory")


@pytest.mark.kernels(*WAYS)
def test_a_thread_is_not_started_without_room_for_what_it_allocates(kernel_name, monkeypatch):
    expected, before = fit(kernel_name), at_rest()
    monkeypatch.setattr(helpers, "mmap", no_room)
    with pytest.warns(RuntimeWarning, match="started 0 of 3 helper threads"):
        result = fit(kernel_name)
    assert result.centers.tobytes() == expected.centers.tobytes()
    assert tasks() == before


@pytest.mark.kernels("numba")
@pytest.mark.parametrize("cached", [True, False])
def test_numbas_code_is_not_loaded_without_room(kernel_name, cached, monkeypatch):
    jit = importlib.import_module("kmeans_lab.tuned.numba_jit")
    require_ready(kernel_name)
    if not cached:
        monkeypatch.setattr(jit, "_Cache", no_locator)
    function = jit.jit()(add_one)
    with monkeypatch.context() as patch:
        patch.setattr(helpers, "mmap", no_room)
        with pytest.raises(MemoryError, match=r"^Numba's compiled code needs 16 MiB, which"):
            function(1)
    monkeypatch.setattr(jit, "_said", True)
    assert function(1) == 2


def add_one(x):
    return x + 1


def no_locator(function):
    raise RuntimeError("no locator available")


@pytest.mark.kernels("numba-tiled", "cython-tiled")
def test_a_long_pass_without_a_thread_to_leave_it_to(kernel_name, monkeypatch):
    def start(*_):
        raise RuntimeError("can't start new thread")

    expected = fit(kernel_name)
    monkeypatch.setattr("kmeans_lab.tuned.rows.LONG", 1)
    monkeypatch.setattr(helpers, "start_new_thread", start)
    with pytest.warns(RuntimeWarning, match="started 0 of 2 helper threads"):
        result = fit(kernel_name, 2)
    assert result.centers.tobytes() == expected.centers.tobytes()


@pytest.mark.kernels(*WAYS)
@pytest.mark.parametrize("long", [False, True])
def test_what_a_helper_raises_reaches_the_caller(kernel_name, long, monkeypatch):
    class OutOfMemory(MemoryError):
        pass

    def serve(self):
        self.help = raising
        real(self)

    def raising(seen):
        raise OutOfMemory

    expected = fit(kernel_name).labels.tobytes()
    before, real = at_rest(), helpers.Helpers._serve
    if long and WAYS[kernel_name] == "serial":
        monkeypatch.setattr("kmeans_lab.tuned.rows.LONG", 1)
    monkeypatch.setattr(helpers.Helpers, "_serve", serve)
    with pytest.raises(OutOfMemory):
        fit_until_helped(kernel_name)
    monkeypatch.undo()
    assert settled(before) <= before
    assert fit(kernel_name).labels.tobytes() == expected


def fit_until_helped(kernel_name):
    """Fit again and again: a helper may start when a short fit is over."""
    for _ in range(200):
        fit(kernel_name, max_iter=300)


class Late(Exception):
    """What a signal's handler raises."""


HANDLING = (
    "crews/helpers.py",
    "crews/threads.py",
    "tuned/cython.py",
    "tuned/numba.py",
    "tuned/rows.py",
)
#: After these instructions CPython looks whether a signal came, and calls its handler.
LOOKS = {"RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD"}


def interrupted(call, turn):
    """Raise Late where the code that handles threads looks for signals for the turn-th time.

    Says whether it came to that.
    """
    files = {str(Path(kmeans_lab.__file__).parent / name) for name in HANDLING}
    left, codes, last = [turn], {}, {}

    def trace(frame, event, _):
        if frame.f_code.co_filename not in files or left[0] < 0:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if frame.f_code not in codes:
                codes[frame.f_code] = frame.f_code.co_code
            looks = last.get(id(frame)) in LOOKS
            last[id(frame)] = dis.opname[codes[frame.f_code][frame.f_lasti]]
            left[0] -= looks
            if left[0] < 0:
                raise Late
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Late:
        pass
    finally:
        sys.settrace(before)
    return left[0] < 0


def interrupt_everywhere(name):
    rows = X[:3000] if WAYS[name] == "serial" else X
    expected = fit(name, 3, rows, 2).labels.tobytes()
    before, turn, came = at_rest(), 0, True
    while came:
        came = interrupted(lambda: fit(name, 3, rows, 2), turn)
        turn += 1
    assert turn > 20
    assert settled(before) <= before
    assert fit(name, 3, rows, 2).labels.tobytes() == expected


@pytest.mark.kernels("cython-tiled", "numba-tiled", "cpp")
def test_an_interrupt_at_any_moment_leaves_nothing_behind(kernel_name):
    interrupt_everywhere(kernel_name)


@pytest.mark.kernels("cython-tiled", "numba-tiled")
def test_an_interrupt_of_a_long_pass_leaves_nothing_behind(kernel_name, monkeypatch):
    monkeypatch.setattr("kmeans_lab.tuned.rows.LONG", 1)
    interrupt_everywhere(kernel_name)


@pytest.mark.kernels("cython-tiled", "numba-tiled")
def test_threads_end_with_the_rows_that_they_serve(kernel):
    before = at_rest()
    rows = kernel.prepare(X, 5, 3)
    kernel.assign_update(
        rows, START, np.full(len(X), -1, np.int32), np.zeros((5, 3)), np.zeros(5, int)
    )
    assert settled(before + 2) == before + 2
    gone = weakref.ref(rows)
    del rows
    gc.collect()
    assert gone() is None
    assert settled(before) <= before


@pytest.mark.kernels("cython-tiled", "numba-tiled")
def test_rows_whose_threads_were_ended_may_be_used_again(kernel):
    before, rows, found = at_rest(), kernel.prepare(X, 5, 3), []
    for _ in range(2):
        labels = np.full(len(X), -1, np.int32)
        kernel.assign_update(rows, START, labels, np.zeros((5, 3)), np.zeros(5, int))
        found.append(labels.tobytes())
        rows.close()
        assert settled(before) <= before
    assert found[0] == found[1]


def test_a_worker_process_that_cannot_start(monkeypatch):
    def start(process):
        if process.name.endswith("2"):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(process)

    real = SpawnProcess._Popen
    monkeypatch.setattr(SpawnProcess, "_Popen", staticmethod(start))
    with pytest.raises(RuntimeError, match=r"worker process 2 of 3 \(.* unavailable\); ask for"):
        kmeans(X, 5, kernel="cpp", mode="processes", n_threads=3)
    assert not multiprocessing.active_children()
