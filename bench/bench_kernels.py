"""Every kernel on one preset: the whole fit, then each of the two steps alone.

Every row is certified before it is timed, and every timed round is compared with the certified
result bit for bit, outside the clock. A kernel without a certificate gets no number.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.table import Row
from kmeans_lab import KMeansResult, kmeans, load_kernel
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.certify import (
    Certificate,
    CertificateError,
    certify_assign,
    certify_fit,
    certify_update,
    fingerprint,
)
from kmeans_lab.presets import Workload
from kmeans_lab.workers import read_only

#: Seconds that the timed rounds of one row may take, and how many rounds at least and at most.
BUDGET, MIN_ROUNDS, MAX_ROUNDS = 1.0, 7, 50
#: A kernel slower than this gets one round; one that would take longer than LIMIT gets none.
ONE_ROUND, LIMIT = 2.0, 180.0

FIT, ASSIGN, UPDATE = "whole fit", "assign alone", "update alone"


@pytest.fixture(scope="session")
def reference_n_iter(workload: Workload, settings: dict[str, Any]) -> int:
    """Count the iterations of this preset: every kernel must take as many."""
    return kmeans(workload.X, workload.preset.n_clusters, kernel="numpy", **settings).n_iter


@pytest.fixture(scope="session")
def centered(workload: Workload) -> tuple[Any, Any]:
    """Return X and the starting centers as the driver hands them to a kernel."""
    middle, _ = middle_and_variance(workload.X)
    return read_only(workload.X - middle), read_only(workload.centers - middle)


@pytest.mark.benchmark(group=FIT)
def test_fit(
    benchmark: BenchmarkFixture,
    kernel_name: str,
    workload: Workload,
    settings: dict[str, Any],
    reference_n_iter: int,
    rows: list[Row],
) -> None:
    X, n_clusters = workload.X, workload.preset.n_clusters
    expected = estimate_assign(kernel_name, workload) * reference_n_iter * workload.preset.n_init
    if expected > LIMIT:
        too_slow(FIT, kernel_name, expected, rows)
    results: list[KMeansResult] = []

    def fit() -> None:
        results[:] = [kmeans(X, n_clusters, kernel=kernel_name, **settings)]

    def certify() -> Certificate:
        return certify_fit(X, n_clusters, settings, kernel_name, n_iter=reference_n_iter)

    def recheck(certificate: Certificate) -> None:
        certificate.recheck(results[0], X)

    measure(benchmark, FIT, kernel_name, rows, certify, results.clear, fit, recheck, expected)


@pytest.mark.benchmark(group=ASSIGN)
def test_assign(
    benchmark: BenchmarkFixture,
    kernel_name: str,
    workload: Workload,
    centered: tuple[Any, Any],
    rows: list[Row],
) -> None:
    expected = estimate_assign(kernel_name, workload)
    if expected > LIMIT:
        too_slow(ASSIGN, kernel_name, expected, rows)
    X, centers = centered
    kernel = load_kernel(kernel_name)
    given = prepared(kernel, X, len(centers))
    labels = np.empty(len(X), dtype=np.int32)
    inertia = [0.0]

    def poison() -> None:
        labels.fill(-7)
        inertia[0] = float("nan")

    def assign() -> None:
        inertia[0] = kernel.assign(given, centers, labels)

    def certify() -> "StepCertificate":
        before = fingerprint(X, centers)
        poison()
        assign()
        ties = certify_assign(X, centers, labels, inertia[0])
        return StepCertificate(before, ties, (labels.copy(), np.array(inertia)))

    def recheck(certificate: "StepCertificate") -> None:
        certificate.recheck(fingerprint(X, centers), (labels, np.array(inertia)))

    measure(benchmark, ASSIGN, kernel_name, rows, certify, poison, assign, recheck, expected)


@pytest.mark.benchmark(group=UPDATE)
def test_update(
    benchmark: BenchmarkFixture,
    kernel_name: str,
    workload: Workload,
    centered: tuple[Any, Any],
    rows: list[Row],
) -> None:
    X, centers = centered
    kernel = load_kernel(kernel_name)
    given = prepared(kernel, X, len(centers))
    labels = np.empty(len(X), dtype=np.int32)
    load_kernel("numpy").assign(X, centers, labels)
    sums, counts = np.zeros(centers.shape), np.zeros(len(centers), dtype=np.int64)

    def clear() -> None:
        sums.fill(0.0)
        counts.fill(0)

    def update() -> None:
        kernel.update(given, labels, sums, counts)

    def certify() -> "StepCertificate":
        before = fingerprint(X, labels)
        clear()
        update()
        certify_update(X, labels, sums, counts)
        return StepCertificate(before, 0, (sums.copy(), counts.copy()))

    def recheck(certificate: "StepCertificate") -> None:
        certificate.recheck(fingerprint(X, labels), (sums, counts))

    measure(benchmark, UPDATE, kernel_name, rows, certify, clear, update, recheck, 0.0)


class StepCertificate:
    """One step that was proved right: the hash of its inputs, its ties and its outputs."""

    def __init__(self, inputs: str, ties: int, outputs: tuple[Any, ...]) -> None:
        self.inputs, self.ties, self.outputs = inputs, ties, outputs

    def recheck(self, inputs: str, outputs: tuple[Any, ...]) -> None:
        """Raise unless these outputs equal the certified ones bit for bit."""
        if inputs != self.inputs:
            raise CertificateError("an input was modified")
        if not all(np.array_equal(a, b) for a, b in zip(outputs, self.outputs, strict=True)):
            raise CertificateError("a timed round gave another result than the certified one")


def measure(
    benchmark: BenchmarkFixture,
    group: str,
    name: str,
    rows: list[Row],
    certify: Callable[[], Any],
    setup: Callable[[], None],
    target: Callable[[], None],
    recheck: Callable[[Any], None],
    expected: float,
) -> None:
    """Certify, time, certify every round, and add the row to the lab's table."""
    try:
        certificate = certify()
        if expected <= ONE_ROUND:
            setup()
            once = timed(target)
            recheck(certificate)
            rounds = int(np.clip(BUDGET / once, MIN_ROUNDS, MAX_ROUNDS))
        else:
            rounds = 1
        benchmark.pedantic(
            target, setup=setup, teardown=lambda: recheck(certificate), rounds=rounds, iterations=1
        )
    except CertificateError as error:
        benchmark.has_error = True  # keeps the samples out of the plugin's table and JSON
        rows.append(Row(group, name, certificate=f"INVALID: {error}"))
        raise
    n_iter = certificate.result.n_iter if isinstance(certificate, Certificate) else None
    ties = certificate.ties
    text = f"valid, {ties} tie{'s' * (ties != 1)}" if ties else "valid"
    benchmark.extra_info |= {"kernel": name, "n_iter": n_iter, "certificate": text, "ties": ties}
    if benchmark.disabled:
        return
    rows.append(Row(group, name, benchmark.stats.stats.median, n_iter, text))


