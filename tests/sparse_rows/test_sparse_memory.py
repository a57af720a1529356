"""Peak memory of fits of sparse rows: nothing is ever as large as the rows would be in an array."""

import subprocess
import sys

import pytest

from kmeans_lab.registry import KERNELS, SPARSE
from tests.support.helpers import require_ready

FIT = """
import sys
import numpy as np
from scipy import sparse
from kmeans_lab import KMeans, kmeans

def status(field):
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024

name, what, n, d, k = sys.argv[1:3] + [int(it) for it in sys.argv[3:]]
rng = np.random.default_rng(0)
columns = np.sort(rng.integers(0, d - 9, (n, 8)), axis=1) + np.arange(8)
X = sparse.csr_array(
    (rng.random(8 * n), columns.ravel().astype("i4"), np.arange(0, 8 * n + 1, 8, dtype="i4")),
    shape=(n, d),
)
weights = rng.random(n) if what == "weights" else None
options = {"random_state": 0, "max_iter": 3, "init": "k-means++" if what == "drawn" else "random"}
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # what was needed to make X does not count
before = status("VmRSS")
if what == "predict":
    KMeans(k, kernel=name, n_init=1, **options).fit(X).predict(X)
else:
    kmeans(X, k, kernel=name, sample_weight=weights, **options)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("what", ["random", "drawn", "weights", "predict"])
@pytest.mark.parametrize("name", [name for name in SPARSE if name not in ("python", "numba")])
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(200_000, 20_000, 50), pytest.param(20_000, 50_000, 200, marks=pytest.mark.slow)],
)
def test_a_fit_takes_little_beside_its_centers(name, what, n, d, k, pytestconfig):
    require_ready(name, pytestconfig.getoption("--require-kernels"))
    if KERNELS[name].threading == "gil":
        # It is ready, and the other tests try it on few rows; its memory is not measured.
        pytest.skip("plain Python would take minutes")
    command = [sys.executable, "-c", FIT, name, what, *map(str, (n, d, k))]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert taken <= 8 * n * 12 + 8 * k * d * 8 + 40 * n + 64e6
