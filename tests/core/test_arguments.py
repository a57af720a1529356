"""Bad input: the right exception, and a sentence with the fact, the rule and the remedy."""

import re

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.dbscan import dbscan
from kmeans_lab.soft import responsibilities
from tests.support.helpers import cloud

X = cloud(seed=0, n_samples=20, n_features=2)


def spoilt(value, dtype="float64"):
    array = X.astype(dtype)
    array[3, 1] = value
    return array


class Sparse:
    """What scikit-learn and SciPy call sparse: it has a method toarray."""

    shape = (20, 2)

    def toarray(self):
        raise AssertionError("a sparse matrix must not be converted in silence")


RAGGED = [[1.0, 2.0], [3.0]]
MASKED = np.ma.masked_array(X, X > 1)
OBJECTS = np.array([["a", 1.0], [2, 3.0]], dtype=object)

#: What is passed, the exception, and what the sentence says: fact, rule, remedy.
BAD_X = {
    "NaN": (spoilt(np.nan), ValueError, "X[3, 1] is nan", "must be finite", "drop or fill"),
    "inf": (spoilt(np.inf), ValueError, "X[3, 1] is inf", "must be finite", "drop or fill"),
    "-inf": (spoilt(-np.inf, "f4"), ValueError, "X[3, 1] is -inf", "must be finite; drop"),
    "all NaN": (X * np.nan, ValueError, "X[0, 0] is nan", "finite (40 are not)", "drop"),
    "list": (
        [1.0, 2.0],
        ValueError,
        "X has 1 dimension ",
        "np.asarray(X).reshape(-1, 1) for a sin",
    ),
    "vector": (X[:, 0], ValueError, "X has 1 dimension ", "must have 2", "X.reshape(-1, 1)"),
    "number": (3.0, ValueError, "X has 0 dimensions", "must have 2", "np.asarray(X).reshape"),
    "cube": (X[None], ValueError, "X has 3 dimensions", "have 2", "X.reshape(-1, X.shape[-1])"),
    "no rows": (X[:0], ValueError, "shape (0, 2)", "at least one row", "check the selection"),
    "no columns": (X[:, :0], ValueError, "shape (20, 0)", "one column", "check the selection"),
    "empty list": ([], ValueError, "X has 1 dimension", "must have 2", "reshape"),
    "strings": ([["a", "b"]], TypeError, "X has dtype <U1", "must be numeric", "astype(float)"),
    "digits in strings": ([["1"]], TypeError, "X has dtype <U1", "must be numeric", "astype"),
    "bytes": ([[b"a"]], TypeError, "X has dtype |S1", "numeric", "np.asarray(X).astype(float)"),
    "objects": (OBJECTS, TypeError, "X[0, 0] is 'a' and", "free of strings", "into numbers first"),
    "None": (None, TypeError, "X is None and must be an array", "make an array"),
    "None inside": (
        [[1.0, None]],
        ValueError,
        "X[0, 1] is missing",
        "no value may",
        "drop or fill",
    ),
    "a dict": ({"x": 1}, TypeError, "X is a dict and must be an array", "make an array"),
    "complex": (X + 0j, TypeError, "X has dtype complex128", "numeric (real)", "use X.real"),
    "dates": (np.zeros((4, 2), "M8[s]"), TypeError, "datetime64", "numeric", "count from a first"),
    "durations": (np.zeros((4, 2), "m8[s]"), TypeError, "timedelta64", "numeric", "X / np.timedel"),
    "records": (np.zeros(4, [("a", "f8")]), TypeError, "X has dtype [", "structured_to_unstruct"),
    "ragged": (RAGGED, ValueError, "X cannot be read as a matrix", "every row", "same length"),
    "sparse": (Sparse(), TypeError, "X is sparse", "must be dense", "X.toarray()"),
    "masked": (MASKED, ValueError, "] is masked", "no value may be masked (", "drop such rows"),
    "1e200": (spoilt(1e200), ValueError, "1e+200 overflows", "takes values up to", "scale X down"),
    "-1e200": (spoilt(-1e200), ValueError, "1e+200 overflows", "values up to", "scale X down"),
    "float32 1e30": (spoilt(1e30, "f4"), ValueError, "1e+30 overflows", "float32", "use float64"),
    "huge long double": (spoilt(np.longdouble("1e999"), "g"), ValueError, "inf", "finite", "drop"),
}


def says(caught, *phrases):
    message = str(caught.value)
    for phrase in phrases:
        assert phrase in message
    assert "\n" not in message


@pytest.mark.parametrize("case", BAD_X)
def test_x(case):
    data, error, *phrases = BAD_X[case]
    for mode in ("serial", "threads"):
        with pytest.raises(error) as caught:
            kmeans(data, 1, kernel="numpy", mode=mode)
        assert type(caught.value) is error
        says(caught, *phrases)


def wrong_shape(X, n_clusters, rng):
    return X[:1]


