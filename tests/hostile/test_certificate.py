"""The certificate errs neither way: right kernels are valid, and what is wrong is found.

Fits are drawn on data where rounding shows: grids of 0.1, whole numbers, columns of zeros, large
offsets, float32, weights, copies, far pairs. Planted faults are larger than the stated bound by
little, and smaller by little.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.measure import certify
from kmeans_lab.measure.certify import certify_assign, certify_fit, certify_some, certify_update
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.numerics.double_double import excess, sums_by_label
from kmeans_lab.result import Iteration

pytestmark = pytest.mark.hostile

U = 2.0**-53


def drawn(rng: np.random.Generator, kind: str, n: int, d: int) -> Any:
    """Draw rows (n, d) of a kind that rounding is hard on."""
    if kind == "grid of 0.1":
        return rng.integers(-9, 10, (n, d)) * 0.1
    if kind == "whole numbers":
        return rng.integers(-20, 21, (n, d)).astype(float)
    if kind == "a column of zeros":
        X = rng.choice([-0.7, -0.1, 0.1, 0.7, 1.3], (n, d))
        X[:, rng.integers(d)] = 0
        return X
    if kind == "offset":
        return rng.normal(size=(n, d)) + 1e8
    if kind == "grid far away":
        return rng.integers(0, 10, (n, d)) * 0.1 + 10.0 ** rng.integers(1, 9)
    if kind == "copies":
        return rng.normal(size=(5, d))[rng.integers(5, size=n)]
    if kind == "cancelling":
        return rng.choice([-0.3, -0.1, 0.1, 0.3], (n, d)) * 10.0 ** rng.integers(-9, 9)
    if kind == "far pairs":
        far = rng.choice([-1e9, 1e9], (n, 1)) + rng.choice([0.0, 10.0], (n, d))
        return far + rng.normal(size=(n, d))
    return rng.normal(size=(n, d)) * 10.0 ** rng.integers(-90, 90)


KINDS = (
    "grid of 0.1",
    "whole numbers",
    "a column of zeros",
    "offset",
    "grid far away",
    "copies",
    "cancelling",
    "far pairs",
    "normal",
)


def fits(seed: int, kind: str, count: int) -> Iterator[tuple[Any, int, dict[str, Any]]]:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    for _ in range(count):
        n, d = int(rng.integers(5, 120)), int(rng.integers(1, 6))
        X, k = drawn(rng, kind, n, d), int(rng.integers(1, min(n, 9)))
        single = rng.random() < 0.3 and kind != "normal"
        weights = rng.choice([0.1, 1, 2, 1e6], n) if rng.random() < 0.3 else None
        options = {
            "random_state": int(rng.integers(10**9)),
            "tol": 0.0,
            "max_iter": int(rng.integers(1, 5)),
            "empty": str(rng.choice(["relocate", "keep", "random"])),
            "sample_weight": weights,
        }
        yield X.astype("float32") if single else X, k, options


def judge_right(kernel: str, kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "find_foreign_code", lambda *arguments: None)
    for X, k, options in fits(0, kind, count):
        certify_fit(X, k, options, kernel)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.kernels("python", "cpp", "cpp-simd")
def test_no_right_kernel_is_called_wrong(
    kernel_name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_right(kernel_name, kind, 15, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_thousands_of_fits_none_is_called_wrong(
    kernel_name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (kernel_name, kind) == ("numpy", "far pairs"):  # its expansion loses them, and is found out
        with pytest.raises(CertificateError, match="is not given its nearest center"):
            judge_right(kernel_name, kind, 100, monkeypatch)
        return
    judge_right(kernel_name, kind, 100, monkeypatch)


def test_many_equal_rows_are_no_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a million copies of 0.1 is off by far more than one addition is."""
    monkeypatch.setattr(certify, "find_foreign_code", lambda *arguments: None)
    rng = np.random.default_rng(1)
    X = rng.choice([-0.7, -0.1, 0.1, 0.7, 1.3], (100_000, 2))
    start = np.unique(X, axis=0)[::7][:4]
    for name in ("numpy", "cpp", "cpp-simd"):
        certify_fit(X, 4, {"init": start, "tol": 0.0, "max_iter": 4}, name)


def far_pairs() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    start = np.array([[-1e9, 0], [-1e9 + 10, 0], [1e9, 0], [1e9 + 10, 0]])
    return start[rng.integers(4, size=4000)] + rng.normal(size=(4000, 2)), start


