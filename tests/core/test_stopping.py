"""Each rule fires at exactly the iteration that its definition names."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.stopping import STOP_RULES, LabelsChanged, Step, make_rule
from tests.support.helpers import assert_same_fit, cloud, some_rows

X = cloud(seed=2, n_samples=1250, n_features=3)
START = some_rows(X, 8)
LENGTH = 40


def fit(**options):
    return kmeans(X, 8, **{"kernel": "numpy", "init": START, "max_iter": LENGTH} | options)


@pytest.fixture(scope="module")
def steps():
    """What the rules are shown: (old centers, new centers, changed labels) of every iteration."""
    # The rules see centers relative to the middle of X: here the two are the same.
    assert not middle_and_variance(X)[0].any()
    history = fit(stop="max-iter", max_iter=LENGTH + 1, history=True).history
    pairs = itertools.pairwise(history)
    return [(before.centers, after.centers, before.changed) for before, after in pairs]


def first(steps, holds):
    """Return the number of the first iteration at which a definition holds."""
    return next(t for t, step in enumerate(steps, start=1) if holds(*step))


def squared_shift(old, new):
    return float(((new - old) ** 2).sum())


@pytest.mark.parametrize("shape", [(1, 32_768), (1, 32_769), (7, 9_999), (4, 50_001), (80, 1_003)])
def test_large_centers_are_compared_in_pieces_with_the_sum_of_all(shape, dtype):
    rng = np.random.default_rng(5)
    old, new = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    moved = (new - old).ravel()
    expected = np.add.reduce(moved * moved)  # NumPy's own order
    assert Step(old, new, 1.0, -1, 1).squared_shift() == float(expected)


def between(steps, t):
    """Return a squared shift that iteration t is the first to stay below."""
    shifts = [squared_shift(old, new) for old, new, _ in steps]
    earlier, this = min(shifts[: t - 1]), shifts[t - 1]
    assert this < earlier
    return (this * earlier) ** 0.5


DECREASING = [3, 5, 9]


@pytest.mark.parametrize("t", DECREASING)
def test_shift_is_scaled_by_the_mean_variance(steps, t):
    variance = X.var(axis=0).mean()
    tol = between(steps, t) / variance
    expected = first(steps, lambda old, new, _: squared_shift(old, new) <= tol * variance)
    assert expected == t
    result = fit(stop="shift", tol=tol)
    assert (result.n_iter, result.stop, result.converged) == (t, "shift", True)


@pytest.mark.parametrize("t", DECREASING)
def test_shift_norm_is_absolute(steps, t):
    tol = between(steps, t) ** 0.5
    expected = first(steps, lambda old, new, _: squared_shift(old, new) ** 0.5 <= tol)
    assert expected == t
    result = fit(stop="shift-norm", tol=tol)
    assert (result.n_iter, result.stop, result.converged) == (t, "shift-norm", True)


@pytest.mark.parametrize("tol", [0.3, 0.1, 0.02])
def test_allclose_compares_every_coordinate(steps, tol):
    def close(old, new, _):
        return (np.abs(old - new) <= 1e-8 + tol * np.abs(new)).all()

    expected = first(steps, close)
    assert 2 < expected < LENGTH
    result = fit(stop="allclose", tol=tol)
    assert (result.n_iter, result.stop, result.converged) == (expected, "allclose", True)


@pytest.mark.parametrize("options", [{"stop": "equal"}, {"stop": "shift", "tol": 0}])
def test_equal_and_tol_0_stop_when_no_center_moved(options):
    result = fit(**options, max_iter=300, history=True)
    centers = [seen.centers for seen in result.history]
    pairs = itertools.pairwise(centers)
    assert all((before != after).any() for before, after in pairs)
    assert (centers[-1] == result.centers).all()
    assert result.n_iter > 10
    assert (result.converged, result.stop) == (True, options["stop"])


@pytest.mark.parametrize("tol", [300, 60, 12, 0.1, 0.01])
def test_labels_counts_the_rows_that_changed_cluster(steps, tol):
    allowed = tol if tol >= 1 else tol * len(X)
    expected = first(steps, lambda old, new, changed: changed <= allowed)
    assert expected > 1
    result = fit(stop="labels", tol=tol)
    assert (result.n_iter, result.stop, result.converged) == (expected, "labels", True)


def test_labels_stops_at_the_very_number(steps):
    changed = [step[2] for step in steps]
    t = 4
    assert changed[t] < min(changed[:t])
    assert fit(stop="labels", tol=changed[t]).n_iter == t + 1
    assert fit(stop="labels", tol=changed[t] - 1).n_iter > t + 1


def test_max_iter_runs_on_at_a_fixed_point():
    rest = fit(stop="equal", max_iter=300)
    result = fit(stop="max-iter", max_iter=rest.n_iter + 5)
    assert (result.n_iter, result.stop, result.converged) == (rest.n_iter + 5, "max-iter", False)
    assert result.centers.tobytes() == rest.centers.tobytes()


@pytest.mark.parametrize("stop", STOP_RULES)
def test_max_iter_ends_every_rule_and_says_so(stop):
    result = fit(stop=stop, max_iter=2)
    assert (result.n_iter, result.stop, result.converged) == (2, "max-iter", False)


DEFAULTS = {"shift": 1e-4, "shift-norm": 1e-4, "allclose": 1e-5, "labels": 0.01}


@pytest.mark.parametrize("stop", DEFAULTS)
def test_default_tolerances(stop):
    default = make_rule(stop, None)
    assert default.tol == DEFAULTS[stop]
    assert default == make_rule(stop, DEFAULTS[stop]) != make_rule(stop, 2 * DEFAULTS[stop])
    assert_same_fit(fit(stop=stop), fit(stop=stop, tol=DEFAULTS[stop]))


def shown(changed, n_samples):
    return Step(np.zeros((1, 1)), np.ones((1, 1)), 1.0, changed, n_samples)


@pytest.mark.parametrize("n_samples", [1, 7, 99, 100, 101, 199, 250, 2900, 16_250, 999_999])
def test_one_hundredth_is_rounded_down(n_samples):
    rule = LabelsChanged(0.01)
    allowed = n_samples // 100
    assert rule.fired(shown(allowed, n_samples))
    assert not rule.fired(shown(allowed + 1, n_samples))


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_fraction_of_a_hundred_rows_is_that_many_rows(percent):
    rule = LabelsChanged(percent / 100)
    assert rule.fired(shown(percent, 100))
    assert not rule.fired(shown(percent + 1, 100))


def test_a_fit_below_a_hundred_rows_stops_when_no_label_changes():
    result = kmeans(X[:99], 8, kernel="numpy", init="first", stop="labels", tol=0.01, history=True)
    changed = [seen.changed for seen in result.history]
    assert changed[-1] == 0
    assert min(changed[:-1]) > 0
    assert len(changed) > 3


def test_tolerances_are_inclusive():
    # One center moves from 0 to 0.5: squared shift ¼, norm ½; variance ½.
    step = Step(np.zeros((1, 2)), np.array([[0.5, 0.0]]), 0.5, 3, 10)
    for stop, tol in (("shift", 0.5), ("shift-norm", 0.5), ("labels", 3), ("labels", 0.3)):
        assert make_rule(stop, tol).fired(step)
        assert not make_rule(stop, np.nextafter(tol, 0)).fired(step)


def test_allclose_is_relative_to_the_new_centers():
    small, large = np.full((1, 1), 1.0), np.full((1, 1), 2.0)
    rule = make_rule("allclose", 0.6)
    assert rule.fired(Step(small, large, 1.0, -1, 10))
    assert not rule.fired(Step(large, small, 1.0, -1, 10))


def test_the_rules_are_the_documented_ones():
    assert list(STOP_RULES) == ["shift", "shift-norm", "allclose", "equal", "labels", "max-iter"]
    assert all(make_rule(name, None).name == name for name in STOP_RULES)


@dataclass
class SecondStep:
    """A rule of one's own."""

    name: str = "second-step"
    needs_changed: bool = True
    seen: int = 0

    def fired(self, step):
        self.seen += 1
        self.changed = step.changed
        return self.seen == 2


