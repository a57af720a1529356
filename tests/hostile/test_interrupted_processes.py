"""Exceptions of signal handlers while mode "processes" starts, computes and ends."""

import dis
import gc
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver, shared_memory
from pathlib import Path

import pytest

from kmeans_lab import kmeans
from kmeans_lab.crews import helpers, processes
from tests.support.helpers import FIVE_CHUNKS, cloud, some_rows

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(sys.platform != "linux", reason="counts children and files in /proc/self"),
]

X = cloud(seed=0, n_samples=FIVE_CHUNKS, n_features=3)
START = some_rows(X, 5)
FILES = {processes.__file__, helpers.__file__}
FILES |= {str(file) for file in Path(multiprocessing.__file__).parent.glob("*.py")}
#: After these instructions CPython looks whether a signal came, and calls its handler.
LOOKS = {"RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD"}
#: Of the names of this process's blocks: other programs have some, too.
PREFIX = f"l{os.getpid()}_"


class Late(Exception):
    """What a signal's handler raises."""


def fit():
    options = {"init": START, "max_iter": 2, "mode": "processes", "n_threads": 2}
    return kmeans(X, 5, kernel="cpp", **options)


def interrupted(call, turn):
    """Raise Late where Python looks for signals for the turn-th time; say whether it came."""
    left, last = [turn], {}

    def trace(frame, event, _):
        if frame.f_code.co_filename not in FILES or left[0] < 0:
            return None
        if frame.f_code.co_name == "__del__":  # Python itself prints what is raised there
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            looks = last.get(id(frame)) in LOOKS
            last[id(frame)] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            left[0] -= looks
            if left[0] < 0:
                raise Late
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Late:
        pass
    finally:
        sys.settrace(before)
    return left[0] < 0


def children(pid):
    return [
        child
        for tasks in Path(f"/proc/{pid}/task").iterdir()
        for child in (tasks / "children").read_text().split()
    ]


def left_behind():
    """Return children and theirs, open files and blocks of shared memory."""
    gc.collect()
    own = children("self")
    theirs = [child for pid in own for child in children(pid)]
    blocks = [name for name in os.listdir("/dev/shm") if name.startswith(PREFIX)]
    return own, theirs, len(os.listdir("/proc/self/fd")), blocks


def settled(expected):
    """Return what is left behind when it is the expected, or after a while."""
    for _ in range(200):
        if left_behind() == expected:
            break
        time.sleep(0.01)  # the fork server waits for its children
    return left_behind()


@pytest.fixture
def quick(monkeypatch):
    """Fork workers from a process that has imported all: others take half a second each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["__main__", "kmeans_lab.crews.processes", "kmeans_lab._cpp_kernel"]
    )
    monkeypatch.setattr(processes, "get_context", lambda _: context)
    monkeypatch.setattr(shared_memory, "_SHM_NAME_PREFIX", f"/{PREFIX}")
    yield
    server = forkserver._forkserver
    os.kill(server._forkserver_pid, signal.SIGKILL)  # it waits for workers that are left behind
    server._stop()


# Workers compute from the 150th turn on, and take most of a second.
@pytest.mark.parametrize(
    ("step", "turns"), [(26, 150), pytest.param(17, 1000, marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("quick")
def test_an_exception_at_any_moment_leaves_nothing_behind(step, turns, capfd):
    expected = fit().labels.tobytes()
    before = left_behind()
    for turn in range(0, turns, step):
        came = interrupted(fit, turn)
        assert settled(before) == before, turn
        if not came:
            break
    assert came == (turns == 150)
    assert fit().labels.tobytes() == expected
    assert capfd.readouterr().err == ""
