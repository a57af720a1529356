"""The flagship as a compiler without vectors builds it: slower, same labels."""

import subprocess
import sys
from pathlib import Path

import pytest
from pybind11.setup_helpers import Pybind11Extension
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parents[2]

COMPARE = """
import sys
import numpy as np
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from kmeans_lab import load_kernel
from kmeans_lab.seeding import greedy_rows

loader = ExtensionFileLoader("simd", sys.argv[1])
portable = module_from_spec(spec_from_loader("simd", loader))
loader.exec_module(portable)
assert portable.isa() == "baseline"
reference = load_kernel("cpp")
rng = np.random.default_rng(0)
for kind in "f4", "f8":
    for n, d, k in (1, 1, 1), (333, 3, 7), (5000, 2, 30), (4000, 10, 25), (1500, 17, 9):
        points = rng.normal(scale=10, size=(k, d))
        X = (points[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(kind)
        centers = (points + rng.normal(size=(k, d))).astype(kind)
        rows, labels = portable.prepare(X, k, 2), np.full(n, -1, np.int32)
        for _ in range(4):
            sums, counts, expected = np.zeros((k, d)), np.zeros(k, int), np.empty(n, np.int32)
            portable.assign_update(rows, centers, labels, sums, counts)
            reference.assign(X, centers, expected)
            np.testing.assert_array_equal(labels, expected)
            assert counts.tolist() == np.bincount(labels, minlength=k).tolist()
            centers = (sums / np.maximum(counts, 1)[:, None]).astype(kind)
    draws = rng.random((k - 1, 5))
    assert portable.greedy(X, 0, draws, 2).tolist() == greedy_rows(X, 0, draws)
print("same")
"""


def build(folder):
    """Compile the flagship without vectors; return the module's path."""
    macros = [("LAB_PORTABLE", None), ("KMEANS_LAB_FLAGS", '"portable"')]
    extension = Pybind11Extension(
        "simd", ["cpp/simd/module.cpp"], cxx_std=17, define_macros=macros,
        include_dirs=["cpp"], extra_compile_args=["-O1"], extra_link_args=["-pthread"],
    )  # fmt: skip
    command = build_ext(Distribution({"ext_modules": [extension]}))
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    (module,) = folder.glob("simd*")
    return module


@pytest.mark.slow  # a compiler's work for a quarter of a minute
def test_portable_code_agrees_with_the_reference(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = [sys.executable, "-c", COMPARE, str(build(tmp_path))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "same\n"), run.stderr
