"""Ctrl-C ends a fit within a second, however long a single pass takes; the next fit is right."""

import os

import pytest

from kmeans_lab.registry import KERNELS, find_spec
from tests.support.interrupts import interrupted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends a signal")

# One pass over these rows takes seconds with every kernel.
SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from kmeans_lab import kmeans

def interrupt():
    time.sleep(DELAY)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    kernel, mode, n_threads, init, DELAY = sys.argv[1:]
    DELAY, n_threads, sent = float(DELAY), int(n_threads), []
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120_000, 64))
    options = {"kernel": kernel, "mode": mode, "n_threads": n_threads, "max_iter": 2}
    small = {"n_clusters": 3, "init": X[:3]} | options
    expected = kmeans(X[:300], **small).centers.tobytes()  # and what compiles is compiled
    start = X[:20_000] if init == "rows" else init
    threads = len(sys._current_frames())
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        kmeans(X, 20_000, init=start, random_state=0, **options)
    except KeyboardInterrupt:
        waited = time.perf_counter() - sent[0]
        time.sleep(0.01)  # a thread that has left is there a moment longer
        assert len(sys._current_frames()) <= threads + 1
        assert kmeans(X[:300], **small).centers.tobytes() == expected
        print("stopped after", waited)
"""

OWN = [name for name in KERNELS if find_spec(name).threading == "own"]
# Not numpy-broadcast: these rows do not fit, and where they do, a single call of NumPy's lasts.
INTERRUPTIBLE = [name for name in KERNELS if name != "numpy-broadcast"]

# What a pass has begun when it is stopped does no harm to the next one over the same rows.
PREPARED = """
import os, signal, sys, threading, time
import numpy as np
from kmeans_lab import load_kernel
X = np.random.default_rng(0).normal(size=(60_000, 64))
kernel, sent, K = load_kernel(sys.argv[1]), [], 7000
rows, labels = kernel.prepare(X, K, int(sys.argv[2])), np.full(60_000, -1, np.int32)
def run(centers):
    sums, counts = np.zeros(centers.shape), np.zeros(len(centers), int)
    kernel.assign_update(rows, centers, labels, sums, counts)
    return sums, counts
def interrupt():
    time.sleep(0.1)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
run(X[K : 2 * K])  # a fit goes on: sums are kept, balls are tried
threading.Thread(target=interrupt).start()
try:
    run(X[:K])  # longer than it takes until Ctrl-C
except KeyboardInterrupt:
    waited = time.perf_counter() - sent[0]
    found = run(X[:K]), labels.copy()
    rows, labels = kernel.prepare(X, K, 1), np.full(60_000, -1, np.int32)
    (sums, counts), expected = run(X[:K]), labels
    assert (found[1] == expected).all() and (found[0][1] == counts).all()
    np.testing.assert_allclose(found[0][0], sums, atol=1e-9)
    del rows
    print("stopped after", waited)
"""


@pytest.mark.kernels(*INTERRUPTIBLE)
@pytest.mark.slow_for("numba", "cython", "python")
def test_a_pass_of_seconds(tmp_path, kernel_name):
    interrupted(tmp_path / "script.py", SCRIPT, kernel_name, "serial", 1, "rows", 0.7)


@pytest.mark.kernels(*OWN)
def test_a_pass_of_seconds_in_threads_of_the_kernel(tmp_path, kernel_name):
    interrupted(tmp_path / "script.py", SCRIPT, kernel_name, "serial", 2, "rows", 0.7)


@pytest.mark.kernels("numpy", "numba", "cython", "cpp")
@pytest.mark.slow_for("numba", "cython")
def test_a_pass_of_seconds_in_threads_of_the_driver(tmp_path, kernel_name):
    interrupted(tmp_path / "script.py", SCRIPT, kernel_name, "threads", 2, "rows", 0.7)


@pytest.mark.kernels("cpp")
@pytest.mark.parametrize(
    "delay", [0.3, pytest.param(4, marks=pytest.mark.slow)]
)  # while workers start, and while they compute
def test_a_pass_of_seconds_in_processes(tmp_path, kernel_name, delay):
    interrupted(tmp_path / "script.py", SCRIPT, kernel_name, "processes", 2, "rows", delay)


@pytest.mark.parametrize("n_threads", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.kernels(*OWN)
@pytest.mark.slow_for("numba-tiled")  # which shares its helpers with cython-tiled
def test_rows_that_were_prepared_may_be_used_again(tmp_path, kernel_name, n_threads):
    interrupted(tmp_path / "script.py", PREPARED, kernel_name, n_threads)


@pytest.mark.parametrize("init", ["k-means++", "d2"])
@pytest.mark.kernels("cpp", "cpp-simd")
@pytest.mark.slow_for("cpp-simd")
def test_a_start_that_takes_minutes(tmp_path, kernel_name, init):
    interrupted(tmp_path / "script.py", SCRIPT, kernel_name, "serial", 1, init, 1.5)
