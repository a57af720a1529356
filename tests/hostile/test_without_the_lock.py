"""Fits in many Python threads at once, in one process: nothing may be shared that is not guarded.

In an interpreter without the lock these threads really run side by side.
"""

import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kmeans_lab import kmeans
from kmeans_lab.crews.lock import may_run_without
from kmeans_lab.registry import KERNELS, SPARSE
from tests.support.helpers import ROOT, assert_same_fit, cloud, ready_kernels, some_rows

pytestmark = pytest.mark.hostile

N_THREADS = 8
#: Rows, features, clusters, dtype: one chunk and several, the engines of the tuned kernels.
SHAPES = [(900, 3, 5, "float64"), (5000, 8, 9, "float32"), (700, 20, 17, "float64")]
SLOW = [(160, 3, 5, "float64"), (120, 8, 9, "float32")]
#: Beside the numbers of threads that a kernel may be asked for; the last one has no team.
TEAMS = (1, 2, 3)

FIRST_FITS = """
import json, sys, threading, warnings
warnings.simplefilter("error")
import numpy as np
from kmeans_lab import kmeans
from kmeans_lab.crews.lock import lock_is_on, may_run_without
names, out = sys.argv[1:], sys.stdout
X = np.random.default_rng(0).normal(size=(300, 4))
together, found, failed = threading.Barrier(8), {}, []
def fit(i):
    try:
        together.wait(60)
        for name in names[i % len(names):] + names[:i % len(names)]:
            result = kmeans(X, 3, kernel=name, random_state=0)
            found.setdefault(name, set()).add((result.labels.tobytes(), float(result.inertia)))
    except BaseException as error:
        failed.append(repr(error))
threads = [threading.Thread(target=fit, args=(i,)) for i in range(8)]
for it in threads: it.start()
for it in threads: it.join()
print(json.dumps({
    "results": {name: len(it) for name, it in found.items()},
    "failed": failed,
    "output": sys.stdout is out,
    "locked": may_run_without() and lock_is_on(),
}), file=out)
"""


def fits_of(name):
    """Return the arguments of fits that are different in as many ways as a few can be."""
    spec = KERNELS[name]
    found = []
    for i, (n, d, k, dtype) in enumerate(SLOW if spec.threading == "gil" else SHAPES):
        X = cloud(i, n, d, dtype)
        options = {"kernel": name, "init": some_rows(X, k, seed=i), "max_iter": 6, "history": True}
        for n_threads in TEAMS:
            mode = "serial" if spec.threading == "own" or n_threads == 1 else "threads"
            found.append(((X, k), options | {"mode": mode, "n_threads": n_threads}))
        drawn = options | {"init": "k-means++", "random_state": i, "n_init": 2}
        found.append(((X, k), drawn))
    return found


def test_many_threads_fit_at_once_with_every_kernel(kernel, kernel_name):
    given = fits_of(kernel_name)
    alone = [kmeans(*arguments, **options) for arguments, options in given]
    together = threading.Barrier(N_THREADS)

    def work(thread):
        together.wait(60)
        found = []
        for turn in range(len(given)):
            i = (thread + turn) % len(given)
            arguments, options = given[i]
            found.append((i, kmeans(*arguments, **options)))
        return found

    with ThreadPoolExecutor(N_THREADS) as pool:
        for found in pool.map(work, range(N_THREADS)):
            for i, result in found:
                assert_same_fit(result, alone[i])


def test_many_threads_share_one_input(kernel, kernel_name):
    few = 100 if KERNELS[kernel_name].threading == "gil" else 4000
    X = cloud(seed=3, n_samples=few, n_features=6)
    options = {"kernel": kernel_name, "init": some_rows(X, 7), "max_iter": 5}
    expected = kmeans(X, 7, **options)
    before = X.tobytes()
    with ThreadPoolExecutor(N_THREADS) as pool:
        for found in pool.map(lambda _: kmeans(X, 7, **options), range(2 * N_THREADS)):
            assert_same_fit(found, expected)
    assert X.tobytes() == before


@pytest.mark.kernels(*SPARSE)
def test_many_threads_fit_sparse_rows_at_once(kernel, kernel_name):
    scipy = pytest.importorskip("scipy.sparse")
    slow = KERNELS[kernel_name].threading == "gil"
    n, d, k = (60, 30, 4) if slow else (1500, 200, 12)
    share = 0.4 if slow else 0.1  # no row without values: it has no angle
    X = scipy.random(n, d, density=share, format="csr", random_state=5)
    rows = X.toarray()[:k] + 0.01
    given = [
        {"kernel": kernel_name, "init": rows, "max_iter": 5, "metric": metric, "n_threads": wide}
        for metric in ("euclidean", "cosine")
        for wide in ((1,) if slow else (1, 2))
    ]
    alone = [kmeans(X, k, **options) for options in given]
    with ThreadPoolExecutor(N_THREADS) as pool:
        turns = [i % len(given) for i in range(3 * N_THREADS)]
        for i, found in zip(
            turns, pool.map(lambda i: kmeans(X, k, **given[i]), turns), strict=True
        ):
            assert_same_fit(found, alone[i])


def test_the_first_fits_of_a_process_may_be_in_many_threads():
    """Modules are imported and compiled code is loaded then, and output is held back meanwhile."""
    names = [it for it in ready_kernels() if not KERNELS[it].compiles_on_first_call]
    for _ in range(3):  # threads may meet in one run and miss each other in the next
        run = subprocess.run(
            [sys.executable, "-c", FIRST_FITS, *names],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        told = json.loads(run.stdout)
        assert told["failed"] == []
        assert told["results"] == dict.fromkeys(names, 1)
        assert told["output"]
        assert not told["locked"]


@pytest.mark.skipif(not may_run_without(), reason="this Python is always with the lock")
def test_no_module_of_ours_turns_the_lock_on(kernel, kernel_name):
    """In a process of its own: other modules of this one may have turned it on."""
    modules = {*KERNELS[kernel_name].modules}
    code = "import sys\nfor it in sys.argv[1:]: __import__(it)\nassert not sys._is_gil_enabled()"
    command = [sys.executable, "-W", "error", "-c", code, *sorted(modules)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_every_extension_declares_that_it_needs_no_lock():
    bound = [
        (path.name, re.search(r"^PYBIND11_MODULE\((.*)\)", text, re.MULTILINE))
        for path in (ROOT / "cpp").rglob("*.cpp")
        if "PYBIND11_MODULE" in (text := path.read_text(encoding="utf-8"))
    ]
    assert len(bound) >= 5
    for name, found in bound:
        assert found, name
        assert "mod_gil_not_used()" in found[1], name
    translated = [*(ROOT / "kmeans_lab").rglob("*.pyx")]
    assert len(translated) >= 5
    for path in translated:
        head = path.read_text(encoding="utf-8").partition("\n\n")[0]
        assert "freethreading_compatible=True" in head, path.name
