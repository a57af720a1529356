"""The certificate rejects what it must: planted bad kernels, each with the right sentence."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans, load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.measure import certify
from kmeans_lab.measure.certify import certify_assign, certify_fit, certify_update, fingerprint
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.presets import PRESETS
from kmeans_lab.spec import KernelSpec
from tests.support.planted import GOOD, ROWS

BAD = {
    "stale labels": (
        """
def assign(rows, centers, labels):
    return good_assign(rows, centers, labels if labels[0] < 0 else [0] * len(labels))
""",
        r"iteration [23]: (row \d+ is not given its nearest|the fit returned the inertia)",
    ),
    "mutated X": (
        """
def assign(rows, centers, labels):
    inertia = good_assign(rows, centers, labels)
    rows.base.flags.writeable = True
    rows.base[0, 0] += 1e-13
    return inertia
""",
        "X was modified",
    ),
    "last row skipped": (
        """
def assign(rows, centers, labels):
    return good_assign(rows[:-1], centers, labels[:-1])
""",
        r"iteration 1: 1 labels are outside 0 … 7, the first in row 299",
    ),
    "last row not summed": (
        """
def update(rows, labels, sums, counts):
    good_update(rows[:-1], labels[:-1], sums, counts)
""",
        "iteration 2: the centers are not the means of their rows",
    ),
    "NaN inertia": (
        """
def assign(rows, centers, labels):
    return good_assign(rows, centers, labels) * float("nan")
""",
        "iteration 1: the fit returned the inertia nan",
    ),
    "NaN sums": (
        """
def update(rows, labels, sums, counts):
    good_update(rows, labels, sums, counts)
    sums[2, 1] = float("nan")
""",
        "iteration 2: the centers are not the means of their rows",
    ),
    "a silent call of the numpy kernel": (
        """
from kmeans_lab import _numpy_kernel
def assign(rows, centers, labels):
    return _numpy_kernel.assign(rows, centers, labels)
""",
        "code of kmeans_lab._numpy_kernel ran in place of planted_kernel",
    ),
    "another kernel under this name": (
        "from kmeans_lab._cpp_kernel import assign",
        "code of kmeans_lab._cpp_kernel ran in place of planted_kernel",
    ),
    "a silent call of NumPy": (
        """
def assign(rows, centers, labels):
    d = ((rows[:, None] - centers) ** 2).sum(axis=2)
    labels[:] = d.argmin(axis=1)
    return float(d.min(axis=1).sum())
""",
        "code of numpy ran in place of planted_kernel",
    ),
    "off by one in k": (
        """
def assign(rows, centers, labels):
    return good_assign(rows, centers[:-1], labels)
""",
        r"iteration 1: row \d+ is not given its nearest center",
    ),
    "last of the lowest on a tie": (
        """
def assign(rows, centers, labels):
    inertia = good_assign(rows, centers, labels)
    for i, x in enumerate(rows.tolist()):
        labels[i] = max(labels[i], 1)
    return inertia
""",
        r"iteration 1: row \d+ is not given its nearest center",
    ),
    "inertia of the distances, not their squares": (
        """
def assign(rows, centers, labels):
    return good_assign(rows, centers, labels) ** 0.5