def no_numbers(X, n_clusters, rng):
    return [["a", "b"]] * n_clusters


def returns_nan(X, n_clusters, rng):
    return X[:n_clusters] * np.nan


#: Options beside X and n_clusters=3.
BAD_OPTIONS = [
    # n_clusters
    ({"n_clusters": 0}, ValueError, "n_clusters=0", "must be at least 1"),
    ({"n_clusters": -4}, ValueError, "n_clusters=-4", "must be at least 1"),
    ({"n_clusters": 21}, ValueError, "n_clusters=21", "at most n_samples=20", "fewer clusters"),
    ({"n_clusters": 10**30}, ValueError, "at most n_samples=20", "fewer clusters"),
    ({"n_clusters": True}, TypeError, "n_clusters=True", "must be an integer ≥ 1"),
    ({"n_clusters": np.True_}, TypeError, "n_clusters=np.True_", "must be an integer ≥ 1"),
    ({"n_clusters": 3.0}, TypeError, "n_clusters=3.0", "must be an integer ≥ 1"),
    ({"n_clusters": np.array([3, 4])}, TypeError, "n_clusters=array", "must be an integer ≥ 1"),
    ({"n_clusters": "3"}, TypeError, "n_clusters='3'", "must be an integer ≥ 1"),
    ({"n_clusters": None}, TypeError, "n_clusters=None", "must be an integer ≥ 1"),
    # the other counts
    ({"n_init": 0}, ValueError, "n_init=0", "must be at least 1"),
    ({"n_init": 1.5}, TypeError, "n_init=1.5", "must be an integer ≥ 1"),
    ({"max_iter": 0}, ValueError, "max_iter=0", "must be at least 1"),
    ({"max_iter": float("inf")}, TypeError, "max_iter=inf", "must be an integer ≥ 1"),
    ({"n_threads": 0}, ValueError, "n_threads=0", "must be at least 1"),
    ({"n_threads": -1, "mode": "threads"}, ValueError, "n_threads=-1", "must be at least 1"),
    ({"n_threads": 2.0}, TypeError, "n_threads=2.0", "must be an integer ≥ 1"),
    (
        {"n_threads": 2, "mode": "serial"},
        *(ValueError, "n_threads=2", "has no effect in mode='serial'", "='threads'"),
    ),
    (
        {"n_threads": 2, "kernel": "python"},
        *(ValueError, "n_threads=2 would not make kernel 'python' faster", "mode='processes'"),
    ),
    # a fixed start
    ({"n_init": 2, "init": X[:3]}, ValueError, "n_init=2 would repeat", "use n_init=1"),
    ({"n_init": 2, "init": "first"}, ValueError, "n_init=2 would repeat", "use n_init=1"),
    ({"init": X[:2]}, ValueError, "init has shape (2, 2)", "(n_clusters, n_features)=(3, 2)"),
    ({"init": cloud(0, 3, 4)}, ValueError, "init has shape (3, 4)", "n_features)=(3, 2)"),
    ({"init": X[0]}, ValueError, "init has 1 dimension ", "must have 2"),
    ({"init": X[:3] * np.nan}, ValueError, "init[0, 0] is nan", "must be finite", "drop or fill"),
    ({"init": X[:3] * 1e200}, ValueError, "overflows in a squared distance", "scale X down"),
    ({"init": RAGGED}, ValueError, "init cannot be read as a matrix", "the same length"),
    ({"init": None}, TypeError, "init is None and must be an array", "make an array"),
    ({"init": X[:3] + 0j}, TypeError, "init has dtype complex128", "must be numeric (real)"),
    ({"init": Sparse()}, TypeError, "init is sparse", "must be dense", "init.toarray()"),
    ({"init": MASKED[:4]}, ValueError, "init[3, 0] is masked", "no value may be masked"),
    ({"init": wrong_shape}, ValueError, "init(X, n_clusters, rng) has shape (1, 2)", "=(3, 2)"),
    ({"init": no_numbers}, TypeError, "init(X, n_clusters, rng) has dtype <U1", "numeric"),
    ({"init": returns_nan}, ValueError, "init(X, n_clusters, rng)[0, 0] is nan", "finite"),
    # choices
    (
        {"init": "kmeans++"},
        ValueError,
        "init='kmeans++' is not known",
        "one of k-means++, k-means||",
    ),
    ({"mode": "gpu"}, ValueError, "mode='gpu' is not known", "one of serial, threads, processes"),
    ({"empty": "drop"}, ValueError, "empty='drop' is not known", "relocate, random, keep, error"),
    ({"stop": "soon"}, ValueError, "stop='soon' is not known", "one of shift, shift-norm"),
    ({"stop": None}, TypeError, "stop=None must be a name or an object with a method fired"),
    ({"kernel": "cuda"}, ValueError, "kernel='cuda' is not known", "choose one of python, "),
    ({"kernel": 42}, TypeError, "kernel=42 has no function 'assign'", "name from KERNELS"),
    ({"kernel": None}, TypeError, "kernel=None has no function 'assign'", "name from KERNELS"),
    # tolerance, randomness, callback
    ({"tol": -1e-4}, ValueError, "tol=-0.0001", "must be a number ≥ 0", "use tol=0"),
    ({"tol": float("nan")}, ValueError, "tol=nan", "must be a number ≥ 0", "use tol=0"),
    ({"tol": 1, "stop": "equal"}, ValueError, "tol=1 has no meaning", "'equal'", "leave tol out"),
    ({"random_state": -1}, ValueError, "random_state=-1", "must be None, an integer ≥ 0"),
    ({"random_state": 0.5}, ValueError, "random_state=0.5", "integer ≥ 0 or a numpy.random"),
    ({"random_state": "seed"}, ValueError, "random_state='seed'", "must be None, an integer"),
    ({"callback": 3}, TypeError, "callback=3", "must be a function of one Iteration, or None"),
]


