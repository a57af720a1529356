"""An audit of the flagship for sparse rows: after each pass, its labels and all of its bounds hold.

Labels alone tell little: a center that a bound rules out wrongly is mostly not the nearest one.
"""

import importlib.util
import os
import shutil
import sysconfig

import numpy as np
import pybind11
import pytest
from scipy import sparse

from kmeans_lab.sparse.reading import read_sparse
from tests.support.helpers import compile_audit
from tests.support.sparse_cases import DATA, start

MUTANTS = {
    "cell": "-DLAB_MUTANT_CELL=0.1",
    "off": "-DLAB_MUTANT_OFF=-1.0",
    "rise": "-DLAB_MUTANT_RISE=-0.5",
    "fall": "-DLAB_MUTANT_FALL=-0.5",
    "quiet": "-DLAB_MUTANT_QUIET=0.0f",
    "near": "-DLAB_MUTANT_NEAR=-8.0",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


def build(folder, *macros):
    """Compile the audited module, and import it."""
    library = folder / f"simd{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = ("-O1", "-fvisibility=hidden", f"-I{pybind11.get_include()}", *macros)
    compile_audit("cpp/sparse/simd.cpp", library, *flags)
    # Python keeps extension modules by their names; the last part is that of the build.
    spec = importlib.util.spec_from_file_location(f"{folder.name}.simd", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(rows):
    return read_sparse("X", rows, ("float64",))


def faulty(module, rows, centers, n_passes=10):
    """Whether the audit finds a fault in a fit of these rows."""
    prepared = module.prepare(read(rows), len(centers), 1)
    labels, counts = np.full(rows.shape[0], -1, np.int32), np.empty(len(centers), np.int64)
    sums, follows = np.empty(centers.shape), False
    for _ in range(n_passes):
        try:
            prepared.follow(None if follows else centers, labels, counts)
        except RuntimeError:  # std::logic_error
            return True
        follows = bool(counts.all())
        if not follows:
            prepared.sums(sums)
            centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
    return False


def faulty_seeding(module, rows, seed):
    """Whether the audit finds a fault in k-means++ on these rows."""
    rng, prepared = np.random.default_rng(seed), module.prepare(read(rows), 20, 2)
    try:
        prepared.greedy(read(rows), 3, rng.random((min(rows.shape) - 1, 11)))
    except RuntimeError:
        return True
    return False


def noisy(rng):
    """Return rows of which some change their centers in each pass, however late."""
    rows = sparse.random(900, 60, 0.15, format="csr", random_state=rng)
    return rows, start(rng, rows, 24)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The module as it is, with the audit."""
    return build(tmp_path_factory.mktemp("audit"))


@pytest.mark.parametrize("name", DATA)
def test_every_bound_holds(audited, isa, name):
    for seed, k in enumerate((18, 25, 40)):
        rng = np.random.default_rng(seed)
        rows = DATA[name](rng)
        assert not faulty(audited, rows, start(rng, rows, k))
        assert not faulty_seeding(audited, rows, seed)


def test_every_bound_holds_late(audited, isa):
    for seed in range(4):
        assert not faulty(audited, *noisy(np.random.default_rng(seed)), n_passes=20)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_audit_finds_bounds_that_rule_out_too_much(mutant, tmp_path):
    module = build(tmp_path, MUTANTS[mutant])
    os.environ.pop("KMEANS_LAB_ISA", None)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        if faulty(module, *noisy(rng), n_passes=20):
            return
        for name in ("texts", "thirds"):
            rows = DATA[name](rng)
            if faulty(module, rows, start(rng, rows, 25)) or faulty_seeding(module, rows, seed):
                return
    pytest.fail("the audit finds nothing wrong")
