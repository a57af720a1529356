"""Steps of prepared rows that keep their sums and means (``kernel.KeepsSums``)."""

import signal
import time
from fractions import Fraction

import numpy as np
import pytest

from kmeans_lab import load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.kernel import KeepsSums
from tests.support.balls import ENGINE_SHAPES, blobs, middled, nearest

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")


def stepwise(X, centers, middle=None, n_threads=1, most=8):
    """Yield prepared rows after each step, its centers, and the means that NumPy makes of it."""
    given = () if middle is None else (middle,)
    rows = load_kernel("cpp-simd").prepare(X, len(centers), n_threads, *given)
    plain = X if middle is None else X - middle
    labels, counts = np.full(len(X), -1, np.int32), np.empty(len(centers), np.int64)
    sums, before, last = np.empty((3, *centers.shape))
    follows = False
    for _ in range(most):
        rows.follow(None if follows else centers, labels, counts)
        np.testing.assert_array_equal(labels, nearest(plain, centers))
        np.testing.assert_array_equal(counts, np.bincount(labels, minlength=len(centers)))
        rows.sums(sums)
        rows.sums(before, True)
        np.testing.assert_array_equal(before, last if follows else 0)
        last[:] = sums
        new = np.divide(sums, counts[:, None], out=np.empty_like(centers), casting="same_kind")
        if middle is not None:
            new += middle
            new -= middle
        yield rows, centers, new
        centers, follows = new, True


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("shape", ENGINE_SHAPES[:4])
def test_means_are_numpys_and_bounds_hold_how_far_they_moved(shape, far, n_threads, dtype):
    X, centers = blobs(*shape, seed=9, kind=dtype)
    middle = None
    if far:
        X, middle = middled(X), np.full(X.shape[1], 1000 / 3, dtype)
    for rows, old, new in stepwise(X, centers, middle, n_threads):
        low, high = rows.shift()
        pairs = zip(new.ravel().tolist(), old.ravel().tolist(), strict=True)
        moved = sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs), start=Fraction(0))
        assert Fraction(low) <= moved <= Fraction(high)
        assert high - low <= 1e-11 * high
        assert (high == 0) == (new == old).all()


def test_bounds_of_a_movement_too_small_to_be_squared_are_not_both_zero():
    X = np.array([[3e-200, 1.0], [5e-200, 1.0]])
    rows = load_kernel("cpp-simd").prepare(X, 1, 1)
    labels, counts = np.full(2, -1, np.int32), np.empty(1, np.int64)
    rows.follow(np.array([[1e-200, 1.0]]), labels, counts)
    low, high = rows.shift()
    assert low == 0 < high < 1e-300
    rows.follow(None, labels, counts)
    assert rows.shift() == (0, 0)
    X[:] = [[1e200, 0], [2e200, 0]]
    rows = load_kernel("cpp-simd").prepare(X, 1, 1)
    rows.follow(np.zeros((1, 2)), labels, counts)
    assert rows.shift() == (0, np.inf)


def test_a_step_without_centers_needs_means():
    X, centers = blobs(400, 3, 5, seed=10)
    rows = load_kernel("cpp-simd").prepare(X, 5, 1)
    labels, counts = np.full(400, -1, np.int32), np.empty(5, np.int64)
    assert isinstance(rows, KeepsSums)
    with pytest.raises(ValueError, match="must follow a step that left no cluster empty"):
        rows.follow(None, labels, counts)
    assert rows.shift() == (0, np.inf)
    centers[2] = 1e6
    rows.follow(centers, labels, counts)
    with pytest.raises(ValueError, match="must follow a step that left no cluster empty"):
        rows.follow(None, labels, counts)
    assert rows.shift() == (0, np.inf)
    rows.follow(X[:3].copy(), labels, counts[:3])  # another number of centers
    with pytest.raises(ValueError, match="follow needs"):
        rows.follow(None, labels, counts)
    rows.follow(None, labels, counts[:3])
    with pytest.raises(ValueError, match="sums needs"):
        rows.sums(np.empty((5, 3)))


