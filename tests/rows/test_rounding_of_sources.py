"""Integers of sources that float64 rounds are told once; zeros are counted as they were seen."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.rows import ArrayRows, CalledRows, NpyRows
from kmeans_lab.rows.memory import LEAST

N, WHERE = 400_000, 270_001  # more than the least budget holds
WHOLE = np.random.default_rng(0).integers(0, 2**53, (N, 2))
LARGE = WHOLE.copy()
LARGE[WHERE, 1] = 2**53 + 1
LARGE[WHERE + 9] = 2**53 + 3
TOLD = rf"^X\[{WHERE}, 1\] is {2**53 + 1}, which float64 rounds, so that different values beyond"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("large.npy", LARGE)


def table(rows, name):
    columns = {"a": rows[:, 0] * 0.5, "b": rows[:, 1]}  # one of floats, one of integers
    pq.write_table(pa.table(columns), name, row_group_size=50_000)
    return name


def called(rows):
    return CalledRows(lambda start, stop: rows[start:stop], rows.shape, rows.dtype)


def parts(rows):
    np.save("a.npy", rows[:70_001])
    np.save("b.npy", rows[70_001:])
    return ["a.npy", "b.npy"]


SOURCES = {
    "int64": lambda rows: called(rows),
    "uint64": lambda rows: called(rows.astype("u8")),
    ".npy": lambda rows: np.save("rows.npy", rows) or "rows.npy",
    "several files": parts,
    "Parquet": lambda rows: table(rows, "rows.parquet"),
    "several tables": lambda rows: [
        table(rows[:9999], "a.parquet"),
        table(rows[9999:], "b.parquet"),
    ],
    "an array": lambda rows: rows,
}


def stream(X):
    return kmeans(X, 2, mode="stream", memory=LEAST, max_iter=2, random_state=0, init="first")


@pytest.mark.parametrize("case", SOURCES)
def test_a_stream_tells_of_integers_once(case):
    with pytest.warns(UserWarning, match=TOLD) as told:
        stream(SOURCES[case](LARGE))
    assert [it.filename for it in told] == [__file__]


@pytest.mark.parametrize("case", SOURCES)
def test_integers_that_are_held_are_no_trouble(case):
    stream(SOURCES[case](WHOLE))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("case", ["int64", ".npy", "several files", "Parquet"])
def test_estimators_tell_of_them_once(case, streams, monkeypatch):
    if streams:
        monkeypatch.setattr("kmeans_lab.rows.memory.free_bytes", lambda: 0)
        monkeypatch.setattr("kmeans_lab.estimators.streamed.fits", lambda *_: False)
        monkeypatch.setattr("kmeans_lab.rows.streamed.fits", lambda *_: False)
    settings = {"max_iter": 1, "random_state": 0}
    model = KMeans(2, **settings).fit(WHOLE)
    X = SOURCES[case](LARGE)
    for call in (
        KMeans(2, **settings).fit,
        MiniBatchKMeans(2, **settings).fit,
        model.predict,
        model.transform,
        model.score,
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call(X)
        (it,) = [it for it in told if "float64 rounds" in str(it.message)]
        assert str(it.message).startswith(f"X[{WHERE}, 1] is {2**53 + 1},")
        assert it.filename == __file__


def test_words_are_those_of_memory():
    said = []
    for fit in (lambda: kmeans(LARGE, 2, max_iter=1), lambda: stream(NpyRows("large.npy"))):
        with pytest.warns(UserWarning, match=TOLD) as told:
            fit()
        said.append([str(it.message) for it in told])
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("zeros", "told"),
    [
        ([WHERE], rf"^X\[{WHERE}\] holds only zeros and metric"),
        ([N - 5, N - 4, 3, 4, 5], r"^X\[3\] holds only zeros \(3 of rows 0 to \d+ do\) and metric"),
    ],
)
def test_rows_of_zeros_are_counted_in_the_block_that_has_them(zeros, told):
    rows = np.ones((N, 2))
    rows[zeros] = 0
    with pytest.raises(ValueError, match=told):
        kmeans(ArrayRows(rows), 2, metric="cosine", mode="stream", memory=LEAST)
    with pytest.raises(ValueError, match=r"\(5 rows do\)" if len(zeros) == 5 else "zeros and"):
        kmeans(rows, 2, metric="cosine")
