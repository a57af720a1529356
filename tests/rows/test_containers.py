"""Rows of Parquet, HDF5, zarr and safetensors, read some at a time."""

import os
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from safetensors.numpy import save_file

from kmeans_lab import kmeans
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.rows import Hdf5Rows, ParquetRows, SafetensorsRows, ZarrRows
from kmeans_lab.rows.memory import LEAST
from kmeans_lab.rows.opening import as_source

ROWS = np.random.default_rng(0).normal(size=(300_000, 7)).astype("f4")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(rows):
    return pa.table({f"x{f}": rows[:, f] for f in range(rows.shape[1])})


def parquet(path="rows.parquet", rows=ROWS):
    pq.write_table(table(rows), path, row_group_size=40_000)
    return path


def folder():
    Path("many").mkdir()
    for i, some in enumerate(np.array_split(ROWS, 3)):
        parquet(f"many/part-{i}.parquet", some)
    return "many"


def lists():
    values = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), ROWS.shape[1])
    pq.write_table(pa.table({"embedding": values}), "lists.parquet", row_group_size=90_000)
    return "lists.parquet"


def hdf5():
    with h5py.File("rows.h5", "w") as file:
        file["group/rows"] = ROWS
        file["names"] = np.arange(5)
    return "rows.h5"


def in_zarr():
    zarr.save_array("rows.zarr", ROWS)
    return "rows.zarr"


def in_zarr_group():
    made = zarr.open_group("group.zarr", mode="w")
    made.create_array("rows", data=ROWS)
    made.create_array("other", data=np.arange(4))
    return "group.zarr"


def safetensors():
    save_file({"labels": np.arange(5), "rows": ROWS}, "rows.safetensors")
    return "rows.safetensors"


FILES = {
    it.__name__: it for it in (parquet, folder, lists, hdf5, in_zarr, in_zarr_group, safetensors)
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_gives_the_bits_of_an_array(file):
    path = FILES[file]()
    source = as_source(path)
    assert source.shape == ROWS.shape
    assert source.dtype == np.float32
    for start, stop in ((0, 5), (39_990, 40_010), (99_990, 200_011), (299_999, 300_000)):
        np.testing.assert_array_equal(source.read(start, stop), ROWS[start:stop])
    settings = {"random_state": 0, "max_iter": 2, "init": "random"}
    found = kmeans(path, 4, mode="stream", memory=LEAST, **settings)
    expected = kmeans(ROWS, 4, **settings)
    assert found.mode == "stream"
    assert found.centers.tobytes() == expected.centers.tobytes()
    assert found.labels.tobytes() == expected.labels.tobytes()


def test_half_precision_of_safetensors():
    save_file({"rows": ROWS.astype("f2")}, "half.safetensors")
    np.testing.assert_array_equal(
        SafetensorsRows("half.safetensors").read(3, 9), ROWS[3:9].astype("f2")
    )


def test_arrays_are_chosen_by_name():
    save_file({"a": ROWS[:5], "b": ROWS[5:9]}, "two.safetensors")
    with h5py.File("two.h5", "w") as file:
        file["a"], file["b"] = ROWS[:5], ROWS[5:9]
    made = zarr.open_group("two.zarr", mode="w")
    made.create_array("a", data=ROWS[:5])
    made.create_array("b", data=ROWS[5:9])
    for kind, path in (
        (SafetensorsRows, "two.safetensors"),
        (Hdf5Rows, "two.h5"),
        (ZarrRows, "two.zarr"),
    ):
        np.testing.assert_array_equal(kind(path, "b").read(0, 4), ROWS[5:9])
        with pytest.raises(Refused, match="holds 2 matrices and one is read"):
            kind(path)
        with pytest.raises(Refused, match="has no array 'c'"):
            kind(path, "c")


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)
    return path


def with_null():
    made = table(ROWS[:100])
    column = pa.array([None if i == 70 else 1.0 for i in range(100)], pa.float32())
    pq.write_table(made.set_column(3, "x3", column), "null.parquet", row_group_size=50)
    return "null.parquet"


def ragged():
    pq.write_table(
        pa.table({"e": pa.array([[1.0, 2], [3.0, 4], [5.0]])}), "r.parquet", row_group_size=2
    )
    return "r.parquet"


def words():
    pq.write_table(pa.table({"x": [1.0], "name": ["a"]}), "words.parquet")
    return "words.parquet"


REFUSED = {
    "a damaged table": (lambda: cut(parquet()), r"rows\.parquet is truncated or damaged"),
    "a missing value": (
        with_null,
        r"row group 1: X\[20, 3\] \(column 'x3'\) is missing",
    ),
    "lists of several lengths": (
        ragged,
        r"row group 1: lists have 1 values and those of",
    ),
    "words": (words, r"words\.parquet has a column that is not numeric, 'name' \(string\)"),
    "no tables": (
        lambda: Path("empty").mkdir() or "empty",
        r"empty is a folder without \.parquet files",
    ),
    "a damaged HDF5 file": (lambda: cut(hdf5()), r"rows\.h5 is truncated or damaged"),
    "a damaged tensor": (lambda: cut(safetensors()), r"rows\.safetensors is truncated or damaged"),
    "no zarr": (lambda: "absent.zarr", r"there is no file absent\.zarr"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(case):
    make, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        kmeans(make(), 1, mode="stream", memory=LEAST)


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        (ParquetRows, "pyarrow", "pyarrow"),
        (Hdf5Rows, "h5py", "hdf5"),
        (ZarrRows, "zarr", "zarr"),
        (SafetensorsRows, "safetensors", "safetensors"),
    ],
)
def test_an_extra_that_is_not_installed(kind, package, extra, monkeypatch):
    Path("file").write_text("x")
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'kmeans-lab\[{extra}\]'"):
        kind("file")


def test_a_table_that_changes_meanwhile():
    path = parquet()
    with pytest.raises(Refused, match="has changed since the fit began"):
        kmeans(path, 2, mode="stream", memory=LEAST, callback=lambda it: os.utime(path, (1, 1)))
