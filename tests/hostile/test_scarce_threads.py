"""Threads in processes that have little memory, few threads, or are ending: one process each."""

import os
import subprocess
import sys

import pytest

from tests.support.helpers import require_ready

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform != "linux", reason="limits memory and threads"),
]


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

def shed():
    "Let threads end that were kept for the next call, but for one that takes their place."
    kmeans(np.ones((9, 2)), 1, n_threads=2, kernel="cpp-simd")

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
shed()
before = tasks()
expected = fit()
assert tasks() == before + 30  # and the one that was there: kept for the next fit
for room in (1, 6, 9, 12, 30):
    shed()
    found, said = limited(room, fit)
    assert found in (expected, "MemoryError"), found
    shed()
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
    expected = call().tobytes()
    before = tasks()
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
