"""Labels and distances that go to a file, or into an array of the caller's, block by block."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import KMeans, MiniBatchKMeans
from kmeans_lab.io.errors import Refused
from kmeans_lab.rows import CalledRows, JoinedRows, NpyRows

X = np.random.default_rng(0).normal(size=(300_000, 3))
MODEL = KMeans(4, random_state=0).fit(X[:500])
LABELS, DISTANCES = MODEL.predict(X), MODEL.transform(X)
FOUND = {"predict": LABELS, "transform": DISTANCES}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def sources():
    np.save("X.npy", X)
    return [X, "X.npy", CalledRows(lambda start, stop: X[start:stop], X.shape)]


@pytest.mark.parametrize("verb", FOUND)
def test_a_file_is_written_and_replaced(verb):
    expected = FOUND[verb]
    for rows in sources():
        found = getattr(MODEL, verb)(rows, out="out.npy")
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
        for it in (found, np.load("out.npy")):
            assert it.dtype == expected.dtype
            np.testing.assert_array_equal(it, expected)
    assert sorted(os.listdir()) == ["X.npy", "out.npy"]


@pytest.mark.parametrize("verb", FOUND)
def test_an_array_is_filled_and_returned(verb):
    expected = FOUND[verb]
    for rows in sources():
        out = np.empty(expected.shape, expected.dtype)
        assert getattr(MODEL, verb)(rows, out=out) is out
        np.testing.assert_array_equal(out, expected)
        mapped = np.lib.format.open_memmap("out.npy", "w+", expected.dtype, expected.shape)
        getattr(MODEL, verb)(rows, out=mapped)
        del mapped
        np.testing.assert_array_equal(np.load("out.npy"), expected)


def test_dtypes_and_other_rows():
    narrow = X.astype("f4")
    model = MiniBatchKMeans(4, random_state=0).fit(narrow)
    assert model.transform(narrow, out=Path("out.npy")).dtype == np.float32
    wide = np.empty((len(X), 4))
    np.testing.assert_array_equal(model.transform(narrow, out=wide), model.transform(narrow))
    assert model.predict(X, out=np.empty(len(X), np.int64)).dtype == np.int64
    few = sparse.csr_matrix(np.where(X > 1, X, 0))
    model = KMeans(4, random_state=0).fit(few[:500])
    np.testing.assert_array_equal(model.predict(few, out="out.npy"), model.predict(few))
    np.testing.assert_array_equal(model.transform(few, out="out.npy"), model.transform(few))
    angles = KMeans(4, random_state=0, metric="cosine").fit(X[:500])
    np.testing.assert_array_equal(angles.transform(X, out="out.npy"), angles.transform(X))


def test_what_can_be_written_to():
    np.save("X.npy", X)
    n = len(X)
    for verb, out, error, sentence in (
        ("predict", np.empty(5, "i4"), ValueError, r"^out of shape \(5,\) and dtype int32 must be"),
        ("predict", np.empty(n, "i2"), ValueError, rf"an array \({n},\) of int32 that can be"),
        ("predict", np.empty(n), ValueError, "dtype float64 must be an array"),
        ("predict", LABELS.copy(), ValueError, r"make one with numpy\.empty\(300000, numpy\.int32"),
        ("transform", np.empty((n, 3)), ValueError, rf"numpy\.empty\(\({n}, 4\), numpy\.float64\)"),
        ("transform", np.empty((n, 4), "f4"), ValueError, "dtype float32 must be an array"),
        ("transform", np.empty((n, 4), "i8"), ValueError, "dtype int64 must be an array"),
        ("predict", 3, TypeError, "out of type int must be the path of an .npy file or an array"),
        ("predict", "out.txt", ValueError, r"^out='out\.txt' must end with \.npy; name it so"),
        ("predict", "no/out.npy", ValueError, "must be a folder that can be written to"),
        ("predict", "X.npy", ValueError, "is the file that the rows are in, which is never"),
        ("transform", Path("X.npy"), ValueError, "is the file that the rows are in"),
    ):
        if isinstance(out, np.ndarray) and out.dtype == "i4" and len(out) == n:
            out.flags.writeable = False
        with pytest.raises(error, match=sentence):
            getattr(MODEL, verb)("X.npy", out=out)
    with pytest.raises(ValueError, match=r"^out and X share memory, and X is never modified"):
        MODEL.predict(X, out=X.reshape(-1)[:n].view(np.int64))
    assert os.listdir() == ["X.npy"]


def test_rows_are_never_overwritten():
    np.save("a.npy", X[:9])
    np.save("b.npy", X[9:])
    before = [Path(name).read_bytes() for name in ("a.npy", "b.npy")]
    model = KMeans(3, random_state=0).fit(X[:500])
    joined = JoinedRows([NpyRows("a.npy"), JoinedRows([NpyRows("b.npy")])])
    told = "is the file that the rows are in, which is never modified; choose another"
    for rows in (joined, ["a.npy", Path("b.npy")]):
        with pytest.raises(ValueError, match=told):
            model.predict(rows, out="b.npy")
    for rows in ("b.npy", NpyRows("b.npy")):
        with pytest.raises(ValueError, match=told):
            model.transform(rows, out=np.load("b.npy", mmap_mode="r+"))
    assert [Path(name).read_bytes() for name in ("a.npy", "b.npy")] == before


@pytest.mark.parametrize("verb", FOUND)
@pytest.mark.parametrize("function", ["posix_fallocate", "fsync"])
def test_a_full_disk_keeps_what_was_there(verb, function, monkeypatch):
    Path("out.npy").write_bytes(b"before")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    told = r"^the \w+ cannot be written to out\.npy \(No space left on device\); make room or"
    with pytest.raises(Refused, match=told):
        getattr(MODEL, verb)(X, out="out.npy")
    assert Path("out.npy").read_bytes() == b"before"
    assert os.listdir() == ["out.npy"]


def test_space_is_not_reserved_where_that_is_unknown(monkeypatch):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    np.testing.assert_array_equal(MODEL.predict(X, out="out.npy"), LABELS)


SCRIPT = """
import os, resource, sys
import numpy as np
from kmeans_lab import KMeans
from kmeans_lab.io.errors import Refused
model = KMeans(4, random_state=0).fit(np.random.default_rng(0).normal(size=(500, 3)))
if sys.argv[1] == "late":
    del os.posix_fallocate
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
try:
    model.transform("X.npy", out="out.npy")
except Refused as error:
    print(error)
"""


@pytest.mark.parametrize("when", ["first", "late"])
def test_files_that_may_not_grow(when):
    np.save("X.npy", X)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, when], capture_output=True, text=True, check=False
    )
    assert run.stdout == (
        "the distances cannot be written to out.npy (File too large); make room or choose another "
        "file: what was there before is kept\n"
    )
    assert (run.stderr, os.listdir()) == ("", ["X.npy"])
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1 << 20


def test_a_source_that_fails_leaves_no_half_file():
    def read(start, stop):
        if start > 0:
            raise OSError("the tape is torn")
        return X[start:stop]

    with pytest.raises(OSError, match="the tape is torn"):
        MODEL.transform(CalledRows(read, X.shape), out="out.npy")
    damaged = X.copy()
    damaged[-1, 1] = np.nan
    with pytest.raises(ValueError, match=r"^X\[299999, 1\] is nan"):
        MODEL.predict(CalledRows(lambda start, stop: damaged[start:stop], X.shape), out="out.npy")
    assert os.listdir() == []


def test_out_is_no_metadata():
    assert "out" not in MODEL.get_metadata_routing().predict.requests
    assert not hasattr(MODEL, "set_predict_request")
