"""Memory that is not there: full shared memory, and files that were cut short after mapping."""

import errno
import mmap
import multiprocessing
import os
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.compress import compress
from kmeans_lab.crews import processes
from kmeans_lab.dbscan import dbscan
from kmeans_lab.silhouette import silhouette_score
from kmeans_lab.soft import responsibilities
from tests.support.helpers import cloud

pytestmark = pytest.mark.hostile

X = cloud(seed=1, n_samples=5000, n_features=3)
linux = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no pages to reserve here")


@linux
def test_the_memory_of_a_block_is_there_before_anybody_writes_to_it(monkeypatch):
    asked = []
    real = os.posix_fallocate

    def reserve(file, offset, size):
        asked.append((offset, size))
        real(file, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    size = 10_000_000
    block = processes._Block(size=size)
    try:
        block.reserve()
        assert os.fstat(block._fd).st_blocks * 512 >= size
        assert sum(length for _, length in asked) == size
        # A signal undoes what one call has done: a call has to be short.
        assert max(length for _, length in asked) <= 1 << 22
    finally:
        block.unlink()
        block.close()


@linux
def test_shared_memory_that_another_fit_has_taken_is_refused(monkeypatch):
    def reserve(file, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(os.listdir("/dev/shm"))
    monkeypatch.setattr(os, "posix_fallocate", reserve)
    needs = r"^mode='processes' needs \d+ MiB of shared memory.*No space.*; use mode='threads'$"
    with pytest.raises(MemoryError, match=needs):
        kmeans(X, 3, kernel="cpp", mode="processes", n_threads=2)
    assert set(os.listdir("/dev/shm")) <= before
    assert multiprocessing.active_children() == []


@linux
@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOENT])
def test_shared_memory_that_cannot_be_opened_is_refused_in_a_sentence(monkeypatch, code):
    def refuse(self, *arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(processes.SharedMemory, "__init__", refuse)
    monkeypatch.setattr(processes.ProcessCrew, "_start_process", lambda self, w: None)
    with pytest.raises(MemoryError, match=rf"refuses \({os.strerror(code)}\); use mode='threads'$"):
        kmeans(X, 3, kernel="cpp", mode="processes", n_threads=2)


@linux
def test_a_block_that_cannot_be_mapped_is_taken_back_in_silence(capfd, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # as ulimit -f does

    prefix, files = f"l{os.getpid()}_", len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(shared_memory, "_SHM_NAME_PREFIX", f"/{prefix}")
        patch.setattr(os, "ftruncate", refuse)
        patch.setattr(processes.ProcessCrew, "_start_process", lambda self, w: None)
        with pytest.raises(MemoryError, match="too large"):
            kmeans(X, 3, kernel="cpp", mode="processes", n_threads=2)
    resource_tracker.register("/none", "dummy")  # what it says of the block, it has said before
    resource_tracker.unregister("/none", "dummy")
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(prefix)]
    assert len(os.listdir("/proc/self/fd")) == files
    assert capfd.readouterr().err == ""


def cut(path, size):
    """Shorten a file within its last page: to read beyond its end is wrong, and ends no test."""
    os.truncate(path, size)


@pytest.fixture
def mapped(tmp_path):
    """Return a function that maps values from a file which is then cut short, if it is to be."""

    def map_file(values, by=8, offset=0):
        path = tmp_path / f"values{len(list(tmp_path.iterdir()))}.bin"
        path.write_bytes(bytes(offset) + values.tobytes())
        array = np.memmap(path, values.dtype, "r", offset=offset, shape=values.shape)
        cut(path, path.stat().st_size - by)
        return array

    return map_file


FITTED = KMeans(3, random_state=0).fit(X)
USES = {
    "kmeans": lambda rows: kmeans(rows, 3, max_iter=1),
    "kmeans, processes": lambda rows: kmeans(rows, 3, kernel="cpp", mode="processes"),
    "KMeans": lambda rows: KMeans(3).fit(rows),
    "predict": lambda rows: FITTED.predict(rows),
    "transform": lambda rows: FITTED.transform(rows),
    "score": lambda rows: FITTED.score(rows),
    "MiniBatchKMeans": lambda rows: MiniBatchKMeans(3).fit(rows),
    "partial_fit": lambda rows: MiniBatchKMeans(3).partial_fit(rows),
    "dbscan": lambda rows: dbscan(rows, 1.0, 3),
    "silhouette_score": lambda rows: silhouette_score(rows, np.arange(len(rows)) % 2),
    "responsibilities": lambda rows: responsibilities(rows, X[:3], 1.0),
    "centers": lambda rows: responsibilities(X, rows, 1.0),
    "init": lambda rows: kmeans(X[:300], len(rows), init=rows),
    "a frame": lambda rows: kmeans(pd.DataFrame(rows, copy=False), 3),
    "a list of arrays": lambda rows: kmeans([rows[-2], rows[-1]], 2),
}


@pytest.mark.parametrize("use", USES)
def test_a_mapped_file_that_was_cut_short_is_named(use, mapped):
    rows = mapped(X[:300])
    with pytest.raises(ValueError, match=r"needs the first 7200 bytes of .*values0\.bin"):
        USES[use](rows)


def test_weights_labels_and_pixels_that_were_cut_short(mapped):
    weights, labels = mapped(np.arange(1.0, 301)), mapped(np.arange(300) % 4)
    for use in (
        lambda: kmeans(X[:300], 3, sample_weight=weights),
        lambda: KMeans(3).fit(X[:300], sample_weight=weights),
        lambda: silhouette_score(X[:300], labels),
        lambda: compress(mapped(np.zeros((9, 9, 3), np.uint8), by=1), 3),
    ):
        with pytest.raises(ValueError, match="has become shorter since it was mapped"):
            use()


def test_views_and_plain_maps_of_a_file_that_was_cut_short(mapped, tmp_path):
    rows = mapped(X[:300])
    for view in (
        rows[::-1],
        rows[:, ::2],
        rows.T,
        np.asarray(rows)[5:],
        rows[250:].view(np.ndarray),
    ):
        with pytest.raises(ValueError, match="shorter since"):
            kmeans(view, 2)
    moved = mapped(X[:300], offset=8192 + 80)
    with pytest.raises(ValueError, match="needs the first 15472 bytes"):
        kmeans(moved, 2)
    path = tmp_path / "plain.bin"
    path.write_bytes(X[:300].tobytes())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as plain:
        values = np.frombuffer(plain).reshape(-1, 3)
        cut(path, 7000)
        with pytest.raises(ValueError, match="bytes of the mapped file, which"):
            kmeans(values, 2)
        del values


def test_what_is_whole_is_used(mapped):
    expected = kmeans(X[:280], 3, random_state=0).centers
    rows = mapped(X[:300], by=8)[:280]  # the part that is there
    whole, moved = mapped(X[:280], by=0), mapped(X[:280], by=0, offset=4096 + 24)
    gone, longer = mapped(X[:280], by=0), mapped(X[:280], by=0)
    Path(gone.filename).unlink()
    os.truncate(longer.filename, 100_000)
    anonymous = np.frombuffer(mmap.mmap(-1, 280 * 24)).reshape(-1, 3)
    anonymous[:] = X[:280]
    for given in (rows, whole, moved, gone, longer, anonymous, moved[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(kmeans(given, 3, random_state=0).centers, expected)
