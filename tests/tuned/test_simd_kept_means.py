"""Fits whose means stay with prepared rows are those with arrays, to the last bit."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from kmeans_lab import driver, kmeans
from kmeans_lab.crews.means import Arrays, Kept
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.stopping import LabelsChanged, MaxIterOnly, Shift, ShiftNorm, Step
from tests.support.balls import ENGINE_SHAPES, blobs, middled, nearest
from tests.support.helpers import assert_same_fit

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")

CELLS, HAMERLY = ENGINE_SHAPES[:2]


def both(monkeypatch, X, k, **options):
    """Return the fit whose means stay with the rows and the one with arrays."""
    made = []

    class Counted(Kept):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "Kept", Counted)
        kept = kmeans(X, k, kernel="cpp-simd", **options)
    assert len(made) == options.get("n_init", 1)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "Kept", Arrays)
        return kept, kmeans(X, k, kernel="cpp-simd", **options)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("shape", ENGINE_SHAPES)
def test_fits_are_those_with_arrays(monkeypatch, isa, shape, far, n_threads, dtype):
    X, centers = blobs(*shape, seed=1, kind=dtype, spread=2.0)
    if far:
        X, centers = middled(X), middled(centers)
    for stop, tol in (("shift", 0), ("shift", 1e-3), ("shift-norm", 0.1), ("labels", 5)):
        options = {"init": centers, "stop": stop, "tol": tol, "n_threads": n_threads}
        kept, arrays = both(monkeypatch, X, shape[2], max_iter=40, **options)
        assert_same_fit(kept, arrays)
        assert (kept.rescored, kept.stop) == (arrays.rescored, arrays.stop)


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_a_fit_that_ends_early_returns_the_newest_means(monkeypatch, max_iter, dtype):
    X, centers = blobs(*HAMERLY, seed=2, kind=dtype, spread=2.0)
    for rows, start in ((X, centers), (middled(X), middled(centers))):
        options = {"init": start, "max_iter": max_iter, "tol": 0}
        kept, arrays = both(monkeypatch, rows, len(start), **options)
        assert_same_fit(kept, arrays)
        assert kept.n_iter == max_iter
        np.testing.assert_array_equal(kept.labels, nearest(rows, kept.centers))


@pytest.mark.parametrize("empty", ["relocate", "random", "keep", "error"])
@pytest.mark.parametrize("shape", ENGINE_SHAPES[:3])
def test_empty_clusters_are_filled_as_with_arrays(monkeypatch, shape, empty, dtype):
    X, centers = blobs(*shape, seed=3, kind=dtype, spread=2.0)
    X, centers = middled(X), middled(centers)
    centers[[1, 4]] = 9000
    options = {"init": centers, "empty": empty, "random_state": 0, "tol": 0, "max_iter": 30}
    if empty == "error":
        with pytest.raises(ValueError, match="cluster 1 owns no row"):
            kmeans(X, shape[2], kernel="cpp-simd", **options)
        return
    assert_same_fit(*both(monkeypatch, X, shape[2], **options))


@pytest.mark.parametrize("shape", ENGINE_SHAPES[:3])
def test_repetitions_begin_anew(monkeypatch, shape, dtype):
    X = middled(blobs(*shape, seed=4, kind=dtype)[0])
    for init in ("k-means++", "random"):
        options = {"init": init, "n_init": 3, "random_state": 5, "max_iter": 12}
        assert_same_fit(*both(monkeypatch, X, shape[2], **options))


@pytest.mark.parametrize("options", [{"history": True}, {"callback": print}, {"stop": "equal"}])
def test_what_looks_at_centers_is_shown_arrays(monkeypatch, options):
    X, centers = blobs(500, 3, 4, seed=5)
    monkeypatch.setattr(driver, "Kept", None)
    kmeans(X, 4, kernel="cpp-simd", init=centers, **options)
    kmeans(X, 4, kernel="cpp-simd", init=centers, metric="cosine")


class Recorded(Shift):
    """The default rule, which notes what it is told of each step and looks at no centers."""

    told: list

    def fired(self, step):
        """Note the number of changed labels."""
        self.told.append(step.changed)
        return super().fired(step)


#: What a rule of a user's that is derived from one of ours may look at.
LOOKS = {
    "squared_shift": lambda step: step.squared_shift() <= 1e-9,
    "arrays": lambda step: bool(((step.new - step.old) ** 2).sum() <= 1e-9),
    "flags": lambda step: step.old.flags.writeable or step.new.flags.writeable,
}


@pytest.mark.parametrize("way", LOOKS)
@pytest.mark.parametrize("rule", [Shift, ShiftNorm, LabelsChanged, MaxIterOnly])
@pytest.mark.parametrize("sparse", [False, True])
def test_rules_derived_from_ours_may_look_at_centers(monkeypatch, sparse, rule, way, dtype):
    X, centers = blobs(2000, 7, 5, seed=14, kind=dtype, spread=2.0)
    X = csr_array(X) if sparse else X
    derived = type("Derived", (rule,), {"fired": lambda self, step: LOOKS[way](step)})
    kept, arrays = both(monkeypatch, X, 5, init=centers, stop=derived(), max_iter=60)
    assert_same_fit(kept, arrays)
    assert kept.n_iter > 2


def test_a_step_has_no_other_attributes():
    X, centers = blobs(200, 7, 5, seed=15)
    found = []

    class Asks(Shift):
        def fired(self, step):
            found.append(step)
            return True

    kmeans(X, 5, kernel="cpp-simd", init=centers, stop=Asks())
    with pytest.raises(AttributeError, match="a step has no attribute 'inertia'"):
        found[0].inertia  # noqa: B018


@pytest.mark.parametrize("needs_changed", [False, True])
def test_a_rule_is_told_of_changes_only_if_it_asks(monkeypatch, needs_changed):
    X, centers = blobs(2000, 5, 7, seed=6, spread=2.0)
    monkeypatch.setattr(Recorded, "told", [], raising=False)
    rule = Recorded(tol=1e-4, needs_changed=needs_changed)
    kept, arrays = both(monkeypatch, X, 7, init=centers, stop=rule)
    assert_same_fit(kept, arrays)
    half = len(Recorded.told) // 2
    assert Recorded.told[:half] == Recorded.told[half:]
    assert set(Recorded.told) == {-1} if not needs_changed else Recorded.told[0] == 2000


@pytest.mark.parametrize("far", [False, True])
def test_a_tolerance_that_bounds_cannot_tell_apart_is_decided_by_the_arrays(
    monkeypatch, far, dtype
):
    X, centers = blobs(*HAMERLY, seed=7, kind=dtype, spread=2.0)
    if far:
        X, centers = middled(X), middled(centers)
    seen = []

    class Seen(Shift):
        needs_centers = True

        def fired(self, step):
            seen.append(step.squared_shift())
            return False

    kmeans(X, len(centers), init=centers, kernel="cpp-simd", stop=Seen(), max_iter=6)
    root = np.sqrt(seen[3])
    for tol in (np.nextafter(root, 0), root, np.nextafter(root, np.inf)):
        options = {"init": centers, "stop": "shift-norm", "tol": float(tol)}
        assert_same_fit(*both(monkeypatch, X, len(centers), **options))


@pytest.mark.parametrize(("kind", "power"), [("f8", -144), ("f8", 149), ("f4", -15), ("f4", 16)])
def test_squares_at_the_ends_of_the_range_decide_as_with_arrays(monkeypatch, kind, power):
    X, centers = blobs(3000, 4, 6, seed=8, spread=2.0)
    X, centers = (X * 10.0**power).astype(kind), (centers * 10.0**power).astype(kind)
    for stop, tol in (("shift", 0), ("shift", 1e-2), ("shift-norm", 1e-5)):
        assert_same_fit(*both(monkeypatch, X, 6, init=centers, stop=stop, tol=tol, max_iter=30))


def compared(monkeypatch, X, centers, **options):
    """Return NumPy's squared shift of each step of a fit; bounds are held to it."""
    shifts = []

    class Compared(Kept):
        def update(self, changed):
            step = super().update(changed)
            low, high = self.bounds()
            shifts.append(Step(self.old, self.new, 1, changed, len(X)).squared_shift())
            assert low <= shifts[-1] <= high
            return step

    monkeypatch.setattr(driver, "Kept", Compared)
    kmeans(X, len(centers), init=centers, kernel="cpp-simd", **options)
    return shifts


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("shape", ENGINE_SHAPES[:4])
def test_numpys_sum_of_squares_lies_between_the_bounds(monkeypatch, shape, far, dtype):
    X, centers = blobs(*shape, seed=11, kind=dtype, spread=2.0)
    if far:
        X, centers = middled(X), middled(centers)
    assert len(compared(monkeypatch, X, centers, tol=0, max_iter=30)) > 1


@pytest.mark.parametrize("off", [2e-23, 3e-23])  # squares that float32 rounds to 0, and up
def test_bounds_allow_for_squares_that_vanish(monkeypatch, off):
    X = np.zeros((2, 40), "f4")
    X[:, 0] = 1, -1
    centers = np.full((1, 40), off, "f4")
    first, *_ = compared(monkeypatch, X, centers, max_iter=3)
    assert (first > 0) == (off > 2.6e-23)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", ENGINE_SHAPES)
def test_weighted_fits_have_the_bits_of_fits_with_arrays(monkeypatch, shape, n_threads, dtype):
    X, centers = blobs(*shape, seed=11, kind=dtype, spread=2.0)
    weights = np.random.default_rng(12).exponential(size=len(X))
    weights[::7] = 0
    for rows, start in ((X, centers), (middled(X), middled(centers))):
        options = {"init": start, "sample_weight": weights, "n_threads": n_threads, "max_iter": 30}
        assert_same_fit(*both(monkeypatch, rows, len(start), **options))
