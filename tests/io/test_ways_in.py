"""Whatever holds numbers is taken alike by all public functions.

Real frames of pandas, Polars and Arrow, and stand-ins for tensors.
"""

import array
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.lib.recfunctions import structured_to_unstructured
from scipy.sparse import csr_array

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.compress import compress
from kmeans_lab.silhouette import silhouette_score
from tests.support.ways_in import (
    CLUSTERS,
    FRAME,
    NAMES,
    SPARSE,
    TAKE_WEIGHTS,
    TAKE_X,
    TIMES,
    Gradient,
    InMemory,
    OnDevice,
    Tensor,
    Unversioned,
    X,
    masked,
)

FORMS = {
    "frame": FRAME,
    "nullable frame": FRAME.astype("Int64"),
    "nullable floats": FRAME.astype("Float64"),
    "frame of Arrow": FRAME.astype("int64[pyarrow]"),
    "frame of Arrow's decimals": FRAME.astype(pd.ArrowDtype(pa.decimal128(10, 2))),
    "mixed frame": pd.DataFrame({"a": FRAME.a.astype("Int16"), "b": FRAME.b}),
    "narrow frame": pd.DataFrame({"a": FRAME.a.astype("i2"), "b": FRAME.b.astype("f4")}),
    "frame of objects": FRAME.astype(object),
    "frame with an index": FRAME.set_index(np.arange(15) * 7),
    "Polars": pl.DataFrame(FRAME.to_dict("list")),
    "Polars, mixed": pl.DataFrame({"a": FRAME.a.astype(int).tolist(), "b": FRAME.b.tolist()}),
    "Arrow": pa.table({"a": FRAME.a.to_numpy(), "b": pa.array(FRAME.b.astype(int))}),
    "Arrow, in chunks": pa.Table.from_pandas(pd.concat([FRAME[:7]]), preserve_index=False),
    "record batch": pa.RecordBatch.from_pandas(FRAME),
    "tensor": Tensor(X),
    "tensor of old": Unversioned(X),
    "tensor with a gradient": Gradient(X),
    "in memory": InMemory(X),
    "memoryview": memoryview(X),
    "list of memoryviews": [memoryview(row.copy()) for row in X],
    "list of arrays": [array.array("d", row) for row in X],
    "list of series": [pd.Series(row) for row in X],
    "list of tensors": [Tensor(row) for row in X],
    "nothing masked": np.ma.masked_array(X),
    "a mask of False": np.ma.masked_array(X, np.zeros(X.shape, bool)),
    "decimals": np.array([[Decimal(int(v)) for v in row] for row in X]),
    "fractions": [[Fraction(int(v)) for v in row] for row in X],
}
FORMS["Arrow, in chunks"] = pa.concat_tables([FORMS["Arrow"][:7], FORMS["Arrow"][7:]])


@pytest.mark.parametrize("function", TAKE_X)
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_taken_in_every_form(function, form):
    with warnings.catch_warnings():
        # Fitted without names, given some: scikit-learn's warning.
        warnings.filterwarnings("ignore", message="X has feature names")
        found = TAKE_X[function](FORMS[form])
    np.testing.assert_allclose(found, TAKE_X[function](X), rtol=1e-6)


@pytest.mark.parametrize("function", TAKE_WEIGHTS)
@pytest.mark.parametrize(
    "weights",
    [
        pd.Series(TIMES),
        pd.Series(TIMES).astype("Int64"),
        pd.array(TIMES, dtype="Float64"),
        pd.Series(TIMES).astype("int64[pyarrow]"),
        pl.Series(TIMES),
        pa.array(TIMES),
        pa.chunked_array([TIMES[:5], TIMES[5:]]),
        Tensor(TIMES),
        Gradient(TIMES),
        array.array("d", TIMES),
        np.ma.masked_array(TIMES, False),
        TIMES.astype(object),
        TIMES.astype("u1"),
        TIMES.astype("f2"),
    ],
    ids=lambda weights: f"{type(weights).__module__}.{type(weights).__name__}",
)
def test_weights_are_taken_in_every_form(function, weights):
    take = TAKE_WEIGHTS[function]
    np.testing.assert_array_equal(take(weights), take(TIMES))


@pytest.mark.parametrize("function", TAKE_WEIGHTS)
@pytest.mark.parametrize("one", [2, True, 0.5, np.float32(0.5), np.uint8(3), np.array(True)])
def test_one_weight_is_that_of_every_row(function, one):
    take = TAKE_WEIGHTS[function]
    np.testing.assert_array_equal(take(one), take(np.full(15, float(one))))


@pytest.mark.parametrize("function", TAKE_WEIGHTS)
def test_a_weight_too_large_for_float64_is_refused_and_nothing_else_said(function):
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("a long double is a float64 here")
    with pytest.raises(ValueError, match=r"sample_weight(\[0\] is inf and|.* contains infinity)"):
        TAKE_WEIGHTS[function](TIMES * np.longdouble("1e400"))


@pytest.mark.parametrize("function", TAKE_X)
def test_numbers_too_large_for_float64_are_refused_and_nothing_else_said(function):
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("a long double is a float64 here")
    large = X * np.longdouble("1e400") + 1
    for data in (large, large.astype(object), [list(row) for row in large]):
        with pytest.raises(ValueError, match=r"\[0, 0\] is -?inf|infinity or a value too large"):
            TAKE_X[function](data)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_a_start_too_large_for_float32_is_refused_and_nothing_else_said(kind):
    with pytest.raises(ValueError, match=r"infinity or a value too large for dtype\('float32'"):
        kind(3, init=np.full((3, 2), 1e300), n_init=1).fit(X.astype("f4"))


