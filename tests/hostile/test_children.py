"""A process for code that is not ours: whatever the code does, the one who asks has an answer."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kmeans_lab.isolation import children
from kmeans_lab.isolation.children import Child, Ended, Raised

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.skipif(os.name != "posix", reason="speaks of signals"),
]

#: Finds where the answers of its process go.
_PIPE = "import sys; out = sys.modules['kmeans_lab.isolation.child_side']._answers\n"

# What the code does; what is said of it.
ENDS = {
    "exit": ("import os; os._exit(0)", "it ended its process (exit status 0)"),
    "crash": ("import os; os.abort()", "it ended its process (signal 6)"),
    "kill its group": ("import os; os.kill(0, 9)", "it ended its process (signal 9)"),
    "stop": ("import os; os.kill(os.getpid(), 19)", "it took longer than 0.7 s"),
    "sleep": ("import time; time.sleep(99)", "it took longer than 0.7 s"),
    "ignore signals": (
        "import signal, time\nfor it in (1, 2, 3, 15): signal.signal(it, signal.SIG_IGN)\n"
        "time.sleep(99)",
        "it took longer than 0.7 s",
    ),
    "leave one behind that holds the pipe": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3)\n    os._exit(0)\n"
        "time.sleep(99)",
        "it took longer than 0.7 s",
    ),
    "close everything": ("import os; os.closerange(0, 99)", "it ended its process (exit status 1)"),
    "noise": (_PIPE + "out.write(b'noise' * 99); out.flush()", "sent an invalid answer"),
    "a long answer": (
        _PIPE + "out.write((2**40).to_bytes(8, 'little')); out.flush()", "sent an invalid answer",
    ),
    "an answer that calls": (
        _PIPE + "import os, pickle\nclass Call:\n    def __reduce__(self):\n"
        "        return os._exit, (3,)\nit = pickle.dumps(('answer', Call()))\n"
        "out.write(len(it).to_bytes(8, 'little') + it); out.flush()",
        "sent an invalid answer",
    ),
    "another thread that exits": (
        "import os, threading, time\nthreading.Timer(0.1, os._exit, (5,)).start()\ntime.sleep(99)",
        "it ended its process (exit status 5)",
    ),
}  # fmt: skip
RAISES = {
    "SystemExit": ("raise SystemExit(0)", "SystemExit: 0"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "an error that cannot be shown": (
        "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad", "Bad",
    ),
    "no end": ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
}  # fmt: skip


#: The others differ in what the code does, not in what happens here.
SOME = ("exit", "sleep", "leave one behind that holds the pipe", "a long answer", "noise")


@pytest.mark.parametrize(
    "what", [pytest.param(it, marks=[] if it in SOME else [pytest.mark.slow]) for it in ENDS]
)
def test_an_end_is_told(what):
    code, sentence = ENDS[what]
    with Child() as child:
        with pytest.raises(Ended) as error:
            child.ask(exec, code, {}, patience=0.7 if "longer" in sentence else 60.0)
        assert sentence in str(error.value)
        assert child.over
        with pytest.raises(Ended):
            child.ask(abs, -1)


def test_what_is_raised_is_told_and_the_process_goes_on():
    with Child() as child:
        for code, sentence in RAISES.values():
            with pytest.raises(Raised) as error:
                child.ask(exec, code, {})
            assert str(error.value).startswith(sentence)
        assert child.ask(abs, -1) == 1


def test_arrays_go_there_and_back():
    X = np.arange(600_000.0).reshape(-1, 3)
    with Child() as child:
        found = child.ask(np.negative, X)
        assert (found == -X).all()
        assert child.ask(np.float32, 1.5) == 1.5


def test_what_the_code_prints_is_not_on_our_stdout(capfd):
    with Child() as child:
        child.ask(exec, "import os; print('hello', flush=True); os.system('echo you')", {})
    assert capfd.readouterr() == ("", "hello\nyou\n")


def test_items_are_heard_in_order_and_an_error_of_the_listener_ends_the_process():
    code = (
        "from kmeans_lab.isolation.child_side import say\n"
        "for i in range(3): say(i)\nsay({'last': [1.5, None]})"
    )  # fmt: skip
    heard = []
    with Child() as child:
        child.ask(exec, code, {}, hear=heard.append)
        assert heard == [0, 1, 2, {"last": [1.5, None]}]
        with pytest.raises(ZeroDivisionError):
            child.ask(exec, code, {}, hear=lambda item: 1 // item)
        assert child.over


def test_a_file_in_the_folder_takes_no_module_of_pythons_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickle.py").write_text("1 / 0")
    with Child() as child:
        assert child.ask(abs, -1) == 1


def test_no_process_can_be_started_is_one_sentence(monkeypatch):
    def refuse(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(children.subprocess, "Popen", refuse)
    with pytest.raises(OSError, match=r"started \(Resource temporarily unavailable\); end"):
        Child()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with its next answer")
def test_a_child_ends_with_the_process_that_started_it():
    code = (
        "from kmeans_lab.isolation.children import Child\nchild = Child()\nchild.ask(abs, -1)\n"
        "print(child.pid, flush=True)\nchild.ask(exec, 'while True: pass', {})"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as it:
        pid = int(it.stdout.readline())
        os.kill(it.pid, signal.SIGKILL)
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":  # nobody waits for it
                    return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    pytest.fail("the child goes on")