@pytest.mark.parametrize(
    ("options", "error", "phrases"),
    [(options, error, phrases) for options, error, *phrases in BAD_OPTIONS],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options(options, error, phrases):
    given = {"n_clusters": 3, "kernel": "numpy"} | options
    with pytest.raises(error) as caught:
        kmeans(X, **given)
    assert type(caught.value) is error
    says(caught, *phrases)


def test_close_relatives_of_refused_values_are_taken():
    options = {"n_init": np.int64(2), "max_iter": np.int32(5), "n_threads": 1, "kernel": "numpy"}
    kmeans(X, np.int16(3), random_state=np.random.default_rng(0), tol=np.float32(0.1), **options)
    kmeans(X, 20, random_state=np.random.SeedSequence(1), kernel="numpy")
    kmeans(X, 3, mode="threads", n_threads=2, kernel="python", callback=None)


def test_numbers_without_dimensions_are_numbers():
    for number in (np.float16(0.5), np.float32(0.5), np.longdouble(0.5), np.array(0.5)):
        found = kmeans(X, 3, tol=number, random_state=0, kernel="numpy")
        assert found.n_iter == kmeans(X, 3, tol=0.5, random_state=0, kernel="numpy").n_iter
        assert dbscan(X, number, 2).labels.tolist() == dbscan(X, 0.5, 2).labels.tolist()
        shares = responsibilities(X, X[:2], number)
        np.testing.assert_array_equal(shares, responsibilities(X, X[:2], 0.5))
    for wrong in (True, np.True_, np.array(True), np.array([0.5]), np.timedelta64(1), "1", 1j):
        with pytest.raises(ValueError, match=r"^tol=.* must be a number ≥ 0"):
            kmeans(X, 3, tol=wrong)
        with pytest.raises(TypeError, match=r"^eps=.* must be a finite number > 0"):
            dbscan(X, wrong, 2)
        with pytest.raises(TypeError, match=r"^sigma=.* must be a number > 0"):
            responsibilities(X, X[:2], wrong)


def test_options_are_refused_before_any_work_is_done():
    def init(X, n_clusters, rng):
        raise AssertionError("the start was drawn")

    for bad in ({"tol": -1}, {"empty": "drop"}, {"max_iter": 0}, {"random_state": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            kmeans(X, 3, init=init, kernel="numpy", **bad)


def largest_value_taken(rows):
    """Return what the refusal of larger ones names."""
    with pytest.raises(ValueError, match=r"takes values up to \S+: scale X down") as caught:
        kmeans(rows * np.array(0.5 * np.finfo(rows.dtype).max, rows.dtype), 5, kernel="numpy")
    return float(re.search(r"values up to (\S+):", str(caught.value))[1])


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "d2", "random", "random-partition"])
def test_the_largest_values_that_are_taken_give_finite_results(dtype, init):
    rows = cloud(1, 400, 2, dtype)
    rows /= np.abs(rows).max()
    rows *= np.array(0.99 * largest_value_taken(rows), dtype)
    options = {"init": init, "tol": 0, "random_state": 0, "history": True}
    for kernel in ("numpy", "python"):
        result = kmeans(rows, 5, kernel=kernel, **options)
        assert result.converged
        assert np.isfinite(result.centers).all()
        assert np.isfinite([result.inertia, *(seen.inertia for seen in result.history)]).all()


def test_keyword_arguments_only():
    with pytest.raises(TypeError, match="positional"):
        kmeans(X, 3, "numpy")


@pytest.mark.parametrize(("kind", "scale"), [("f8", 1e-170), ("f4", 1e-20)])
def test_data_whose_squared_distances_vanish_are_refused(kind, scale):
    X = (np.arange(12.0).reshape(6, 2) * scale).astype(kind)
    with pytest.raises(ValueError, match=r"no value is larger than .* underflows .* scale X up"):
        kmeans(X, 2)
    assert kmeans(np.zeros((6, 2), kind), 2, random_state=0).inertia == 0
