"""``transform`` and ``predict`` agree to the last bit, wherever rows lie and however they tie."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmeans_lab import KMeans, MiniBatchKMeans
from kmeans_lab.numerics import distances
from kmeans_lab.numerics.distances import nearest
from kmeans_lab.registry import KERNELS
from kmeans_lab.spec import KernelSpec

ESTIMATORS = [KMeans, MiniBatchKMeans]
OFFSETS = [0.0, 1e3, -1.7e9, 1e12]

#: For kernels few: numba-tiled compiles for each width.
WIDTHS = (1, 2, 3, 17)

#: The fixtures that name a kernel hold nothing that one draw could leave to the next.
each = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def rows_and_centers(draw, widths, dtypes=("f4", "f8")):
    """Draw rows on a coarse grid or off it, and centers among, between and on top of them."""
    n, d = draw(st.sampled_from([1, 7, 40])), draw(st.sampled_from(widths))
    k = draw(st.sampled_from([1, 2, 9, 25]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.integers(-2, 3, (n, d)).astype(float)
    if draw(st.booleans()):
        X += rng.normal(size=X.shape)
    places = X[rng.integers(n, size=(2, k))]
    centers = places[0] if draw(st.booleans()) else (places[0] + places[1]) / 2
    if draw(st.booleans()):
        centers = centers + rng.choice([0, 1 / 3], size=(k, 1))
    offset = draw(st.sampled_from(OFFSETS)) * rng.integers(0, 2, d)
    if draw(st.booleans()):  # two groups far apart: no origin is near to both
        X[::2] += offset
        centers[::2] += offset
    else:
        X, centers = X + offset, centers + offset
    return X.astype(draw(st.sampled_from(dtypes))), centers.astype(draw(st.sampled_from(dtypes)))


def fitted_at(centers, kernel="auto", kind=KMeans):
    """Return an estimator with these centers."""
    found = kind(len(centers), kernel=kernel, init=centers, n_init=1, max_iter=1)
    with np.errstate(all="ignore"):
        found.fit(np.repeat(centers, 2, axis=0))
    found.cluster_centers_ = centers
    return found


def squares_in_order(X, centers):
    """Return all squared distances in float64, added up in the order of the features."""
    differences = X[:, None].astype(np.float64) - centers.astype(np.float64)
    return np.add.accumulate(differences * differences, axis=2)[:, :, -1]


IN_PLACE = pytest.mark.parametrize("few", [0, 10**9], ids=["moved", "in place"])


@IN_PLACE
@each
@given(data=st.data())
def test_a_row_is_nowhere_nearer_than_where_predict_puts_it(kernel_name, few, data):
    X, centers = data.draw(rows_and_centers(WIDTHS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "_FEW_VALUES", few)
        labels = nearest(kernel_name, X, centers)
    D = distances.distances(X, centers)
    np.testing.assert_array_equal(D[np.arange(len(X)), labels], D.min(axis=1))
    # No less: the nearest in the arithmetic of the reference, and the first of those that tie.
    squares = squares_in_order(X, centers)
    if kernel_name.startswith("numpy"):
        mine = squares[np.arange(len(X)), labels]
        np.testing.assert_array_equal(mine, squares.min(axis=1))
    else:
        np.testing.assert_array_equal(labels, squares.argmin(axis=1))


@pytest.mark.parametrize("few", [0, 10**9], ids=["product", "differences"])
@each
@given(data=st.data())
def test_distances_keep_their_digits(few, data):
    X, centers = data.draw(rows_and_centers([1, 2, 3, 7, 16, 33]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distances, "first_ready", lambda names: None)
        patch.setattr(distances, "_FEW_PAIRS", few)
        patch.setattr(distances, "_FEW_FEATURES", 0)
        patch.setattr(distances, "_MANY", 1)  # the product, and differences where it fails
        D = distances.distances(X, centers)
    assert D.dtype == np.result_type(X, centers)
    squares = squares_in_order(X, centers)
    rounding = 1e-11 if D.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(D, np.sqrt(squares), rtol=rounding, atol=0)
    np.testing.assert_array_equal(D.min(axis=1), np.sqrt(squares.min(axis=1)).astype(D.dtype))


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_far_from_the_origin_the_estimators_measure_as_they_do_beside_it(kernel_name, kind, offset):
    noise = np.random.default_rng(0).normal(0, 0.5, 150)
    X = (offset + np.repeat([0.0, 10.0, 20.0], 50) + noise)[:, None]
    found = kind(3, random_state=0, n_init=3, kernel=kernel_name).fit(X)
    D = found.transform(X)
    np.testing.assert_array_equal(D, np.abs(X - found.cluster_centers_.T))
    np.testing.assert_array_equal(D.argmin(axis=1), found.predict(X))
    np.testing.assert_array_equal(found.predict(X), found.labels_)
    np.testing.assert_array_equal(found.fit_transform(X), found.transform(X))
    weights = np.random.default_rng(1).random(150)
    for mass, options in ((np.ones(150), {}), (weights, {"sample_weight": weights})):
        assert found.score(X, **options) == pytest.approx(-mass @ D.min(axis=1) ** 2, rel=1e-12)


def test_two_groups_so_far_apart_that_an_expansion_tells_no_centers_apart(kernel_name):
    centers = np.array([[-1e9, 0.0], [-1e9 + 10, 0.0], [1e9, 0.0], [1e9 + 10, 0.0]])
    which = np.arange(200) % 4
    X = centers[which] + np.random.default_rng(0).normal(size=(200, 2))
    found = fitted_at(centers, kernel_name)
    np.testing.assert_array_equal(found.predict(X), which)
    np.testing.assert_array_equal(found.transform(X).argmin(axis=1), which)


@IN_PLACE
def test_rows_far_from_all_centers_are_assigned_where_they_are(kernel_name, few, monkeypatch):
    """Among rows beside the centers, which the kernel sees from an origin beside them."""
    centers = 1.7e9 + np.array([[0.0], [10.0], [20.0]])
    X = 1.7e9 + np.random.default_rng(0).uniform(-5, 25, (50, 1))
    X[::7], X[3::7] = 0.0, 1e10
    monkeypatch.setattr(distances, "_FEW_VALUES", few)
    labels = nearest(kernel_name, X, centers)
    np.testing.assert_array_equal(labels, np.abs(X - centers.T).argmin(axis=1))
    assert set(labels[::7]) == {0}
    assert set(labels[3::7]) == {2}


def test_a_kernel_of_ones_own_that_takes_float64_alone(monkeypatch):
    """Rows are converted for it, and a tie that it breaks in its own way is broken again."""

    def assign(rows, centers, labels):
        assert rows.dtype == centers.dtype == np.float64
        labels[:] = len(centers) - 1
        return 0.0

    module = SimpleNamespace(assign=assign, update=print)
    monkeypatch.setitem(sys.modules, "kernel_of_float64", module)
    spec = KernelSpec("kernel_of_float64", "", "", dtypes=("float64",))
    monkeypatch.setitem(KERNELS, "mine", spec)
    X = np.array([[0.0], [1.0], [2.0]], dtype="f4")
    assert nearest("mine", X, X[[0, 2]]).tolist() == [0, 1, 1]


def test_a_score_of_float32_rows_is_computed_in_float64(kernel_name):
    X = np.random.default_rng(0).normal(size=(100, 3)).astype("f4")
    found = fitted_at(X[:4].copy(), kernel_name)
    least = squares_in_order(X, X[:4]).min(axis=1)
    assert found.score(X) == pytest.approx(-least.sum(), rel=1e-12)
    halves = np.full(100, 0.5)
    assert found.score(X, sample_weight=halves) == pytest.approx(-least.sum() / 2, rel=1e-12)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("verb", ["predict", "transform", "score"])
def test_rows_whose_squares_overflow_are_refused(kind, verb):
    found = fitted_at(np.array([[0.0], [1.0]]), kind=kind)
    with pytest.raises(ValueError, match=r"1e\+200 overflows in a squared distance.*scale X down"):
        getattr(found, verb)([[1e200]])
    assert found.predict([[1e-300]]).tolist() == [0]
