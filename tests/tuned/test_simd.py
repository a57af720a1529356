"""The flagship beyond the contract: instruction sets, near-ties, drift, threads, forks."""

import os
import subprocess
import sys
import threading
from math import fsum

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.presets import PRESETS

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")
SHAPES = [(1, 1, 1), (17, 2, 3), (63, 3, 11), (64, 4, 10), (65, 5, 7), (300, 7, 100), (500, 10, 25)]
SHAPES += [
    (257, 12, 64),
    (1000, 16, 8),
    (400, 17, 16),
    (333, 33, 40),
    (260, 64, 256),
    (50, 130, 50),
]


def both(X, centers, n_threads=1):
    """Assign with the reference and with the flagship."""
    expected, labels = np.empty(len(X), np.int32), np.full(len(X), -9, np.int32)
    inertia = load_kernel("cpp").assign(X, centers, expected)
    simd = load_kernel("cpp-simd")
    rows = simd.prepare(X, len(centers), n_threads)
    return rows, expected, labels, inertia, simd.assign(rows, centers, labels)


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_labels_equal_the_reference_with_every_instruction_set(isa, kind, n, d, k):
    rng = np.random.default_rng(n + d + k)
    X = rng.normal(size=(n, d)).astype(kind)
    centers = X[rng.integers(n, size=k)] + rng.normal(scale=0.1, size=(k, d)).astype(kind)
    rows, expected, labels, inertia, ours = both(X, centers.astype(kind))
    assert rows.isa == isa
    np.testing.assert_array_equal(labels, expected)
    scale = float((X.astype(float) ** 2).sum() + (centers[expected].astype(float) ** 2).sum())
    assert abs(ours - inertia) <= (d + 8) * np.finfo(kind).eps * scale


@pytest.mark.parametrize("preset", ["standard", "smoke-grid", "smoke-wide-f32"])
def test_a_fit_ends_with_the_reference_labels_with_every_instruction_set(isa, preset):
    workload = PRESETS[preset].load()
    k, settings = workload.preset.n_clusters, workload.settings()
    reference = kmeans(workload.X, k, kernel="cpp", **settings)
    result = kmeans(workload.X, k, kernel="cpp-simd", **settings)
    np.testing.assert_array_equal(result.labels, reference.labels)
    assert result.n_iter == reference.n_iter


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_near_ties_are_decided_by_direct_differences_and_counted(isa, kind):
    # Rows on the bisector of two centers, an ulp to either side: the expansion cannot tell.
    rng = np.random.default_rng(3)
    centers = (rng.normal(size=(6, 9)) * 100).astype(kind)
    middle = (centers[1] + centers[4]) / 2
    X = np.tile(middle, (400, 1)).astype(kind)
    X += (rng.normal(size=X.shape) * np.finfo(kind).eps * 100).astype(kind)
    centers[[0, 2, 3, 5]] += 1000
    rows, expected, labels, _, _ = both(X, centers)
    assert set(expected) == {1, 4}
    np.testing.assert_array_equal(labels, expected)
    # In float32, float64 takes over after the first ones, and tells the others apart.
    assert rows.rescored == {"f8": 400, "f4": 128}[kind]


def test_far_apart_rows_are_not_rescored_and_the_result_tells_the_count():
    workload = PRESETS["standard"].load()
    result = kmeans(workload.X, 25, kernel="cpp-simd", **workload.settings())
    # Ten, of the 190 000 that bounds left to float32 in 35 passes, with each instruction set.
    assert result.rescored <= 20
    X = np.array([[0.0], [1.0], [2.0]])
    assert kmeans(X, 2, kernel="cpp-simd", init=[[0.0], [2.0]], max_iter=1).rescored >= 1


@pytest.mark.parametrize("offset", [1e8, -3e5])
def test_a_huge_offset_keeps_the_labels(offset):
    workload = PRESETS["standard"].load()
    X = np.round(workload.X * 2**10) / 2**10  # so that adding the offset is exact
    plain = kmeans(X, 25, kernel="cpp-simd", init=X[::650], tol=0, max_iter=35)
    far = kmeans(X + offset, 25, kernel="cpp", init=X[::650] + offset, tol=0, max_iter=35)
    ours = kmeans(X + offset, 25, kernel="cpp-simd", init=X[::650] + offset, tol=0, max_iter=35)
    np.testing.assert_array_equal(ours.labels, far.labels)
    np.testing.assert_array_equal(ours.labels, plain.labels)


