"""Peak memory of a fit on 10⁶ × 2, each kernel in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from kmeans_lab import KERNELS, load_kernel

MIB = 2**20
FIT = """
import sys
import numpy as np
from kmeans_lab import kmeans

def status(field):
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024

name, n, d, init = sys.argv[1:]
X = np.random.default_rng(0).normal(size=(int(n), int(d)))
X += 30.0  # far enough to be centered
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # what was needed to make X does not count
before = status("VmRSS")
kmeans(X, 10, kernel=name, init=init, max_iter=2, random_state=0)
print(status("VmHWM") - before)
"""


def memory_of_a_fit(*arguments: object) -> int:
    """Return the bytes that a fit takes beyond X, imports included."""
    command = [sys.executable, "-c", FIT, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.kernels(*(name for name in KERNELS if name != "numpy-broadcast"))
@pytest.mark.slow_for("python", "numba", "numba-tiled")
def test_a_fit_takes_at_most_200_mib_beyond_x(kernel_name: str) -> None:
    if KERNELS[kernel_name].compiles_on_first_call:  # which takes memory, once on each machine
        memory_of_a_fit(kernel_name, 100, 2, "random")
    assert memory_of_a_fit(kernel_name, 1_000_000, 2, "random") <= 200 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(
    ("n", "d", "init"),
    [
        (10_000_000, 2, "k-means++"),  # where labels and the like are half as large as X
        pytest.param(10_000_000, 2, "random", marks=pytest.mark.slow),
        pytest.param(5_000_000, 5, "k-means++", marks=pytest.mark.slow),
        pytest.param(600_000, 64, "k-means++", marks=pytest.mark.slow),  # no centered copy
    ],
)
def test_the_flagship_takes_half_of_x_beside_its_tiles(isa: str, n: int, d: int, init: str) -> None:
    assert memory_of_a_fit("cpp-simd", n, d, init) <= 1.5 * n * d * 8 + 64e6


def test_numpy_broadcast_refuses_by_name_and_number_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = load_kernel("numpy-broadcast")
    monkeypatch.setattr(kernel, "_available_memory", lambda: 3 * 2**30)
    X = np.broadcast_to(np.zeros((1, 2)), (1_000_000, 2))
    sentence = (
        r"kernel 'numpy-broadcast' needs 6\.0 GiB for its 1000000 × 400 × 2 temporary and "
        r"3\.0 GiB are available; use kernel='numpy', which works in blocks"
    )
    with pytest.raises(MemoryError, match=sentence):
        kernel.prepare(X, 400, 1)
    assert kernel.prepare(X, 200, 1) is X
    with pytest.raises(MemoryError, match=sentence):
        kernel.assign(X, np.zeros((400, 2)), np.zeros(1_000_000, dtype=np.int32))


def test_available_memory_is_what_the_machine_reports() -> None:
    available = load_kernel("numpy-broadcast")._available_memory()
    assert 2**20 < available < 2**50
