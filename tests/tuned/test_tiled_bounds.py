"""Every row's bound after every pass, against distances in float64; wrong ones are found."""

import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from sysconfig import get_path

import numpy as np
import pytest

from tests.support.balls import nearest

ROOT = Path(__file__).parents[2]
TILED = pytest.mark.kernels("numba-tiled", "cython-tiled")
KINDS = ["clouds", "offset", "integers", "tiny", "tails", "twins", "far away", "vanishing"]
KINDS += ["tight", "huge", "vast"]
SHAPES = [(1500, 7, 20), (1100, 18, 40), (900, 7, 3), (300, 3, 11)]


def rows_of(kind, n, d, dtype):
    """Return rows that are easy or hard for bounds."""
    rng = np.random.default_rng(n + d)
    rows = rng.normal(size=(n, d))
    if kind == "tails":
        rows = rng.standard_cauchy(size=(n, d))
    elif kind == "integers":
        rows = rng.integers(-2, 3, size=(n, d))
    elif kind == "twins":
        rows = np.repeat(rows[: n // 8 + 1], 8, axis=0)[:n]
    elif kind == "far away":
        rows[n // 2] = 1e9
    elif kind == "clouds":
        rows += rng.normal(size=(40, d))[rng.integers(0, 40, n)] * 2
    elif kind == "tight":
        rows += 1e5 * rng.normal(size=(5, d))[rng.integers(0, 5, n)]
    narrow = dtype == "float32"
    scale = {
        "tiny": 1e-12,
        "vanishing": 1e-30 if narrow else 1e-200,
        "huge": 1e12 if narrow else 1e30,
        "vast": 1e25 if narrow else 1e200,
    }.get(kind, 1)
    return (rows * scale + (1e6 if kind == "offset" else 0)).astype(dtype)


def trouble(kernel, rows, k, n_threads=1, passes=7):
    """Return what is wrong after the passes of a fit: with a label, or with the gap of a row."""
    n, d = rows.shape
    centers = rows[np.random.default_rng(k).choice(n, k, replace=False)].copy()
    prepared, labels, gaps = kernel.prepare(rows, k, n_threads), np.empty(n, np.int32), np.empty(n)
    known = 0
    for step in range(passes):
        sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
        kernel.assign_update(prepared, centers, labels, sums, counts)
        wrong = np.flatnonzero(labels != nearest(rows, centers))
        if wrong.size:
            return f"pass {step}: label of row {wrong[0]}"
        prepared.tiles.read_gaps(gaps)
        # Scaled, so that squares do not vanish; no bound sees a part in a thousand million.
        unit = np.abs(rows).max(axis=1, keepdims=True).astype(float) + 1e-290
        away = (rows[:, None].astype(float) - centers.astype(float)) / unit[:, None]
        far = np.sqrt((away**2).sum(axis=2)) * unit
        own = far[np.arange(n), labels]
        far[np.arange(n), labels] = np.inf
        wide = np.flatnonzero((gaps > 0) & ~(far.min(axis=1) - own >= gaps))
        if wide.size:
            return f"pass {step}: gap of row {wide[0]}"
        known += int((gaps > 0).sum())
        with np.errstate(invalid="ignore"):
            means = (sums / counts[:, None]).astype(rows.dtype)
        centers = np.where(counts[:, None] > 0, means, centers)
    return "" if known else "no row has a gap"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@TILED
def test_every_gap_holds_in_every_pass(kernel, kind, shape, dtype):
    n, d, k = shape
    rows = rows_of(kind, n, d, dtype)
    assert trouble(kernel, rows, k, n_threads=1 + k % 2) in ("", "no row has a gap")


@pytest.mark.parametrize("kind", ["clouds", "tiny"])
@TILED
def test_most_rows_have_a_gap_and_are_not_scored(kernel, kind, dtype):
    rows = rows_of(kind, 4000, 7, dtype)
    assert trouble(kernel, rows, 9) == ""
    centers, labels = rows[:9].copy(), np.empty(4000, np.int32)
    prepared = kernel.prepare(rows, 9, 1)
    for _ in range(4):  # balls are tried in the first pass and in the third
        kernel.assign(prepared, centers, labels)
    assert prepared.met < 0.2


@TILED
def test_one_cluster_and_as_many_as_rows(kernel, dtype):
    rows = rows_of("clouds", 150, 7, dtype)
    assert trouble(kernel, rows, 1) in ("", "no row has a gap")  # there is no second center
    assert trouble(kernel, np.repeat(rows[:1], 150, axis=0), 150) in ("", "no row has a gap")
    trouble(kernel, rows, 150)


@TILED
def test_a_pass_that_was_stopped_leaves_no_wrong_gap(kernel, dtype):
    rows = rows_of("clouds", 3000, 7, dtype)
    prepared, labels, gaps = kernel.prepare(rows, 12, 1), np.empty(3000, np.int32), np.empty(3000)
    starts = [rows[i : i + 12].copy() for i in (0, 50, 90)]
    kernel.assign(prepared, starts[0], labels)
    prepared.tiles.start(starts[1], labels)
    prepared.tiles.stop()  # before any row
    kernel.assign(prepared, starts[2], labels)
    np.testing.assert_array_equal(labels, nearest(rows, starts[2]))
    prepared.tiles.read_gaps(gaps)
    far = np.sqrt(((rows[:, None].astype(float) - starts[2].astype(float)) ** 2).sum(axis=2))
    two = np.sort(far, axis=1)
    assert (two[:, 1] - two[:, 0] >= gaps).all()


@TILED
def test_rows_that_float32_cannot_tell_apart_go_on_in_float64(kernel):
    rows = rows_of("offset", 6000, 7, "float64")
    centers, labels = rows[:20].copy(), np.empty(6000, np.int32)
    prepared = kernel.prepare(rows, 20, 1)
    for _ in range(3):
        kernel.assign(prepared, centers, labels)
        np.testing.assert_array_equal(labels, nearest(rows, centers))
    assert prepared.rescored < 2000  # of 18 000


@TILED
def test_what_float32_leaves_open_is_decided_as_the_plain_kernel_decides(kernel):
    rng = np.random.default_rng(8)
    X = rng.normal(size=(20_000, 7))
    centers, labels = X[:12].copy(), np.empty(20_000, np.int32)
    centers[8] = centers[3] + rng.normal(size=7) / 10
    # Far more than a rounding of float64 to either side of a plane, and less than one of float32.
    a, b = centers[3], centers[8]
    some = slice(0, 20_000, 40)
    X[some] = (a + b) / 2 + (b - a) * rng.normal(size=(500, 1)) * 1e-9
    prepared = kernel.prepare(X, 12, 1)
    kernel.assign(prepared, centers, labels)
    np.testing.assert_array_equal(labels, nearest(X, centers))
    kernel.assign(prepared, centers[::-1].copy(), labels)
    np.testing.assert_array_equal(labels, nearest(X, centers[::-1].copy()))
    assert prepared.rescored > 200


#: What may go wrong in Cython's bounds: what stands there, what would be wrong.
MUTANTS = {
    "drifts too short": ("sqrt(square) * (1 + w.loss)", "sqrt(square) * 0.6"),
    "own drift forgotten": ("(w.way[j] + (second", "((second"),
    "the other drifts forgotten": ("(second if j == who else most)", "0.0"),
    "gaps too wide": ("* (1 - w.loss) - sqrt", "* 1.001 - sqrt"),
    "drift then forgotten": ("need[<int32_t> nearest[i]]", "0"),
    "slack of another cluster": ("w.drift[<int32_t> index[p]]", "w.drift[0]"),
    "limits too low": ("best[p] += least", "best[p] -= least"),
    "no tolerance of float32": ("steps = 1.001 * 2 * (w.d + 6)", "steps = 0"),
    "float32 rounds more": ("unit = 2.0 ** -24", "unit = 2.0 ** -30"),
}


def found(kernel):
    """Return whether the check finds anything on rows of some kinds."""
    rows = [rows_of(kind, *SHAPES[i][:2], "float64") for kind in KINDS[:3] for i in (0, 1)]
    return any(trouble(kernel, it, 30) for it in rows)


def built(folder, mutant):
    """Return Cython's tiles for any processor, with one of the mutants, compiled in this folder."""
    right, wrong = MUTANTS[mutant]
    places = 0
    for path in (ROOT / "kmeans_lab" / "tuned").glob("cython*.p*x*"):
        text = path.read_text(encoding="utf-8")
        places += text.count(right)
        (folder / path.name).write_text(text.replace(right, wrong), encoding="utf-8")
    assert places == 1
    name = "cython_baseline"
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", f"{name}.pyx"], cwd=folder, check=True, timeout=300
    )
    command = ["gcc", "-O1", "-shared", "-fPIC", "-fno-math-errno", '-DKMEANS_LAB_FLAGS=""']
    command += ["-DKMEANS_LAB_LEVEL=0", f"-I{ROOT / 'cpp'}", f"-I{get_path('include')}"]
    command += [f"{name}.c", "-o", f"{name}.so"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    spec = spec_from_file_location(name, folder / f"{name}.so")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.kernels("cython-tiled")
def test_wrong_bounds_of_cython_are_found(kernel, mutant, tmp_path, monkeypatch):
    module = built(tmp_path, mutant)
    monkeypatch.setattr(kernel, "_MODULES", {"baseline": module})
    monkeypatch.setenv("KMEANS_LAB_ISA", "baseline")
    assert found(kernel)


@pytest.mark.parametrize("factor", [0.0, 0.6])
@pytest.mark.kernels("numba-tiled")
def test_drifts_that_are_too_short_are_found(kernel, factor, monkeypatch):
    right = kernel.drift_on

    def wrong(given, old, way, drift, need, scale):
        before = drift.copy()
        right(given, old, way, drift, need, scale)
        drift[:] = before + factor * (drift - before)
        need[1:] = drift

    monkeypatch.setattr(kernel, "drift_on", wrong)
    assert found(kernel)


@pytest.mark.parametrize("factor", [0.0, 0.02])
@pytest.mark.kernels("numba-tiled")
def test_tolerances_of_float32_that_are_too_small_are_found(kernel, factor, monkeypatch):
    right, layout = kernel.take_centers, kernel.layout

    def wrong(*given):
        right(*given)
        given[4][[layout.SCREEN_FLAT, layout.SCREEN_RATE]] *= factor

    monkeypatch.setattr(kernel, "take_centers", wrong)
    assert found(kernel)


@TILED
def test_scores_that_overflow_leave_no_bound(kernel):
    """Below the driver, which refuses such values."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(500, 20)).astype("f4")
    near, labels = X[:4].copy(), np.empty(500, np.int32)
    far = near.copy()
    far[1:] *= np.float32(1e20)
    rows = kernel.prepare(X, 4, 1)
    for centers in (far, far, near):
        kernel.assign_update(rows, centers, labels, np.zeros((4, 20)), np.zeros(4, np.int64))
    np.testing.assert_array_equal(labels, nearest(X, near))


@TILED
@pytest.mark.parametrize("order", ["Fortran", "strided", "repeated"])
def test_rows_in_another_order_are_refused(kernel, order):
    X = np.random.default_rng(6).normal(size=(90, 5))
    given = {
        "Fortran": np.asfortranarray(X),
        "strided": X[::2],
        "repeated": np.broadcast_to(X[:1], (90, 5)),
    }[order]
    with pytest.raises(ValueError, match="contiguous"):
        kernel.prepare(given, 4, 1)


BEFORE_A_WALL = """
import numpy as np
from kmeans_lab.tuned import numba as tiled
from tests.support.helpers import before_a_wall

tiled._aligned = lambda shape, dtype: before_a_wall(np.zeros(shape, dtype))
for d in (3, 5, 14, 17):
    X = np.random.default_rng(d).normal(size=(1024, d))
    rows = tiled.prepare(X, 8, 1)
    for _ in range(2):
        sums, counts, labels = np.zeros((8, d)), np.zeros(8, np.int64), np.zeros(1024, np.int32)
        tiled.assign_update(rows, X[:8].copy(), labels, sums, counts)
    print(d)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects a page")
@pytest.mark.kernels("numba-tiled")
def test_nothing_is_read_beyond_an_array(kernel_name):
    child = subprocess.run(
        [sys.executable, "-c", BEFORE_A_WALL], capture_output=True, text=True, timeout=500
    )
    assert child.stdout.split()[-1:] == ["17"], (child.returncode, child.stderr[-2000:])
