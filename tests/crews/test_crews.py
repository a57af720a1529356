"""Chunks and the threads that compute them; processes have a file of their own."""

import itertools
import math
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans, load_kernel
from kmeans_lab.crews import cores as core_counts
from kmeans_lab.crews import helpers
from kmeans_lab.crews.cores import available_cores
from kmeans_lab.crews.lock import lock_is_on
from kmeans_lab.crews.partial import MAX_CHUNKS, MIN_CHUNK_ROWS, Partials, chunk_bounds
from kmeans_lab.crews.start import choose_workers
from kmeans_lab.numerics.inertia import direct_inertia
from kmeans_lab.spec import KernelSpec
from tests.support.helpers import (
    FIVE_CHUNKS,
    assert_same_fit,
    cloud,
    frozen,
    prepared,
    require_ready,
    some_rows,
)

REAL = load_kernel("numpy")
X = cloud(seed=1, n_samples=FIVE_CHUNKS, n_features=3)
START = some_rows(X, 4)


def fit(assign=REAL.assign, update=REAL.update, **options):
    kernel = SimpleNamespace(assign=assign, update=update)
    return kmeans(X, 4, **{"kernel": kernel, "init": START, "mode": "threads"} | options)


@pytest.mark.parametrize("n_clusters", [1, 8, 300, 5000])
@pytest.mark.parametrize("n_samples", [1, 2, 2047, 2048, 4095, 4096, 12_000, 65_537, 10**6 + 1])
def test_chunks_cover_all_rows_once_in_order_and_are_of_equal_size(n_samples, n_clusters):
    bounds = chunk_bounds(n_samples, n_clusters)
    sizes = [last - first for first, last in bounds]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == n_samples
    assert all(left[1] == right[0] for left, right in itertools.pairwise(bounds))
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert len(bounds) == 1 or min(sizes) >= max(MIN_CHUNK_ROWS, 8 * n_clusters)
    assert len(bounds) <= MAX_CHUNKS


def test_there_are_as_many_chunks_as_the_rules_allow():
    assert [len(chunk_bounds(n, 8)) for n in (4095, 4096, 12_000, 10**6)] == [1, 2, 5, 32]
    assert len(chunk_bounds(12_000, 400)) == 3


def test_partials_add_up_in_chunk_order():
    partials, total = Partials.empty(3, 2, 2), Partials.empty(1, 2, 2)
    partials.sums[:, 0, 0] = [1e16, -1e16, 1.0]  # 1 in this order, 0 in reverse
    partials.sums[:, 1, 1] = [1.0, 1e16, -1e16]  # 0 in this order, 1 in reverse
    partials.counts[:] = [[1, 2], [10, 20], [100, 200]]
    total.sums.fill(99)
    total.counts.fill(99)
    partials.add_up(total)
    assert total.sums[0].tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert total.counts[0].tolist() == [111, 222]


def test_cleared_partials_are_ready_to_be_added_to():
    partials = Partials.empty(2, 2, 2)
    partials.sums.fill(3)
    partials.counts.fill(3)
    partials.clear()
    assert not partials.sums.any()
    assert not partials.counts.any()


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_inertia_is_the_sum_of_squared_differences_compiled_or_not(kind):
    rows = np.random.default_rng(0).integers(-50, 50, size=(3001, 7)).astype(kind)
    labels = np.arange(3001, dtype=np.int32) % 5
    centers = rows[:5].copy()
    exact = int(((rows.astype(int) - centers.astype(int)[labels]) ** 2).sum())
    assert direct_inertia(rows, centers, labels) == exact  # integers: exact in any order
    assert load_kernel("cpp-simd").inertia(rows, centers, labels) == exact


@pytest.mark.parametrize("wrong", [-1, 5, 2**31 - 1])
def test_inertia_refuses_a_label_that_is_no_cluster(wrong):
    labels = np.zeros(40, np.int32)
    labels[17] = wrong
    with pytest.raises((ValueError, IndexError)):
        load_kernel("cpp-simd").inertia(np.zeros((40, 2)), np.zeros((5, 2)), labels)


def test_every_row_is_assigned_in_every_mode():
    for mode in ("serial", "threads"):
        result = kmeans(X, 4, kernel="numpy", init=START, mode=mode, max_iter=1)
        assert result.labels.min() == 0
        assert np.bincount(result.labels).sum() == FIVE_CHUNKS


@pytest.mark.parametrize("n_threads", [2, 3, 5])
def test_chunks_run_side_by_side_in_that_many_threads(n_threads):
    barrier = threading.Barrier(n_threads)
    lock, waited, seen = threading.Lock(), set(), set()

    def assign(rows, centers, labels):
        me = threading.get_ident()
        with lock:
            seen.add(me)
            first_chunk = me not in waited
            waited.add(me)
        if first_chunk:
            barrier.wait(timeout=10)  # passes only when all threads are inside at once
        return REAL.assign(rows, centers, labels)

    result = fit(assign, n_threads=n_threads, max_iter=1)
    assert len(seen) == n_threads
    assert threading.get_ident() in seen
    assert_same_fit(result, fit(mode="serial", max_iter=1))


