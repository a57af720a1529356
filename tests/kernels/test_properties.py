"""Whatever the rows look like: what every kernel and every fit must hold, judged by fractions.

Hypothesis draws shapes, dtypes, memory layouts, magnitudes from the smallest that is taken to the
largest, copies of rows, and places for NaN; the oracle judges without rounding. The draws are the
same in every run; ``make fuzz`` draws new ones, many more.
"""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kmeans_lab import kmeans
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.checks import samples
from kmeans_lab.registry import find_spec, load_kernel
from tests.support import oracle
from tests.support.helpers import prepared

#: The fixtures that name a kernel hold nothing that one draw could leave to the next.
each = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], report_multiple_bugs=False
)

#: Around the widths of vector registers, and few, because numba-tiled compiles for each.
WIDTHS = (1, 2, 3, 8, 17)


@st.composite
def matrices(draw, dtype, most=36):
    """Draw finite rows (n_samples, n_features) whose values have any magnitude that is taken."""
    shape = draw(st.integers(1, most)), draw(st.sampled_from(WIDTHS))
    info = np.finfo(dtype)
    width = 8 * info.dtype.itemsize
    values = st.floats(-1, 1, width=width) if draw(st.booleans()) else st.integers(-3, 3)
    X = draw(npst.arrays(dtype, shape, elements=values, fill=st.sampled_from([0, 1])))
    # 16 · d · n more than fits: below it, checks.samples takes everything.
    top = int(np.log2(float(info.max))) // 2 - 8
    X = np.ldexp(X, draw(st.integers(-top, top))).astype(dtype)
    if draw(st.booleans()):  # far from the origin, as far as the dtype still tells rows apart
        X += np.ldexp(np.abs(X).max(), draw(st.integers(0, info.nmant // 2))).astype(dtype)
    try:
        return samples(X, (np.dtype(dtype).name,))
    except ValueError:  # all values vanish when squared: another test
        return np.zeros(shape, dtype)


@st.composite
def layouts(draw, X):
    """Draw another place in memory for the same values."""
    kind = draw(st.sampled_from(["C", "F", "strided", "reversed", "swapped", "read-only"]))
    if kind == "F":
        return np.asfortranarray(X)
    if kind == "strided":
        wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan, X.dtype)
        wide[::2, 1::3] = X
        return wide[::2, 1::3]
    if kind == "reversed":
        return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]
    if kind == "swapped":
        return X.astype(X.dtype.newbyteorder())
    X = X.copy()
    X.flags.writeable = kind != "read-only"
    return X


def chosen(draw, X, n_clusters):
    """Draw starting centers: rows of X, the same one more than once, too."""
    return X[draw(st.lists(st.integers(0, len(X) - 1), min_size=n_clusters, max_size=n_clusters))]


def slack(rows, centers, moved=0):
    """Bound, per row, what rounding may make of the difference of two squared distances.

    As ``oracle.distance_bound``, exact, and with what vanishes below the smallest number; ``moved``
    is how far every center may lie from where the kernel saw it.
    """
    info = np.finfo(rows.dtype)
    n_features = rows.shape[1]
    reach = max(_norm(center) for center in centers)
    for row in rows:
        length = _norm(row) + reach
        lost = n_features * 8 * Fraction(float(info.smallest_subnormal))
        yield (n_features + 2) * Fraction(float(info.eps)) * length**2 + lost + 4 * length * moved


def _norm(vector):
    """Return the length of a vector, rounded once; hypot neither overflows nor vanishes."""
    return Fraction(math.hypot(*vector.tolist()))


def judge(rows, centers, labels, bounds):
    """Every row's center is the nearest, up to rounding; return the exact inertia."""
    total = Fraction(0)
    exact_centers = oracle.exact(centers)
    for i, (row, label, bound) in enumerate(zip(oracle.exact(rows), labels, bounds, strict=True)):
        assert 0 <= label < len(centers), f"row {i}: label {label} is no cluster"
        distances = [oracle.squared_distance(row, center) for center in exact_centers]
        assert distances[label] - min(distances) <= bound, f"row {i}: label {label} is too far"
        total += distances[label]
    return total


def check_passes(kernel, dtype, data):
    """Three passes over the same rows, with centers that move."""
    X = data.draw(matrices(dtype))
    rows = X - middle_and_variance(X)[0]  # as the driver does
    n_clusters = data.draw(st.integers(1, 9))
    own, labels = prepared(kernel, rows, n_clusters), np.full(len(rows), -1, np.int32)
    fused = getattr(kernel, "assign_update", None)
    for _ in range(3):
        centers = chosen(data.draw, rows, n_clusters)
        sums, counts = np.zeros(centers.shape), np.zeros(n_clusters, np.int64)
        if fused is None:
            inertia = kernel.assign(own, centers, labels)
            kernel.update(own, labels, sums, counts)
        else:
            inertia = fused(own, centers, labels, sums, counts)
        bounds = list(slack(rows, centers))
        assert abs(Fraction(inertia) - judge(rows, centers, labels, bounds)) <= 2 * sum(bounds)
        exact_sums, exact_counts = oracle.update(rows, labels, n_clusters)
        assert counts.tolist() == exact_counts
        magnitudes, _ = oracle.update(np.abs(rows), labels, n_clusters)
        # Sums that move by differences remember what was in them.
        largest = Fraction(float(np.abs(rows).max())) * len(rows)
        for found, right, size in zip(sums, exact_sums, magnitudes, strict=True):
            for f, value in enumerate(found):
                allowed = 8 * len(rows) * Fraction(2) ** -53 * (size[f] + largest)
                assert abs(Fraction(float(value)) - right[f]) <= allowed


@each
@given(data=st.data())
def test_labels_and_sums_of_any_rows(kernel, dtype, data):
    check_passes(kernel, dtype, data)


@each
@given(data=st.data())
def test_any_fit_describes_the_centers_that_it_returns(kernel_name, data):
    dtype = data.draw(st.sampled_from(find_spec(kernel_name).dtypes))
    X = data.draw(matrices(dtype))
    given_rows = data.draw(layouts(X))
    n_clusters = data.draw(st.integers(1, min(9, len(X))))
    start = chosen(data.draw, X, n_clusters)
    max_iter = data.draw(st.integers(1, 12))
    result = kmeans(
        given_rows, n_clusters, kernel=kernel_name, init=start, tol=0, max_iter=max_iter
    )
    np.testing.assert_array_equal(given_rows, X)
    middle = middle_and_variance(X)[0]
    assert result.centers.dtype == X.dtype
    assert np.isfinite(result.centers).all()
    # The middle is added at the end, and that rounds.
    eps = Fraction(float(np.finfo(dtype).eps))
    moved = eps * max(_norm(center) + _norm(middle) for center in result.centers)
    rows, centers = X - middle, result.centers - middle
    bounds = list(slack(rows, centers, moved))
    total = judge(X, result.centers, result.labels, bounds)
    assert abs(Fraction(result.inertia) - total) <= 2 * sum(bounds)
    sums, counts = oracle.update(X, result.labels, n_clusters)
    # Nothing moved, and no empty cluster took a row away: the centers are the means.
    if result.converged and all(counts):
        for total, count, center in zip(sums, counts, result.centers, strict=True):
            for f, value in enumerate(total):
                off = abs(Fraction(float(center[f])) - Fraction(value) / count)
                size = Fraction(float(np.abs(rows[:, f]).max()))
                assert off <= 4 * moved + 16 * len(X) * eps * size


@each
@given(data=st.data())
def test_a_value_that_is_not_finite_is_named(data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    X = data.draw(matrices(dtype)).copy()
    places = data.draw(st.sets(st.integers(0, X.size - 1), min_size=1, max_size=4))
    for place in places:
        X.flat[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    i, f = divmod(min(places), X.shape[1])
    with pytest.raises(ValueError, match=rf"^X\[{i}, {f}\] is (nan|inf|-inf) and every value"):
        kmeans(data.draw(layouts(X)), 1)


@each
@given(data=st.data())
def test_any_magnitude_is_taken_or_refused_with_a_sentence(data):
    """The whole range of the dtype, denormal to largest: never an infinite or a NaN result."""
    dtype = np.dtype(data.draw(st.sampled_from(["float16", "float32", "float64"])))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=8 * dtype.itemsize)
    shape = data.draw(st.integers(1, 20)), data.draw(st.sampled_from(WIDTHS))
    X = data.draw(npst.arrays(dtype, shape, elements=finite))
    try:
        result = kmeans(X, data.draw(st.integers(1, len(X))), random_state=0, max_iter=5)
    except ValueError as error:
        assert "overflows in a squared distance" in str(error) or "underflows" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(result.inertia)
        assert np.isfinite(result.centers).all()


@each
@given(data=st.data())
def test_whole_weights_are_repeated_rows(data):
    n_samples, d = data.draw(st.integers(1, 30)), data.draw(st.sampled_from(WIDTHS))
    X = data.draw(npst.arrays("float64", (n_samples, d), elements=st.integers(-8, 8)))
    weights = data.draw(st.lists(st.integers(0, 4), min_size=n_samples, max_size=n_samples))
    weights[0] += 1
    n_clusters = data.draw(st.integers(1, min(5, n_samples)))
    options = {"init": chosen(data.draw, X, n_clusters), "max_iter": 1, "empty": "keep", "tol": 0}
    weighted = kmeans(X, n_clusters, sample_weight=weights, **options)
    repeated = np.repeat(X, weights, axis=0)
    if n_clusters > len(repeated):
        return
    plain = kmeans(repeated, n_clusters, **options)
    np.testing.assert_allclose(weighted.centers, plain.centers, rtol=1e-13, atol=1e-13)


def rows_of_24_bits(rows, centers, labels):
    mantissas, exponents = np.frexp(rows)
    rounded = np.ldexp(np.rint(mantissas * 2**24) / 2**24, exponents)
    return load_kernel("python").assign(rounded, centers, labels)


def last_cluster_forgotten(rows, labels, sums, counts):
    kept = labels < max(1, len(counts) - 1)
    load_kernel("python").update(rows[kept], labels[kept], sums, counts)


def last_row_counted_twice(rows, centers, labels):
    inertia = load_kernel("python").assign(rows, centers, labels)
    return inertia + float(((rows[-1] - centers[labels[-1]]) ** 2).sum())


@pytest.mark.parametrize(
    "wrong",
    [
        {"assign": rows_of_24_bits},
        {"assign": last_row_counted_twice},
        {"update": last_cluster_forgotten},
    ],
    ids=lambda wrong: next(iter(wrong.values())).__name__,
)
def test_a_wrong_kernel_is_caught(wrong):
    right = load_kernel("python")
    kernel = SimpleNamespace(**{"assign": right.assign, "update": right.update} | wrong)
    without_a_minimal_example = settings(phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        without_a_minimal_example(given(data=st.data())(check_passes))(kernel, "float64")
