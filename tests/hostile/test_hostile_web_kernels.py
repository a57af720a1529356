"""Kernels of other packages in the server: never in its process, and never longer than it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from kmeans_lab import registry
from tests.support.planted import BY_NUMPY
from tests.support.web import SMALL, serving

pytestmark = pytest.mark.hostile

#: Holds the interpreter's lock as long as it likes, and has started a process before.
HOLDS = """
import ctypes, subprocess
def assign(rows, centers, labels):
    child = subprocess.Popen(["sleep", "600"])
    with open({noted!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{child.pid}}\\n")
    ctypes.PyDLL(None).sleep(600)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package with one kernel, by its source."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    registry.installed.cache_clear()

    def install_one(name, source):
        (tmp_path / f"{name}_module.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        entry = f"[kmeans_lab.kernels]\n{name} = {name}_module:SPEC\n"
        (info / "entry_points.txt").write_text(entry)

    yield install_one
    registry.installed.cache_clear()


def test_the_server_imports_no_kernel_of_others(install, tmp_path):
    noted = tmp_path / "importers"
    note = f"import os; open({str(noted)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    install("right", note + BY_NUMPY)
    install("deadly", note + "import os; os._exit(0)\n")
    with serving() as client:
        rows = {it["name"]: it for it in client.get("/api/kernels").json()}
        assert [rows[it]["state"] for it in ("right", "deadly", "cpp")] == [
            "ready", "broken", "ready",
        ]  # fmt: skip
        assert rows["deadly"]["reason"] == (
            "the process that imports deadly ended with exit status 0"
        )
        body = {"workload": SMALL, "lanes": [{"kernel": "deadly"}]}
        assert client.post("/api/races", json=body).status_code == 422
        assert client.get("/api/kernels/deadly/explain").status_code == 503
        assert client.run("right", mode="race")[-1][2] == {"state": "done"}
    importers = set(noted.read_text().split())
    assert importers
    assert str(os.getpid()) not in importers


def test_an_import_that_hangs_keeps_the_server_from_nothing(install, monkeypatch):
    install("hangs", "import time; time.sleep(600)\n")
    monkeypatch.setattr("kmeans_lab.web.scheduler._PATIENCE_TO_IMPORT", 1.0)
    with serving() as client:
        assert client.get("/health").status_code == 200
        (row,) = (it for it in client.get("/api/kernels").json() if it["name"] == "hangs")
        assert row["state"] == "broken"
        assert row["reason"] == "the process that imports hangs takes longer than 1 s"
        assert client.run("cpp", mode="race")[-1][2] == {"state": "done"}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def until(condition, patience=20.0):
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGQUIT, marks=pytest.mark.slow),
    ],
)
def test_a_kernel_that_holds_the_lock_ends_with_the_server(number, install, tmp_path, request):
    if number != signal.SIGKILL:  # under nohup, the server would inherit that it is ignored
        before = signal.signal(number, lambda *_: None)
        request.addfinalizer(lambda: signal.signal(number, before))
    noted = tmp_path / "pids"
    install("holds", BY_NUMPY + "import os, sys\n" + HOLDS.format(noted=str(noted)))
    command = [sys.executable, "-m", "kmeans_lab", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as server:
        try:
            url = json.loads(server.stdout.readline())["url"]
            body = {"workload": SMALL, "lanes": [{"kernel": "holds"}]}
            answer = httpx.post(f"{url}api/races", json=body, timeout=60, trust_env=False)
            assert answer.status_code == 202, answer.text
            assert until(lambda: noted.exists() and noted.read_text().endswith("\n"))
            workers = [int(it) for it in noted.read_text().split()]
            assert all(map(alive, workers))
            server.send_signal(number)
            server.wait(20)
        finally:
            server.kill()
    assert until(lambda: not any(map(alive, workers)), patience=8)


#: Finds its own end of the pipe, and does something to it.
PIPES = """
import gc, multiprocessing.connection, os, time

def assign(rows, centers, labels):
    for it in gc.get_objects():
        if isinstance(it, multiprocessing.connection.Connection) and it.writable:
            {act}
"""


class Acts:
    """What does something where it is read."""

    def __reduce__(self):
        return os.system, ("echo read in $PPID >&2",)


NO_ANSWER = "sent an invalid answer"
HALF = "os.write(it.fileno(), b'\\x00\\x00\\xff\\xff'), time.sleep(600)"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (f"it.send_bytes({pickle.dumps(('lane', Acts()))!r})", NO_ANSWER),
        ("it.close(), time.sleep(600)", "closed its pipe"),
        pytest.param("it.send_bytes(b'nonsense')", NO_ANSWER, marks=pytest.mark.slow),
        pytest.param("it.send(('result', {}))", NO_ANSWER, marks=pytest.mark.slow),
        pytest.param("it.send(3)", NO_ANSWER, marks=pytest.mark.slow),
        pytest.param(HALF, "ended by signal 9", marks=pytest.mark.slow),
    ],
    ids=["acts", "closes", "nonsense", "no result", "no pair", "half a message"],
)
def test_a_kernel_that_writes_into_the_pipe_fails_alone(install, monkeypatch, capfd, act, said):
    install("writes", BY_NUMPY + "import os, sys\n" + PIPES.format(act=act))
    monkeypatch.setattr("kmeans_lab.web.worker_process._PATIENCE", 1.0)
    with serving() as client:
        events = client.run("writes", "cpp", mode="race")
    failed = [data for name, _, data in events if name == "lane" and data["state"] == "failed"]
    sentence = f"the process of writes {said}; the other lanes go on"
    assert [(it["lane"], it["sentence"]) for it in failed] == [(0, sentence)]
    assert [data["lane"] for name, _, data in events if name == "result"] == [1]
    assert "read in" not in capfd.readouterr().err
