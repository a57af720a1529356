"""kernel="auto": the fastest kernel that is available and can share its work as asked."""

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.isolation import availability
from kmeans_lab.isolation.availability import choose_kernel, state_of
from kmeans_lab.registry import AUTO

X = np.random.default_rng(0).normal(size=(300, 3))


def without(names, monkeypatch):
    """Make kernels unavailable: their modules are nowhere."""
    for name in names:
        spec = type(KERNELS[name])(module="kmeans_lab._nowhere", summary="", remedy="build it")
        monkeypatch.setitem(KERNELS, name, spec)


def test_it_is_the_default_and_the_result_says_what_ran():
    assert kmeans(X, 3, random_state=0).kernel == choose_kernel() == "cpp-simd"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (("cpp-simd",), "cython-tiled"),
        (("cpp-simd", "cython-tiled"), "numba-tiled"),
        (("cpp-simd", "cython-tiled", "numba-tiled"), "numpy"),
    ],
)
def test_it_takes_the_first_that_can_run(missing, expected, monkeypatch):
    whole = kmeans(X, 3, random_state=0)
    without(missing, monkeypatch)
    assert choose_kernel() == expected
    fitted = kmeans(X, 3, random_state=0)
    assert fitted.kernel == expected
    if expected != "numpy":  # whichever it is, the result is the same
        assert (fitted.labels == whole.labels).all()
        assert fitted.centers.tobytes() == whole.centers.tobytes()
        assert fitted.inertia == whole.inertia


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_the_mode_changes_no_bit(mode):
    whole, other = kmeans(X, 3, random_state=0), kmeans(X, 3, random_state=0, mode=mode)
    assert other.kernel == "cpp-simd"
    assert other.centers.tobytes() == whole.centers.tobytes()
    assert (other.labels == whole.labels).all()
    assert other.inertia == whole.inertia


def test_a_broken_kernel_is_not_passed_over_in_silence(monkeypatch, tmp_path):
    (tmp_path / "broken_kernel.py").write_text("raise ImportError('libsimd.so is torn')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = type(KERNELS["cpp"])(module="broken_kernel", summary="", remedy="")
    monkeypatch.setitem(KERNELS, "cpp-simd", spec)
    assert state_of("cpp-simd")[0] == "broken"
    availability._warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="kernel 'cpp-simd' is broken: .* is torn") as said:
        ran = [kmeans(X, 3, init="random").kernel for _ in range(2)]
    assert (ran, len(said)) == (["cython-tiled"] * 2, 1)
    with pytest.raises(ImportError, match="is torn"):
        kmeans(X, 3, kernel="cpp-simd", init="random")


def test_what_it_tries_is_in_the_registry():
    assert set(AUTO) <= set(KERNELS)
