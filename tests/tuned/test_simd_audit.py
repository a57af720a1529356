"""Every bound of every pass, against distances in float64; and that this check finds wrong ones."""

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.helpers import compile_audit

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]

CARRIED, PASS = "engines/carried_state.h", "isa/carried_rows-inl.h"
SLACK, ROWS = "engines/hamerly_state.h", "isa/hamerly-inl.h"

#: What may go wrong in bounds: the file, what stands there, what would be wrong.
MUTANTS = {
    "drifts too short": (CARRIED, "* scale * (1 + 1e-9)", "* scale * 0.6"),
    "errors of copies forgotten": (
        CARRIED,
        "float((both + 32",
        "float((0 * both + 32",
    ),
    "errors of copies of rows forgotten": (
        "engines/carried.h",
        "= std::max(state_.row_error, part.error)",
        "= 0 * part.error",
    ),
    "another center left out": (
        "isa/carried-inl.h",
        "place < kPanel ? place : kPanel",
        "place < kPanel ? (place ^ 1) : kPanel",
    ),
    "lower bounds too high": (PASS, "kDown = 1 - 0x1p-21f", "kDown = 1.001f"),
    "upper bounds too low": (PASS, "kUp = 1 + 0x1p-21f", "kUp = 0.999f"),
    "drift of another group": (
        CARRIED,
        "most[slot[j] / (width * span)]",
        "most[0]",
    ),
    "near-ties taken for sure": (PASS, "reach < others &&", "true &&"),
    "slack: drifts too short": (SLACK, "(1 + 1e-6)", "0.6"),
    "slack: the other drifts forgotten": (SLACK, "? second : most", "? 0 : 0"),
    "slack: gaps too wide": (ROWS, "- S(1e-6) * reach", "+ S(1e-3) * reach"),
    "slack: raised too far": (SLACK, "by = most - drift", "by = 2 * most"),
    "slack: raised by the wrong cluster": (
        ROWS,
        "gather(state.raised.data(), work.labels.data() + i)",
        "gather(state.raised.data(), work.labels.data() + first)",
    ),
    "slack: drift of the wrong cluster": (
        ROWS,
        "= found.gaps[l]",
        "= found.gaps[0]",
    ),
}


def build(folder, mutant=None):
    """Return the library of a copy of the sources in this folder, with one of the mutants."""
    shutil.copytree(ROOT / "cpp", folder / "cpp")
    if mutant is not None:
        name, right, wrong = MUTANTS[mutant]
        path = folder / "cpp" / "simd" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(right) == 1
        path.write_text(text.replace(right, wrong), encoding="utf-8")
    # What is wrong is soon found: to compile takes longer than to run.
    flags = "-O2" if mutant is None else "-O0", "-DLAB_BASELINE"
    source, headers = "tests/support/audits/engines.cpp", folder / "cpp"
    library = folder / "audit.so"
    return ctypes.CDLL(str(compile_audit(source, library, *flags, headers=headers)))


def rows_of(kind, rng, n, d):
    """Return rows that are easy or hard for bounds in float32."""
    if kind == "offset":
        return rng.normal(size=(n, d)) + 1e6
    if kind == "tiny":
        return rng.normal(size=(n, d)) * 1e-12
    if kind == "heavy tails":
        return rng.standard_cauchy(size=(n, d))
    if kind == "integers":
        return rng.integers(-2, 3, size=(n, d)).astype(float)
    if kind == "twins":
        return np.repeat(rng.normal(size=(n // 8 + 1, d)), 8, axis=0)[:n]
    return rng.normal(size=(40, d))[rng.integers(0, 40, n)] * 2 + rng.normal(size=(n, d))


KINDS = ["clouds", "offset", "tiny", "heavy tails", "integers", "twins"]


def troubles(library, seeds, dtype="float64", one_bound=False):
    """Return what the audit says of fits on rows of all kinds."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n, d, k = int(rng.integers(100, 2500)), int(rng.integers(1, 40)), int(rng.integers(1, 90))
        X = rows_of(KINDS[seed % len(KINDS)], rng, n, d).astype(dtype)
        middle = X.mean(axis=0) if seed % 4 else np.zeros(d, dtype)
        centers = (X - middle)[rng.choice(n, k, replace=False)]
        sizes = np.array([n, d, k, 1 + seed % 2, one_bound], np.int64)
        trouble = ctypes.create_string_buffer(200)
        fit = getattr(library, f"fit_{dtype}")
        arrays = [ctypes.c_void_p(array.ctypes.data) for array in (X, middle, centers, sizes)]
        if fit(*arrays, 9, trouble):
            found.append((seed, trouble.value.decode()))
    return found


def test_every_bound_holds_in_every_pass(tmp_path):
    library = build(tmp_path)
    for one_bound in (False, True):
        assert troubles(library, range(60), "float64", one_bound) == []
        assert troubles(library, range(60, 90), "float32", one_bound) == []


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_bounds_are_found(mutant, tmp_path):
    library, one_bound = build(tmp_path, mutant), mutant.startswith("slack")
    assert any(troubles(library, [seed], one_bound=one_bound) for seed in range(60))