def sums_of(simd, rows, centers, n):
    labels, sums = np.empty(n, np.int32), np.zeros(centers.shape)
    counts = np.zeros(len(centers), np.int64)
    simd.assign_update(rows, centers, labels, sums, counts)
    return labels, sums, counts


@pytest.mark.parametrize("spread", [1.0, 1e12])
def test_running_sums_stay_within_three_fresh_summations(spread):
    simd, rng = load_kernel("cpp-simd"), np.random.default_rng(5)
    X = rng.normal(size=(700, 3))
    X[::50] *= spread  # heavy rows: leaving a sum by subtraction would leave their rounding there
    rows = simd.prepare(X, 6, 1)
    for _ in range(400):
        centers = rng.normal(size=(6, 3)) * rng.choice([1.0, spread])
        labels, sums, counts = sums_of(simd, rows, centers, len(X))
        assert counts.tolist() == np.bincount(labels, minlength=6).tolist()
        for j in range(6):
            members = X[labels == j]
            for f in range(3):
                size = np.abs(members[:, f]).sum() + (64 * np.abs(X).mean() if len(members) else 0)
                bound = 3 * 700 * np.finfo(float).eps * max(size, 8 * np.sqrt((X**2).mean()) * 700)
                assert abs(sums[j, f] - fsum(members[:, f])) <= bound
    fresh, total = np.zeros((6, 3)), np.zeros(6, np.int64)
    simd.update(rows, labels, fresh, total)
    np.testing.assert_allclose(sums, fresh, rtol=0, atol=1e-9 * np.abs(X).sum())


def test_assign_between_two_updates_and_other_centers_leave_the_sums_right():
    simd, rng = load_kernel("cpp-simd"), np.random.default_rng(6)
    X = rng.integers(-50, 50, size=(1000, 5)).astype(float)
    rows = simd.prepare(X, 9, 2)
    for k in (9, 9, 4, 9):  # another number of clusters than prepared for, too
        simd.assign(rows, rng.normal(size=(k, 5)) * 30, np.empty(1000, np.int32))
        centers = X[rng.integers(1000, size=k)]
        labels, sums, counts = sums_of(simd, rows, centers, 1000)
        expected = np.array([X[labels == j].sum(axis=0) for j in range(k)])
        np.testing.assert_array_equal(sums, expected)  # integers: exact in any order
        assert counts.tolist() == np.bincount(labels, minlength=k).tolist()


@pytest.mark.parametrize("preset", ["standard", "grid-10000-20", "wide-16-64-f32"])
def test_results_are_bit_identical_for_any_number_of_threads(preset):
    workload = PRESETS[preset].load()
    k, settings = workload.preset.n_clusters, workload.settings() | {"max_iter": 12}
    one, *others = (
        kmeans(workload.X, k, kernel="cpp-simd", n_threads=n, **settings) for n in (1, 2, 3, 7, 64)
    )
    for other in others:
        assert other.centers.tobytes() == one.centers.tobytes()
        assert other.labels.tobytes() == one.labels.tobytes()
        assert (other.inertia, other.n_iter) == (one.inertia, one.n_iter)