def test_an_expansion_that_loses_far_pairs_is_found() -> None:
    X, start = far_pairs()
    options = {"init": start, "tol": 0.0, "max_iter": 3}
    with pytest.raises(CertificateError, match="row 4 is not given its nearest center: 0 is far"):
        certify_fit(X, 4, options, "numpy")
    assert certify_fit(X, 4, options, "cpp").ties == 0
    fit = kmeans(X, 4, kernel="numpy", **options)
    with pytest.raises(CertificateError, match="is not given its nearest center"):
        certify_some(X, fit, np.arange(50))


def exact_lead(x: Any, a: Any, b: Any) -> Fraction:
    """Return ‖x − a‖² − ‖x − b‖², exactly."""
    return sum(
        (
            (Fraction(p) - Fraction(q)) ** 2 - (Fraction(p) - Fraction(r)) ** 2
            for p, q, r in zip(x.tolist(), a.tolist(), b.tolist(), strict=True)
        ),
        Fraction(0),
    )


def test_leads_have_twice_the_digits() -> None:
    rng = np.random.default_rng(2)
    for d in (1, 2, 3, 7):
        x = rng.normal(size=(40, d)) * 10.0 ** rng.integers(-9, 10, (40, d))
        a = x + rng.normal(size=(40, d))
        b = a + rng.normal(size=(40, d)) * 10.0 ** -rng.integers(0, 17, (40, d))
        for i, found in enumerate(excess(x, a, b).tolist()):
            exact = exact_lead(x[i], a[i], b[i])
            size = exact_lead(x[i], a[i], x[i]) + exact_lead(x[i], b[i], x[i])
            assert abs(Fraction(found) - exact) <= abs(exact) / 2**52 + size / 2**96


def test_sums_have_twice_the_digits() -> None:
    rng = np.random.default_rng(3)
    for spread in (3, 30, 150):
        values = rng.normal(size=900) * 10.0 ** rng.integers(-spread, spread, 900)
        labels = rng.integers(0, 4, 900)
        high, low, size = sums_by_label(values, labels, 5)
        assert (high[4], low[4], size[4]) == (0, 0, 0)
        for j in range(4):
            exact = sum(map(Fraction, values[labels == j].tolist()), Fraction(0))
            error = abs(Fraction(high[j].item()) + Fraction(low[j].item()) - exact)
            assert error <= Fraction(size[j].item()) / 2**90


def test_a_label_is_wrong_just_beyond_the_bound_and_a_tie_just_within(dtype: str) -> None:
    u = float(np.finfo(dtype).eps) / 2
    rng = np.random.default_rng(4)
    found = set()
    for _ in range(400):
        d = int(rng.integers(1, 5))
        centers = rng.normal(size=(2, d)).astype(dtype)
        middle = (centers[0].astype(float) + centers[1]) / 2
        away = rng.normal() * u * 10.0 ** rng.integers(0, 3)
        x = (middle + away * (centers[1].astype(float) - centers[0])).astype(dtype)[None]
        wide, point = centers.astype(float), x[0].astype(float)
        mine, other = ((point - wide) ** 2).sum(axis=1)
        moved = u * (abs(point) + 3 * abs(wide))
        bound = (d + 4) * u * (mine + other)
        bound += ((2 * abs(point - wide) + moved) * moved).sum()
        lead = float(exact_lead(point, wide[0], wide[1]))
        if abs(lead / bound - 1) < 1e-3:
            continue
        labels = np.zeros(1, np.int32)
        if lead > bound:
            with pytest.raises(CertificateError, match="row 0 is not given its nearest center"):
                certify_assign(x, centers, labels, mine)
        else:
            assert certify_assign(x, centers, labels, mine) == (lead > 0)
        found.add(sum(map(bool, (lead > 0, lead > bound, bound < lead < 3 * bound))))
    assert found == {0, 1, 2, 3}


def test_ties_are_counted_by_unrounded_differences() -> None:
    rng = np.random.default_rng(8)
    centers = rng.normal(size=(2, 8))
    across = centers[1] - centers[0]
    X = rng.normal(size=(300, 8))
    X -= np.outer((X - centers.mean(axis=0)) @ across / (across @ across), across)  # halfway
    leads = [exact_lead(x, *centers) for x in X]
    labels = np.zeros(300, np.int32)
    inertia = float(((X - centers[0]) ** 2).sum())
    assert certify_assign(X, centers, labels, inertia) == sum(lead > 0 for lead in leads)