def test_arrays_of_a_step_that_do_not_fit_are_refused():
    X, centers = blobs(400, 3, 5, seed=10)
    rows = load_kernel("cpp-simd").prepare(X, 5, 1)
    labels, counts = np.full(400, -1, np.int32), np.empty(5, np.int64)
    rows.follow(centers, labels, counts)
    for wrong in (
        (centers[:, :-1].copy(), labels, counts),
        (centers.astype("f4"), labels, counts),
        (centers.tolist(), labels, counts),
        (centers, labels[1:], counts),
        (centers, labels, counts[1:]),
        (centers, labels, counts.astype("f8")),
        (centers[:0], labels, counts[:0]),
        (None, labels.astype("i8"), counts),
        (None, labels, counts[1:]),
        (None, labels, counts[:, None]),
    ):
        with pytest.raises((TypeError, ValueError)):
            rows.follow(*wrong)
    for out in (np.empty((5, 2)), np.empty((4, 3)), np.empty((5, 3), "f4"), np.empty(15)):
        with pytest.raises((TypeError, ValueError)):
            rows.sums(out)
    rows.follow(None, labels, counts)


def test_the_inertia_of_a_pass_is_known_after_steps_that_did_not_want_it(dtype):
    X, centers = blobs(900, 12, 5, seed=13, kind=dtype)
    kernel = load_kernel("cpp-simd")
    labels, counts, sums = np.full(900, -1, np.int32), np.zeros(5, np.int64), np.zeros((5, 12))
    first = kernel.prepare(X, 5, 1)
    expected = kernel.assign_update(first, centers, labels, sums, counts)
    rows = kernel.prepare(X, 5, 1)
    rows.follow(centers, np.full(900, -1, np.int32), counts)
    assert kernel.assign_update(rows, centers, labels, sums, counts) == expected
    assert expected == pytest.approx(kernel.inertia(X, centers, labels), rel=1e-5)


@pytest.mark.parametrize("far", [0, 1, 12, 298, 299])
@pytest.mark.parametrize("d", [*range(1, 20), 33, 130])
def test_each_row_by_itself_is_its_own_sum(isa, d, far):
    # The range of each column decides how its values are split: one that is missed loses digits.
    X = np.random.default_rng(d).normal(size=(300, d))
    X[far] *= 1e-12
    X[299 - far] *= 1e9
    rows = load_kernel("cpp-simd").prepare(X, 300, 1, engine="bound per row")
    rows.follow(X, np.full(300, -1, np.int32), np.zeros(300, np.int64))
    sums = np.empty(X.shape)
    rows.sums(sums, False)
    np.testing.assert_array_equal(sums, X)


def test_rows_with_weights_want_masses():
    X, centers = blobs(400, 3, 5, seed=10)
    rows = load_kernel("cpp-simd").prepare(X, 5, 1, weights=np.full(400, 0.5))
    labels, masses = np.full(400, -1, np.int32), np.empty(5)
    with pytest.raises(TypeError, match="counts must be a C-contiguous float64 array where rows"):
        rows.follow(centers, labels, np.empty(5, np.int64))
    rows.follow(centers, labels, masses)
    np.testing.assert_array_equal(masses, np.bincount(labels) * 0.5)


@pytest.mark.parametrize("engine", ["cells", "bound per row", "bounds per group", "all pairs"])
def test_a_step_that_is_interrupted_leaves_no_means(engine):
    rng = np.random.default_rng(0)
    X = rng.random((40_000, 5))
    some = X[:1000].copy()
    rows = load_kernel("cpp-simd").prepare(X, 1000, 2, engine=engine)
    labels, counts = np.full(len(X), -1, np.int32), np.empty(1000, np.int64)

    def interrupt(*_):
        raise KeyboardInterrupt

    def stop_within(seconds):
        rows.follow(some, labels, counts)
        time.sleep(0.11)  # so that the next step asks for signals
        centers = X[rng.choice(len(X), 1000, replace=False)]
        signal.setitimer(signal.ITIMER_REAL, seconds)
        rows.follow(centers, labels, counts)
        time.sleep(9)  # too late

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for attempt in range(60):
            with pytest.raises(KeyboardInterrupt):
                stop_within(2e-4 * (1 + attempt % 6))
            if rows.shift() == (0, np.inf):
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ValueError, match="must follow a step that left no cluster empty"):
        rows.follow(None, labels, counts)
    rows.follow(some, labels, counts)
    np.testing.assert_array_equal(labels, nearest(X, some))
    rows.follow(None, labels, counts)
