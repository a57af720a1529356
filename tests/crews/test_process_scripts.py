"""Whole programs with worker processes: killed, interrupted, failing inside a worker.

Spawned workers run a script's top level again, so that a script can register a kernel that its
workers find by name: here one that fails in a worker in the way an environment variable says.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.process_fits import HEAD, is_gone

TIMEOUT = 60
POSIX = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")

KERNEL = """
import multiprocessing, os
from kmeans_lab._numpy_kernel import assign as real, update

FAULT = os.environ.get("FAULT")
IN_WORKER = multiprocessing.parent_process() is not None
if FAULT == "import" and IN_WORKER:
    raise ImportError("libfast.so is not on this host")

class Demanding(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")

def assign(rows, centers, labels):
    if FAULT == "raise":
        raise LookupError("row 7 is strange")
    if FAULT == "exit":
        os._exit(3)
    if FAULT == "local":
        class Local(Exception):
            pass
        raise Local("cannot be pickled")
    if FAULT == "demanding":
        raise Demanding("cannot be", "unpickled")
    return real(rows, centers, labels)
"""

FAULTS = """
if __name__ == "__main__":
    os.environ["FAULT"] = sys.argv[1]
    start = time.perf_counter()
    try:
        fit(kernel="faulty")
        found = "nothing", ""
    except BaseException as error:
        found = type(error).__name__, str(error)
    seconds = time.perf_counter() - start
    children = len(multiprocessing.active_children())
    again = fit(max_iter=2).n_iter
    print(json.dumps([*found, seconds, children, again, blocks]))
"""

SAYS_READY = """
def callback(seen):
    if seen.n_iter == 1:
        print(json.dumps([blocks, [c.pid for c in multiprocessing.active_children()]]), flush=True)
    time.sleep(0.02)
"""

WAITING = (
    SAYS_READY
    + """
if __name__ == "__main__":
    fit(callback=callback, stop="max-iter", max_iter=100_000)
"""
)

UNDETERRED = (
    SAYS_READY
    + """
import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda number, frame: print("interrupted", flush=True))
    def pause(seen):
        if seen.n_iter == 1:
            callback(seen)
        time.sleep(0.1)
    print(fit(callback=pause, stop="max-iter", max_iter=8).n_iter)
"""
)

UNGUARDED = """
fit(max_iter=2)
"""

POST_MORTEM = """
if __name__ == "__main__":
    try:
        fit(init=np.array([[0.0] * 3, [1] * 3, [2] * 3, [1e6] * 3]), empty="error")
    except ValueError as error:
        step = error.__traceback__
        while step is not None:  # what a debugger does
            for value in list(step.tb_frame.f_locals.values()):
                if isinstance(value, np.ndarray):
                    value.sum()
            step = step.tb_next
        kept = error  # to the end of the program, as an interactive session does
        print("alive")
"""


@pytest.fixture
def script(tmp_path):
    """Return a function that starts a script with the faulty kernel beside it."""

    def start(body, *arguments, **options):
        (tmp_path / "faulty_kernel.py").write_text(KERNEL)
        path = tmp_path / "script.py"
        path.write_text(HEAD + body)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, path, *arguments], **streams, **options)

    return start


EXPECTED = {
    "raise": ("LookupError", "row 7 is strange"),
    "import": ("ImportError", "libfast.so is not on this host"),
    "exit": ("WorkerDiedError", "ended with exit code 3"),
    "local": ("RuntimeError", "worker process"),
    "demanding": ("RuntimeError", "worker process"),
}


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_failure_inside_a_worker_reaches_the_caller_and_the_next_fit_works(script, fault):
    output, errors = script(FAULTS, fault).communicate(timeout=TIMEOUT)
    name, message, seconds, children, n_iter, blocks = json.loads(output)
    kind, words = EXPECTED[fault]
    assert (name, words in message) == (kind, True), f"{name}: {message}"
    assert seconds < 10
    assert (children, n_iter, len(blocks)) == (0, 2, 2)
    assert all(is_gone(block) for block in blocks)
    assert "resource_tracker" not in errors


def is_running(pid):
    """Say whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # not Linux, or gone by now
        return sys.platform != "linux"
    return state not in "ZX"


def comes_true(condition):
    """Wait until a condition holds; return whether it ever does."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def started(process):
    """Return the blocks and worker ids of a script in its first iteration."""
    blocks, workers = json.loads(process.stdout.readline())
    assert len(blocks) == 1
    assert len(workers) == 2
    assert all(is_running(pid) for pid in workers)
    return blocks, workers


@POSIX
def test_killing_the_program_leaves_no_worker_and_no_shared_memory(script):
    process = script(WAITING)
    blocks, workers = started(process)
    process.kill()
    process.communicate(timeout=TIMEOUT)  # returns when the workers, too, have let go of stderr
    assert comes_true(lambda: not any(map(is_running, workers)))
    assert comes_true(lambda: all(map(is_gone, blocks)))


@POSIX
def test_ctrl_c_ends_program_and_workers_without_noise_from_the_workers(script):
    process = script(WAITING, start_new_session=True)
    blocks, workers = started(process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.strip().endswith("KeyboardInterrupt")
    assert "resource_tracker" not in errors
    assert not any(is_running(pid) for pid in workers)
    assert all(is_gone(block) for block in blocks)


@POSIX
def test_workers_leave_ctrl_c_to_the_program(script):
    process = script(UNDETERRED, start_new_session=True)
    started(process)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert (output, errors) == ("interrupted\n8\n", "")


def test_a_script_without_its_main_guard_is_told_to_add_one(script):
    process = script(UNGUARDED)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "below \"if __name__ == '__main__':\"" in errors.splitlines()[-1]


def test_arrays_in_the_traceback_of_a_failed_fit_may_still_be_read(script):
    process = script(POST_MORTEM)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, output, errors) == (0, "alive\n", "")
