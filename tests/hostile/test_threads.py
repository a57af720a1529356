"""Threads of a fit: what becomes of them when they cannot start, fail, or are interrupted."""

import dis
import gc
import importlib
import multiprocessing
import os
import subprocess
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


def run(script, *arguments, **environment):
    """Run a script in a process of its own, with variables beside ours; return what it printed."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    variables = {**os.environ, **environment}
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables)
    assert child.returncode == 0, (child.returncode, child.stderr[-2000:])
    return child.stdout.split()


LIMITED = """
import os, resource, sys, threading, time, warnings
import numpy as np
from kmeans_lab import kmeans
from kmeans_lab.dbscan import dbscan

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def limited(room, call):
    "Call a function with so many MiB to spare; return its name for what it raises."
    resource.setrlimit(resource.RLIMIT_AS, (size() + int(room * 2**20), hard))
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = call()
    except (MemoryError, RuntimeError) as error:
        return type(error).__name__, []
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    return result, said

soft, hard = resource.getrlimit(resource.RLIMIT_AS)
tasks = lambda: len(os.listdir("/proc/self/task"))

def settled(expected):
    "Tell whether only so many threads are there: one that was joined may end a moment later."
    end = time.monotonic() + 5
    while tasks() != expected and time.monotonic() < end:
        time.sleep(0.005)
    return tasks() == expected
"""

FEWER = (
    LIMITED
    + """
X = np.random.default_rng(0).normal(size=(20_000, 4))
options = {"n_threads": 32, "init": "first", "max_iter": 5, "kernel": "cpp-simd"}
fit = lambda: kmeans(X, 8, **options).labels.tobytes()
before = tasks()
expected = fit()
for room in (1, 6, 9, 12, 30):
    found, said = limited(room, fit)
    assert found in (expected, "MemoryError"), found
    assert settled(before), room
    if found == expected:
        (warning,) = said
        assert warning.filename == "<string>"  # the line of the caller
        assert "of 31 helper threads" in str(warning.message) and "ulimit" in str(warning.message)
        print(room)
assert fit() == expected
"""
)


def test_the_flagship_does_with_the_threads_that_the_system_has():
    assert len(run(FEWER)) >= 3


SCARCE = (
    LIMITED
    + """
rng = np.random.default_rng(0)
X = rng.normal(size=(12_000, 16))
start = X[:3000].copy()
few = rng.normal(size=(5000, 3))
calls = {
    "fit": lambda: kmeans(X, 3000, n_threads=3, init=start, max_iter=1, kernel="cpp-simd").labels,
    "start": lambda: kmeans(few, 40, n_threads=3, max_iter=1, random_state=0).labels,
    "dbscan": lambda: dbscan(few, 0.1, 5).labels,
}
for name, call in calls.items():
    before = tasks()
    expected = call().tobytes()
    for room in np.arange(0.25, 3, 0.25) if name == "fit" else (0.1, 0.5, 2):
        found, said = limited(room, lambda: call().tobytes())
        assert found in (expected, "MemoryError"), found
        assert settled(before), (name, room)
        print(name, "MemoryError" if found == "MemoryError" else "right")
    assert call().tobytes() == expected
"""
)


def test_memory_that_runs_out_in_a_thread_is_a_memory_error():
    # With a fixed threshold, large blocks go back to the system when they are freed: a fit finds
    # no memory that the one before it left, whatever the C library would have kept.
    said = run(SCARCE, MALLOC_MMAP_THRESHOLD_="65536")
    assert {"MemoryError", "right"} < set(said)


ENDING = """
import sys, threading
import numpy as np
from kmeans_lab import kmeans, load_kernel
from kmeans_lab.dbscan import dbscan
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 3))
labels = np.zeros(len(X), np.int32)
simd = load_kernel("cpp-simd")
ROWS = simd.prepare(X, 5, 3)  # ends with the module, after everything else
def fitting(kernel, mode, n_threads):
    return lambda: kmeans(X, 9, kernel=kernel, mode=mode, n_threads=n_threads, random_state=0)
def updating(kernel):
    rows = kernel.prepare(X, 9, 1) if hasattr(kernel, "prepare") else X
    return lambda: kernel.update(rows, labels, np.zeros((9, 3)), np.zeros(9, np.int64))
calls = [lambda: dbscan(X, 0.2, 5), lambda: simd.inertia(X, X[:9], labels)]
for name in sys.argv[1:]:
    own = "tiled" in name or "simd" in name
    calls += [fitting(name, "serial", 1), updating(load_kernel(name))]
    calls.append(fitting(name, "serial" if own else "threads", 2))
begun = []
def repeat(call):
    call()
    begun.append(None)
    while True:
        call()
for call in calls:
    threading.Thread(target=repeat, args=(call,), daemon=True).start()
import time
while len(begun) < len(calls):
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "names",
    [
        ("cpp", "cpp-simd"),
        pytest.param(("cython", "cython-tiled"), marks=pytest.mark.slow),
        pytest.param(("numba", "numba-tiled"), marks=pytest.mark.slow),
        pytest.param(("numpy",), marks=pytest.mark.slow),
    ],
    ids="+".join,
)
def test_daemon_threads_are_in_fits_when_the_program_ends(names):
    for _ in range(2):
        run(ENDING, *names)


TILED = (
    LIMITED
    + """
import kmeans_lab.tuned.numba_jit as jit
X = np.random.default_rng(0).normal(size=(30_000, 8))
options = {"kernel": "numba-tiled", "init": X[:300].copy(), "max_iter": 3}
kmeans(X, 300, n_threads=1, **options)
for room in (2, 5, 9, 14, 19, 24, 29, 40):  # forked: each loads what threads need for itself
    if (pid := os.fork()) == 0:
        found, _ = limited(room, lambda: kmeans(X, 300, n_threads=8, **options).n_iter)
        os._exit(0 if found in (3, "MemoryError") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, room

where, load = set(), jit._Cache.load_overload
def told(*arguments):
    where.add(threading.get_ident())
    return load(*arguments)
jit._Cache.load_overload = told
kmeans(X, 300, n_threads=3, **options)
assert where == {threading.get_ident()}, where
"""
)


@pytest.mark.kernels("numba-tiled")
def test_code_of_threads_is_loaded_before_they_start(kernel_name):
    require_ready(kernel_name)
    run(TILED)
