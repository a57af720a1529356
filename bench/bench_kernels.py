"""Every kernel on one preset: the whole fit, then each of the two steps alone.

Whole fits are those of ``kmeans-lab bench``: paired rounds, whose samples are played back to
pytest-benchmark. Every row is certified before it is timed, and every timed round is compared with
the certified result bit for bit, outside the clock. A kernel without a certificate gets no number.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.table import Row
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.formatting import duration
from kmeans_lab.kernel import read_only
from kmeans_lab.measure.calibration import prepared, seconds_of_assign
from kmeans_lab.measure.certify import certify_assign, certify_update, fingerprint, in_words
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.presets import Workload
from kmeans_lab.registry import find_spec, load_for

#: Seconds that the timed rounds of one row may take, and how many rounds at least and at most.
BUDGET, MIN_ROUNDS, MAX_ROUNDS = 1.0, 7, 50
#: A kernel slower than this gets one round; one that would take longer than LIMIT gets none.
ONE_ROUND, LIMIT = 2.0, 180.0

FIT, ASSIGN, UPDATE = "whole fit", "assign alone", "update alone"


@pytest.fixture(scope="session")
def centered(workload: Workload) -> tuple[Any, Any]:
    """Return X and the starting centers as the driver hands them to a kernel."""
    if workload.preset.sparse:  # such rows are never centered
        return workload.X, read_only(workload.centers)
    middle, _ = middle_and_variance(workload.X)
    return read_only(workload.X - middle), read_only(workload.centers - middle)


class Playback:
    """A clock that plays back earlier measurements: two readings of it are one sample apart."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds: Iterator[float] = iter(())

    def __call__(self) -> float:
        """Return the beginning of a sample, then its end."""
        self.now += next(self.seconds, 0.0)
        return self.now


@pytest.fixture
def playback(request: pytest.FixtureRequest) -> Playback:
    """Give this test's benchmark a clock that plays back."""
    clock = Playback()
    # Before the marker of the function: the plugin reads the first one alone.
    request.node.add_marker(pytest.mark.benchmark(group=FIT, timer=clock), append=False)
    return clock


@pytest.mark.benchmark(group=FIT)
def test_fit(
    playback: Playback,
    kernel_name: str,
    benchmark: BenchmarkFixture,
    paired: PairedRun,
) -> None:
    it = paired.find(kernel_name)
    if it.state == "left out":
        pytest.skip(it.why)  # too slow; the lab's table has the row and the reason
    if it.certificate is None or not it.seconds:
        benchmark.has_error = True  # keeps it out of the plugin's table and JSON
        raise CertificateError(f"{it.state}: {it.why}")
    playback.seconds = chain.from_iterable((0.0, seconds) for seconds in it.seconds)
    benchmark.pedantic(lambda: None, rounds=len(it.seconds), iterations=1)
    n_iter, ties = it.certificate.result.n_iter, it.certificate.ties
    text = in_words(ties)
    extra = {"kernel": kernel_name, "n_iter": n_iter, "certificate": text, "ties": ties}
    benchmark.extra_info |= extra


@pytest.mark.benchmark(group=ASSIGN)
def test_assign(
    benchmark: BenchmarkFixture,
    kernel_name: str,
    workload: Workload,
    centered: tuple[Any, Any],
    rows: list[Row],
) -> None:
    leave_out(ASSIGN, kernel_name, workload, rows)
    expected = seconds_of_assign(kernel_name, workload)
    if expected > LIMIT:
        too_slow(ASSIGN, kernel_name, expected, rows)
    X, centers = centered
    kernel, _ = load_for(kernel_name, sparse=workload.preset.sparse)
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
    leave_out(UPDATE, kernel_name, workload, rows)
    X, centers = centered
    kernel, _ = load_for(kernel_name, sparse=workload.preset.sparse)
    given = prepared(kernel, X, len(centers))
    labels = np.empty(len(X), dtype=np.int32)
    load_for("numpy", sparse=workload.preset.sparse)[0].assign(X, centers, labels)
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
    text = in_words(certificate.ties)
    benchmark.extra_info |= {"kernel": name, "certificate": text, "ties": certificate.ties}
    if benchmark.disabled:
        return
    assert benchmark.stats is not None  # it ran
    rows.append(Row(group, name, benchmark.stats.stats.median, text))


def timed(target: Callable[[], None]) -> float:
    """Return the seconds of one unpublished call, to choose the number of rounds."""
    start = perf_counter()
    target()
    return perf_counter() - start


def leave_out(group: str, name: str, workload: Workload, rows: list[Row]) -> None:
    """Skip a kernel that takes other rows, and note this in the table."""
    if workload.preset.sparse and not find_spec(name).sparse:
        reason = "left out: it takes no sparse rows"
        rows.append(Row(group, name, certificate=reason))
        pytest.skip(reason)


def too_slow(group: str, name: str, seconds: float, rows: list[Row]) -> None:
    """Skip a kernel that would take too long, and note this in the table."""
    reason = f"skipped: would take about {duration(seconds)}"
    rows.append(Row(group, name, certificate=reason))
    pytest.skip(reason)