""",
        "iteration 1: the fit returned the inertia",
    ),
}


def plant(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "planted_kernel.py").write_text(GOOD + source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "planted_kernel", raising=False)
    spec = KernelSpec(module="planted_kernel", summary="planted", remedy="", threading="gil")
    monkeypatch.setitem(KERNELS, "planted", spec)


def certify_small(name: str) -> Any:
    workload = PRESETS["smoke-wide"].load()
    return certify_fit(workload.X, workload.preset.n_clusters, workload.settings(), name)


def test_the_kernel_that_the_planted_ones_are_made_from_is_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("", tmp_path, monkeypatch)
    assert certify_small("planted").ties == 0


@pytest.mark.parametrize("fault", BAD)
def test_a_planted_fault_is_rejected_with_its_sentence(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sentence = BAD[fault]
    plant(source, tmp_path, monkeypatch)
    with pytest.raises(CertificateError, match=sentence):
        certify_small("planted")


#: What prepared rows say falsely, the settings where it matters, and the sentence.
FALSE = {
    "changed": (
        "changed = 0",
        {"init": "first", "stop": "labels"},
        "iteration 1: 0 labels are said to have changed, and 300 did",
    ),
    "greedy": (
        "greedy = lambda self, X, first, draws: [first] * (len(draws) + 1)",
        {"random_state": 3},
        "iteration 1: the start is not the one that k-means.. draws: center 1 is not row",
    ),
    "greedy, of several starts": (
        "greedy = lambda self, X, first, draws: [first] * (len(draws) + 1)",
        {"random_state": np.random.default_rng(3), "n_init": 2},
        "iteration 1: the start is not the one that k-means.. draws: center 1 is not row",
    ),
}


@pytest.mark.parametrize("told", FALSE)
def test_what_prepared_rows_say_is_judged(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, settings, sentence = FALSE[told]
    plant(ROWS.format(source), tmp_path, monkeypatch)
    workload = PRESETS["smoke-wide"].load()
    with pytest.raises(CertificateError, match=sentence):
        certify_fit(workload.X, workload.preset.n_clusters, {"max_iter": 2} | settings, "planted")


@pytest.mark.parametrize("empty", ["relocate", "random"])
@pytest.mark.parametrize("weighted", [False, True])
def test_starts_that_are_drawn_are_valid(empty: str, weighted: bool) -> None:
    X = np.random.default_rng(0).normal(100, 1, size=(400, 3))
    weights = np.linspace(0, 2, 400) if weighted else np.full(400, 3.0)
    settings = {"empty": empty, "sample_weight": weights, "n_init": 3, "max_iter": 4}
    for name in ("cpp", "cpp-simd"):
        if state_of(name)[0] != "unavailable":
            certify_fit(X, 7, {"random_state": 5, "stop": "labels", **settings}, name)


def test_a_fit_that_has_not_settled_is_not_stopped_by_labels() -> None:
    X = np.random.default_rng(1).normal(size=(300, 2))
    settings = {"init": "first", "stop": "labels", "tol": 0, "max_iter": 3}
    judge = certify._Judge(X, "relocate")
    result = kmeans(X, 6, kernel="cpp", callback=judge, **settings)
    judge.check_stop(result, settings)
    with pytest.raises(CertificateError, match=r"it says converged=True .* changed \d+ labels"):
        judge.check_stop(replace(result, converged=True, stop="labels"), settings)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("preset", ["smoke", "smoke-grid", "smoke-wide", "smoke-wide-f32"])
def test_every_kernel_is_certified_and_runs_the_same_again(name: str, preset: str) -> None:
    if state_of(name)[0] == "unavailable":
        pytest.skip(state_of(name)[1])
    workload = PRESETS[preset].load()
    k, settings = workload.preset.n_clusters, workload.settings()
    certificate = certify_fit(workload.X, k, settings, name)
    certificate.recheck(kmeans(workload.X, k, kernel=name, **settings), workload.X)


def test_one_iteration_fewer_is_rejected() -> None:
    workload = PRESETS["smoke-image"].load()
    settings = workload.settings()
    certificate = certify_fit(workload.X, 6, settings, "cpp", n_iter=5)
    fewer = kmeans(workload.X, 6, kernel="cpp", **(settings | {"max_iter": 4}))
    with pytest.raises(CertificateError, match="4 iterations in place of 5"):
        certificate.recheck(fewer, workload.X)
    with pytest.raises(CertificateError, match="5 iterations in place of 6"):
        certify_fit(workload.X, 6, settings, "cpp", n_iter=6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kernel": "numpy"}, "kernel 'numpy' ran in place of 'cpp'"),
        ({"labels": np.zeros(300, np.int32)}, "the labels differ"),
        ({"centers": np.full((8, 16), np.nan)}, "the centers differ"),
        ({"inertia": float("nan")}, "the inertia differs"),
    ],
)
def test_a_timed_round_with_another_result_is_rejected(
    change: dict[str, Any], sentence: str
) -> None:
    workload = PRESETS["smoke-wide"].load()
    certificate = certify_small("cpp")
    again = kmeans(workload.X, 8, kernel="cpp", **workload.settings())
    certificate.recheck(again, workload.X)
    with pytest.raises(CertificateError, match=sentence):
        certificate.recheck(replace(again, **change), workload.X)


def test_a_timed_round_on_modified_data_is_rejected() -> None:
    workload = PRESETS["smoke-wide"].load()
    certificate = certify_small("cpp")
    again = kmeans(workload.X, 8, kernel="cpp", **workload.settings())
    workload.X[3, 1] = np.nextafter(workload.X[3, 1], np.inf)
    with pytest.raises(CertificateError, match="X was modified"):
        certificate.recheck(again, workload.X)


def test_steps_alone_are_judged() -> None:
    workload = PRESETS["smoke"].load()
    X, centers = workload.X, workload.centers
    labels = np.empty(len(X), dtype=np.int32)
    inertia = load_kernel("cpp").assign(X, centers, labels)
    assert certify_assign(X, centers, labels, inertia) == 0
    with pytest.raises(CertificateError, match="assign returned the inertia"):
        certify_assign(X, centers, labels, inertia * 1.0001)
    sums, counts = np.zeros((5, 3)), np.zeros(5, dtype=np.int64)
    load_kernel("cpp").update(X, labels, sums, counts)
    certify_update(X, labels, sums, counts)
    with pytest.raises(CertificateError, match="the sums are not those"):
        certify_update(X, labels, sums * (1 + 1e-9), counts)
    with pytest.raises(CertificateError, match="the counts are not the sizes"):
        certify_update(X, labels, sums, counts + 1)


def test_a_tie_within_rounding_is_counted_and_a_wider_one_is_not_excused() -> None:
    centers = np.array([[0.0], [2.0]])
    labels = np.array([1], dtype=np.int32)
    assert certify_assign(np.array([[1.0 - 1e-16]]), centers, labels, 1.0) == 1
    with pytest.raises(CertificateError, match="row 0 is not given its nearest center"):
        certify_assign(np.array([[1.0 - 1e-12]]), centers, labels, 1.0)


def test_relocated_empty_clusters_are_expected_where_the_policy_puts_them() -> None:
    X = np.vstack([np.random.default_rng(0).normal(size=(60, 2)), [[50.0, 50.0]]])
    start = np.vstack([X[:3], [[1e3, 1e3]]])
    certificate = certify_fit(X, 4, {"init": start, "tol": 0.0}, "cpp")
    assert len(np.unique(certificate.result.labels)) == 4


def test_fingerprint_sees_the_last_bit() -> None:
    a = np.ones(3)
    b = a.copy()
    b[2] = np.nextafter(1.0, 2.0)
    assert fingerprint(a) == fingerprint(a.copy()) != fingerprint(b)
