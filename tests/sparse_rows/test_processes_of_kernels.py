"""Kernels of sparse rows in processes of their own: wrong ones and borrowed code get no number."""

import pytest

from kmeans_lab.isolation.children import Raised
from kmeans_lab.isolation.kernel_answers import own_code_alone
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.measure.certify import certify_fit
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.presets import find_preset
from kmeans_lab.registry import KERNELS, KernelSpec

DENSE = "def assign(*given): return 0.0\nupdate = assign\n"
HONEST = """
def assign(rows, centers, labels):
    norms, inertia = [sum(v * v for v in c) for c in centers.tolist()], 0.0
    table = centers.tolist()
    for i in range(len(rows)):
        first, last = rows.indptr[i:i + 2].tolist()
        x = list(zip(rows.indices[first:last].tolist(), rows.data[first:last].tolist()))
        scores = [n - 2 * sum(v * c[f] for f, v in x) for n, c in zip(norms, table)]
        labels[i] = scores.index(min(scores))
        inertia += min(scores) + sum(v * v for _, v in x)
    return inertia
def update(rows, labels, sums, counts):
    for i, j in enumerate(labels.tolist()):
        first, last = rows.indptr[i:i + 2].tolist()
        for f, v in zip(rows.indices[first:last].tolist(), rows.data[first:last].tolist()):
            sums[j, f] += v
        counts[j] += 1
"""
FAULTS = {
    "": "",
    "nearest center": "labels[-1] = (labels[-1] + 1) % len(centers); ",
    "X was modified": "rows.data[3] *= 1 + 2**-52; ",
    "code of kmeans_lab.sparse._py_kernel": "from kmeans_lab.sparse._py_kernel import assign; ",
    "code of numpy": "from kmeans_lab.sparse.reading import as_scipy; as_scipy(rows); ",
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Plant a kernel with a module for sparse rows that has a fault."""
    monkeypatch.syspath_prepend(tmp_path)

    def plant(fault="", name="planted"):
        lines = HONEST.replace("    return inertia", f"    {FAULTS[fault]}return inertia")
        (tmp_path / f"{name}_dense.py").write_text(DENSE)
        (tmp_path / f"{name}_sparse.py").write_text(lines)
        spec = KernelSpec(f"{name}_dense", "planted", "", threading="gil", sparse=f"{name}_sparse")
        monkeypatch.setitem(KERNELS, name, spec)
        return name

    return plant


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_kernel_is_valid_only_without_its_fault(planted, fault):
    name = planted(fault, f"planted_{len(fault)}")
    run = PairedRun(find_preset("smoke-text").load(), "smoke-text", [name], "cpp", n_rounds=1)
    run.run()
    it = run.find(name)
    if fault:
        assert it.state in ("INVALID", "broken")
        assert fault in it.why
        assert it.seconds == []
    else:
        assert (it.state, it.why) == ("valid", "")


def test_a_child_imports_no_other_kernel_of_sparse_rows():
    X = find_preset("smoke-text").load().X
    with KernelChild("cpp") as child:
        found = child.describe(sparse=True)
        assert "sparse/_cpp_kernel" in found["file"]
        assert child.foreign_code(X[:50]) is None
        assert child.foreign_library() is None
        for other in ("kmeans_lab.sparse._cy_kernel", "kmeans_lab._cy_kernel"):
            with pytest.raises(Raised, match="belongs to another kernel"):
                child.ask(__import__, other)


def test_another_kernels_library_is_seen_from_outside():
    with KernelChild("cpp") as child:
        child.describe(sparse=True)
        with pytest.raises(Raised, match="cannot pickle"):  # the module, which is imported then
            child.ask(__import__, "kmeans_lab.sparse._cy_kernel")
        assert child.foreign_library().startswith("_cy_kernel.")
        assert child.ask(own_code_alone, "cpp") == "kmeans_lab.sparse._cy_kernel"


def test_a_module_for_sparse_rows_that_is_missing_is_unavailable(planted, tmp_path):
    name = planted(name="planted_without")
    (tmp_path / f"{name}_sparse.py").unlink()
    run = PairedRun(find_preset("smoke-text").load(), "smoke-text", [name], "cpp", n_rounds=1)
    run.run()
    it = run.find(name)
    assert it.state == "unavailable"
    assert f"there is no module '{name}_sparse'" in it.why


@pytest.mark.parametrize("kernel", ["cpp", "numpy"])
def test_fits_in_a_child_are_certified_from_outside(kernel, dtype):
    workload = find_preset("smoke-text" if dtype == "float64" else "smoke-text-f32").load()
    with KernelChild(kernel) as child:
        child.describe(sparse=True)
        found = certify_fit(workload.X, 6, workload.settings(), kernel, child=child)
        again = child.fit(workload.X, 6, **workload.settings())
        found.recheck(again, workload.X)
