"""Signals, threads and forks while a fit holds BLAS to one thread: it is given its threads back."""

import os
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from kmeans_lab import kmeans
from kmeans_lab.crews import blas
from kmeans_lab.crews.blas import one_blas_thread

pytestmark = pytest.mark.hostile

POOLS = ThreadpoolController().select(user_api="blas")


def threads():
    return {pool["num_threads"] for pool in POOLS.info()}


@pytest.fixture(autouse=True)
def several_threads():
    """Let BLAS have more than one thread, whatever the machine has."""
    blas._pools.cache_clear()  # SciPy's may have been loaded after the first fit of this process
    with POOLS.limit(limits=3):
        yield
        assert threads() == {3}


class Late(Exception):
    pass


def interrupted_at(step, handler):
    """Run a fit's turn at BLAS with a handler before one line of it; say whether it was reached."""
    left = [step]

    def trace(frame, event, argument):
        if frame.f_code.co_filename != blas.__file__:
            return None
        if event in ("line", "call"):
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with one_blas_thread():
            sys.settrace(None)
            assert threads() == {1}
            sys.settrace(trace)
    finally:
        sys.settrace(before)
    return left[0] <= 0


def in_time(function):
    """Run a function in a thread that is given up where it hangs."""
    errors = []

    def run():
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]


def at_every_step(handler):
    with one_blas_thread():  # what is found once has been found
        pass
    step = 1
    while interrupted_at(step, handler):
        assert threads() == {3}, step
        step += 1
    assert step > 20


def test_a_signal_handler_that_fits_at_any_moment_neither_hangs_nor_disturbs():
    def fit():
        with one_blas_thread():
            assert threads() == {1}

    in_time(lambda: at_every_step(fit))


def test_a_signal_handler_that_raises_at_any_moment_leaves_blas_its_threads():
    with one_blas_thread():
        pass

    def ends():
        raise Late

    step, raised = 1, 0
    while True:
        with suppress(Late):
            if not interrupted_at(step, ends):
                break
        raised += 1
        assert threads() == {3}, step
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {3}, step
        step += 1
    assert raised > 20


def test_a_signal_handler_may_wait_for_a_thread_that_fits(monkeypatch):
    monkeypatch.setattr(blas, "_PATIENCE", 0.003)

    def wait():
        found = []

        def fit():
            with one_blas_thread():
                found.append(threads())

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        thread.join(10)
        assert found == [{1}]

    in_time(lambda: at_every_step(wait))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_child_that_is_forked_while_another_thread_fits_has_all_threads():
    inside, done = threading.Event(), threading.Event()

    def callback(seen):
        inside.set()
        assert done.wait(30)

    X = np.random.default_rng(0).normal(size=(100, 2))
    options = {"kernel": "numpy", "init": "first", "max_iter": 1}
    thread = threading.Thread(target=lambda: kmeans(X, 3, callback=callback, **options))
    thread.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        before = threads() == {3}
        with one_blas_thread():
            within = threads() == {1}
        os._exit(0 if before and within and threads() == {3} else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert threads() == {1}
    done.set()
    thread.join()
    assert status == 0
