"""Other interpreters: which are taken, what is said of the others, and that none is waited for."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation import interpreter_facts, interpreters
from kmeans_lab.isolation.interpreter_facts import MARK, digest_of_package
from kmeans_lab.isolation.interpreters import find_interpreters, own_interpreter
from kmeans_lab.isolation.kernel_child import KernelChild
from tests.support.helpers import ROOT
from tests.support.other_pythons import VARIABLE, needs_other, wrapper

pytestmark = pytest.mark.skipif(os.name != "posix", reason="interpreters are shell scripts here")

#: Shell scripts in place of an interpreter, and what is said of them.
NOT_PYTHON = {
    "says nothing": ("exit 0", "did not answer as Python does (exit status 0)"),
    "fails": ("exit 3", "did not answer as Python does (exit status 3)"),
    "crashes": ("kill -SEGV $$", "did not answer as Python does (signal 11)"),
    "says something else": ("echo hello", "did not answer as Python does (exit status 0)"),
    "answers with what is no JSON": (f"echo '{MARK}['", "did not answer as Python does (exit st"),
    "prints for ever": ("while :; do echo y; done", "did not answer as Python does ("),
    "hangs": ("sleep 99", "did not say within 1 s what it is"),
    "ignores signals": ("trap '' TERM INT HUP; sleep 99; sleep 99", "did not say within 1 s"),
    "closes its output and goes on": ("exec >&-; sleep 99", "did not answer as Python does"),
    "leaves one behind": (
        'sleep 99 & echo $! >"$0.left"; exit 0',
        "did not say within 1 s what it is",
    ),
}
#: What an interpreter says about itself in other words than this one, and what is said of it.
UNFIT = {
    "old": ({"release": [3, 10, 4]}, "is Python 3.10.4 and kmeans_lab needs 3.11 or newer; give "),
    "without kmeans_lab": ({"folder": ""}, "has no kmeans_lab, whose kernels are to run in it; "),
    "another kmeans_lab": (
        {"digest": "0" * 64, "kmeans_lab": "0.0.9", "folder": "/there"},
        "has other sources of kmeans_lab (0.0.9, /there) than this Python",
    ),
    "without numpy": (
        {"lacks": ["numpy", "no module"]},
        "cannot import numpy (no module), which kmeans_lab needs; install it there: ",
    ),
    "old numpy": ({"numpy": "1.26.4"}, "has NumPy 1.26.4 and kmeans_lab needs 2.0 or newer; "),
    "in another process": ({"parent": 1}, "starts Python in another process, which would not end"),
}


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a shell script and returns its path."""

    def write(text, name="python"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def refusal(executable):
    with pytest.raises(Refused) as refused:
        find_interpreters([executable])
    said = str(refused.value)
    assert said.startswith(f"{executable} ")
    assert len(said.splitlines()) == 1
    assert "; " in said  # and a remedy
    return said


def wait_for_the_end_of(pid):
    for _ in range(100):
        ps = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        if ps.stdout.strip()[:1] in ("", "Z"):
            return
        sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail(f"process {pid} was left")


@pytest.mark.parametrize("what", NOT_PYTHON)
def test_what_is_no_python_is_refused_in_time(what, script, monkeypatch):
    monkeypatch.setattr(interpreters, "PATIENCE", 1.0)
    text, expected = NOT_PYTHON[what]
    begin = monotonic()
    path = script(text)
    assert expected in refusal(path)
    assert monotonic() - begin < 20  # and not 99
    if (left := Path(f"{path}.left")).exists():
        wait_for_the_end_of(int(left.read_text()))


def test_what_cannot_be_started_is_refused(tmp_path):
    assert "cannot be started (No such file or directory); " in refusal(str(tmp_path / "nothing"))
    assert "cannot be started (Permission denied); " in refusal(str(tmp_path))
    (tmp_path / "text").write_text("no program")
    assert "cannot be started (Permission denied); " in refusal(str(tmp_path / "text"))


@pytest.mark.parametrize("what", UNFIT)
def test_what_cannot_run_our_kernels_is_refused(what, script):
    changed, expected = UNFIT[what]
    told = interpreter_facts.facts() | {"parent": os.getpid()} | changed
    assert expected in refusal(script(f"cat <<'END'\nstarting up\n{MARK}{json.dumps(told)}\nEND"))


def test_one_that_starts_python_in_another_process_is_refused(tmp_path):
    path = wrapper(tmp_path, before="", run="")  # without exec
    assert f"give the interpreter itself, {sys.executable}" in refusal(path)


def test_this_python_under_another_name_is_taken(tmp_path):
    path = wrapper(tmp_path)
    first, second = find_interpreters([path, path])
    own = own_interpreter()
    assert own.name == ""
    assert first.name == f"{sys.version_info[0]}.{sys.version_info[1]}{'t' * own.free_threaded}"
    assert second.name == f"{first.name} (2)"
    for found in (first, second):
        assert found.executable == path
        assert (found.version, found.numpy) == (own.version, own.numpy)


def test_the_folder_of_the_command_is_not_looked_in(tmp_path, monkeypatch):
    for name in ("json.py", "numpy.py", "kmeans_lab.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert find_interpreters([wrapper(tmp_path)])


def test_a_home_that_is_meant_for_this_python_is_not_handed_on(tmp_path, monkeypatch):
    path = wrapper(tmp_path, before='test -z "$PYTHONHOME" || exit 1')
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    assert find_interpreters([path])


def test_the_digest_is_that_of_names_and_contents(tmp_path):
    def digest(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digest_of_package(str(folder))

    same = digest(a_py="x", b__c_pyx="y")
    assert digest(b__c_pyx="y", a_py="x", notes_txt="z", a_so="w") == same
    others = [
        digest(a_py="x", b__c_pyx="z"),
        digest(a_py="x", b_pyx="y"),
        digest(a_py="x"),
        digest(a_py="xy", b__c_pyx=""),
        digest(a_py="x", b__c_pyx="y", b__d_pxi=""),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_the_digest_reads_every_module_of_the_package(monkeypatch):
    read = []
    real = open

    def opening(path, mode="r", **options):
        read.append(os.fspath(path))
        return real(path, mode, **options)

    monkeypatch.setattr("builtins.open", opening)
    digest_of_package(str(ROOT / "kmeans_lab"))
    names = {os.path.relpath(it, ROOT / "kmeans_lab") for it in read}
    package = ROOT / "kmeans_lab"
    expected = {str(it.relative_to(package)) for it in package.rglob("*.py")}
    assert {"driver.py", "measure/timed.py"} <= expected <= names
    assert {"_cy_kernel.pyx", "tuned/cython.pxi"} <= names


@pytest.fixture(params=["this one", pytest.param("another", marks=needs_other)])
def interpreter(request, tmp_path):
    """Return this Python under another name, or the one that KMEANS_LAB_OTHER_PYTHON names."""
    path = wrapper(tmp_path) if request.param == "this one" else os.environ[VARIABLE]
    (found,) = find_interpreters([path])
    return found


def test_arrays_go_to_an_interpreter_and_back(interpreter):
    rng = np.random.default_rng(0)
    sent = [
        rng.normal(size=(40, 3)),
        rng.normal(size=(3, 40)).astype("float32").T,
        np.arange(7, dtype=np.int32)[::2],
        np.empty((0, 4)),
        np.array([np.nan, -0.0, np.inf, 5e-324]),
    ]
    with KernelChild("python", executable=interpreter.executable) as child:
        child.describe()
        for it in sent:
            found = child.ask(np.copy, it)
            assert found.dtype == it.dtype
            assert found.tobytes() == it.tobytes()
            assert found.shape == it.shape
