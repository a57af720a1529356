"""Labels that are written to a file, or into an array of the caller's."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.io.errors import Refused

X = np.random.default_rng(0).normal(size=(500, 3))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fit(where):
    return kmeans(X, 4, random_state=0, labels_out=where)


def test_labels_go_to_a_file_and_replace_it():
    for _ in range(2):
        found = fit("labels.npy")
        np.testing.assert_array_equal(np.load("labels.npy"), found.labels)
    assert np.load("labels.npy").dtype == np.int32
    assert os.listdir() == ["labels.npy"]


@pytest.mark.parametrize("kind", ["int32", "int64", "uint32"])
def test_labels_go_into_an_array(kind):
    out = np.empty(500, kind)
    np.testing.assert_array_equal(out, fit(out).labels)


def test_labels_go_into_a_mapped_file():
    out = np.lib.format.open_memmap("mapped.npy", "w+", np.int32, (500,))
    found = fit(out)
    del out
    np.testing.assert_array_equal(np.load("mapped.npy"), found.labels)


@pytest.mark.parametrize(
    ("where", "error", "sentence"),
    [
        (
            np.empty(499, "i4"),
            ValueError,
            r"of shape \(499,\) and dtype int32 must be an array",
        ),
        (np.empty(500, "i2"), ValueError, "dtype int16 must be an array"),
        (np.empty(500), ValueError, "dtype float64 must be an array"),
        (3, TypeError, "of type int must be the path of an .npy file or an array"),
        ("labels.txt", ValueError, "must end with .npy"),
        ("absent/labels.npy", ValueError, "absent must be a folder that can be written to"),
    ],
)
def test_where_labels_cannot_go_is_said_before_the_fit(where, error, sentence):
    with pytest.raises(error, match=sentence):
        kmeans(X, 4, labels_out=where, init=lambda *_: pytest.fail("the fit has begun"))


def test_a_full_disk_keeps_what_was_there(monkeypatch):
    fit("labels.npy")
    before = Path("labels.npy").read_bytes()

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"be written to labels\.npy \(No space left on device\)"):
        kmeans(X, 3, random_state=1, labels_out="labels.npy")
    assert Path("labels.npy").read_bytes() == before
    assert os.listdir() == ["labels.npy"]


def test_rows_are_never_overwritten():
    np.save("X.npy", X)
    Path("link.npy").symlink_to("X.npy")
    before = Path("X.npy").read_bytes()
    for rows in ("X.npy", ["X.npy"], np.load("X.npy", mmap_mode="r")):
        for where in ("X.npy", "./X.npy", "link.npy"):
            with pytest.raises(ValueError, match="is the file that the rows are in"):
                kmeans(rows, 3, labels_out=where)
    assert Path("X.npy").read_bytes() == before
    with pytest.raises(ValueError, match="labels_out and X share memory"):
        kmeans(X, 3, labels_out=X.reshape(-1)[:500].view(np.int64))


def test_a_link_is_followed_and_what_is_no_file_is_kept():
    np.save("old.npy", X)
    Path("link.npy").symlink_to("old.npy")
    found = fit("link.npy")
    np.testing.assert_array_equal(np.load("old.npy"), found.labels)
    assert Path("link.npy").is_symlink()
    os.mkfifo("pipe.npy")
    with pytest.raises(ValueError, match=r"'pipe\.npy' is there and is no file"):
        fit("pipe.npy")


def test_labels_that_cannot_be_written_lose_no_result(monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused) as caught:
        fit("labels.npy")
    assert caught.value.result.labels.tobytes() == kmeans(X, 4, random_state=0).labels.tobytes()