def test_python_threads_may_share_and_repeat_fits():
    workload = PRESETS["smoke-wide"].load()
    expected = kmeans(workload.X, 8, kernel="cpp-simd", **workload.settings()).centers.tobytes()
    found = []

    def fit():
        for _ in range(20):
            again = kmeans(workload.X, 8, kernel="cpp-simd", n_threads=2, **workload.settings())
            found.append(again.centers.tobytes())

    threads = [threading.Thread(target=fit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 160


FORK = """
import os
import numpy as np
from kmeans_lab import kmeans, load_kernel
X = np.random.default_rng(0).normal(size=(5000, 4))
simd, labels = load_kernel("cpp-simd"), np.empty(5000, np.int32)
rows = simd.prepare(X, 5, 3)
inertia = simd.assign(rows, X[:5], labels)
child = os.fork()
if child == 0:
    same = simd.assign(rows, X[:5], labels) == inertia  # the team stayed with the parent
    again = kmeans(X, 5, kernel="cpp-simd", n_threads=2, init=X[:5], max_iter=3).n_iter == 3
    del rows
    os._exit(0 if same and again else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert simd.assign(rows, X[:5], labels) == inertia
print("both")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes_and_leaves_the_parents_threads_alone():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "both\n"), run.stderr


def test_an_instruction_set_that_is_unknown_or_not_here_is_refused(monkeypatch):
    X = np.zeros((4, 2))
    monkeypatch.setenv("KMEANS_LAB_ISA", "sse9")
    with pytest.raises(ValueError, match="KMEANS_LAB_ISA=sse9 is not known; choose one of base"):
        kmeans(X, 2, kernel="cpp-simd")
    monkeypatch.setenv("KMEANS_LAB_ISA", "")
    assert load_kernel("cpp-simd").isa() in ("baseline", "avx2", "avx512")


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(37, 1, 5), (5000, 3, 9)])  # the second is put in order
def test_a_middle_is_subtracted_as_numpy_does(isa, kind, shape):
    n, d, k = shape
    rng = np.random.default_rng(n)
    X = (rng.normal(size=(k, d), scale=9)[rng.integers(k, size=n)] + rng.normal(size=(n, d))) + 70.3
    X, middle = X.astype(kind), rng.normal(size=d, loc=70).astype(kind)
    rows, simd = X - middle, load_kernel("cpp-simd")
    centers, draws = rows[:k].copy(), rng.random((k - 1, 3))
    found = []
    for prepared, given in (
        (simd.prepare(rows, k, 1), (rows,)),
        (simd.prepare(X, k, 2, middle), (X, middle)),
    ):
        labels, sums, counts = np.full(n, -1, np.int32), np.zeros((k, d)), np.zeros(k, int)
        inertia = simd.assign_update(prepared, centers, labels, sums, counts)
        direct = simd.inertia(given[0], centers, labels, *given[1:])
        greedy = simd.greedy(given[0], 2, draws, 1, *given[1:])
        assert prepared.greedy(given[0], 2, draws).tolist() == greedy.tolist()
        found.append([labels.tolist(), sums.tolist(), counts.tolist(), inertia, direct, *greedy])
    assert found[0] == found[1]


@pytest.mark.parametrize("middle", [np.zeros(2), np.zeros((1, 3)), np.zeros(4)])
def test_a_middle_of_another_shape_is_refused(middle):
    X, simd = np.zeros((5, 3)), load_kernel("cpp-simd")
    for call in (
        lambda: simd.prepare(X, 2, 1, middle),
        lambda: simd.greedy(X, 0, np.zeros((1, 2)), 1, middle),
        lambda: simd.inertia(X, X[:2].copy(), np.zeros(5, np.int32), middle),
    ):
        with pytest.raises(ValueError, match="middle must have shape"):
            call()


def read_only(array):
    array.flags.writeable = False
    return array


def one_byte_off(array):
    return (
        np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    )


@pytest.mark.parametrize(
    ("place", "spoil", "error", "sentence"),
    [
        (0, lambda it: it.astype("f4"), TypeError, "centers must be a C-contiguous float64"),
        (0, lambda it: it.astype(">f8"), TypeError, "centers must be a C-contiguous float64"),
        (0, np.asfortranarray, TypeError, "centers must be a C-contiguous float64"),
        (0, one_byte_off, TypeError, "centers must be a C-contiguous float64"),
        (0, lambda it: it[:0], ValueError, "assign needs at least one center"),
        (0, lambda it: it.tolist(), TypeError, "incompatible function arguments"),
        (1, lambda it: np.repeat(it, 2)[::2], TypeError, "labels must be a C-contiguous int32"),
        (1, lambda it: it.view("u4"), TypeError, "labels must be a C-contiguous int32"),
        (1, lambda it: it[1:], ValueError, "assign needs rows"),
        (1, read_only, ValueError, "not writeable"),
        (2, lambda it: it.astype("f4"), TypeError, "sums must be a C-contiguous float64"),
        (2, read_only, ValueError, "not writeable"),
        (3, lambda it: it.astype("i4"), TypeError, "counts must be a C-contiguous int64"),
        (3, lambda it: it[1:], ValueError, "assign_update needs sums"),
    ],
)
def test_nothing_is_converted_and_nothing_written_where_it_does_not_fit(
    place, spoil, error, sentence
):
    flagship, rows = load_kernel("cpp-simd"), np.random.default_rng(0).normal(size=(50, 3))
    given = [rows[:4].copy(), np.full(50, -1, "i4"), np.zeros((4, 3)), np.zeros(4, "i8")]
    prepared = flagship.prepare(rows, 4, 1)
    kept = [array.copy() for array in given]
    handed = [*given]
    handed[place] = spoil(given[place])
    with pytest.raises(error, match=sentence):
        flagship.assign_update(prepared, *handed)
    for array, before in zip(given, kept, strict=True):
        np.testing.assert_array_equal(array, before)
    flagship.assign_update(prepared, *kept)  # and the rows are as good as before
    assert kept[3].sum() == 50
