"""What dbscan refuses, in a sentence each, and what it hands to a kernel."""

from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import KernelUnavailable
from kmeans_lab import dbscan as module
from kmeans_lab.dbscan import KERNELS, dbscan, load_kernel
from tests.support.helpers import cloud, frozen

X = cloud(seed=11, n_samples=50, n_features=2)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((X, 0, 3), ValueError, "eps=0 must be a finite number > 0; give the largest distance"),
        ((X, -1.5, 3), ValueError, r"eps=-1\.5 must be a finite number > 0; give"),
        ((X, np.nan, 3), ValueError, "eps=nan must be a finite number > 0; give"),
        ((X, np.inf, 3), ValueError, "eps=inf must be a finite number > 0; give"),
        ((X, 10**400, 3), ValueError, "must be a finite number > 0; give"),
        ((X, "1", 3), TypeError, "eps='1' must be a finite number > 0; give"),
        ((X, True, 3), TypeError, "eps=True must be a finite number > 0; give"),
        ((X, None, 3), TypeError, "eps=None must be a finite number > 0; give"),
        ((X, 1e-200, 3), ValueError, r"eps=1e-200 underflows when it is squared .* scale X and"),
        ((X, 1.0, 0), ValueError, "min_samples=0 must be at least 1"),
        ((X, 1.0, 2.5), TypeError, r"min_samples=2\.5 must be an integer ≥ 1"),
        ((X[0], 1.0, 3), ValueError, r"X has 1 dimension and must have 2.*reshape\(-1, 1\)"),
        ((X[:0], 1.0, 3), ValueError, r"X has shape \(0, 2\) and must have at least one row"),
        ((X[:, :0], 1.0, 3), ValueError, "at least one row and one column; check the"),
        ((X * [1, np.nan], 1.0, 3), ValueError, r"X\[0, 1\] is nan and every value must be finite"),
        ((X * 1e200, 1.0, 3), ValueError, "overflows in a squared distance; .* scale X down"),
        (([["a"]], 1.0, 3), TypeError, "X has dtype .* and must be numeric"),
    ],
)
def test_bad_input_costs_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        dbscan(*arguments)
    assert "\n" not in str(raised.value)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel='c' is not known; choose one of python, cpp"):
        dbscan(X, 1.0, 3, kernel="c")
    half = SimpleNamespace(prepare=print, count=print)
    with pytest.raises(TypeError, match=r"has no function 'grow'; give one of python, cpp or an"):
        dbscan(X, 1.0, 3, kernel=half)


def test_a_kernel_that_is_not_built_says_what_to_type(monkeypatch):
    monkeypatch.setitem(KERNELS, "cpp", "kmeans_lab._cpp_not_there")
    with pytest.raises(KernelUnavailable, match=r"'cpp' is not available: .*pip install "):
        dbscan(X, 1.0, 3)
    monkeypatch.setattr(module, "import_module", lambda place: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # broken is not absent
        load_kernel("cpp")


def test_a_module_of_ones_own_is_a_kernel():
    real, calls = load_kernel("cpp"), []
    spy = ModuleType("my_kernel")

    def prepare(rows, eps):
        calls.append(("prepare", rows.flags.writeable, rows.flags.c_contiguous, rows.dtype, eps))
        return real.prepare(rows, eps)

    spy.prepare, spy.count = prepare, lambda *given: calls.append("count") or real.count(*given)
    spy.grow = lambda *given: calls.append("grow") or real.grow(*given)
    result = dbscan(X.astype(np.float32), np.float32(0.5), 3, kernel=spy)
    assert calls == [("prepare", False, True, np.float64, 0.5), "count", "grow"]
    assert result.kernel == "my_kernel"
    assert result.labels.tolist() == dbscan(X.astype(np.float32), 0.5, 3).labels.tolist()
    assert list(result.seconds) == ["prepare", "count", "grow"]
    assert all(seconds >= 0 for seconds in result.seconds.values())


def test_the_compiled_kernel_takes_arrays_as_they_are_or_not_at_all():
    kernel = load_kernel("cpp")
    for rows in (X.astype(np.float32), X[:, ::-1], X.astype(int), X.tolist()):
        with pytest.raises(TypeError):
            kernel.prepare(rows, 1.0)
    for rows in (X[0], X[:0], X[:, :0].copy()):
        with pytest.raises(ValueError, match=r"prepare needs X \(n, d\)"):
            kernel.prepare(rows, 1.0)
    for value in (np.nan, np.inf):  # which cannot be sorted
        with pytest.raises(ValueError, match="prepare needs finite values"):
            kernel.prepare(X * [value, 1], 1.0)
    index, core, labels = kernel.prepare(X, 1.0), np.ones(50, bool), np.empty(50, np.int32)
    for counts in (np.empty(50, np.int32), np.empty(50), frozen(np.empty(50, np.int64))):
        with pytest.raises((TypeError, ValueError)):
            kernel.count(index, counts)
    with pytest.raises(ValueError, match=r"count needs counts \(n,\)"):
        kernel.count(index, np.empty(49, np.int64))
    for wrong in ((core[:9], labels), (core, labels[:9]), (core[None], labels)):
        with pytest.raises(ValueError, match=r"grow needs core \(n,\) and labels \(n,\)"):
            kernel.grow(index, *wrong)
    with pytest.raises(TypeError):
        kernel.grow(index, core.astype(np.uint8), labels)
    with pytest.raises(TypeError):
        kernel.grow(None, core, labels)
