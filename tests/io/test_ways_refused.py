"""What no public function can take is refused by all alike, in one sentence."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kmeans_lab.silhouette import silhouette_score
from tests.support.ways_in import (
    FRAME,
    NAMES,
    SPARSE,
    TAKE_WEIGHTS,
    TAKE_X,
    TIMES,
    Cuda,
    Dask,
    OnDevice,
    SparseCuda,
    X,
    masked,
)


def spoilt(frame, value):
    frame = frame.copy()
    frame.iloc[3, 1] = value
    return frame


DATES = pd.to_datetime(["2020-01-01"] * 15)
IN_B = r"[\w)]\[3, 1\] \(column 'b'\) is missing and no value may be missing; drop or fill"
#: What is refused, the error, and what the sentence says.
REFUSED = {
    "masked": (masked(X, 3, 1), ValueError, r"[\w)]\[3, 1\] is masked and no value may be masked;"),
    "masked rows": (list(masked(X, 3, 1)), ValueError, r"[\w)]\[3, 1\] is masked"),
    "masked in a list": ([[1.0, np.ma.masked], [2, 3]], ValueError, r"[\w)]\[0, 1\] is masked"),
    "NA": (spoilt(FRAME.astype("Int64"), pd.NA), ValueError, IN_B),
    "NA of Arrow": (spoilt(FRAME.astype("int64[pyarrow]"), pd.NA), ValueError, IN_B),
    "None": (spoilt(FRAME.astype(object), None), ValueError, IN_B),
    "null": (pl.DataFrame({"a": X[:4, 0], "b": [1, 2, 3, None]}), ValueError, IN_B),
    "null of Arrow": (pa.table({"a": X[:4, 0], "b": [1, 2, 3, None]}), ValueError, IN_B),
    "NaT": (pd.DataFrame({"a": X[:4, 0], "b": [*DATES[:3], pd.NaT]}), ValueError, IN_B),
    "NA in a list": ([[1.0, pd.NA], [2, 3]], ValueError, r"[\w)]\[0, 1\] is missing"),
    "dates and names": (
        pd.DataFrame({"a": X[:, 0], "when": DATES, "who": NAMES}),
        *(TypeError, r"columns that are not numeric, 'when' \(datetime64\[\w+\]\), 'who' \(str"),
    ),
    "categories": (
        pd.DataFrame({"a": X[:, 0], "c": pd.Categorical(NAMES)}),
        *(TypeError, r"not numeric, 'c' \(category\), and every column must be; leave them out"),
    ),
    "strings of Polars": (pl.DataFrame({"n": NAMES}), TypeError, r"not numeric, 'n' \(String\)"),
    "sparse frame": (
        SPARSE,
        TypeError,
        r"is a sparse frame .* with .*[\w)]\.sparse\.to_coo\(\) where",
    ),
    "sparse on a device": (
        SparseCuda(),
        TypeError,
        r"on a device .*; copy it with .*[\w)]\.get\(\)",
    ),
    "half sparse": (
        SPARSE.assign(b=X[:, 1]),
        TypeError,
        r"is sparse .* with .*[\w)]\.astype\(float\)",
    ),
    "device": (
        OnDevice(X),
        TypeError,
        r"OnDevice on a device and must be .* with .*[\w)]\.cpu\(\)",
    ),
    "CUDA": (Cuda(), TypeError, r"Cuda on a device and must be .* with .*[\w)]\.get\(\)"),
    "devices in a list": ([OnDevice(X[0])] * 3, TypeError, r"\[0\] is .* on a device"),
    "not computed": (
        Dask(),
        TypeError,
        r"not in memory, where they must be; use .*[\w)]\.compute\(\)",
    ),
    "lazy": (pl.LazyFrame({"a": [1.0]}), TypeError, r"LazyFrame whose .* use .*[\w)]\.collect\(\)"),
    "generator": ((row for row in X), TypeError, r"a generator, which .* only once, .* list\(."),
    "a mapping": ({"a": [1.0]}, TypeError, "is a dict and must be an array; make an array"),
    "a dict inside": (np.array([[{}, 1]], object), TypeError, r"\[0, 0\] is {} and .* a real num"),
    "too large": ([[10**400, 1]], ValueError, "an integer that is too large for float64; scale"),
}
#: scikit-learn looks at parameters first, and says what they may be.
UNLIKE_ARRAYS = {"lazy", "generator"}


def refuse(function, take, case, error, sentence):
    __tracebackhide__ = True
    if case in UNLIKE_ARRAYS and function.endswith("Means init"):
        sentence = "'init' parameter of .* must be a str among"
        error = ValueError
    with pytest.raises(error, match=sentence) as caught:
        take()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", TAKE_X)
@pytest.mark.parametrize("case", REFUSED)
def test_rows_are_refused_by_all_alike(function, case):
    data, error, sentence = REFUSED[case]
    refuse(function, lambda: TAKE_X[function](data), case, error, sentence)


BAD_COLUMNS = {
    "masked": (masked(TIMES, 3), ValueError, r"[\w)]\[3\] is masked and no value may be masked;"),
    "NA": (pd.Series([1, 2, None] * 5, dtype="Int64"), ValueError, r"\[2\] is missing .* \(5 are"),
    "NA of strings": (pd.Series(["a", "a", None], dtype="string"), ValueError, r"\[2\] is missing"),
    "NA, objects": (np.array(["a", "a", pd.NA], object), ValueError, r"[\w)]\[2\] is missing"),
    "NA of booleans": (pd.Series([True, None], dtype="boolean"), ValueError, r"\[1\] is missing"),
    "category": (pd.Series(["a", None], dtype="category"), ValueError, r"\[1\] is missing"),
    "null": (pl.Series([1, 2, None] * 5), ValueError, r"[\w)]\[2\] is missing"),
    "null of Arrow": (pa.chunked_array([[1], [None]]), ValueError, r"[\w)]\[1\] is missing"),
    "None": ([1, None], ValueError, r"[\w)]\[1\] is missing"),
    "device": (OnDevice(TIMES), TypeError, r"on a device .* with .*[\w)]\.cpu\(\)"),
    "not computed": (Dask(), TypeError, r"not in memory, where they must be; use .*[\w)]\.compute"),
    "sparse": (SPARSE.a, TypeError, r"is sparse .* with .*[\w)]\.sparse\.to_dense\(\)"),
    "iterator": (iter(TIMES), TypeError, r"which can be read only once"),
}
TAKE_COLUMNS = TAKE_WEIGHTS | {"labels": lambda labels: silhouette_score(X, labels)}


@pytest.mark.parametrize("function", TAKE_COLUMNS)
@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_weights_and_labels_are_refused_by_all_alike(function, case):
    data, error, sentence = BAD_COLUMNS[case]
    refuse(function, lambda: TAKE_COLUMNS[function](data), case, error, sentence)


def test_labels_are_not_made_alike():
    for labels in ([1, "1", 2] * 5, ["1", b"1", "2"] * 5):
        with pytest.raises(TypeError, match="labels must be all numbers or all strings"):
            silhouette_score(X, labels)
