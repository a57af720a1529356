"""The NumPy kernel beyond the contract: BLAS keeps to the threads that n_threads allows."""

import os
import subprocess
import sys

import numpy as np
import pytest

from kmeans_lab import load_kernel

X = np.random.default_rng(0).normal(size=(6000, 5))

# A process of its own: threadpoolctl lets only the thread that came first change BLAS.
FITS = """
import numpy as np
from threadpoolctl import threadpool_info
from kmeans_lab import kmeans

def blas():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

def fail(_):
    raise RuntimeError("the callback failed")

X, before = np.random.default_rng(0).normal(size=(6000, 5)), blas()
options = {"kernel": "numpy", "init": "first", "max_iter": 2}
for mode, n_threads in ("serial", 1), ("threads", 2):
    seen = []
    kmeans(X, 6, mode=mode, n_threads=n_threads, callback=lambda _: seen.append(blas()), **options)
    assert seen == [{1}, {1}], seen
    assert blas() == before
try:
    kmeans(X, 6, callback=fail, **options)
except RuntimeError:
    assert blas() == before
kmeans(X, 6, callback=lambda _: seen.append(blas()), **options | {"kernel": "cpp"})
assert seen[2:] == [before, before], seen
print(before)
"""


def test_blas_computes_in_the_calling_thread_while_a_fit_runs():
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}  # more than one, to be kept from
    run = subprocess.run(
        [sys.executable, "-c", FITS], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (run.returncode, run.stdout[:1]) == (0, "{"), run.stderr


def test_prepared_rows_serve_another_number_of_clusters():
    numpy_kernel, reference = load_kernel("numpy"), load_kernel("cpp")
    rows = numpy_kernel.prepare(X, 6, 1)
    for k in (6, 9, 1):
        labels, expected = np.empty(6000, np.int32), np.empty(6000, np.int32)
        inertia = numpy_kernel.assign(rows, X[:k], labels)
        assert inertia == pytest.approx(reference.assign(X, X[:k], expected), rel=1e-12)
        np.testing.assert_array_equal(labels, expected)
