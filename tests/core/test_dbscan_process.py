"""DBSCAN in a long-running process: other threads, Ctrl-C, memory."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kmeans_lab.dbscan import dbscan, load_kernel
from tests.support.helpers import cloud
from tests.support.interrupts import interrupted


def test_an_index_serves_several_threads_at_once():
    rows = cloud(seed=12, n_samples=3000, n_features=3)
    kernel = load_kernel("cpp")
    index = kernel.prepare(rows, 0.3)
    expected = dbscan(rows, 0.3, 8)

    def again(_):
        counts, labels = np.empty(3000, np.int64), np.empty(3000, np.int32)
        kernel.count(index, counts)
        kernel.grow(index, counts >= 8, labels)
        return labels.tolist()

    with ThreadPoolExecutor(8) as pool:
        assert all(it == expected.labels.tolist() for it in pool.map(again, range(16)))


@pytest.mark.parametrize("verb", ["prepare", "count", "grow"])
def test_another_thread_runs_while_the_call_is_inside(verb):
    """Threads may keep the lock for an hour: nobody gets it unless it is given away."""
    kernel, rows = load_kernel("cpp"), cloud(seed=13, n_samples=2000, n_features=2)
    index, core = kernel.prepare(rows, 0.1), np.ones(2000, bool)
    call = {
        "prepare": lambda: kernel.prepare(rows, 0.1),
        "count": lambda: kernel.count(index, np.empty(2000, np.int64)),
        "grow": lambda: kernel.grow(index, core, np.empty(2000, np.int32)),
    }[verb]
    ready, pause, begun, ran = threading.Event(), threading.Event(), [], []

    def other():
        ready.set()
        while not begun:
            pause.wait(1e-6)  # gives the lock away
        ran.append(True)

    thread, before = threading.Thread(target=other), sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        thread.start()
        ready.wait()
        begun.append(True)
        for _ in range(5000):  # the first few calls are enough, or none is
            call()
            if ran:
                break
        assert ran
    finally:
        sys.setswitchinterval(before)
        thread.join()


# Distances of neighbours that are none: windows over three features hold nearly all rows.
SLOW = """
import os, signal, sys, threading, time
import numpy as np
from kmeans_lab.dbscan import load_kernel

def interrupt():
    time.sleep(0.5)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

X = np.random.default_rng(0).normal(size=(200_000, 40))
kernel, sent, core = load_kernel("cpp"), [], np.ones(len(X), bool)
index = kernel.prepare(X, 5.0)
threading.Thread(target=interrupt, daemon=True).start()
try:
    if sys.argv[1] == "count":
        kernel.count(index, np.empty(len(X), np.int64))
    else:
        kernel.grow(index, core, np.empty(len(X), np.int32))
except KeyboardInterrupt:
    print("stopped after", time.perf_counter() - sent[0])
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("verb", ["count", "grow"])
def test_ctrl_c_in_a_pass_of_minutes(tmp_path, verb):
    interrupted(tmp_path / "script.py", SLOW, verb)


PEAK = """
import sys
import numpy as np
from kmeans_lab.dbscan import dbscan

def status(field):
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024

n, spread, min_samples = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
X = spread * np.random.default_rng(0).random((n, 2))
dbscan(X[:100], 1.0, 3)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # what was needed to make X does not count
before = status("VmRSS")
result = dbscan(X, 1.0, min_samples)
print(status("VmHWM") - before, result.n_clusters)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("n", "spread", "min_samples", "n_clusters"),
    [
        (20_000, 0.5, 5, 1),  # 400 million pairs of neighbours
        (500_000, 1e7, 1, 500_000),  # a byte per row and cluster would be 250 GB
    ],
)
def test_memory_grows_neither_with_neighbours_nor_with_clusters(n, spread, min_samples, n_clusters):
    command = [sys.executable, "-c", PEAK, *map(str, (n, spread, min_samples))]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, found = map(int, run.stdout.split())
    assert found == pytest.approx(n_clusters, rel=0.001)
    assert peak <= (16 + 65) * n + 4e6  # a copy of X, and what docs/api.md says
