"""The stubs of the compiled modules say what those modules hold: mypy's own comparison."""

import subprocess
import sys
from pathlib import Path

import pytest
from processors import BEST, emulate

ROOT = Path(__file__).parent.parent
COMPILED = sorted(path.stem for path in (ROOT / "kmeans_lab").glob("_*.pyi"))

# What the binding tools add, and no reader of a stub asks for: pybind11 has a metaclass of its own,
# and a constructor that takes anything in order to refuse it.
ADDED = r"""
kmeans_lab\._simd_kernel\.Tiles
kmeans_lab\._simd_kernel\.Tiles\.__init__
kmeans_lab\._cpp_dbscan\.Index
kmeans_lab\._cpp_dbscan\.Index\.__init__
kmeans_lab\._cy.*\.__test__
kmeans_lab\._cy.*\.__pyx.*
kmeans_lab\._cy.*\.__reduce_cython__
kmeans_lab\._cy.*\.__setstate_cython__
"""


def test_every_compiled_module_has_a_stub():
    built = {path.name.partition(".")[0] for path in (ROOT / "kmeans_lab").glob("_*.so")}
    assert COMPILED
    assert built <= {*COMPILED}


def stubtest(tmp_path):
    """Return what to hand to Python for mypy's comparison; it imports every compiled module."""
    pytest.importorskip("mypy", reason="pip install 'kmeans-lab[lint]'")
    allowed = tmp_path / "allowed"
    allowed.write_text(ADDED)
    modules = [f"kmeans_lab.{name}" for name in COMPILED]
    options = ["--mypy-config-file", str(ROOT / "pyproject.toml"), "--allowlist", str(allowed)]
    options += ["--ignore-unused-allowlist", "--concise"]
    return ["-m", "mypy.stubtest", *modules, *options]


def test_the_stubs_are_true(tmp_path):
    command = [sys.executable, *stubtest(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processor", BEST)
def test_the_stubs_can_be_checked_on_an_older_processor(tmp_path, monkeypatch, processor):
    monkeypatch.chdir(ROOT)
    run = emulate(processor, *stubtest(tmp_path))
    assert run.returncode == 0, run.stdout + run.stderr