@pytest.mark.parametrize("where", ["helper", "caller"])
@pytest.mark.parametrize("verb", ["assign", "update"])
def test_an_exception_in_any_thread_reaches_the_caller(where, verb):
    caller, failing = threading.get_ident(), threading.Event()

    def fail(*arguments):
        if (threading.get_ident() == caller) == (where == "caller"):
            failing.set()
            raise LookupError(f"in the {where}")
        failing.wait(timeout=10)  # or it might do the share of both
        return getattr(REAL, verb)(*arguments)

    with pytest.raises(LookupError, match=f"in the {where}"):
        fit(**{verb: fail}, n_threads=2)
    assert_no_helper_threads()


def test_an_exception_in_prepare_reaches_the_caller():
    def fail(X, n_clusters, n_threads):
        raise MemoryError("too large")

    for mode in ("serial", "threads"):
        kernel = SimpleNamespace(assign=REAL.assign, update=REAL.update, prepare=fail)
        with pytest.raises(MemoryError, match="too large"):
            kmeans(X, 4, kernel=kernel, init=START, mode=mode)
    assert_no_helper_threads()


def test_the_caller_fails_only_when_the_helpers_are_done_with_the_buffers():
    caller, busy = threading.get_ident(), threading.Event()
    finished = []

    def assign(rows, centers, labels):
        if threading.get_ident() == caller:
            busy.wait(10)
            raise KeyboardInterrupt
        busy.set()
        time.sleep(0.05)
        finished.append(1)
        return REAL.assign(rows, centers, labels)

    with pytest.raises(KeyboardInterrupt):
        fit(assign, n_threads=2)
    assert finished


def helper_threads():
    """Count the threads that are in the module that starts them; ``threading`` lists none."""
    found = 0
    for frame in sys._current_frames().values():
        while frame.f_back is not None:
            frame = frame.f_back
        found += frame.f_code.co_filename == helpers.__file__
    return found


def assert_no_helper_threads():
    deadline = time.perf_counter() + 5
    while helper_threads() and time.perf_counter() < deadline:
        time.sleep(0.001)  # one that has left is there a moment longer
    assert not helper_threads()


def test_threads_end_with_the_fit():
    counts = []
    fit(n_threads=3, callback=lambda seen: counts.append(helper_threads()))
    assert max(counts) > 0
    assert_no_helper_threads()


def is_compiled(name):
    """Between the calls of a kernel in Python other threads run in any case."""
    spec = KERNELS[name]
    found = find_spec(spec.module)
    return spec.compiles_on_first_call or not (found and str(found.origin).endswith(".py"))


NOGIL = [name for name, row in KERNELS.items() if row.threading == "nogil" and is_compiled(name)]


@pytest.mark.kernels(*NOGIL)
@pytest.mark.skipif(not lock_is_on(), reason="there is no lock to let go of")
def test_a_compiled_nogil_kernel_lets_other_threads_run(kernel, dtype):
    # A call of 20 ms or so: long beside the 5 ms for which threads may wait for each other.
    rows, centers = frozen(cloud(0, 10_000, 64, dtype)), frozen(cloud(1, 64, 64, dtype))
    labels, given = np.empty(10_000, np.int32), prepared(kernel, rows, 64)
    kernel.assign(given, centers, labels)  # compiles, where that is needed
    calls, ticks = [], []

    def run():
        for _ in range(5):
            start = time.perf_counter()
            kernel.assign(given, centers, labels)
            calls.append((start, time.perf_counter()))

    helper = threading.Thread(target=run)
    helper.start()
    while helper.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.0002)
    helper.join()
    # With the GIL held, nothing else runs in the middle half of a call.
    middles = [(start + (end - start) / 4, end - (end - start) / 4) for start, end in calls]
    shared = [any(start < tick < end for tick in ticks) for start, end in middles]
    assert sum(shared) >= 3


def spec(threading_):
    return KernelSpec(module="m", summary="", remedy="", threading=threading_)


@pytest.fixture(params=[True, False], ids=["with the lock", "without"])
def locked(request, monkeypatch):
    """Say whether the interpreter has a lock, and let it seem so."""
    monkeypatch.setattr("kmeans_lab.crews.lock.lock_is_on", lambda: request.param)
    return request.param


@pytest.mark.parametrize("threading_", ["gil", "nogil"])
def test_workers_without_effect_are_refused_with_the_mode_that_helps(threading_, locked):
    mode = "processes" if locked and threading_ == "gil" else "threads"
    with pytest.raises(ValueError, match=rf"n_threads=2 has no effect.*'k'; use mode='{mode}'"):
        choose_workers("serial", 2, spec(threading_), "k")


def test_a_number_of_threads_alone_chooses_the_mode_that_helps(locked):
    assert choose_workers(None, None, spec("nogil"), "k") == ("serial", 1)
    assert choose_workers(None, 1, spec("gil"), "k") == ("serial", 1)
    assert choose_workers(None, 2, spec("nogil"), "k") == ("threads", 2)
    assert choose_workers(None, 2, spec("own"), "k") == ("serial", 2)
    alone = kmeans(X, 4, kernel="numpy", init=START, n_threads=2)
    assert (alone.mode, alone.n_threads) == ("threads", 2)
    assert_same_fit(alone, kmeans(X, 4, kernel="numpy", init=START))


