"""Every test that asks for a kernel runs once per registered kernel, by name.

Ask for ``kernel_name`` or ``kernel`` and the test runs for each row of the registry, or for those
that ``@pytest.mark.kernels`` names; ask for ``dtype`` as well and it runs for each dtype that the
row promises. Kernels are imported when their first test starts, never while tests are collected.
"""

import signal
import sys

import pytest
from hypothesis import settings

from kmeans_lab import registry
from kmeans_lab.isolation import plugins
from kmeans_lab.registry import KERNELS, load_kernel
from kmeans_lab.spec import KernelSpec
from tests.support.helpers import force_isa, require_ready
from tests.support.planted import GOOD

GUESTS = "kmeans-lab-guests"

# The same draws in every run, so that a change is judged by what it changed; the first call of a
# compiled kernel takes longer than any deadline. --hypothesis-profile=fuzz draws anew.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("few", settings.get_profile("same"), max_examples=20)
settings.register_profile("fuzz", max_examples=2000, database=None, deadline=None)
settings.load_profile("same")


def pytest_configure(config):
    # A shell without job control starts "make test &" with Ctrl-C ignored, and children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "kernels(*names): run for these kernels only")
    config.addinivalue_line("markers", "slow: left to `make test-all`")
    config.addinivalue_line("markers", "slow_for(*names): slow for these kernels")


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("kernels")
    names = marker.args if marker else tuple(KERNELS)
    slow = metafunc.definition.get_closest_marker("slow_for")
    marks = dict.fromkeys(slow.args, pytest.mark.slow) if slow else {}
    by_kernel, by_dtype = (name in metafunc.fixturenames for name in ("kernel_name", "dtype"))
    if by_kernel and by_dtype:
        pairs = [
            pytest.param(name, dtype, marks=marks.get(name, ()))
            for name in names
            for dtype in KERNELS[name].dtypes
        ]
        metafunc.parametrize(("kernel_name", "dtype"), pairs, indirect=["kernel_name"])
    elif by_kernel:
        params = [pytest.param(name, marks=marks.get(name, ())) for name in names]
        metafunc.parametrize("kernel_name", params, indirect=True)
    elif by_dtype:
        metafunc.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True, scope="session")
def steady_machine():
    """Keep a busy machine from voiding the runs of tests, which look at no times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmeans_lab.measure.rounds.calibrate", lambda: [0.001] * 15)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_calibration():
    """Let kernel="auto" be what it is where nobody has calibrated it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KMEANS_LAB_AUTO", "off")
        yield


@pytest.fixture(autouse=True, scope="session")
def plain_children():
    """Let a pytest that a test starts not take itself for a worker of pytest-xdist."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_XDIST_WORKER", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def lists_of_all():
    """Hide this repository's guests, where they are installed, from tests of what is listed.

    Returns what reads the entry points of all packages: tests/guests puts it back.
    """
    real = plugins._lists
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plugins, "_lists", lambda found: (it for it in real(found) if it[0] != GUESTS)
        )
        registry.installed.cache_clear()
        yield real


@pytest.fixture
def kernel_name(request):
    """Return the name of a kernel that is ready; skip or fail the test otherwise."""
    required = request.config.getoption("--require-kernels", default="available")
    require_ready(request.param, required)
    return request.param


@pytest.fixture
def kernel(kernel_name):
    """Return the kernel's module."""
    return load_kernel(kernel_name)


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def isa(request, monkeypatch):
    """Force one instruction set, where the machine has it."""
    force_isa(monkeypatch, "cpp-simd", request.param)
    return request.param


@pytest.fixture
def plant(monkeypatch, tmp_path):
    """Add a kernel of the given source under the name "planted"."""

    def add(source, name="planted", **fields):
        (tmp_path / f"{name}_module.py").write_text(GOOD + source)
        monkeypatch.syspath_prepend(tmp_path)
        spec = KernelSpec(module=f"{name}_module", summary="planted", remedy="none", **fields)
        monkeypatch.setitem(KERNELS, name, spec)
        monkeypatch.delitem(sys.modules, f"{name}_module", raising=False)

    return add
