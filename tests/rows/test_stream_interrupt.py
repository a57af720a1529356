"""Ctrl-C ends a stream within a second, wherever it is, and leaves neither threads nor files."""

import os

import pytest

from tests.support.interrupts import interrupted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends a signal")

SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from kmeans_lab import kmeans
from kmeans_lab.rows import CalledRows

kernel, init, slow, k = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
X, sent = np.random.default_rng(0).normal(size=(400_000, 20)), []

def read(start, stop):
    time.sleep(slow)
    return X[start:stop]

def interrupt():
    time.sleep(1.2)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

start = X[:k] if init == "rows" else init
threads = threading.active_count()
threading.Thread(target=interrupt, daemon=True).start()
try:
    kmeans(CalledRows(read, X.shape), k, init=start, kernel=kernel, mode="stream", memory="17MB",
           max_iter=10_000, tol=0, random_state=0)
except KeyboardInterrupt:
    waited = time.perf_counter() - sent[0]
    time.sleep(0.05)  # a thread that has left is there a moment longer
    assert threading.active_count() <= threads + 1, threading.enumerate()
    print("stopped after", waited)
"""


@pytest.mark.parametrize("name", ["cpp-simd", "cython-tiled", "cpp"])
def test_passes_over_a_stream(tmp_path, name):
    interrupted(tmp_path / "script.py", SCRIPT, name, "rows", 0.0, 3000)


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_starts_over_a_stream(tmp_path, init):
    interrupted(tmp_path / "script.py", SCRIPT, "cpp-simd", init, 0.0, 500)


def test_a_source_that_is_slow(tmp_path):
    interrupted(tmp_path / "script.py", SCRIPT, "cpp-simd", "rows", 0.4, 5)
