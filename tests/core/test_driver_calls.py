"""The swap really happened: the kernel that was asked for is the one that is called, and timed."""

import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.crews.partial import chunk_bounds
from tests.support.helpers import FIVE_CHUNKS, assert_same_fit, cloud, some_rows

X = cloud(seed=1, n_samples=FIVE_CHUNKS, n_features=3)
START = some_rows(X, 4)
CHUNKS = len(chunk_bounds(FIVE_CHUNKS, 4))


class Spy:
    """The NumPy kernel, with a list of what was called and with what."""

    def __init__(self, seconds=0.0):
        self.calls = []
        self.shown = []
        self._real = load_kernel("numpy")
        self._seconds = seconds

    def assign(self, rows, centers, labels):
        self.calls.append("assign")
        self.shown.append((rows, centers, labels))
        time.sleep(self._seconds)
        return self._real.assign(rows, centers, labels)

    def update(self, rows, labels, sums, counts):
        self.calls.append("update")
        time.sleep(self._seconds)
        self._real.update(rows, labels, sums, counts)


class FusedSpy(Spy):
    """The same, with both optional functions."""

    def prepare(self, X, n_clusters, n_threads):
        self.calls.append("prepare")
        self.prepared_with = n_clusters, n_threads
        time.sleep(self._seconds)
        return X

    def assign_update(self, rows, centers, labels, sums, counts):
        self.calls.append("assign_update")
        self.shown.append((rows, centers, labels.copy()))
        time.sleep(self._seconds)
        inertia = self._real.assign(rows, centers, labels)
        self._real.update(rows, labels, sums, counts)
        return inertia


def fit(spy, **options):
    return kmeans(X, 4, **{"kernel": spy, "init": START, "tol": 0.0} | options)


@pytest.mark.parametrize("mode", ["serial", "threads"])
@pytest.mark.parametrize(("max_iter", "final"), [(300, 0), (3, 1)])
def test_every_chunk_is_assigned_and_updated_once_per_iteration(mode, max_iter, final):
    spy = Spy()
    result = fit(spy, mode=mode, max_iter=max_iter)
    assert CHUNKS == 5
    assert result.converged == (final == 0)
    assert spy.calls.count("update") == result.n_iter * CHUNKS
    assert spy.calls.count("assign") == (result.n_iter + final) * CHUNKS


@pytest.mark.parametrize("mode", ["serial", "threads"])
def test_a_fused_kernel_is_called_fused_and_assigns_once_at_the_end(mode):
    spy = FusedSpy()
    result = fit(spy, mode=mode, max_iter=3)
    assert sorted(spy.calls[:CHUNKS]) == ["prepare"] * CHUNKS
    assert spy.calls.count("prepare") == CHUNKS
    assert spy.calls.count("assign_update") == 3 * CHUNKS
    assert spy.calls.count("assign") == CHUNKS
    assert "update" not in spy.calls
    assert spy.prepared_with == (4, 1)
    assert_same_fit(result, fit("numpy", max_iter=3))


def test_rows_are_prepared_once_for_all_repetitions():
    spy = FusedSpy()
    kmeans(X, 4, kernel=spy, init="random", random_state=0, n_init=3, max_iter=2)
    assert spy.calls.count("prepare") == CHUNKS


def test_a_fused_kernel_sees_the_previous_labels_and_minus_one_at_first():
    seen = []
    spy = FusedSpy()
    fit(spy, max_iter=3, callback=lambda iteration: seen.append(iteration.labels))
    shown = [labels for *_, labels in spy.shown]
    first, second = (np.concatenate(shown[c : c + CHUNKS]) for c in (0, CHUNKS))
    assert (first == -1).all()
    np.testing.assert_array_equal(second, seen[0])


def test_the_result_of_a_spied_fit_is_that_of_the_kernel_behind_it():
    assert_same_fit(fit(Spy()), fit("numpy"))


def test_kernels_are_given_contiguous_rows_and_centers_that_they_cannot_write_to():
    spy = Spy()
    fit(spy, max_iter=2)
    for rows, centers, labels in spy.shown:
        for array in (rows, centers):
            assert array.flags.c_contiguous
            assert not array.flags.writeable
            assert array.dtype == np.float64
        assert (labels.dtype, labels.flags.c_contiguous) == (np.int32, True)


def test_a_module_is_a_kernel():
    module = ModuleType("my_kernel")
    module.assign, module.update = Spy().assign, Spy().update
    result = fit(module)
    assert result.kernel == "my_kernel"
    assert_same_fit(result, fit("numpy"))


def test_a_kernel_of_ones_own_is_refused_in_processes():
    with pytest.raises(ValueError, match=r"not in the registry.*mode='threads'"):
        fit(SimpleNamespace(assign=print, update=print), mode="processes", n_threads=1)


def test_a_module_named_like_a_registered_kernel_does_not_run_the_registered_one():
    spy, module = Spy(), ModuleType("numpy")
    module.assign, module.update = spy.assign, spy.update
    with pytest.raises(ValueError, match="not in the registry"):
        fit(module, mode="processes", n_threads=1, max_iter=1)


@pytest.mark.parametrize("missing", ["assign", "update"])
def test_an_object_without_both_functions_is_no_kernel(missing):
    kernel = SimpleNamespace(assign=print, update=print)
    delattr(kernel, missing)
    with pytest.raises(TypeError, match=f"no function '{missing}'.*KERNELS"):
        fit(kernel)


def test_seconds_have_all_phases_and_fit_into_the_wall_time():
    start = time.perf_counter()
    seconds = fit("numpy").seconds
    wall = time.perf_counter() - start
    assert tuple(seconds) == ("prepare", "init", "assign", "update", "finish")
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) <= wall


@pytest.mark.parametrize("mode", ["serial", "threads"])
def test_seconds_are_those_of_the_phase_that_took_them(mode):
    pause = 0.004

    def init(X, n_clusters, rng):
        time.sleep(5 * pause)
        return START

    start = time.perf_counter()
    seconds = fit(Spy(pause), init=init, max_iter=2, mode=mode, n_threads=1).seconds
    wall = time.perf_counter() - start
    # Two iterations; the final assignment counts as finish.
    assert seconds["init"] >= 5 * pause
    assert seconds["assign"] + seconds["update"] >= 4 * CHUNKS * pause
    assert min(seconds["assign"], seconds["update"]) >= CHUNKS * pause
    assert seconds["finish"] >= CHUNKS * pause
    assert sum(seconds.values()) <= wall


def test_seconds_of_a_fused_kernel_are_assign_and_its_preparation_is_prepare():
    pause = 0.004
    seconds = fit(FusedSpy(pause), max_iter=2).seconds
    assert seconds["prepare"] >= CHUNKS * pause
    assert seconds["assign"] >= 2 * CHUNKS * pause
    assert seconds["update"] < seconds["assign"]


def test_seconds_cover_all_repetitions():
    pause = 0.004
    options = {"init": lambda X, k, rng: START, "n_init": 3, "max_iter": 1}
    seconds = fit(Spy(pause), **options).seconds
    assert seconds["assign"] + seconds["update"] >= 3 * 2 * CHUNKS * pause