def judged(X: Any, weights: Any = None) -> tuple[Any, Any]:
    """Return a judge that has seen one iteration of a right fit, and the fit's next centers."""
    judge, steps = certify._Judge(X, "relocate", weights), []
    options = {"init": X[:3], "tol": 0.0, "max_iter": 2, "sample_weight": weights}
    kmeans(X, 3, kernel="cpp", callback=steps.append, **options)
    judge(steps[0])
    return judge, steps[1]


def altered(step: Iteration, centers: Any) -> Iteration:
    return Iteration(2, centers, step.labels, step.inertia, step.changed)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS[:7])
def test_a_center_just_beyond_its_bound_is_found(kind: str, weighted: bool) -> None:
    rng = np.random.default_rng(5)
    X = drawn(rng, kind, 60, 3)
    X[:3] = np.unique(X, axis=0)[:3]
    weights = np.ldexp(rng.integers(1, 9, 60), -4).astype(float) if weighted else None
    judge, step = judged(X, weights)
    judge._judge(step.centers, step.labels, step.inertia)
    for j, f in np.ndindex(3, 3):
        own = abs(step.centers[j, f])
        spread = abs(X - judge.middle).max(axis=0)[f]
        # 60 rows: adding, multiplying and dividing, and what the dtype holds.
        moved = step.centers.copy()
        moved[j, f] += 140 * U * spread + 8 * U * (own + spread) + 1e-300
        with pytest.raises(CertificateError, match=f"center {j}, feature {f}, is"):
            judge._judge(moved, step.labels, step.inertia)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_column_of_zeros_has_a_mean_of_zero(weighted: bool) -> None:
    X = np.random.default_rng(6).normal(size=(50, 2))
    X[:, 1] = 0
    weights = np.linspace(0.1, 0.9, 50) if weighted else None
    judge, step = judged(X, weights)
    judge._judge(step.centers, step.labels, step.inertia)
    moved = step.centers.copy()
    moved[1, 1] = 1e-30
    with pytest.raises(CertificateError, match="center 1, feature 1, is 1e-30"):
        judge._judge(moved, step.labels, step.inertia)


@pytest.mark.parametrize("n", [40, 3000])
def test_the_inertia_of_a_result_is_held_to_direct_differences(n: int) -> None:
    rng = np.random.default_rng(7)
    X = np.vstack([rng.normal(size=(n, 2)) * 1e-4 + at for at in (-1.0, 1.0)])
    judge, steps = certify._Judge(X, "relocate"), []
    fit = kmeans(X, 2, init=X[[0, n]], tol=0.0, kernel="cpp", callback=steps.append)
    judge.check_end(fit)
    off = 1 + (5 * n + 80) * U  # 2n rows in two features
    for step in (off, 2 - off):
        wrong = Iteration(1, fit.centers, fit.labels, fit.inertia * step, 0)
        with pytest.raises(CertificateError, match="the fit returned the inertia"):
            judge._judge(wrong.centers, wrong.labels, wrong.inertia)
    judge._judge(fit.centers, fit.labels, fit.inertia * (1 + n * U))
    with pytest.raises(CertificateError, match="the fit returned the inertia nan"):
        judge._judge(fit.centers, fit.labels, float("nan"))


def test_nothing_that_is_not_a_number_passes() -> None:
    X, centers = np.ones((4, 2)), np.array([[1.0, 1.0], [2.0, 2.0]])
    labels = np.zeros(4, np.int32)
    assert certify_assign(X, centers, labels, 0.0) == 0
    for j, bad in ((0, np.nan), (1, np.nan), (0, np.inf), (0, -np.inf)):
        wrong = centers.copy()
        wrong[j, 1] = bad
        with pytest.raises(CertificateError, match="row 0 is not given its nearest center"):
            certify_assign(X, wrong, labels, 0.0)
    sums, counts = np.array([[4.0, np.nan], [0.0, 0.0]]), np.array([4, 0])
    with pytest.raises(CertificateError, match="the sums are not those"):
        certify_update(X, labels, sums, counts)


def test_a_sum_just_beyond_its_bound_is_found() -> None:
    X = np.full((1000, 1), 0.1)
    labels, counts = np.zeros(1000, np.int32), np.array([1000])
    exact = float(1000 * Fraction(0.1))
    bound = 1008 * U * exact
    for off in (-0.99 * bound, 0.99 * bound):
        certify_update(X, labels, np.array([[exact + off]]), counts)
    for off in (-1.01 * bound, 1.01 * bound):
        with pytest.raises(CertificateError, match="where rounding in float64 explains"):
            certify_update(X, labels, np.array([[exact + off]]), counts)
