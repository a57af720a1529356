"""Rows that end where a page begins that nobody may touch: no kernel goes beyond them.

The rows are of every kind on which bounds fail, since what a bound does not decide is looked up.
"""

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import KMeans, load_kernel
from tests.support.hard_rows import KINDS, ONLY_FLOAT64, K
from tests.support.helpers import before_a_wall
from tests.support.sparse_cases import DATA

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform != "linux", reason="protects a page"),
]

COMPILED = ("cpp", "cython", "numba", "cython-tiled", "numba-tiled")


def walk(kernel: str, X: Any) -> None:
    """Call everything that reads rows, with a few clusters and with many."""
    for n_clusters, n_threads in ((5, 1), (K, 3)):
        model = KMeans(n_clusters, kernel=kernel, max_iter=4, random_state=0, n_threads=n_threads)
        labels = model.fit(X).predict(X)
        model.fit(X, sample_weight=1.0 + labels)
        model.transform(X)
        model.score(X)


def walk_dense(kernel: str) -> None:
    """Walk through rows of every kind; of no width of a tile do they fill the last one."""
    for name, make in (KINDS | ONLY_FLOAT64).items():
        for dtype in ("f8",) if name in ONLY_FLOAT64 else ("f8", "f4"):
            X = before_a_wall(make(np.random.default_rng(5))[:2999].astype(dtype))
            try:
                walk(kernel, X)
            except ValueError as error:  # values too large or too small to be squared
                if "in a squared distance" not in str(error):
                    raise
            if kernel == "cpp-simd":
                draws = np.random.default_rng(8).random((K - 1, 5))
                load_kernel(kernel).greedy(X, 3, draws, 3, None)
    print("whole")


def walk_sparse(kernel: str) -> None:
    """Walk through sparse rows whose three arrays end so."""
    for make in DATA.values():
        rows = sparse.csr_array(make(np.random.default_rng(5)))
        rows.sort_indices()
        for name in ("data", "indices", "indptr"):
            setattr(rows, name, before_a_wall(getattr(rows, name)))
        walk(kernel, rows)
    print("whole")


def in_a_child(call: str) -> None:
    code = f"from tests.hostile import test_walls; test_walls.{call}"
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=600
    )
    assert child.stdout.split() == ["whole"], (child.returncode, child.stderr[-2000:])


def test_a_wall_is_one() -> None:
    code = "import numpy as np; from tests.support.helpers import before_a_wall as f\n"
    code += "x = f(np.arange(3.0)); print(x.sum(), flush=True)\n"
    code += "np.lib.stride_tricks.as_strided(x, (4,))[3]"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.stdout, child.returncode) == ("3.0\n", -signal.SIGSEGV)


@pytest.mark.parametrize("kernel", COMPILED)
def test_no_kernel_goes_beyond_dense_rows(kernel: str) -> None:
    in_a_child(f"walk_dense({kernel!r})")


def test_the_flagship_goes_nowhere_beyond_dense_rows(isa: str) -> None:
    in_a_child("walk_dense('cpp-simd')")


@pytest.mark.parametrize("kernel", ["cpp", "cython", "numba", "cpp-simd"])
def test_no_kernel_goes_beyond_sparse_rows(kernel: str) -> None:
    in_a_child(f"walk_sparse({kernel!r})")
