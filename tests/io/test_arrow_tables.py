"""Parquet and Arrow: the same rows from each, chosen columns, lists, and every refusal."""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import MissingExtra, Refused

X = np.array([[0.0, 1.5, 7], [2, -3, 8], [4, 5, 9]])
NAMES = ["a", "petal.length", "2"]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _ipc(path, table, new):
    with pa.OSFile(path, "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITE = {
    "a.parquet": lambda table: parquet.write_table(table, "a.parquet", row_group_size=2),
    "a.arrow": lambda table: _ipc("a.arrow", table, pa.ipc.new_file),
    "stream.arrow": lambda table: _ipc("stream.arrow", table, pa.ipc.new_stream),
    "a.arrows": lambda table: _ipc("a.arrows", table, pa.ipc.new_stream),
    "A.FEATHER": lambda table: feather.write_feather(table, "A.FEATHER", compression="lz4"),
}
each = pytest.mark.parametrize("path", WRITE)


def refusal(path, kind=Refused, **options):
    with pytest.raises(kind) as caught:
        read_rows(Path(path), **options)
    return str(caught.value)


@each
def test_columns_of_any_numbers_are_features(path):
    kinds = [pa.float32(), pa.int16(), pa.decimal128(5, 1)]
    columns = [pa.array(column).cast(kind) for column, kind in zip(X.T * 2, kinds, strict=True)]
    WRITE[path](pa.table(columns, NAMES))
    np.testing.assert_array_equal(read_rows(Path(path)), X * 2, strict=True)
    WRITE[path](pa.table([*X.T.astype("f4")], NAMES))
    np.testing.assert_array_equal(read_rows(Path(path)), X.astype("f4"), strict=True)


@each
def test_columns_are_chosen_by_name_or_number(path):
    table = pa.table([*X.T, ["x", "y", "z"]], [*NAMES, "who"])
    WRITE[path](table)
    for options, places in {
        "petal.length,a": [1, 0],
        "2": [2],  # the name
        "3,1": [2, 0],
        "1-2": [0, 1],
    }.items():
        found = read_rows(Path(path), columns=[options])
        np.testing.assert_array_equal(found, X[:, places], strict=True)
    np.testing.assert_array_equal(read_rows(Path(path), drop_columns=["a,who"]), X[:, 1:])
    assert refusal(path, columns=["b"]) == (
        f"{path} has no column 'b'; it has 'a', 'petal.length', '2', 'who', and numbers from 1 to "
        "4 are taken, too"
    )
    assert refusal(path) == (
        f"{path}: X has columns that are not numeric, 'who' (string), and every column must be; "
        "leave them out or turn them into numbers; --drop-columns leaves columns out"
    )


@each
def test_columns_of_the_same_name_are_chosen_by_number(path):
    WRITE[path](pa.table([*X.T], ["a", "a", "b"]))
    np.testing.assert_array_equal(read_rows(Path(path), columns=["2", "b"]), X[:, 1:])
    why = f"--columns 'a' is the name of columns 1 and 2 of {path}; give the number instead"
    assert refusal(path, columns=["a"]) == why


@each
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int8(), pa.float16()])
def test_a_column_of_lists_holds_the_rows(path, kind):
    values = X.astype(kind.to_pandas_dtype())
    expected = values.astype("f4" if pa.types.is_floating(kind) and kind != pa.float64() else "f8")
    for lists in (pa.list_(kind), pa.list_(kind, 3), pa.large_list(kind)):
        column = pa.array([values[2], *values], lists)[1:]  # not from the first on
        WRITE[path](pa.table({"id": [1, 2, 3], "e": column}))
        found = read_rows(Path(path), columns=["e"])
        np.testing.assert_array_equal(found, expected, strict=True)
        assert refusal(path).startswith(f"{path}: X has columns that are not numeric, 'e' (")


@each
def test_lists_that_are_no_rows_are_refused(path):
    WRITE[path](pa.table({"e": [[1.0, 2], [3]]}))
    assert refusal(path) == (
        f"{path}: column 'e' has lists of 1 to 2 values and all must have the same length; correct "
        "or drop the others"
    )
    WRITE[path](pa.table({"e": [[1.0, 2], None]}))
    assert refusal(path).startswith(f"{path}: X[1] (column 'e') is missing and no value may be")
    WRITE[path](pa.table({"e": [[1.0, 2], [3, None]]}))
    assert refusal(path).startswith(f"{path}: X[1, 1] is nan and every value must be finite")
    WRITE[path](pa.table({"e": [["a"], ["b"]]}))
    assert refusal(path).startswith(f"{path}: X has columns that are not numeric, 'e' (")
    for lists in ([], [[], []]):
        WRITE[path](pa.table({"e": pa.array(lists, pa.list_(pa.float32()))}))
        assert refusal(path).startswith(f"{path}: X has shape ({len(lists)}, 0) and must have at")