def test_a_rule_of_ones_own_is_asked_after_every_iteration():
    rule = SecondStep()
    result = fit(stop=rule)
    assert (result.n_iter, result.stop, result.converged) == (2, "second-step", True)
    assert 0 < rule.changed < len(X)


@pytest.mark.parametrize("tol", [-1e-9, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("stop", ["shift", "labels"])
def test_tol_must_be_a_finite_number_from_0(stop, tol):
    with pytest.raises(ValueError, match=rf"tol={tol} must be a number ≥ 0; use tol=0"):
        fit(stop=stop, tol=tol)


@pytest.mark.parametrize("tol", ["0.1", 1j, [0.1], np.array([1, 2])])
def test_tol_must_be_a_number(tol):
    with pytest.raises((TypeError, ValueError), match=r"tol=.*must be a number"):
        fit(tol=tol)


@pytest.mark.parametrize("stop", ["equal", "max-iter"])
def test_tol_is_refused_where_it_has_no_meaning(stop):
    with pytest.raises(ValueError, match=rf"tol=0.1 has no meaning with stop='{stop}'; leave"):
        fit(stop=stop, tol=0.1)
    with pytest.raises(ValueError, match="no meaning beside a stop object; set it on the object"):
        fit(stop=SecondStep(), tol=0.1)


def test_unknown_rules_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="stop='never' is not known; choose one of shift, shift"):
        fit(stop="never")
    with pytest.raises(TypeError, match=r"stop=3 must be a name or an object with a method fired"):
        fit(stop=3)
