"""Peak memory of a fit on 10⁶ × 2, each kernel in a process of its own."""

import subprocess
import sys

import numpy as np
import pytest

from kmeans_lab import KERNELS, load_kernel
from kmeans_lab.registry import state_of

MIB = 2**20
FIT = """
import numpy as np
from kmeans_lab import kmeans

def status(field):
    with open("/proc/self/status") as lines:
        (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) * 1024

X = np.random.default_rng(0).normal(size=(1_000_000, 2)) + 30.0  # far enough to be centered
before = status("VmRSS")
kmeans(X, 10, kernel={name!r}, init="random", max_iter=2, random_state=0)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", [name for name in KERNELS if name != "numpy-broadcast"])
def test_a_fit_takes_at_most_200_mib_beyond_x(name: str) -> None:
    if state_of(name)[0] == "unavailable":
        pytest.skip(state_of(name)[1])
    command = [sys.executable, "-c", FIT.format(name=name)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) <= 200 * MIB


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
