"""Integers that float64 rounds are told once, with their place, by whatever takes rows."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.dbscan import dbscan
from kmeans_lab.soft import responsibilities

WHOLE = np.array([[2**53 + 1], [2**53 + 2], [5]])
ROUNDED = {
    "int64": WHOLE,
    "int64, negative": -WHOLE,
    "the least": np.array([[-(2**63)], [2**63 - 1]]),
    "uint64": WHOLE.astype("u8") + np.uint64(2**62),
    "list": WHOLE.tolist(),
    "list with floats": [[2**53 + 1, 0.5], [1, 2.0]],
    "beyond int64": [[2**70 + 1], [1]],
    "decimals": [[Decimal(2**53 + 1)], [Decimal(1)]],
    "frame": pd.DataFrame({"a": WHOLE[:, 0], "b": [0.5, 1.5, 2.5]}),
    "nullable": pd.DataFrame({"a": WHOLE[:, 0]}, dtype="Int64"),
    "Polars": pl.DataFrame({"a": WHOLE[:, 0], "b": [0.5, 1.5, 2.5]}),
    "Arrow": pa.table({"a": WHOLE[:, 0], "b": [0.5, 1.5, 2.5]}),
}
WARN = {
    "kmeans": lambda X: kmeans(X, 1),
    "KMeans": lambda X: KMeans(1).fit(X),
    "MiniBatchKMeans": lambda X: MiniBatchKMeans(1).fit(X),
    "dbscan": lambda X: dbscan(X, 1.0, 1),
    "responsibilities": lambda X: responsibilities(X, np.ones((1, np.shape(X)[1])), 1.0),
}


@pytest.mark.parametrize("function", WARN)
@pytest.mark.parametrize("case", ROUNDED)
def test_integers_that_float64_rounds_are_told_once(function, case):
    with pytest.warns(UserWarning, match=r"X\[\d, 0\].* is -?\d+, which float64 rounds") as told:
        WARN[function](ROUNDED[case])
    assert len(told) == 1
    assert told[0].filename == __file__ or function == "MiniBatchKMeans"  # one call deeper


@pytest.mark.parametrize("function", WARN)
@pytest.mark.parametrize("exact", [WHOLE // 2**9 * 2**9, [[2**53], [2**60]], [[1e20], [3e5]]])
def test_integers_that_float64_holds_are_no_trouble(function, exact):
    WARN[function](exact)
