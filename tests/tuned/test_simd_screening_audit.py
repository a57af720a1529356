"""The bounds by which k-means++ screens rows, and its estimates, beside distances measured."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pybind11.setup_helpers import Pybind11Extension
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

from kmeans_lab.seeding import greedy_rows
from tests.support.hard_rows import KINDS, ONLY_FLOAT64, K

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # a compiler's work for a quarter of a minute

#: What may be wrong, and whether it rules rows out or only makes estimates worse.
PLANTED = {"copies": 0, "rows": 0, "candidates": 0, "estimates": 1}


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    extension = Pybind11Extension(
        "audit_seeding", [str(ROOT / "tests/support/audits/audit_seeding.cpp")], cxx_std=17,
        define_macros=[("KMEANS_LAB_FLAGS", '"audit"')], include_dirs=[str(ROOT / "cpp")],
        extra_compile_args=["-O3", "-Wno-psabi"], extra_link_args=["-pthread"],
    )  # fmt: skip
    command = build_ext(Distribution({"ext_modules": [extension]}))
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    sys.path.insert(0, str(folder))
    try:
        import audit_seeding
    finally:
        sys.path.remove(str(folder))
    return audit_seeding


def faults(audit, planted=""):
    """Return the kinds of rows for which something was found: ruled out wrongly, or estimated."""
    found = [set(), set()]
    for name, make in (KINDS | ONLY_FLOAT64).items():
        for kind in ("f8",) if name in ONLY_FLOAT64 else ("f8", "f4"):
            rng = np.random.default_rng(3)
            X = make(rng).astype(kind)
            for n_centers in (1, 3, 10, 40):
                chosen = rng.integers(len(X) // 2, len(X), size=n_centers + 8).tolist()
                counts = audit.faults(X, chosen[:-8], chosen[-8:], planted)
                for count, names in zip(counts, found, strict=True):
                    if count > 0:
                        names.add(name)
    return found


def test_no_row_is_ruled_out_wrongly_and_no_estimate_is_too_far(isa, audit):
    assert faults(audit) == [set(), set()]


@pytest.mark.parametrize(("planted", "what"), PLANTED.items())
def test_a_planted_fault_is_found(isa, audit, planted, what):
    assert len(faults(audit, planted)[what]) > 0


@pytest.mark.parametrize("name", KINDS | ONLY_FLOAT64)
def test_screened_rows_are_chosen_as_by_numpy_also_where_balls_are_faster(isa, audit, name):
    for kind in ("f8",) if name in ONLY_FLOAT64 else ("f8", "f4"):
        rng = np.random.default_rng(8)
        X = (KINDS | ONLY_FLOAT64)[name](rng).astype(kind)
        draws = rng.random((K - 1, 5))
        expected = greedy_rows(X, 3, draws)
        for n_threads in (1, 3):
            assert audit.greedy(X, 3, draws, n_threads) == expected
