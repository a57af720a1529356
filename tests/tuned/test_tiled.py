"""The tiled kernels of Numba and Cython: what the suites that every kernel runs do not cover.

Both compute ‖c‖² − 2x·c and decide near-ties by direct differences, so their labels are those of
the plain kernel on every preset; both bring threads of their own.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.presets import PRESETS
from tests.support.helpers import assert_same_fit, cloud, force_isa, some_rows

TILED = pytest.mark.kernels("numba-tiled", "cython-tiled")
CYTHON = pytest.mark.kernels("cython-tiled")
LEVELS = ("baseline", "avx2", "avx512")


def near_ties(dtype, n_pairs=40, n_features=7):
    """Return rows a hair to either side of the middle between two centers, and the centers."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, n_features)) * 10
    middle = (first + second) / 2
    across = rng.normal(size=(n_pairs, n_features))
    step = second - first
    across -= np.outer(across @ step / (step @ step), step)  # stay on the plane between them
    hair = np.finfo(dtype).eps * rng.integers(-3, 4, n_pairs)[:, None]
    rows = middle + across + hair * step
    return rows.astype(dtype), np.stack([first, second, first]).astype(dtype)


def labels_of(name, rows, centers, n_threads=1):
    kernel = load_kernel(name)
    labels = np.full(len(rows), -1, np.int32)
    prepare = getattr(kernel, "prepare", None)
    prepared = rows if prepare is None else prepare(rows, len(centers), n_threads)
    kernel.assign(prepared, centers, labels)
    return labels, prepared


@pytest.mark.parametrize("preset", ["standard", "image", *(p for p in PRESETS if "smoke" in p)])
@TILED
def test_labels_are_those_of_the_plain_kernel(kernel_name, preset):
    if "image" in preset or "digits" in preset:
        pytest.importorskip("sklearn")
        pytest.importorskip("PIL")
    workload = PRESETS[preset].load()
    k = PRESETS[preset].n_clusters
    expected = kmeans(workload.X, k, kernel="cpp", **workload.settings())
    result = kmeans(workload.X, k, kernel=kernel_name, **workload.settings())
    np.testing.assert_array_equal(result.labels, expected.labels)
    assert result.n_iter == expected.n_iter


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@TILED
def test_bits_do_not_depend_on_the_number_of_threads(kernel_name, dtype, n_threads):
    X = cloud(1, 9001, 5, dtype)
    fixed = {"kernel": kernel_name, "init": some_rows(X, 9), "tol": 0.0, "max_iter": 15}
    result = kmeans(X, 9, history=True, n_threads=n_threads, **fixed)
    assert_same_fit(result, kmeans(X, 9, history=True, n_threads=1, **fixed))


@TILED
def test_near_ties_are_decided_as_the_plain_kernel_decides_them(kernel_name, dtype):
    rows, centers = near_ties(dtype)
    expected, _ = labels_of("cpp", rows, centers)
    labels, prepared = labels_of(kernel_name, rows, centers)
    np.testing.assert_array_equal(labels, expected)
    assert len(rows) / 2 < prepared.rescored <= len(rows)
    assert set(labels.tolist()) == {0, 1}


@TILED
def test_rows_that_are_clear_are_not_rescored(kernel_name, dtype):
    rows = cloud(2, 500, 6, dtype)
    assert labels_of(kernel_name, rows, some_rows(rows, 8))[1].rescored <= 1


@TILED
def test_the_number_of_clusters_may_change(kernel_name, kernel, dtype):
    rows = cloud(2, 700, 20, dtype)
    prepared = kernel.prepare(rows, 4, 2)
    for k in (4, 9, 2):
        centers, labels = some_rows(rows, k), np.empty(700, np.int32)
        sums, counts = np.zeros((k, 20)), np.zeros(k, np.int64)
        kernel.assign_update(prepared, centers, labels, sums, counts)
        np.testing.assert_array_equal(labels, labels_of("cpp", rows, centers)[0])
        assert counts.tolist() == np.bincount(labels, minlength=k).tolist()
        expected = np.zeros((k, 20))
        np.add.at(expected, labels, rows.astype(np.float64))
        np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("level", LEVELS)
@CYTHON
def test_every_instruction_set_gives_the_labels(kernel, dtype, level, monkeypatch):
    force_isa(monkeypatch, "cython-tiled", level)
    assert kernel.isa() == level
    for shape in ((700, 1), (700, 10), (333, 67)):
        rows = cloud(7, *shape, dtype)
        centers = some_rows(rows, 11)
        labels, prepared = labels_of("cython-tiled", rows, centers)
        assert prepared.isa == level
        np.testing.assert_array_equal(labels, labels_of("cpp", rows, centers)[0])


@CYTHON
def test_an_instruction_set_that_is_not_there_is_refused(kernel, monkeypatch):
    monkeypatch.setenv("KMEANS_LAB_ISA", "mmx")
    words = "KMEANS_LAB_ISA=mmx is not known; choose one of baseline, avx2, avx512"
    with pytest.raises(ValueError, match=words):
        kernel.prepare(cloud(1, 9, 2), 2, 1)
    monkeypatch.setattr(kernel, "_BEST", "baseline")
    monkeypatch.setattr(kernel, "_MODULES", {"baseline": kernel._MODULES["baseline"]})
    monkeypatch.setenv("KMEANS_LAB_ISA", "avx2")
    with pytest.raises(ValueError, match=r"is not supported here; the most .* run is baseline"):
        kernel.prepare(cloud(1, 9, 2), 2, 1)


@TILED
def test_several_python_threads_fit_at_once(kernel_name):
    X = cloud(4, 6000, 4)
    fixed = {"kernel": kernel_name, "init": some_rows(X, 7), "tol": 0.0, "max_iter": 10}
    expected = kmeans(X, 7, history=True, **fixed)
    with ThreadPoolExecutor(4) as pool:
        fits = [pool.submit(kmeans, X, 7, history=True, n_threads=2, **fixed) for _ in range(12)]
        for fit in fits:
            assert_same_fit(fit.result(), expected)


@TILED
def test_several_python_threads_share_prepared_rows(kernel):
    rows = cloud(4, 6000, 4)
    starts = [some_rows(rows, 7, seed) for seed in range(8)]
    expected = [labels_of("cpp", rows, centers)[0] for centers in starts]
    prepared = kernel.prepare(rows, 7, 2)

    def run(centers):
        labels = np.empty(len(rows), np.int32)
        kernel.assign(prepared, centers, labels)
        return labels

    with ThreadPoolExecutor(4) as pool:
        for labels, right in zip(pool.map(run, starts), expected, strict=True):
            np.testing.assert_array_equal(labels, right)


FORK = """
import os, sys
import numpy as np
from kmeans_lab import load_kernel
kernel = load_kernel(sys.argv[1])
rows = np.random.default_rng(0).normal(size=(5000, 3))
prepared = kernel.prepare(rows, 6, 2)
def labels():
    found = np.empty(len(rows), np.int32)
    kernel.assign(prepared, rows[:6], found)
    return found
before = labels()
child = os.fork()
if child == 0:
    os._exit(0 if (labels() == before).all() and (labels() == before).all() else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert (labels() == before).all()
print("both agree")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@TILED
def test_a_forked_child_computes_too(kernel_name):
    command = [sys.executable, "-W", "ignore", "-c", FORK, kernel_name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("both agree\n", "")
