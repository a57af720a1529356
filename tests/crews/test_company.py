"""In one process with others: OpenMP of two kinds, BLAS, joblib, child processes."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

from kmeans_lab import kmeans
from kmeans_lab.registry import find_spec
from tests.support.company import OWN, START, X, fit
from tests.support.helpers import ready_kernels

#: Ways of starting a child that holds nothing of its parent; Windows knows one of them.
FRESH = [it for it in multiprocessing.get_all_start_methods() if it != "fork"]
OPENMP = """
#include <math.h>
#include <omp.h>
double work(int n) {
    double sum = 0;
    #pragma omp parallel for reduction(+:sum)
    for (int i = 0; i < n; ++i) sum += sqrt((double)i);
    return sum;
}
"""

# As a framework with a thread pool of its own would, beside scikit-learn's and NumPy's.
TOGETHER = """
import ctypes, os, sys, threading
import numpy as np
from sklearn.cluster import KMeans
from tests.support.helpers import ready_kernels
from tests.support.company import X, OWN, fit
OWN = [name for name in OWN if name in ready_kernels()]
try:
    import faiss
except ModuleNotFoundError:
    faiss = None
pool = ctypes.CDLL(sys.argv[1])
pool.work.restype = ctypes.c_double
expected = {name: fit(name) for name in OWN}
failures = []

def ours():
    for _ in range(15):
        for name in OWN:
            if fit(name) != expected[name]:
                failures.append(name)

def theirs():
    for _ in range(15):
        KMeans(6, n_init=1, max_iter=5, random_state=0).fit(X)
        X @ X[:200].T
        if faiss:
            faiss.Kmeans(4, 6, niter=3, seed=1, min_points_per_centroid=1).train(X.astype("f4"))

def openmp():
    for _ in range(30):
        pool.work(300_000)

threads = [threading.Thread(target=task) for task in (ours, theirs, openmp, ours)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
if hasattr(os, "fork"):  # the child uses none of the others, which do not survive a fork
    child = os.fork()
    if child == 0:
        os._exit(0 if all(fit(name) == expected[name] for name in OWN) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("at peace", "with faiss" if faiss else "")
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles a library with OpenMP")
def test_beside_scikit_learn_blas_and_openmp(tmp_path):
    source, library = tmp_path / "pool.c", tmp_path / "pool.so"
    source.write_text(OPENMP)
    flags = ["-O2", "-fopenmp", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, source, "-o", library, "-lm"], check=True)
    command = [sys.executable, "-W", "ignore", "-c", TOGETHER, str(library)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout[:8]) == (0, "at peace"), run.stderr


@pytest.mark.slow_for("python", "numpy-broadcast", "cython", "numba-tiled")
@pytest.mark.parametrize(
    "backend", ["loky", "threading", pytest.param("multiprocessing", marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_under_joblib(kernel_name, backend):
    expected = fit(kernel_name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = Parallel(n_jobs=2, backend=backend)(delayed(fit)(kernel_name, s) for s in range(4))
        if backend == "loky":  # its workers would stay for minutes
            get_reusable_executor().shutdown(wait=True)
    assert found == [expected] * 4


def in_child(name, queue):
    queue.put(fit(name))


@pytest.mark.parametrize("method", FRESH)
@pytest.mark.kernels("cpp", *OWN)
def test_in_a_fresh_child(kernel_name, method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=in_child, args=(kernel_name, queue))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get() == fit(kernel_name)
    child.close()
    queue.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
def test_a_fit_starts_no_more_threads_than_it_was_given(kernel_name):
    """By default one; and with several, BLAS does not bring its own beside them."""
    own = find_spec(kernel_name).threading == "own"
    fit(kernel_name)
    before = len(os.listdir("/proc/self/task"))
    most = []

    def count(seen):
        most.append(len(os.listdir("/proc/self/task")) - before)

    for n_threads in (1, 3) if own else (1,):
        most.clear()
        kmeans(
            X, 6, kernel=kernel_name, init=START, max_iter=8, n_threads=n_threads, callback=count
        )
        assert max(most) <= n_threads - 1, most


def test_fits_that_overlap_give_blas_its_threads_back():
    """Each one holds BLAS to a thread: the last to leave restores what the first one found."""
    from threadpoolctl import ThreadpoolController

    def threads():
        (pool,) = ThreadpoolController().select(filepath=numpy_blas).info()
        return pool["num_threads"]

    pools = ThreadpoolController().select(user_api="blas").info()
    numpy_blas = next(it["filepath"] for it in pools if "numpy" in it["filepath"])
    before, inside = threads(), []
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def first(seen):
        first_is_in.set()
        assert second_is_in.wait(30)

    def second(seen):
        second_is_in.set()
        thread.join(30)  # the first fit leaves while this one goes on
        inside.append(threads())

    options = {"kernel": "numpy", "init": START, "max_iter": 1}
    thread = threading.Thread(target=lambda: kmeans(X, 6, callback=first, **options))
    thread.start()
    assert first_is_in.wait(30)
    kmeans(X, 6, callback=second, **options)
    assert inside == [1]
    assert threads() == before


def test_many_fits_at_once_with_kernels_of_all_kinds():
    names = ready_kernels()
    expected = {name: fit(name) for name in names}
    with ThreadPoolExecutor(8) as pool:
        for name, found in zip(names * 4, pool.map(fit, names * 4), strict=True):
            assert found == expected[name]