@each
def test_missing_and_infinite_values_are_refused(path):
    WRITE[path](pa.table({"a": X[:, 0], "b": pa.array([1, None, 3])}))
    assert refusal(path).startswith(f"{path}: X[1, 1] (column 'b') is missing and no value may")
    WRITE[path](pa.table({"a": X[:, 0], "b": [1, np.inf, 3]}))
    assert refusal(path).startswith(f"{path}: X[1, 1] (column 'b') is inf and every value must")
    WRITE[path](pa.table({"a": X[:0, 0]}))
    assert refusal(path).startswith(f"{path}: X has shape (0, 1) and must have at least one row")
    WRITE[path](pa.table({}))
    assert refusal(path).startswith(f"{path}: X has shape (0, 0) and must have at least one row")


@each
def test_integers_that_are_rounded_are_told(path):
    WRITE[path](pa.table({"id": [2**53 + 1, 5]}))
    with pytest.warns(UserWarning, match=r"X\[0, 0\] \(column 'id'\) is 9007199254740993, which"):
        read_rows(Path(path))


def test_numbers_in_other_encodings_are_read():
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], "i4"), [1.5, 2])
    words = pa.array([5, 6, 5]).dictionary_encode()
    WRITE["a.arrow"](pa.table({"a": runs, "b": words, "c": [True, False, True]}))
    assert read_rows(Path("a.arrow")).tolist() == [[1.5, 5, 1], [1.5, 6, 0], [2, 5, 1]]


def test_every_other_type_is_refused():
    others = {
        "dates": pa.array([0, 1]).cast(pa.timestamp("s")),
        "structs": pa.array([{"x": 1}, {"x": 2}]),
        "words": pa.array(["a", "b"]).dictionary_encode(),
        "bytes": pa.array([b"a", b"b"]),
        "nothing": pa.nulls(2),
        "union": pa.UnionArray.from_sparse(pa.array([0, 0], "i1"), [pa.array([1, 2])]),
    }
    for name, column in others.items():
        WRITE["a.arrow"](pa.table({"a": [1.0, 2], name: column}))
        assert re.fullmatch(r"a\.arrow: \w.+", refusal("a.arrow"))


def test_a_folder_is_no_column():
    Path("year=2020").mkdir()
    parquet.write_table(pa.table({"a": [1.0, 2]}), "year=2020/a.parquet")
    assert read_rows(Path("year=2020/a.parquet")).tolist() == [[1], [2]]


@each
@pytest.mark.parametrize("kept", [0, 5, 8, 100, -9, -1])
def test_a_file_cut_short_is_refused(path, kept):
    WRITE[path](pa.table([*X.T], NAMES))
    content = Path(path).read_bytes()
    if kept < 0 and content[:6] != b"ARROW1" and content[:4] != b"PAR1":
        kept -= 16  # the end of a stream may be missing
    Path(path).write_bytes(content[:kept])
    why = re.escape(f"{path} is truncated or damaged (") + r".+\); write it again with pyarrow"
    assert re.fullmatch(why, refusal(path))


def test_offsets_that_lead_out_of_the_file_are_refused():
    WRITE["a.arrow"](pa.table({"e": [[1.0], [2.0]]}))
    good = Path("a.arrow").read_bytes()
    offsets = np.array([0, 1, 2], "i4").tobytes()
    assert good.count(offsets) == 1
    Path("a.arrow").write_bytes(good.replace(offsets, np.array([0, 1, 2**30], "i4").tobytes()))
    assert refusal("a.arrow").startswith("a.arrow is truncated or damaged (")


def test_without_pyarrow_the_sentence_says_what_to_install(monkeypatch):
    WRITE["a.parquet"](pa.table({"a": [1.0]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal("a.parquet", kind=MissingExtra) == (
        "reading a.parquet needs the package pyarrow, which is not installed; "
        "pip install 'kmeans-lab[pyarrow]'"
    )
