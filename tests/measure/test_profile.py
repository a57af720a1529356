"""``kmeans-lab profile``: parts that add up, and functions where there are any to see."""

import json

import pytest

from kmeans_lab.cli import main as cli
from kmeans_lab.measure.profile import is_python, profile
from kmeans_lab.presets import find_preset
from tests.support.helpers import ready_kernels


def test_the_naive_kernel_spends_nine_tenths_in_assign():
    it = profile("python", find_preset("blobs-400-10-25").load(), "blobs-400-10-25")
    first = it.functions[0]
    assert (first.name, first.where.partition(":")[0]) == ("assign", "_py_kernel.py")
    assert 0.85 < first.own <= first.whole <= 1.0
    assert first.calls in (it.n_iter, it.n_iter + 1)
    assert [f.own for f in it.functions] == sorted((f.own for f in it.functions), reverse=True)


@pytest.mark.slow_for("python", "numpy-broadcast", "numba", "cython", "numba-tiled")
def test_the_phases_add_up_to_the_fit(kernel_name):
    missing = []
    for _ in range(
        5
    ):  # what a busy machine does between two phases is in no phase: the best counts
        it = profile(kernel_name, find_preset("blobs-4000-6-8").load(), "p")
        missing.append((it.seconds - sum(it.phases.values())) / (0.05 * it.seconds + 5e-5))
        if missing[-1] < 1:
            break
    assert min(missing) >= 0
    assert min(missing) < 1
    assert bool(it.functions) == (it.reason == "") == is_python(kernel_name)


def test_interpreted_kernels_are_told_from_compiled_ones():
    assert [name for name in ready_kernels() if is_python(name)] == [
        "python",
        "numpy-broadcast",
        "numpy",
    ]


@pytest.mark.parametrize("name", ["python", "cpp-simd"])
def test_the_command_prints_tables_or_json(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["profile", name, "--preset", "smoke"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert "whole fit" in out
    assert ("under cProfile" in out) == (name == "python")
    assert cli.main(["profile", name, "--preset", "smoke", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_iter"] > 0
    assert set(found["phases"]) == {"prepare", "init", "assign", "update", "finish"}