def test_processes_that_nobody_asked_for_are_not_started(monkeypatch):
    monkeypatch.setattr("kmeans_lab.crews.lock.lock_is_on", lambda: True)
    wanted = r"^n_threads=2 would not make kernel 'python' faster: .* use mode='processes', or ano"
    with pytest.raises(ValueError, match=wanted):
        kmeans(X[:9], 2, kernel="python", n_threads=2)


def test_a_lock_that_a_module_has_turned_on_is_named(monkeypatch):
    monkeypatch.setattr("kmeans_lab.crews.lock.lock_is_on", lambda: True)
    monkeypatch.setattr("kmeans_lab.crews.lock.may_run_without", lambda: True)
    with pytest.raises(ValueError, match=r"Python's lock \(this is a free-threaded Python, an"):
        choose_workers(None, 2, spec("gil"), "k")


def test_without_the_lock_threads_run_python_code_and_change_no_bit(monkeypatch):
    monkeypatch.setattr("kmeans_lab.crews.lock.lock_is_on", lambda: False)
    assert choose_workers(None, 2, spec("gil"), "k") == ("threads", 2)
    assert choose_workers(None, 1, spec("gil"), "k") == ("serial", 1)
    options = {"kernel": "python", "init": START, "max_iter": 2, "history": True}
    found = kmeans(X, 4, n_threads=2, **options)
    assert (found.mode, found.n_threads) == ("threads", 2)
    assert_same_fit(found, kmeans(X, 4, **options))


def test_default_numbers_of_workers():
    cores = available_cores()
    assert cores >= 1
    assert choose_workers("serial", None, spec("nogil"), "k") == ("serial", 1)
    assert choose_workers("threads", None, spec("nogil"), "k") == ("threads", cores)
    assert choose_workers("processes", 7, spec("gil"), "k") == ("processes", 7)
    assert choose_workers("serial", 3, spec("own"), "k") == ("serial", 3)


@pytest.mark.parametrize(("cores", "most"), [(1, 64), (2, 64), (16, 64), (100, 400)])
def test_too_many_workers_are_refused(monkeypatch, cores, most):
    monkeypatch.setattr("kmeans_lab.crews.cores.available_cores", lambda: cores)
    X = cloud(seed=0, n_samples=9, n_features=2)
    for mode in ("threads", "processes"):
        assert choose_workers(mode, most, spec("own"), "k") == (mode, most)
        with pytest.raises(ValueError, match=rf"^n_threads={most + 1} must be at most {most}, s"):
            kmeans(X, 2, kernel="numpy", mode=mode, n_threads=most + 1)
    with pytest.raises(ValueError, match=f"^n_threads={10**30} must be at most {most}, since"):
        kmeans(X, 2, n_threads=10**30)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read a size from")
def test_a_system_without_more_threads_gives_the_same_result():
    """Each thread reserves the 8 MB of its stack, and there is room for some."""
    require_ready("cpp-simd")
    script = (
        "import resource, numpy as np; from kmeans_lab import kmeans;"
        "X = np.random.default_rng(0).normal(size=(5000, 3));"
        "one = kmeans(X, 5, kernel='cpp-simd', random_state=0);"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, 8 << 20));"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (150 << 20),) * 2);"
        "many = kmeans(X, 5, kernel='cpp-simd', n_threads=64, random_state=0);"
        "print(np.array_equal(one.labels, many.labels), one.inertia == many.inertia)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


@pytest.mark.parametrize("mode", ["serial", "threads"])
@pytest.mark.parametrize("own", [True, False])
def test_a_kernel_with_its_own_threads_is_handed_all_rows_and_their_number(monkeypatch, mode, own):
    prepared_with = []

    def prepare(rows, n_clusters, n_threads):
        prepared_with.append((len(rows), n_clusters, n_threads))
        return rows

    module = SimpleNamespace(assign=REAL.assign, update=REAL.update, prepare=prepare)
    monkeypatch.setitem(sys.modules, "planted_team", module)
    row = KernelSpec("planted_team", "", "", threading="own" if own else "nogil", whole=True)
    monkeypatch.setitem(KERNELS, "team", row)
    n_threads = 3 if own or mode == "threads" else 1
    kmeans(X, 4, kernel="team", init=START, mode=mode, n_threads=n_threads, max_iter=2)
    assert prepared_with == [(FIVE_CHUNKS, 4, 3 if own else 1)]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu.max": "nonsense"}, math.inf),
    ],
)
def test_a_containers_quota_counts(files, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert core_counts._quota(str(tmp_path)) == cores
    monkeypatch.setattr(core_counts, "_quota", lambda root: cores)
    monkeypatch.setattr(
        core_counts.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False
    )
    assert core_counts.available_cores() == {0.5: 1, 1.5: 2, math.inf: 8}[cores]
