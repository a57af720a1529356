"""The stubs of the compiled modules say what those modules hold: mypy's own comparison."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMPILED = sorted(
    str(path.relative_to(ROOT / "kmeans_lab")).removesuffix(".pyi").replace("/", ".")
    for path in (ROOT / "kmeans_lab").rglob("*.pyi")
)

# What the binding tools add, and no reader of a stub asks for: pybind11 has a metaclass of its own,
# and a constructor that takes anything in order to refuse it.
ADDED = r"""
kmeans_lab\.tuned\.simd\.PreparedRows
kmeans_lab\.tuned\.simd\.PreparedRows\.__init__
kmeans_lab\.tuned\.simd\.SumsOfBlocks
kmeans_lab\.tuned\.simd\.SumsOfBlocks\.__init__
kmeans_lab\.sparse\.simd\.PreparedRows
kmeans_lab\.sparse\.simd\.PreparedRows\.__init__
kmeans_lab\.sparse\.simd\.SumsOfBlocks
kmeans_lab\.sparse\.simd\.SumsOfBlocks\.__init__
kmeans_lab\.sparse\.simd\.SumsOfBlocks\.__pybind11_module_local.*
kmeans_lab\._cpp_dbscan\.Index
kmeans_lab\._cpp_dbscan\.Index\.__init__
kmeans_lab\..*cy.*\.__test__
kmeans_lab\..*cy.*\.__pyx.*
kmeans_lab\..*cy.*\.__reduce_cython__
kmeans_lab\..*cy.*\.__setstate_cython__
"""


def test_every_compiled_module_has_a_stub():
    package = ROOT / "kmeans_lab"
    built = {
        ".".join(path.relative_to(package).parts).partition(".cpython")[0]
        for path in package.rglob("*.so")
    }
    assert COMPILED
    assert built <= {*COMPILED}


@pytest.mark.parametrize("name", COMPILED)
def test_each_stub_names_what_its_module_has(name):
    module = import_module(f"kmeans_lab.{name}")
    stub = ast.parse(
        (ROOT / f"kmeans_lab/{name.replace('.', '/')}.pyi").read_text(encoding="utf-8")
    )
    while all(isinstance(it, ast.ImportFrom) for it in stub.body):
        stub = ast.parse((ROOT / f"{stub.body[0].module.replace('.', '/')}.pyi").read_text())
    found = {}
    for it in stub.body:
        if isinstance(it, ast.FunctionDef | ast.ClassDef):
            found[it.name] = it
        elif isinstance(it, ast.AnnAssign):
            found[it.target.id] = it
    there = {it for it in dir(module) if not it.startswith("_")}
    assert {it for it in found if not it.startswith("_")} <= there
    assert {it for it in there if not inspect.ismodule(getattr(module, it))} <= found.keys()
    for kind in (it for it in found.values() if isinstance(it, ast.ClassDef)):
        methods = {it.name for it in kind.body if isinstance(it, ast.FunctionDef)}
        assert {it for it in methods if not it.startswith("_")} <= {
            *dir(getattr(module, kind.name))
        }


def stubtest(tmp_path):
    """Return what to hand to Python for mypy's comparison; it imports every compiled module."""
    pytest.importorskip("mypy", reason="pip install 'kmeans-lab[lint]'")
    allowed = tmp_path / "allowed"
    allowed.write_text(ADDED)
    modules = [f"kmeans_lab.{name}" for name in COMPILED]
    options = ["--mypy-config-file", str(ROOT / "pyproject.toml"), "--allowlist", str(allowed)]
    options += ["--ignore-unused-allowlist", "--concise"]
    return ["-m", "mypy.stubtest", *modules, *options]


@pytest.mark.slow  # test_each_stub_names_what_its_module_has catches the most likely fault
def test_the_stubs_are_true(tmp_path):
    command = [sys.executable, *stubtest(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