def timed(target: Callable[[], None]) -> float:
    """Return the seconds of one unpublished call, to choose the number of rounds."""
    start = perf_counter()
    target()
    return perf_counter() - start


def prepared(kernel: Any, X: Any, n_clusters: int) -> Any:
    """Return what the kernel's own ``prepare`` makes of X, or X."""
    return kernel.prepare(X, n_clusters, 1) if hasattr(kernel, "prepare") else X


def estimate_assign(name: str, workload: Workload) -> float:
    """Extrapolate the seconds of one assignment from a few rows."""
    X = read_only(workload.X[: max(1, min(len(workload.X), 200_000 // workload.centers.size))])
    centers = read_only(workload.centers)
    kernel = load_kernel(name)
    given = prepared(kernel, X, len(centers))
    labels = np.empty(len(X), dtype=np.int32)
    kernel.assign(given, centers, labels)  # compiles, where the kernel does that
    return timed(lambda: kernel.assign(given, centers, labels) and None) * len(workload.X) / len(X)


def too_slow(group: str, name: str, seconds: float, rows: list[Row]) -> None:
    """Skip a kernel that nobody would wait for, and say so in the table."""
    reason = f"skipped: would take about {seconds / 60:.0f} min"
    rows.append(Row(group, name, certificate=reason))
    pytest.skip(reason)
