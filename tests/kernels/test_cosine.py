"""``metric="cosine"``: spherical k-means, whatever the kernel, and whatever the rows' lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.empty import POLICIES
from kmeans_lab.measure.certify import certify_fit
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.metric import unit_rows
from kmeans_lab.seeding import INITS

rng = np.random.default_rng(3)
HUBS = rng.normal(size=(6, 5))
X = (HUBS[rng.integers(6, size=400)] + 0.4 * rng.normal(size=(400, 5))) * rng.lognormal(
    size=(400, 1)
)
START = X[[3, 50, 120, 200, 280, 390]]
WEIGHTS = rng.random(400)
TUNED = ("cpp-simd", "numba-tiled", "cython-tiled")


def scaled(rows):
    """Return rows at length 1, in long double."""
    wide = np.asarray(rows, np.longdouble)
    return wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))


def spherical(rows, start, n_iter, weights=None):
    """Run the algorithm of Dhillon and Modha as published: largest cosine, mean, length 1."""
    units, centers = scaled(rows), scaled(start)
    weights = np.ones(len(rows)) if weights is None else weights
    for _ in range(n_iter):
        labels = (units @ centers.T).argmax(axis=1)
        sums = [(units * weights[:, None])[labels == j].sum(axis=0) for j in range(len(start))]
        centers = scaled(sums)
    cosines = units @ centers.T
    labels = cosines.argmax(axis=1)
    chosen = np.take_along_axis(cosines, labels[:, None], axis=1)[:, 0]
    return labels, centers, float((weights * (1 - chosen)).sum())


def fit(rows, n_clusters=6, **options):
    return kmeans(rows, n_clusters, **({"metric": "cosine", "init": START, "tol": 0} | options))


def lengths(rows):
    wide = rows.astype(np.longdouble)
    return np.sqrt((wide * wide).sum(axis=1)).astype(float)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_every_kernel_runs_spherical_k_means(kernel_name, dtype, weights):
    rows, start = X.astype(dtype), START.astype(dtype)
    found = fit(rows, kernel=kernel_name, init=start, sample_weight=weights, history=True)
    labels, centers, inertia = spherical(rows, start, found.n_iter, weights)
    eps = float(np.finfo(dtype).eps)
    assert found.converged
    assert found.n_iter > 4
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.centers, centers.astype(float), atol=8 * eps)
    np.testing.assert_allclose(lengths(found.centers), 1, rtol=2 * eps)
    assert found.inertia == pytest.approx(inertia, rel=64 * eps)
    assert found.centers.dtype == dtype
    for step in found.history[:3]:
        told = spherical(rows, step.centers, 0, weights)
        assert step.inertia == pytest.approx(told[2], rel=1024 * eps)


def test_the_tuned_kernels_agree_to_the_last_bit(isa):
    fits = [fit(X, kernel=name, sample_weight=w) for name in TUNED for w in (None, WEIGHTS)]
    for one, other in zip(fits[:2] * 2, fits[2:], strict=True):
        assert one.centers.tobytes() == other.centers.tobytes()
        assert (one.inertia, one.n_iter) == (other.inertia, other.n_iter)


@pytest.mark.parametrize("options", [{"mode": "threads"}, {"mode": "processes"}, {}])
@pytest.mark.parametrize("name", ["cpp", "cpp-simd"])
def test_who_computes_makes_no_difference(name, options):
    start = {"init": "k-means++", "random_state": 1, "kernel": name}
    one, many = fit(X, **start), fit(X, **start, n_threads=3, **options)
    assert one.centers.tobytes() == many.centers.tobytes()
    assert (one.inertia, one.n_iter) == (many.inertia, many.n_iter)


def test_the_first_assignment_is_the_euclidean_one_of_the_rows_at_length_1(kernel_name):
    units, seen = unit_rows(X), []
    for metric, rows in (("cosine", X), ("euclidean", units)):
        kmeans(rows, 6, init=units[:6], metric=metric, kernel=kernel_name, callback=seen.append,
               max_iter=1)  # fmt: skip
    (one, other) = seen
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.inertia == other.inertia / 2


def test_a_start_is_drawn_by_the_cosine():
    starts = [
        kmeans(rows, 6, metric=metric, random_state=5, max_iter=1, history=True).history[0].centers
        for metric, rows in (("cosine", X), ("euclidean", unit_rows(X)))
    ]
    assert starts[0].tobytes() == starts[1].tobytes()


@given(st.lists(st.integers(-400, 400), min_size=len(X), max_size=len(X)))
def test_powers_of_two_change_no_bit(exponents):
    plain, other = fit(X), fit(np.ldexp(X, np.array(exponents)[:, None]), init=START * 2.0**-300)
    assert plain.centers.tobytes() == other.centers.tobytes()
    assert plain.labels.tobytes() == other.labels.tobytes()
    assert plain.inertia == other.inertia


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-20, 3.0, 1e200, 1e300])
def test_no_length_of_a_row_matters(size):
    plain, other = fit(X), fit(X * size * rng.uniform(0.5, 2, size=(400, 1)))
    np.testing.assert_array_equal(other.labels, plain.labels)
    np.testing.assert_allclose(other.centers, plain.centers, atol=1e-15)
    assert other.inertia == pytest.approx(plain.inertia, rel=1e-14)


def test_the_least_and_the_largest_floats_have_a_direction(dtype):
    info = np.finfo(dtype)
    least, most = info.smallest_subnormal, info.max
    rows = np.array([[least, 0], [most, 0], [-most, -most], [-least, -least], [1, least]], dtype)
    found = fit(rows, 2, init=rows[1:3])
    assert found.labels.tolist() == [0, 0, 1, 1, 0]
    assert found.centers[0].tolist() == [1, 0]
    assert found.inertia <= 8 * info.eps**2


@given(arrays(np.float64, (12, 3), elements=st.integers(-4, 4)), st.integers(1, 5))
def test_the_inertia_never_rises(rows, n_clusters):
    rows = rows[rows.any(axis=1)]
    if len(rows) < n_clusters:
        return
    found = fit(rows, n_clusters, init="k-means++", random_state=0, history=True)
    told = [step.inertia for step in found.history] + [found.inertia]
    assert (np.diff(told) <= 1e-12).all()
    assert found.inertia == pytest.approx(spherical(rows, found.centers, 0)[2], abs=1e-12)
    np.testing.assert_allclose(lengths(found.centers), 1, rtol=1e-15)


def test_small_angles_keep_their_digits():
    angles = np.array([1e-9, 3e-9, -2e-9, 1e-12])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = fit(rows, 1, init=[[1.0, 0.0]])
    off = angles - angles.mean()
    assert found.inertia == pytest.approx((off * off).sum() / 2, rel=1e-6, abs=0)
    assert (1 - scaled(rows).astype(float) @ found.centers[0]).sum() == 0


def test_rows_that_cancel_leave_their_center_where_it_is(kernel_name, dtype):
    third = np.exp(2j * np.pi * np.arange(3) / 3)
    star = np.stack([third.real, third.imag, np.zeros(3)], axis=1)
    pairs = rng.normal(size=(5, 3))
    for rows in (star, star * [[1], [2], [9]], np.concatenate([pairs, -pairs * 4])):
        found = fit(rows.astype(dtype), 1, init=[[0, 3, 4]], kernel=kernel_name)
        assert found.centers.tobytes() == np.array([[0, 0.6, 0.8]], dtype).tobytes()
        assert (found.converged, found.n_iter) == (True, 1)
        assert found.inertia == pytest.approx(len(rows), rel=1e-6)  # 90° on average
    nearly = fit(
        (star + np.array([0, 1e-3, 0])).astype(dtype), 1, init=[[0, 3, 4]], kernel=kernel_name
    )
    np.testing.assert_allclose(nearly.centers, [[0, 1, 0]], atol=1e-3)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("empty", [it for it in POLICIES if it != "error"])
def test_every_start_and_policy_ends_with_directions(init, empty):
    # Two directions in one dimension: partitions cancel, and most clusters are empty.
    for rows, n_clusters in ((np.repeat([[2.0], [-3.0]], 8, axis=0), 5), (X, 30)):
        found = fit(rows, n_clusters, init=init, empty=empty, random_state=2, sample_weight=None)
        np.testing.assert_allclose(lengths(found.centers), 1, rtol=1e-15)
        cosines = scaled(rows) @ scaled(found.centers).T
        best = np.take_along_axis(cosines, found.labels[:, None], axis=1)[:, 0]
        assert (best >= cosines.max(axis=1) - 1e-15).all()
        assert found.inertia == pytest.approx(float((1 - best).sum()), abs=1e-14)


def test_centers_may_come_from_a_function_that_is_given_directions():
    seen = []

    def start(rows, n_clusters, generator):
        seen.append(rows)
        return rows[[3, 50, 120, 200, 280, 390]] * 1e5

    found = fit(X, init=start)
    np.testing.assert_allclose(lengths(seen[0]), 1, rtol=1e-15)
    assert found.centers.tobytes() == fit(X).centers.tobytes()


@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_a_cluster_for_each_row_costs_nothing(kernel_name, dtype, n_samples):
    rows = X[:n_samples].astype(dtype)
    found = fit(rows, n_samples, init=rows, kernel=kernel_name)
    assert found.inertia == 0
    assert found.centers.tobytes() == unit_rows(rows).tobytes()
    doubled = np.concatenate([rows, rows * 4, rows / 2])
    again = fit(doubled, n_samples, init="k-means++", random_state=0, kernel=kernel_name)
    assert again.inertia == pytest.approx(0, abs=1e-30)
    assert sorted(np.bincount(again.labels)) == [3] * n_samples


def test_tol_refers_to_the_variance_of_the_rows_at_length_1():
    seen = []

    class Told:
        name, needs_changed = "told", False

        def fired(self, step):
            seen.append(step.variance)
            return True

    kmeans(X * 1e9, 6, metric="cosine", init=START, stop=Told())
    assert seen == [pytest.approx(float(scaled(X).var(axis=0).mean()))]


@pytest.mark.parametrize(
    ("rows", "start", "sentence"),
    [
        ([[1, 2], [0, 0]], None, r"^X\[1\] holds only zeros and metric='cosine' needs directions"),
        ([[0, -0.0], [0, 0], [1, 1]], None, r"X\[0\] holds only zeros \(2 rows do\) and .*any\("),
        ([[1, 2], [3, 4]], [[0, 0], [1, 1]], r"init\[0\] holds only zeros .*give another center"),
        ([[1, np.nan], [0, 1]], None, r"^X\[0, 1\] is nan and every value must be finite"),
        ([[1, 0], [0, -np.inf]], None, r"^X\[1, 1\] is -inf and every value must be finite"),
        ([[1, 2], [3, 4]], [[1, np.nan], [1, 1]], r"init\[0, 1\] is nan"),
    ],
)
def test_what_has_no_direction_is_refused(kernel_name, rows, start, sentence):
    with pytest.raises(ValueError, match=sentence):
        kmeans(rows, 2, metric="cosine", init="first" if start is None else start,
               kernel=kernel_name)  # fmt: skip


def test_zeros_among_many_rows_are_found():
    rows = rng.normal(size=(50_000, 4))
    rows[[17, 49_999]] = 0
    with pytest.raises(ValueError, match=r"X\[17\] holds only zeros \(2 rows do\)"):
        kmeans(rows, 3, metric="cosine")


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric='manhattan' is not known; choose one of eucl"):
        kmeans(X, 2, metric="manhattan")


def test_x_is_left_alone_and_units_are_not_copied(dtype):
    rows = X.astype(dtype)
    before = rows.tobytes()
    rows.flags.writeable = False
    fit(rows, sample_weight=WEIGHTS)
    assert rows.tobytes() == before
    units = unit_rows(rows)
    assert unit_rows(units) is units
    assert not np.shares_memory(units, rows)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 33, 700])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_flagship_scales_rows_as_numpy_does(isa, dtype, d, n_threads):
    rows = np.random.default_rng(d).normal(size=(7_000 // d + 3, d)).astype(dtype)
    rows[::3] *= np.asarray(2.0**60, dtype)
    rows[1] = np.finfo(dtype).smallest_subnormal
    units = unit_rows(rows, load_kernel("cpp-simd"), n_threads)
    assert units.tobytes() == unit_rows(rows).tobytes()
    assert unit_rows(units, load_kernel("cpp-simd")) is units
    np.testing.assert_allclose(units, scaled(rows).astype(float), rtol=2 * np.finfo(dtype).eps)


def test_the_flagship_checks_what_it_is_given(dtype):
    divide = load_kernel("cpp-simd").divide_by_lengths
    rows, lengths_of_rows = np.ones((3, 2), dtype), np.empty(3)
    for arguments in (
        (rows, 0.0, np.empty(2), None, 1),
        (rows, 0.0, lengths_of_rows, np.empty((2, 2), dtype), 1),
        (rows[0], 0.0, lengths_of_rows, None, 1),
        (rows, 0.0, lengths_of_rows, None, 0),
        (rows, 0.0, np.empty(3, np.float32), None, 1),
        (rows, 0.0, lengths_of_rows, np.empty((3, 2), np.float16), 1),
        (rows[:, ::-1], 0.0, lengths_of_rows, None, 1),
    ):
        with pytest.raises((ValueError, TypeError)):
            divide(*arguments)


def test_a_center_far_from_the_origin_of_the_kernel_has_length_1():
    # All rows in a narrow cone: the driver moves the origin into them.
    cone = np.array([3.0, 4.0, 5.0]) + 0.01 * rng.normal(size=(500, 3))
    found = fit(cone, 4, init=cone[:4])
    labels, centers, inertia = spherical(cone, cone[:4], found.n_iter)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.centers, centers.astype(float), atol=1e-15)
    assert found.inertia == pytest.approx(inertia, rel=1e-9)
    np.testing.assert_allclose(lengths(found.centers), 1, rtol=4e-16)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_a_fit_is_certified(kernel_name, dtype, weights):
    settings = {"metric": "cosine", "random_state": 0, "tol": 0.0, "sample_weight": weights}
    certificate = certify_fit(X.astype(dtype), 9, settings, kernel_name)
    certificate.recheck(kmeans(X.astype(dtype), 9, kernel=kernel_name, **settings), X.astype(dtype))


@pytest.mark.parametrize(
    ("name", "planted", "sentence"),
    [
        ("exponent_of", lambda metric: 0, "the fit returned the inertia"),
        ("Directions", None, "the centers are not the means"),
    ],
)
def test_a_fit_that_is_not_spherical_gets_no_certificate(monkeypatch, name, planted, sentence):
    class Unscaled:
        def __init__(self, *_):
            pass

        def scale(self, means, old, new):
            new[:] = means

    monkeypatch.setattr(f"kmeans_lab.driver.{name}", planted or Unscaled)
    with pytest.raises(CertificateError, match=sentence):
        certify_fit(X, 6, {"metric": "cosine", "random_state": 0}, "cpp")
