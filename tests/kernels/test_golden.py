"""Tuned kernels give the bits that are kept in golden.json: each kernel, mode, level and order."""

import json

import numpy as np
import pytest

from kmeans_lab import kmeans
from tests.support.golden import CASES, CHANGELOG, FILE, SMALL, golden, work
from tests.support.helpers import force_isa

TUNED = ("cpp-simd", "cython-tiled", "numba-tiled")
KEPT = json.loads(FILE.read_text(encoding="utf-8"))
NAMES = (*SMALL, *CASES)


def test_every_small_preset_and_case_is_kept_and_the_changelog_says_why():
    assert set(KEPT["fits"]) == set(NAMES)
    assert {"standard", "quick", "smoke", "grid-10000-20"} <= set(SMALL)
    assert KEPT["because"]
    assert KEPT["because"] in CHANGELOG.read_text(encoding="utf-8")


@pytest.mark.parametrize("kernel", TUNED)
@pytest.mark.parametrize("name", NAMES)
def test_a_fit_gives_the_bits_that_are_kept(name, kernel):
    assert golden(name, kernel) == KEPT["fits"][name]


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("kernel", ["cpp-simd", "cython-tiled"])
def test_every_instruction_set_gives_them(kernel, isa, monkeypatch):
    force_isa(monkeypatch, kernel, isa)
    different = [name for name in NAMES if golden(name, kernel) != KEPT["fits"][name]]
    assert different == []


@pytest.mark.parametrize("kernel", TUNED)
def test_threads_give_them(kernel):
    names = [name for name in NAMES if golden(name, kernel, n_threads=3) != KEPT["fits"][name]]
    assert names == []


@pytest.mark.parametrize(
    "kernel", ["cpp-simd", pytest.param("cython-tiled", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_modes_give_them(kernel, mode):
    names = CASES if mode == "processes" else NAMES
    fits = {name: golden(name, kernel, mode=mode, n_threads=2) for name in names}
    assert fits == {name: KEPT["fits"][name] for name in names}


@pytest.mark.parametrize("kernel", TUNED)
@pytest.mark.parametrize("name", ["standard", "weights", "float32"])
def test_rows_in_another_order_give_the_same_centers(name, kernel):
    X, n_clusters, options = work(name)
    order = np.random.default_rng(0).permutation(len(X))
    moved = dict(options)
    if "sample_weight" in options:
        moved["sample_weight"] = options["sample_weight"][order]
    whole = kmeans(X, n_clusters, kernel=kernel, **options)
    other = kmeans(X[order], n_clusters, kernel=kernel, **moved)
    assert other.centers.tobytes() == whole.centers.tobytes()
    assert other.inertia == whole.inertia
    assert (other.labels == whole.labels[order]).all()
