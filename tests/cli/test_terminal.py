"""The command line as a process: terminals, pipes, signals."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT

import numpy as np
import pytest

from tests.support.helpers import cloud

#: Runs the command line with a patience of our choice. A parent that ignores Ctrl-C hands that
#: down to its children, which a shell's background jobs do.
SCRIPT = """
import signal, sys
from kmeans_lab.cli import fit, main as cli
signal.signal(signal.SIGINT, signal.default_int_handler)
fit._PATIENCE = float(sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""
AT_ONCE, NEVER = "0", "1e9"
MODULE = [sys.executable, "-m", "kmeans_lab"]
FIT = ["fit", "X.npy", "-k", "4", "--seed", "0", "--stop", "max-iter", "--max-iter", "50"]
DEADLINE = 60  # seconds after which a test fails instead of waiting


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it, nothing is left to flush
    np.save("X.npy", cloud(seed=5, n_samples=80, n_features=3))


class OnTerminal:
    """A process whose stderr is a terminal."""

    def __init__(self, *argv):
        self.master, slave = pty.openpty()
        command = [sys.executable, "-c", SCRIPT, *argv]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, text=True)
        os.close(slave)
        self.seen = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        os.close(self.master)

    def read_until(self, text=None):
        """Read the terminal until the text is there; without one, until the process ends."""
        deadline = time.monotonic() + DEADLINE
        while text is None or text not in self.seen:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.seen
            try:
                self.seen += os.read(self.master, 4096).decode()
            except OSError:  # nobody has the other end open any more
                assert text is None, self.seen
                return


@pytest.mark.parametrize("printed", [[], ["--json"]])
def test_a_long_fit_shows_its_progress_on_a_terminal_and_wipes_it(printed):
    with OnTerminal(AT_ONCE, *FIT, *printed) as fit:
        fit.read_until()
        assert fit.process.wait(DEADLINE) == 0
        stdout = fit.process.stdout.read()
    assert "iteration 1/50" in fit.seen
    assert "80 labels changed" in fit.seen
    assert fit.seen.endswith("\x1b[2K")  # the last thing done to the line is to erase it
    assert "iteration 1/50" not in stdout


@pytest.mark.parametrize("more", [["--quiet"], ["--json", "--quiet"]])
def test_quiet_means_no_bar(more):
    with OnTerminal(AT_ONCE, *FIT, *more) as fit:
        fit.read_until()
        assert fit.process.wait(DEADLINE) == 0
    assert fit.seen == ""


def test_a_short_fit_shows_no_bar():
    with OnTerminal(NEVER, *FIT) as fit:
        fit.read_until()
        assert fit.process.wait(DEADLINE) == 0
    assert fit.seen == ""


def test_a_dumb_terminal_gets_no_bar(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with OnTerminal(AT_ONCE, *FIT) as fit:
        fit.read_until()
        assert fit.process.wait(DEADLINE) == 0
    assert fit.seen == ""


def test_a_pipe_gets_no_bar():
    command = [sys.executable, "-c", SCRIPT, AT_ONCE, *FIT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert done.stderr == ""
    assert done.stdout.startswith("rows × features")


@pytest.mark.parametrize("output", ["r.npz", "r.csv"])
def test_ctrl_c_ends_a_fit_with_130_and_writes_nothing(output):
    np.save("X.npy", cloud(seed=5, n_samples=4000, n_features=4))
    slow = ["fit", "X.npy", "-k", "20", "--kernel", "python", "--stop", "max-iter"]
    with OnTerminal(AT_ONCE, *slow, "--max-iter", "100000", "--output", output) as fit:
        fit.read_until("iteration 1/100000")
        fit.process.send_signal(SIGINT)
        fit.read_until()
        assert fit.process.wait(DEADLINE) == 130
        assert fit.process.stdout.read() == ""
    assert fit.seen.endswith("kmeans-lab: interrupted\r\n")
    assert "Traceback" not in fit.seen
    assert [path.name for path in Path.cwd().iterdir()] == ["X.npy"]


@pytest.mark.parametrize(
    "argv", [["kernels"], ["presets", "--json"], ["--help"], ["--version"], FIT]
)
def test_a_reader_that_leaves_is_no_error(argv):
    with subprocess.Popen([*MODULE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.wait(DEADLINE) == 141
        assert run.stderr.read() == b""


@pytest.mark.parametrize("argv", [["presets"], ["presets", "--json"]])
def test_a_full_disk_on_stdout_is_one_sentence(argv):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*MODULE, *argv], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    why = "standard output cannot be written: No space left on device"
    assert (done.returncode, done.stderr) == (2, f"kmeans-lab: error: {why}\n")


def test_a_terminal_gets_bold_print_and_a_pipe_gets_none():
    master, slave = pty.openpty()
    subprocess.run([*MODULE, *FIT], stdout=slave, check=True, timeout=DEADLINE)
    os.close(slave)
    assert b"\x1b[1mkernel" in os.read(master, 4096)
    os.close(master)
    piped = subprocess.run([*MODULE, *FIT], stdout=subprocess.PIPE, check=True, timeout=DEADLINE)
    assert b"kernel" in piped.stdout
    assert b"\x1b" not in piped.stdout


def test_a_refusal_of_the_real_process():
    done = subprocess.run(
        [*MODULE, "fit", "no.csv", "-k", "2"], capture_output=True, text=True, check=False
    )
    why = "kmeans-lab: error: there is no file no.csv; check the path\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", why)


def test_an_encoding_without_lines_gets_plain_ones(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run([*MODULE, "presets"], capture_output=True, text=True, check=True)
    assert done.stdout.isascii()
    assert set(done.stdout.splitlines()[1]) == {"-"}


def test_several_processes_may_compute():
    fit = [*MODULE, "fit", "X.npy", "-k", "2", "--mode", "processes", "--threads", "2", "-q"]
    done = subprocess.run([*fit, "-o", "r.csv"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert Path("r.csv").read_text().startswith("label\n")