#: Integers that are different as such and equal as float64.
LARGE = [[0, 2**53, 2**53 + 1][c] for c in CLUSTERS]


@pytest.mark.parametrize(
    "labels",
    [
        CLUSTERS.astype("i1") - 2,
        CLUSTERS.astype("u1"),
        pd.Series(CLUSTERS),
        pd.Series(CLUSTERS).astype("Int8"),
        pd.Series(CLUSTERS).astype("int64[pyarrow]"),
        pd.Series(NAMES),
        pd.Series(NAMES, dtype="string[pyarrow]"),
        pd.Series(NAMES, dtype="category"),
        pd.Index(NAMES),
        pl.Series(CLUSTERS),
        pl.Series(NAMES),
        pl.Series(NAMES, dtype=pl.Categorical),
        pa.array(NAMES.tolist()),
        pa.chunked_array([CLUSTERS[:4], CLUSTERS[4:]]),
        pa.array(NAMES.tolist()).dictionary_encode(),
        Tensor(CLUSTERS),
        np.ma.masked_array(CLUSTERS),
        [Fraction(int(c), 3) for c in CLUSTERS],
        LARGE,
        [large or 0.5 for large in LARGE],
        [large + 2**63 if large else -1 for large in LARGE],
        [large * 10**30 for large in LARGE],
        pd.Series(LARGE, dtype="UInt64"),
    ],
    ids=lambda labels: f"{type(labels).__module__}.{type(labels).__name__}",
)
def test_labels_are_taken_in_every_form(labels):
    assert silhouette_score(X, labels) == silhouette_score(X, CLUSTERS)


@pytest.mark.parametrize("name", ["frame", "Polars", "Arrow", "nullable frame"])
@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_frames_give_their_names(name, estimator):
    fitted = estimator(3, random_state=0).fit(FORMS[name])
    assert list(fitted.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(FRAME[["b", "a"]])
    with pytest.raises(ValueError, match="several columns called 'a'"):
        fitted.fit(pd.DataFrame(X, columns=["a", "a"]))


# --- images ---------------------------------------------------------------------------------


def test_pixels_come_the_same_way():
    pixels = np.arange(60, dtype="u1").reshape(4, 5, 3)
    for form in (Tensor(pixels), memoryview(pixels), np.ma.masked_array(pixels)):
        np.testing.assert_array_equal(compress(form, 3, random_state=0).palette.shape, (3, 3))
    for bad, sentence in ((masked(pixels, 1, 2, 0), r"pixels\[1, 2, 0\] is masked"),):
        with pytest.raises(ValueError, match=sentence):
            compress(bad, 3)
    with pytest.raises(TypeError, match=r"pixels is .* on a device"):
        compress(OnDevice(pixels), 3)


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_images_become_rows_of_pixels(estimator):
    image = np.zeros((2, 2, 3), "u1")
    for take in (lambda X: kmeans(X, 2), estimator(2).fit):
        with pytest.raises(ValueError, match=r"use X.reshape\(-1, X.shape\[-1\]\) where the last"):
            take(image)
        with pytest.raises(ValueError, match=r"np.asarray\(X\).reshape\(-1, np.asarray\(X\).shape"):
            take(image.tolist())


def test_what_a_refusal_advises_works():
    records = np.array([(1.0, 2), (3.0, 4), (9.0, 9)], [("a", "f8"), ("b", "i4")])
    with pytest.raises(TypeError, match="with structured_to_unstructured of numpy"):
        kmeans(records, 2)
    plain = structured_to_unstructured(records)
    assert plain.tolist() == [[1, 2], [3, 4], [9, 9]]
    for whole in ("<i8", ">i8", ">u8"):  # beside floats, in one dtype, they would be rounded
        wide = np.array([(2**53 + 1, 0.5), (2**53 + 2, 0.5), (9, 9)], [("a", whole), ("b", "f4")])
        with pytest.raises(TypeError, match=r"; use X.tolist\(\)"):
            kmeans(wide, 2)
        with pytest.warns(UserWarning, match="float64 rounds.*the smallest value of each column"):
            kmeans(wide.tolist(), 2)
        low = min(a for a, _ in wide.tolist())
        assert kmeans([[a - low, b] for a, b in wide.tolist()], 3).inertia == 0
    for vectors in (pd.Series(X.tolist()), pd.Series(list(X))):
        with pytest.raises(TypeError, match=r"X\[0\] holds several values .* use np.stack\(X\)"):
            kmeans(vectors, 2)
        np.testing.assert_array_equal(np.stack(vectors), X)
    sparse = [csr_array(row[None]) for row in X]
    with pytest.raises(TypeError, match=r"^X\[0\] is sparse .*with X\[0\].toarray\(\)$"):
        kmeans(sparse, 2)
    for dense in (SPARSE.sparse.to_dense(), SPARSE.assign(b=X[:, 1]).astype(float)):
        np.testing.assert_array_equal(TAKE_X["kmeans"](dense), TAKE_X["kmeans"](X))


def test_a_plain_array_is_not_copied():
    from kmeans_lab import checks

    assert np.shares_memory(checks.samples(X, ("float64",)), X)
    assert np.shares_memory(checks.samples(Tensor(X).values, ("float64",)), X)
    frame = pd.DataFrame(np.asfortranarray(X.T).T, copy=False)
    assert np.shares_memory(checks.numbers("X", frame), frame.to_numpy())
