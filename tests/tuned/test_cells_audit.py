"""An audit of the bounds of cells: after each pass, every center that was ruled out is farther.

Labels alone tell little: a center that a bound rules out wrongly is mostly not the nearest one.
"""

import ctypes
import os
import shutil

import numpy as np
import pytest

from tests.support.cells import DATA
from tests.support.helpers import compile_audit

MUTANTS = {
    "sides": "-DLAB_MUTANT_SIDES=0.8f",
    "planes": "-DLAB_MUTANT_PLANES=0.8f",
    "tolerance": "-DLAB_MUTANT_TOLERANCE=0x1p-40",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


def build(folder, *mutant):
    """Compile the audited engine, or a mutant of it; return its functions."""
    # What is wrong is soon found: to compile takes longer than to run.
    flags, library = ("-O0" if mutant else "-O1", *mutant), folder / "cells_audit.so"
    return ctypes.CDLL(str(compile_audit("tests/support/audits/cells.cpp", library, *flags)))


def faulty(library, X, centers, n_passes=4):
    """Whether the audit finds a fault in a fit of X."""
    centers = centers.copy()
    passes = getattr(library, f"passes_{X.dtype}")
    (n, d), k = X.shape, len(centers)
    sizes = (ctypes.c_ssize_t(size) for size in (n, d, k))
    n, d, k = sizes
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (X, centers)]
    return bool(passes(pointers[0], n, d, pointers[1], k, n_passes))


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The engine as it is, with the audit."""
    return build(tmp_path_factory.mktemp("audit"))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_every_center_that_is_ruled_out_is_farther(audited, isa, name, kind):
    for d in range(1, 6):
        X, centers = DATA[name](np.random.default_rng(d), d, kind)
        assert not faulty(audited, X, centers)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_audit_finds_bounds_that_rule_out_too_much(mutant, tmp_path):
    library = build(tmp_path, MUTANTS[mutant])
    os.environ.pop("KMEANS_LAB_ISA", None)
    assert any(
        faulty(library, *make(np.random.default_rng(d), d, kind))
        for kind in ("f4", "f8")
        for make in DATA.values()
        for d in range(1, 6)
    )
