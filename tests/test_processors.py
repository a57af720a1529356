"""One build runs on any x86-64: on processors without AVX-512, without AVX, emulated by QEMU."""

import os
import platform
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

QEMU = shutil.which("qemu-x86_64")

FIT = """
import sys
import numpy as np
from kmeans_lab import kmeans, load_kernel
rng = np.random.default_rng(0)
for name in "cython-tiled", "cpp-simd":
    assert load_kernel(name).isa() == sys.argv[1], load_kernel(name).isa()
    for kind in "f4", "f8":
        for n, d, k in (900, 10, 7), (3000, 2, 20), (500, 33, 9):
            X = (rng.normal(size=(n, d)) * 5 + 40).astype(kind)
            options = {"random_state": 0, "max_iter": 5}
            expected = kmeans(X, k, kernel="cpp", **options)
            assert (kmeans(X, k, kernel=name, **options).labels == expected.labels).all()
print("same")
"""


@pytest.mark.skipif(QEMU is None or platform.machine() != "x86_64", reason="needs qemu-user")
@pytest.mark.parametrize(("processor", "isa"), [("Nehalem", "baseline"), ("Haswell", "avx2")])
def test_on_an_older_processor(processor, isa):
    command = [QEMU, "-cpu", processor, sys.executable, "-c", FIT, isa]
    # OpenBLAS asks more of the emulated processor than it says it has.
    environment = os.environ | {"OPENBLAS_CORETYPE": processor}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (run.returncode, run.stdout) == (0, "same\n"), run.stderr


@pytest.mark.kernels("cython-tiled")
@pytest.mark.parametrize("level", [0, 1, 2])
def test_no_module_is_imported_that_the_processor_does_not_run(kernel, monkeypatch, level):
    imported = []

    def load(name):
        imported.append(name)
        return SimpleNamespace(LEVEL=level)

    monkeypatch.setattr(kernel, "_load", load)
    assert list(kernel._load_all()) == imported
    assert imported == ["baseline", "avx2", "avx512"][: level + 1]


@pytest.mark.kernels("cython-tiled")
def test_levels_that_the_compiler_did_not_build_are_left_out(kernel, monkeypatch):
    there = {"baseline": SimpleNamespace(LEVEL=2), "avx512": SimpleNamespace(LEVEL=2)}
    monkeypatch.setattr(kernel, "_load", there.get)
    assert list(kernel._load_all()) == ["baseline", "avx512"]
