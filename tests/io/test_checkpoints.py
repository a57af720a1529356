"""A fit that was ended goes on from the file that kept its progress, to the same bits."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.io import checkpoints
from kmeans_lab.io.errors import Refused
from kmeans_lab.rows import CalledRows
from kmeans_lab.rows.memory import LEAST
from tests.support.helpers import assert_same_fit

rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 3)) + rng.integers(0, 3, (4000, 1)) * 2.0


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)


def ended_after(saved, monkeypatch, *arguments, **settings):
    """Begin a fit that ends after its progress has been saved so many times."""
    save, times = checkpoints.Checkpoints.save, []

    def counted(self, make):
        save(self, make)
        times.append(1)
        if len(times) == saved:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.Checkpoints, "save", counted)
        with pytest.raises(Killed):
            kmeans(*arguments, resume="state.json", **settings)
    assert os.listdir() == ["state.json"]


WAYS = {
    "shift": {},
    "labels": {"stop": "labels", "tol": 3},
    "most iterations": {"stop": "max-iter", "max_iter": 9},
    "weights": {"sample_weight": np.random.default_rng(1).random(4000)},
    "angles": {"metric": "cosine", "init": "random"},
    "empty clusters": {"init": np.vstack([X[:10], np.full((2, 3), 1e3)]), "empty": "random"},
    "textbook": {"kernel": "cpp"},
    "another generator": {"random_state": np.random.Generator(np.random.MT19937(3))},
}


@pytest.mark.parametrize("saved", [1, 4])
@pytest.mark.parametrize("way", WAYS)
def test_a_fit_goes_on_to_the_same_bits(way, saved, monkeypatch):
    settings = {"random_state": 5} | WAYS[way]
    if way == "another generator":
        settings["random_state"] = np.random.Generator(np.random.MT19937(3))
    ended_after(saved, monkeypatch, X, 12, **settings)
    if way == "another generator":
        settings["random_state"] = np.random.Generator(np.random.MT19937(99))  # its state is kept
    found = kmeans(X, 12, resume="state.json", **settings)
    assert os.listdir() == []
    if way == "another generator":
        settings["random_state"] = np.random.Generator(np.random.MT19937(3))
    assert_same_fit(found, kmeans(X, 12, **settings))


@pytest.mark.parametrize("saved", [1, 12, 25, 40])
def test_repetitions_go_on_and_the_best_is_kept(saved, monkeypatch):
    settings = {"random_state": 1, "n_init": 4, "stop": "max-iter", "max_iter": 11}
    expected = kmeans(X, 12, history=True, **settings)
    ended_after(saved, monkeypatch, X, 12, history=True, **settings)
    found = kmeans(X, 12, history=True, resume="state.json", **settings)
    assert_same_fit(found, expected)
    for one, other in zip(found.history, expected.history, strict=True):
        assert one.centers.tobytes() == other.centers.tobytes()
        assert (one.n_iter, one.changed, one.inertia) == (
            other.n_iter,
            other.changed,
            other.inertia,
        )


def test_a_stream_goes_on(monkeypatch):
    rows = np.tile(X, (100, 1))
    settings = {"random_state": 2, "mode": "stream", "memory": LEAST}
    ended_after(3, monkeypatch, rows, 5, **settings)
    assert_same_fit(
        kmeans(rows, 5, resume="state.json", **settings), kmeans(rows, 5, random_state=2)
    )


def test_a_fit_that_ends_leaves_nothing():
    assert_same_fit(kmeans(X, 3, random_state=0, resume="state.json"), kmeans(X, 3, random_state=0))
    assert os.listdir() == []


OTHERS = {
    "n_clusters": ({}, {"n_clusters": 5}),
    "kernel": ({"kernel": "cpp"}, {}),
    "metric": ({"metric": "cosine"}, {}),
    "stop": ({"tol": 0.5}, {}),
    "init": ({"init": "random"}, {}),
    "sample_weight": ({"sample_weight": np.arange(4000.0)}, {}),
    "rows": ({}, {"X": X + 1}),
    "n_samples": ({}, {"X": X[1:]}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_progress_of_another_fit_is_refused(name, monkeypatch):
    settings, other = OTHERS[name]
    ended_after(1, monkeypatch, X, 4, random_state=0)
    arguments = {"X": X, "n_clusters": 4, "random_state": 0} | settings | other
    with pytest.raises(Refused, match=rf"holds the progress of another fit: its {name}"):
        kmeans(resume="state.json", **arguments)
    assert os.listdir() == ["state.json"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "x"}', "\xe9"])
def test_a_damaged_file_is_refused_and_kept(text):
    Path("state.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=r"is truncated or damaged .*; give resume another name"):
        kmeans(X, 3, resume="state.json")
    assert Path("state.json").read_text(encoding="utf-8") == text


def test_where_progress_cannot_be_kept():
    with pytest.raises(Refused, match=r"absent must be a folder that can be written to"):
        kmeans(X, 3, resume="absent/state.json")

    class Rule:
        name, needs_changed = "mine", False

        def fired(self, step):
            return True

    with pytest.raises(Refused, match="saves no state of a stop rule like Rule"):
        kmeans(X, 3, resume="state.json", stop=Rule())


def test_a_killed_process_goes_on(tmp_path):
    np.save("X.npy", np.tile(X, (50, 1)))
    script = """
        import sys, time, numpy as np
        from kmeans_lab import kmeans
        from kmeans_lab.io import checkpoints
        checkpoints._EVERY = 0.0
        slowly = lambda it: time.sleep(0.05)
        found = kmeans("X.npy", 12, random_state=5, tol=0, stop="shift", max_iter=40,
                       mode="stream", memory="17MB", resume="state.json", callback=slowly)
        np.savez("found.npz", centers=found.centers, labels=found.labels)
    """
    call = [sys.executable, "-c", textwrap.dedent(script)]
    first = subprocess.Popen(call)
    while not Path("state.json").exists():
        assert first.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not Path("found.npz").exists()
    assert json.loads(Path("state.json").read_text())["n_iter"] >= 1
    subprocess.run(call, check=True, timeout=120)
    expected = kmeans(np.load("X.npy"), 12, random_state=5, tol=0, max_iter=40)
    with np.load("found.npz") as found:
        np.testing.assert_array_equal(found["centers"], expected.centers)
        np.testing.assert_array_equal(found["labels"], expected.labels)
    assert sorted(os.listdir()) == ["X.npy", "found.npz"]


def test_a_block_that_cannot_be_read_costs_one_pass():
    rows = np.tile(X, (400, 1))  # more than are kept
    settings = {"random_state": 2, "mode": "stream", "memory": LEAST, "init": "random"}
    passes, broken = [], [True]

    def read(first, last):
        passes.append(first <= 1_500_000 < last)  # in a block that is read in each pass
        if broken[0] and sum(passes) == 5:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rows[first:last]

    source = CalledRows(read, rows.shape)
    with pytest.raises(OSError, match="Input/output error"):
        kmeans(source, 5, resume="state.json", **settings)
    assert json.loads(Path("state.json").read_text())["n_iter"] >= 2
    broken[0] = False
    found = kmeans(source, 5, resume="state.json", **settings)
    assert_same_fit(found, kmeans(rows, 5, random_state=2, init="random"))
    assert os.listdir() == []


def test_labels_that_find_no_room_leave_the_progress(monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = {"random_state": 2, "resume": "state.json", "labels_out": "labels.npy"}
    save = checkpoints.Checkpoints.save
    with monkeypatch.context() as patched:

        def saved(self, make):  # by the checkpoint, which has room, before the disk is full
            with monkeypatch.context() as empty:
                empty.setattr(os, "fsync", lambda number: None)
                save(self, make)

        patched.setattr(checkpoints.Checkpoints, "save", saved)
        patched.setattr(os, "fsync", full)
        with pytest.raises(Refused, match=r"labels\.npy \(No space left on device\)"):
            kmeans(X, 5, **settings)
    assert os.listdir() == ["state.json"]
    found = kmeans(X, 5, **settings)
    assert os.listdir() == ["labels.npy"]
    expected = kmeans(X, 5, random_state=2)
    assert_same_fit(found, expected)
    np.testing.assert_array_equal(np.load("labels.npy"), expected.labels)


def test_progress_never_replaces_rows_or_labels():
    np.save("X.npy", X)
    with pytest.raises(ValueError, match=r"^resume='X.npy' is the file that the rows are in"):
        kmeans("X.npy", 5, resume="X.npy")
    with pytest.raises(ValueError, match=r"^resume='same.npy' is where labels go, too"):
        kmeans(X, 5, resume="same.npy", labels_out="./same.npy")
    with pytest.raises(TypeError, match=r"^resume of type int must be the path"):
        kmeans(X, 5, resume=5)
    assert os.listdir() == ["X.npy"]
