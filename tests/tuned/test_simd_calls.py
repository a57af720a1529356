"""Calls that look at X once: labels, inertia and distances of rows that nothing has prepared."""

import os
import subprocess
import sys

import numpy as np
import pytest

from kmeans_lab import KMeans, load_kernel
from kmeans_lab.isolation.availability import state_of
from tests.support.interrupts import interrupted

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")

SHAPES = [(1, 1, 1), (1, 7, 5), (17, 2, 3), (63, 3, 11), (65, 5, 7), (129, 9, 1), (500, 10, 25)]
SHAPES += [(700, 1, 9), (400, 16, 8), (40, 17, 40), (333, 33, 40), (260, 64, 100), (50, 130, 50)]


def among(rng, X, k):
    return X[rng.integers(len(X), size=k)]


def scaled(by):
    return lambda rng, X, centers: (X * by, centers * by)


#: What is done to rows around centers.
KINDS = {
    "clusters": lambda rng, X, centers: (X, centers),
    "far from the origin": lambda rng, X, centers: (X + 1e6, centers + 1e6),
    "tight clusters": lambda rng, X, centers: (
        tight := among(rng, centers * 100, len(X)) + 1e-3 * rng.normal(size=X.shape),
        among(rng, tight, len(centers)),
    ),
    "all equal": lambda rng, X, centers: (X * 0 + X[0], centers * 0 + X[0]),
    "duplicates": lambda rng, X, centers: (
        rows := among(rng, X[: max(1, len(X) // 20)], len(X)),
        among(rng, rows, len(centers)),
    ),
    "a grid": lambda rng, X, centers: (np.round(X), np.round(among(rng, X, len(centers)))),
    "heavy tails": lambda rng, X, centers: (
        rows := rng.standard_cauchy(X.shape),
        among(rng, rows, len(centers)),
    ),
    "one far row": lambda rng, X, centers: (
        np.where(np.arange(len(X))[:, None] == 0, X * 1e12, X),
        centers,
    ),
    "one far center": lambda rng, X, centers: (
        X,
        np.where(np.arange(len(centers))[:, None] == 0, centers * 1e9, centers),
    ),
    **{f"times {by}": scaled(by) for by in (1e-12, 1e-30, 1e-42, 1e30)},
}
WIDE = {f"times {by}": scaled(by) for by in (1e-310, 1e-200, 1e-162, 1e-161, 1e-150, 1e150, 1e160)}


def made(kind, dtype, n, d, k):
    rng = np.random.default_rng(n + d + k)
    centers = rng.normal(size=(k, d)) * 2
    X = among(rng, centers, n) + rng.normal(size=(n, d))
    return [it.astype(dtype) for it in (KINDS | WIDE)[kind](rng, X, centers)]


def squares_in_order(X, centers):
    differences = X[:, None].astype(np.float64) - centers.astype(np.float64)
    return np.add.accumulate(differences * differences, axis=2)[:, :, -1]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("kind", KINDS)
def test_labels_inertia_and_distances_are_the_references(isa, dtype, kind):
    check_shapes(dtype, kind)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("kind", WIDE)
def test_nor_do_the_widest_and_narrowest_doubles_matter(isa, kind):
    check_shapes("f8", kind)


def check_shapes(dtype, kind):
    simd, reference = load_kernel("cpp-simd"), load_kernel("cpp")
    for i, (n, d, k) in enumerate(SHAPES):
        X, centers = made(kind, dtype, n, d, k)
        expected, labels = np.empty(n, np.int32), np.full(n, -9, np.int32)
        reference.assign(X, centers, expected)
        simd.label_rows(X, centers, labels, 1 + i % 3)
        np.testing.assert_array_equal(labels, expected)
        labels[:] = -9
        inertia = simd.assign(X, centers, labels, 2)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_equal(inertia, simd.inertia(X, centers, expected))
        out = np.full((n, k), -1, dtype)
        simd.distances(X, centers, out, 2)
        roots = np.sqrt(squares_in_order(X, centers)).astype(dtype)
        np.testing.assert_array_equal(out.min(axis=1), roots.min(axis=1))
        digits = (d + 3) * 2.0**-53 if X.dtype == np.float64 else 1e-6
        np.testing.assert_allclose(out, roots, rtol=digits, atol=0)


def test_a_middle_moves_rows_as_numpy_does(isa, dtype):
    simd = load_kernel("cpp-simd")
    for n, d, k in SHAPES:
        X, centers = made("far from the origin", dtype, n, d, k)
        middle = X.mean(axis=0)
        near, found, labels = centers - middle, np.empty(n, np.int32), np.empty(n, np.int32)
        load_kernel("cpp").assign(X - middle, near, labels)
        inertia = simd.assign(X, near, found, 2, middle)
        np.testing.assert_array_equal(found, labels)
        assert inertia == simd.inertia(X - middle, near, labels)


def test_where_floats_cannot_tell_centers_apart_doubles_do(isa):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 8))[rng.integers(50, size=5000)] * 1e3 + rng.normal(size=(5000, 8))
    X[:, 0] += 1e7 * rng.choice([-1, 1], size=5000)
    centers, labels = among(rng, X, 40), np.empty(5000, np.int32)
    rescored = load_kernel("cpp-simd").label_rows(X, centers, labels, 1)
    assert rescored < 500  # with floats alone, nearly all
    np.testing.assert_array_equal(labels, squares_in_order(X, centers).argmin(axis=1))


def test_no_number_of_threads_changes_a_bit(isa):
    X, centers = made("heavy tails", "f8", 20_000, 7, 30)
    simd, found = load_kernel("cpp-simd"), set()
    for n_threads in (1, 2, 5):
        labels, out = np.empty(len(X), np.int32), np.empty((len(X), len(centers)))
        inertia = simd.assign(X, centers, labels, n_threads)
        simd.distances(X, centers, out, n_threads)
        found.add((inertia, labels.tobytes(), out.tobytes(), simd.largest(X, n_threads)))
    assert len(found) == 1
    assert found.pop()[3] == np.abs(X).max()


@pytest.mark.parametrize("n", [0, 1, 3, 33, 1000, 300_001])
def test_the_largest_magnitude_is_none_where_a_value_is_not_finite(isa, dtype, n):
    simd, values = load_kernel("cpp-simd"), np.random.default_rng(n).normal(size=n).astype(dtype)
    assert simd.largest(values, 2) == (np.abs(values).max() if n else 0)
    for i in {0, n // 2, n - 1} - {-1} if n else ():
        for bad in (np.nan, np.inf, -np.inf):
            spoilt = values.copy()
            spoilt[i] = bad
            assert np.isnan(simd.largest(spoilt, 2))


def test_distances_far_from_the_origin_keep_the_digits_that_the_rows_have(isa):
    for d in (3, 40, 200):
        X, centers = made("clusters", "f8", 300, d, 20)
        X, centers = X + 1e7, centers + 1e7
        out = np.empty((300, 20))
        load_kernel("cpp-simd").distances(X, centers, out, 1)
        expected = np.sqrt(squares_in_order(X, centers))
        np.testing.assert_allclose(out, expected, rtol=(d + 3) * 2.0**-53)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda it, X, c, y: it.label_rows(X, c[:, :2].copy(), y, 1),
            ValueError,
            "as many columns",
        ),
        (lambda it, X, c, y: it.label_rows(X, c[:0], y, 1), ValueError, "at least one center"),
        (lambda it, X, c, y: it.label_rows(X, c, y[1:].copy(), 1), ValueError, "assign needs rows"),
        (lambda it, X, c, y: it.label_rows(X, c, y.astype("i8"), 1), TypeError, "int32 array"),
        (lambda it, X, c, y: it.label_rows(X, c, y, 0), ValueError, "n_threads=0 must be from 1"),
        (lambda it, X, c, y: it.label_rows(X, c.astype("f4"), y, 1), TypeError, "float64 array"),
        (lambda it, X, c, y: it.assign(X, c, y, 1, X[0, 1:]), ValueError, "middle must have"),
        (lambda it, X, c, y: it.distances(X, c, np.empty((9, 3)), 1), ValueError, "needs out"),
        (lambda it, X, c, y: it.distances(X, c, np.empty((9, 2), "f4"), 1), TypeError, "out must"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(call, error, sentence):
    X, labels = np.arange(27.0).reshape(9, 3), np.full(9, -5, np.int32)
    with pytest.raises(error, match=sentence):
        call(load_kernel("cpp-simd"), X, X[:2].copy(), labels)
    assert (labels == -5).all()


FORK = """
import os
import numpy as np
from kmeans_lab import load_kernel
X = np.random.default_rng(0).normal(size=(20_000, 8))
simd, labels = load_kernel("cpp-simd"), np.empty(20_000, np.int32)
inertia = simd.assign(X, X[:30], labels, 3)  # and its threads stay for the next call
child = os.fork()
if child == 0:
    os._exit(0 if {simd.assign(X, X[:30], labels, it) for it in (3, 2, 3)} == {inertia} else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert simd.assign(X, X[:30], labels, 3) == inertia
print("both")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "both\n"), run.stderr


LONG = """
import os, signal, sys, threading, time
import numpy as np
from kmeans_lab import load_kernel
X = np.random.default_rng(0).normal(size=(100_000, 64))
simd, sent, K, what = load_kernel("cpp-simd"), [], 20_000, sys.argv[1]
rows = X if what != "distances" else X[:20_000]
labels, out = np.empty(len(rows), np.int32), np.empty((len(rows), K if what == "distances" else 0))
def interrupt():
    time.sleep(0.2)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    for _ in range(100):
        if what == "distances":
            simd.distances(rows, X[:K], out, 2)
        elif what == "near-ties":
            simd.label_rows(rows, np.repeat(X[:2], K, axis=0), labels, 2)
        else:
            simd.assign(rows, X[:K], labels, 2)
except KeyboardInterrupt:
    print("stopped after", time.perf_counter() - sent[0])
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("what", ["assign", "near-ties", "distances"])
def test_ctrl_c_ends_a_call_within_a_second(tmp_path, what):
    interrupted(tmp_path / "script.py", LONG, what)


@pytest.mark.parametrize("n_threads", [None, 1, 2])
def test_the_estimator_answers_alike_with_any_number_of_threads(n_threads):
    X, centers = made("clusters", "f8", 30_000, 6, 20)
    found = KMeans(20, init=centers, n_init=1, max_iter=1, n_threads=n_threads).fit(X)
    squares = squares_in_order(X, found.cluster_centers_)
    np.testing.assert_array_equal(found.predict(X), squares.argmin(axis=1))
    np.testing.assert_array_equal(found.transform(X), np.sqrt(squares))
    assert found.score(X) == -found.inertia_
