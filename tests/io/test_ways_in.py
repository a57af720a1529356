"""Whatever holds numbers is taken alike by all public functions, or refused by all alike.

Real frames of pandas, Polars and Arrow; classes of this file stand in for tensors, devices and what
has yet to be computed.
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
from kmeans_lab.dbscan import dbscan
from kmeans_lab.silhouette import silhouette_samples, silhouette_score
from kmeans_lab.soft import responsibilities

#: Three groups of whole numbers, no row twice.
X = np.random.default_rng(0).permutation(400)[:30].reshape(15, 2) % 20.0
X[5:10] += 100
X[10:] -= 100
CLUSTERS = np.repeat([0, 1, 2], 5)
TIMES = np.arange(1.0, 16.0)
FRAME = pd.DataFrame(X, columns=["a", "b"])


# --- stand-ins for other libraries ----------------------------------------------------------


class Tensor:
    """A tensor of which only DLPack is known."""

    def __init__(self, values, device=1):
        self.values, self.device = np.ascontiguousarray(values), device

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device, 0


class Unversioned(Tensor):
    """As before DLPack 1.0."""

    def __dlpack__(self, stream=None):
        return self.values.__dlpack__()


class Gradient(Tensor):
    """PyTorch's way: values come out once they are detached."""

    requires_grad = True

    def __array__(self, *options, **more):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return Tensor(self.values)


class OnDevice(Tensor):
    """A tensor on a GPU, whose values nobody may fetch."""

    def __init__(self, values):
        super().__init__(values, device=2)

    def __array__(self, *options, **more):
        raise AssertionError("fetched")

    cpu = __dlpack__ = __array__


class Cuda:
    """What CuPy and Numba have on a GPU."""

    __cuda_array_interface__ = {"shape": (15, 2), "typestr": "<f8", "data": (0, True), "version": 3}  # noqa: RUF012

    def get(self):
        raise AssertionError("fetched")

    __array__ = get


class Dask:
    """What has yet to be computed."""

    shape, ndim, dtype = (15, 2), 2, np.dtype(float)

    def compute(self):
        raise AssertionError("computed")

    __array__ = __dask_graph__ = compute

    def __len__(self):
        return 15


class InMemory:
    """xarray's way: it could compute, and has nothing to."""

    chunks = None

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values

    def compute(self):
        raise AssertionError("computed")

    __dask_graph__ = compute


# --- what is taken, in every form -----------------------------------------------------------

#: What takes rows, as a function of these rows.
TAKE_X = {
    "kmeans": lambda X: kmeans(X, 3, random_state=0).labels,
    "init": lambda X: kmeans(rows(), len(rows()), init=X).labels,
    "init function": lambda X: kmeans(rows(), len(rows()), init=lambda *_: X).labels,
    "KMeans": lambda X: KMeans(3, random_state=0).fit(X).labels_,
    "KMeans.predict": lambda X: FITTED[0].predict(X),
    "KMeans.transform": lambda X: FITTED[0].transform(X),
    "KMeans.score": lambda X: FITTED[0].score(X),
    "KMeans init": lambda X: KMeans(len(rows()), init=X).fit(rows()).labels_,
    "KMeans init function": lambda X: (
        KMeans(len(rows()), init=lambda *_, random_state: X, n_init=1).fit(rows()).inertia_
    ),
    "MiniBatchKMeans": lambda X: MiniBatchKMeans(3, random_state=0).fit(X).labels_,
    "MiniBatchKMeans.partial_fit": lambda X: (
        MiniBatchKMeans(3, random_state=0).partial_fit(X).partial_fit(X).labels_
    ),
    "MiniBatchKMeans.predict": lambda X: FITTED[1].predict(X),
    "MiniBatchKMeans init": lambda X: MiniBatchKMeans(len(rows()), init=X).fit(rows()).labels_,
    "dbscan": lambda X: dbscan(X, 20.0, 2).labels,
    "silhouette_score": lambda X: silhouette_score(X, CLUSTERS),
    "silhouette_samples": lambda X: silhouette_samples(X, CLUSTERS),
    "responsibilities": lambda X: responsibilities(X, rows()[:3], 9.0),
    "responsibilities of": lambda X: responsibilities(rows(), X, 9.0),
}
FITTED = [it(3, random_state=0).fit(X) for it in (KMeans, MiniBatchKMeans)]


def rows():
    return X


#: What takes weights.
TAKE_WEIGHTS = {
    "kmeans": lambda w: kmeans(X, 3, random_state=0, sample_weight=w).centers,
    "KMeans": lambda w: KMeans(3, random_state=0).fit(X, sample_weight=w).cluster_centers_,
    "KMeans.fit_predict": lambda w: KMeans(3, random_state=0).fit_predict(X, sample_weight=w),
    "KMeans.score": lambda w: FITTED[0].score(X, sample_weight=w),
    "MiniBatchKMeans": lambda w: (
        MiniBatchKMeans(3, random_state=0).fit(X, sample_weight=w).cluster_centers_
    ),
    "MiniBatchKMeans.partial_fit": lambda w: (
        MiniBatchKMeans(3, random_state=0).partial_fit(X, sample_weight=w).cluster_centers_
    ),
}

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


NAMES = np.array(["x", "y", "z"])[CLUSTERS]
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


# --- what is refused, by all alike ----------------------------------------------------------


def masked(values, *place):
    mask = np.zeros(np.shape(values), bool)
    mask[place] = True
    return np.ma.masked_array(values, mask)


def spoilt(frame, value):
    frame = frame.copy()
    frame.iloc[3, 1] = value
    return frame


SPARSE = pd.DataFrame({"a": pd.arrays.SparseArray(X[:, 0]), "b": pd.arrays.SparseArray(X[:, 1])})
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
    "sparse frame": (SPARSE, TypeError, r"is sparse .* with .*[\w)]\.sparse\.to_dense\(\)"),
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
