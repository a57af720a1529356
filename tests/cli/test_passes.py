"""Progress of fits whose rows are read block by block: passes, speed and time left."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from signal import SIGINT

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.cli import passes
from kmeans_lab.cli.passes import WatchedRows, most_passes
from kmeans_lab.rows import CalledRows, NpyRows
from kmeans_lab.rows.memory import LEAST

DEADLINE = 60
SCRIPT = """
import signal, sys
from kmeans_lab.cli import main as cli, passes
signal.signal(signal.SIGINT, signal.default_int_handler)
passes._REFRESH = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""
FIT = ["fit", "X.npy", "-k", "8", "--seed", "0", "--mode", "stream", "--memory", "16MiB"]
FIT += ["--stop", "max-iter", "--max-iter", "4"]
X = np.random.default_rng(0).normal(size=(400_000, 6)).astype("f4")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    np.save("X.npy", X)


def on_terminal(*argv, until=None, then=None):
    """Run the command line with stderr as a terminal; return its status, stdout and stderr."""
    master, slave = pty.openpty()
    command, seen, deadline = [sys.executable, "-c", SCRIPT, *argv], "", time.monotonic() + DEADLINE
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, text=True) as process:
        os.close(slave)
        while True:
            assert select.select([master], [], [], deadline - time.monotonic())[0], seen
            try:
                seen += os.read(master, 4096).decode()
            except OSError:  # nobody has the other end open any more
                break
            if until is not None and until in seen:
                until = process.send_signal(then)
        os.close(master)
        return process.wait(DEADLINE), process.stdout.read(), seen


def lines(seen):
    """Return what the line has shown, one after the other."""
    return re.findall(r"\r\x1b\[2K([^\r\x1b]*)", seen)


def test_passes_are_shown_in_one_line_that_is_wiped():
    status, stdout, seen = on_terminal(*FIT)
    assert status == 0
    begin, _, rest = seen.partition("\r\n")
    assert begin == (
        "kmeans-lab: --init k-means++ reads the rows of X.npy about 8 times before the first "
        "iteration, 0.0768 GB in all; --init 'k-means||' reads them 6 times"
    )
    shown = lines(rest)
    told = r"^pass (\d+) of at most 15, [\d.,]+ GB/s, at most [\d.,]+ (µs|ms|s) left$"
    numbers = [int(re.match(told, it)[1]) for it in shown[:-1]]
    assert numbers == sorted(numbers)
    assert numbers[0] == 1
    assert numbers[-1] in (14, 15)
    assert rest.endswith("\r\x1b[2K")
    assert "\n" not in rest
    assert "mode stream" in stdout
    assert "pass" not in stdout


@pytest.mark.parametrize("columns", [12, 30, 45, 61, 200])
def test_a_narrow_terminal_is_not_left(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    seen = on_terminal(*FIT, "--init", "random")[2]
    shown = lines(seen)
    assert len(shown) > 10
    assert max(map(len, shown)) < columns
    assert all(re.match(r"(pass )?\d+( of at most |/)7", it) for it in shown[:-1])


def test_a_start_that_reads_nothing_is_not_told_of():
    seen = on_terminal(*FIT, "--init", "first")[2]
    assert "kmeans-lab:" not in seen


@pytest.mark.parametrize("more", [["--quiet"], ["--json", "--quiet"]])
def test_quiet_means_no_line(more):
    assert on_terminal(*FIT, *more)[2] == ""


def test_a_pipe_and_a_dumb_terminal_get_no_line(monkeypatch):
    command = [sys.executable, "-c", SCRIPT, *FIT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert done.stderr == ""
    monkeypatch.setenv("TERM", "dumb")
    assert on_terminal(*FIT)[2] == ""


def test_rows_that_fit_show_iterations():
    seen = on_terminal(*FIT, "--memory", "1GB")[2]
    assert "pass" not in seen
    assert "reads the rows" not in seen


def test_warnings_and_errors_have_a_line_of_their_own():
    rows = np.full((400_000, 6), 2**53 + 1)
    rows[:, 0] = np.arange(400_000)
    np.save("X.npy", rows)
    seen = on_terminal(*FIT, "--init", "random")[2]
    assert "\r\x1b[2Kkmeans-lab: warning: X[0, 1] is 9007199254740993, which float64" in seen
    rows = X.copy()
    rows[390_000, 1] = np.nan
    np.save("X.npy", rows)
    status, _, seen = on_terminal(*FIT, "--init", "random")
    assert status == 2
    assert "\r\x1b[2Kkmeans-lab: error: X[390000, 1] is nan and every value must be" in seen


def test_ctrl_c_wipes_the_line():
    more = ["--init", "first", "--max-iter", "100000"]
    status, _, seen = on_terminal(*FIT, *more, until="pass 3", then=SIGINT)
    assert status == 130
    assert seen.endswith("\r\x1b[2Kkmeans-lab: interrupted\r\n")


@pytest.mark.parametrize("name", ["cpp-simd", "cpp"])
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "d2", "random-partition", "first"])
def test_passes_are_counted(name, init):
    told = []
    watched = passes._TakenRows(NpyRows("X.npy"), told.append)
    settings = {"kernel": name, "init": init, "random_state": 0, "stop": "max-iter", "max_iter": 4}
    found = kmeans(watched, 8, mode="stream", memory=LEAST, **settings)
    assert found.mode == "stream"
    most = most_passes(init, 8, 1, 4)
    ended = watched.passes + watched._open
    assert most - 1 <= ended <= most
    assert set(told) == {watched}
    assert X.nbytes < watched.n_bytes < 1.2 * ended * X.nbytes
    expected = kmeans(X, 8, **settings)
    assert found.centers.tobytes() == expected.centers.tobytes()


def test_what_is_watched_is_the_source():
    source = NpyRows("X.npy")
    watched = passes._TakenRows(source, lambda _: None)
    assert (watched.shape, watched.dtype, watched.path) == (X.shape, X.dtype, source.path)
    few = CalledRows(lambda start, stop: X[start:stop], X.shape, X.dtype)
    plain = WatchedRows(few, lambda _: None)
    assert not hasattr(plain, "take")
    assert not hasattr(plain, "path")
    plain.check()
    np.testing.assert_array_equal(plain.read(3, 5), X[3:5])
