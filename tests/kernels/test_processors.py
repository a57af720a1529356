"""One build runs on any x86-64: on processors without AVX-512, without AVX, emulated by QEMU."""

import platform
import re
import shutil
import subprocess
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest

import kmeans_lab
from tests.support.other_pythons import BEST, emulate

PACKAGE = Path(kmeans_lab.__file__).parent
BINARIES = sorted(PACKAGE.rglob(f"*{EXTENSION_SUFFIXES[0]}"))


def module_of(binary):
    """Return the name by which a compiled module of the package is imported."""
    return ".".join(binary.relative_to(PACKAGE.parent).parts).removesuffix(EXTENSION_SUFFIXES[0])


# An instruction that processors before AVX do not have, as objdump writes it.
WIDE = re.compile(r":\tv(?!err|erw)|%[yz]mm|%k[0-7]")
# Functions that are called where the processor was asked before: those of a namespace that is named
# after an instruction set, and Cython's that are generic over the type of rows.
ASKED = re.compile(r"N3lab(4avx2|6avx512)|__pyx_fuse_\d+__pyx_f_10kmeans_lab_5tuned_\d+cython_avx")

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

# The parts that are compiled, and Tiles made for another processor: an error, not the end.
COMPILED = """
import sys
from importlib import import_module
import numpy as np
levels = ["baseline", "avx2", "avx512"]
for name in sys.argv[2:]:
    module = import_module(name)
    level = name.rpartition("_")[2]
    if level not in levels:
        continue
    try:
        module.Tiles(np.zeros((5, 2)), 2, True)
    except RuntimeError as error:
        assert "has loops that this processor does not run; kernel='cython-tiled'" in str(error)
        assert levels.index(level) > levels.index(sys.argv[1])
    else:
        assert levels.index(level) <= levels.index(sys.argv[1])
print("imported")
"""

# What an extra would bring is left out where it is not there, and nothing else is.
EVERYTHING = """
import pkgutil
from importlib import import_module
import kmeans_lab
seen = 0
for found in pkgutil.walk_packages(kmeans_lab.__path__, "kmeans_lab."):
    if not found.name.endswith("__main__"):
        try:
            import_module(found.name)
        except ModuleNotFoundError as error:
            assert not error.name.startswith("kmeans_lab")
        seen += 1
assert seen > 50
print("imported")
"""


@pytest.mark.parametrize("binary", BINARIES, ids=lambda path: path.name.partition(".")[0])
def test_only_functions_that_ask_the_processor_first_hold_wide_instructions(binary):
    # Inline functions of the standard library that are compiled among wide ones would be shared
    # with all others: they have to stay as they are for every processor, too.
    if platform.machine() not in ("x86_64", "AMD64") or shutil.which("objdump") is None:
        pytest.skip("looks at x86-64 code with objdump; install binutils")
    module = module_of(binary)
    if "-march" in import_module(module).BUILD:
        pytest.skip("compiled for one processor: KMEANS_LAB_MARCH was set")
    command = ["objdump", "-d", "--no-show-raw-insn", binary]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = re.findall(r"^[0-9a-f]+ <(.*)>:\n((?:.+\n)*)", text, flags=re.MULTILINE)
    wide = [name for name, body in functions if WIDE.search(body)]
    assert len(functions) > 100
    assert wide or "cython_avx" not in module
    assert [name for name in wide if not ASKED.search(name)] == []


@pytest.mark.slow  # the same code runs on this one, and the next test imports it on that
@pytest.mark.parametrize("processor", BEST)
def test_on_an_older_processor(processor):
    run = emulate(processor, "-c", FIT, BEST[processor])
    assert (run.returncode, run.stdout) == (0, "same\n"), run.stderr


@pytest.mark.parametrize("processor", BEST)
def test_every_compiled_module_can_be_imported_on_an_older_processor(processor):
    names = map(module_of, BINARIES)
    run = emulate(processor, "-c", COMPILED, BEST[processor], *names)
    assert (run.returncode, run.stdout) == (0, "imported\n"), run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processor", BEST)
def test_every_module_can_be_imported_on_an_older_processor(processor):
    run = emulate(processor, "-c", EVERYTHING)
    assert (run.returncode, run.stdout) == (0, "imported\n"), run.stderr


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
