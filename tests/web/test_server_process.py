"""``kmeans-lab serve`` as a person starts and ends it: no process is left, whatever ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kmeans_lab.cli.main import main
from kmeans_lab.cli.serve import listen

PYTHON = {"kernel": "python"}
#: One iteration of many seconds: who says nothing for so long cannot notice that nobody listens.
SILENT = {"n_samples": 290_000, "n_features": 10, "n_clusters": 100}
RACE = {"workload": SILENT, "max_iter": 1, "lanes": [PYTHON, PYTHON], "mode": "race"}


def alive(pid):
    """Whether a process runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def workers_of(pid):
    """Return the processes that a server started, but for the one that counts semaphores."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(it) for path in found for it in path.read_text().split()]
    lines = {it: Path(f"/proc/{it}/cmdline").read_bytes() for it in children}
    return [it for it, line in lines.items() if b"spawn_main" in line]


def until(condition, patience=20.0):
    """Look again and again; whether it came true."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def started(*options):
    """Run the command on a free port; yield the process and its address."""
    command = [sys.executable, "-m", "kmeans_lab", "serve", "--port", "0", "--json", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, -15, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
    ],
)
def test_no_worker_outlives_the_server(number, status):
    with started() as (process, url), httpx.Client(base_url=url, trust_env=False) as client:
        race = client.post("/api/races", json=RACE, timeout=30).json()["id"]

        def racing():
            lanes = client.get(f"/api/races/{race}").json()["lanes"]
            return all(it["state"] == "running" for it in lanes)

        assert until(racing)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.send_signal(number)
        assert process.wait(20) == status
        assert until(lambda: not any(map(alive, workers)), patience=8)
        if number == signal.SIGINT:
            assert process.stderr.read() == "kmeans-lab: ended\n"


def test_a_port_in_use_is_refused_in_a_sentence(capsys):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"kmeans-lab: error: port {port} of 127.0.0.1 cannot be had (Address already in use); "
        "choose another with --port\n"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "70000"], "--port 70000 must be between 0 and 65535; choose another"),
        (["--studies", "/nowhere"], "there is no folder /nowhere; kmeans-lab study all --output"),
        (["--host", "256.1.1.1"], "256.1.1.1 cannot be had"),
    ],
)
def test_options_that_cannot_be_are_refused(options, sentence, capsys):
    assert main(["serve", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == (
        "kmeans-lab: error: the page needs the package fastapi, which is not installed; "
        "pip install 'kmeans-lab[web]'\n"
    )


def test_other_commands_do_not_import_fastapi():
    script = "import sys, kmeans_lab.cli.main; print({'fastapi', 'pydantic'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_a_host_that_others_reach_is_warned_of_and_needs_names():
    options = ("--host", "0.0.0.0", "--allow-host", "lab.example")
    with started(*options) as (process, url):
        assert url.startswith("http://localhost:")
        assert httpx.get(url + "health", trust_env=False).status_code == 200
        for name, status in (("lab.example", 200), ("other.example", 421)):
            headers = {"Host": name}
            assert httpx.get(url + "health", headers=headers, trust_env=False).status_code == status
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said.splitlines()[0] == (
        "kmeans-lab: warning: whoever reaches 0.0.0.0 can make this machine compute; pages open "
        "by loopback names and those of --allow-host only"
    )
