"""Tests of a kernel against the contract, each of which explains in words what is wrong.

On small whole numbers every correct formulation is exact, so expected answers are computed in
whole numbers and compared bit for bit; where numbers are rounded, the certificate judges, which
forgives true near-ties only. ``kmeans-lab check`` runs them all on a kernel, wherever it is stored.
The kernel runs in a process of its own, and is judged in this one.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec as module_spec
from typing import Any

import numpy as np

from kmeans_lab.kernel import Fused, read_only
from kmeans_lab.measure.calibration import prepared
from kmeans_lab.measure.certify import certify_assign, certify_fit, certify_update
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.numerics.whole_numbers import (
    POISON,
    Wrong,
    cases,
    compare_labels,
    compare_sums,
    exact,
    exact_sums,
    whole,
)
from kmeans_lab.presets import find_preset
from kmeans_lab.registry import find_spec
from kmeans_lab.result import KMeansResult
from kmeans_lab.seeding import greedy_draws, greedy_rows

#: A preset that is cut into two chunks.
_TWO_CHUNKS = "blobs-5000-3-4"

#: Shapes for a kernel that passes all other tests.
MANY = ((65_537, 3, 5), (1_000_003, 1, 2))


def _labels_are_nearest(name: str, kernel: Any) -> None:
    for what, rows, centers in cases(name):
        labels = np.full(len(rows), POISON, np.int32)
        kernel.assign(prepared(kernel, rows, len(centers)), centers, labels)
        compare_labels(what, labels, exact(rows, centers)[0])


def _inertia_is_exact(name: str, kernel: Any) -> None:
    for what, rows, centers in cases(name):
        labels = np.empty(len(rows), np.int32)
        found = kernel.assign(prepared(kernel, rows, len(centers)), centers, labels)
        if not isinstance(found, float):
            raise Wrong(f"{what}: assign returned {found!r} and must return a float")
        expected = exact(rows, centers)[1]
        if not found == expected:
            raise Wrong(
                f"{what}: assign returned the inertia {found!r} and the sum of squared distances "
                f"is {expected}"
            )


def _ties_go_to_the_lowest(name: str, kernel: Any) -> None:
    for dtype in find_spec(name).dtypes:
        rows = np.array([[4.0 * i + 2, 1] for i in range(20)], dtype)
        centers = np.array([[4.0 * j, 1] for j in range(21)] * 4, dtype)
        labels = np.full(20, POISON, np.int32)
        kernel.assign(prepared(kernel, read_only(rows), 84), read_only(centers), labels)
        compare_labels(f"rows halfway between centers, {dtype}", labels, list(range(20)))


def _sums_are_added(name: str, kernel: Any) -> None:
    for what, rows, centers in cases(name):
        k = len(centers)
        labels = exact(rows, centers)[0]
        sums, counts = np.full(centers.shape, 1000.0), np.full(k, 500)
        given = np.array(labels, np.int32)
        given.flags.writeable = False
        kernel.update(prepared(kernel, rows, k), given, sums, counts)
        expected = exact_sums(rows, labels, k)
        compare_sums(what, sums - 1000, counts - 500, expected, "update, which adds,")


def _parts_add_up(name: str, kernel: Any) -> None:
    rows, centers = (
        read_only(whole(3, (90, 7), "float64")),
        read_only(whole(4, (6, 7), "float64")),
    )
    labels, inertia = exact(rows, centers)
    for cut in (1, 31, 64, 89):
        sums, counts, total = np.zeros((6, 7)), np.zeros(6, np.int64), 0.0
        for part, own in ((rows[:cut], labels[:cut]), (rows[cut:], labels[cut:])):
            found = np.empty(len(part), np.int32)
            total += kernel.assign(prepared(kernel, part, 6), centers, found)
            given: Any = read_only(np.array(own, np.int32))
            kernel.update(prepared(kernel, part, 6), given, sums, counts)
        who = "update of two parts"
        compare_sums(f"rows cut at {cut}", sums, counts, exact_sums(rows, labels, 6), who)
        if total != inertia:
            raise Wrong(f"rows cut at {cut}: two parts have inertia {total}, the whole {inertia}")


def _inputs_stay(name: str, kernel: Any) -> None:
    for dtype in find_spec(name).dtypes:
        inputs = whole(5, (60, 5), dtype), whole(6, (7, 5), dtype)
        labels = np.array(exact(*inputs)[0], np.int32)
        copies = [array.copy() for array in (*inputs, labels)]
        kernel.assign(prepared(kernel, inputs[0], 7), inputs[1], np.empty(60, np.int32))
        sums, counts = np.zeros((7, 5)), np.zeros(7, np.int64)
        kernel.update(prepared(kernel, inputs[0], 7), labels, sums, counts)
        for what, array, copy in zip(
            ("rows", "centers", "update's labels"), (*inputs, labels), copies, strict=True
        ):
            if not np.array_equal(array, copy):
                raise Wrong(
                    f"it changed its {what}, {dtype}; inputs belong to the caller "
                    f"({np.count_nonzero(array != copy)} of {copy.size} values changed)"
                )


def _steps_follow(name: str, kernel: Any) -> None:
    """Call assign_update as the driver does: one ``prepare``, previous labels, moving centers."""
    if not isinstance(kernel, Fused):
        return
    for n in (230, 4_500):
        rows = read_only(whole(7, (n, 4), "float64"))
        given, labels = prepared(kernel, rows, 9), np.full(n, -1, np.int32)
        for step, seed in enumerate((0, 1, 1, 2)):
            centers = read_only(whole(seed, (9, 4), "float64"))
            sums, counts = np.zeros((9, 4)), np.zeros(9, np.int64)
            found = kernel.assign_update(given, centers, labels, sums, counts)
            expected, inertia = exact(rows, centers)
            what = f"step {step + 1} of assign_update, {n} rows"
            compare_labels(what, labels, expected)
            compare_sums(what, sums, counts, exact_sums(rows, expected, 9), "it")
            if not found == inertia:
                raise Wrong(f"{what}: it returned the inertia {found!r} and the sum is {inertia}")


def _changes_are_counted(name: str, kernel: Any) -> None:
    """Compare the count of changed labels after each pass, if the prepared rows report one."""
    for n in (230, 4_500):
        rows = read_only(whole(7, (n, 4), "float64"))
        given, labels, before = prepared(kernel, rows, 9), np.full(n, -1, np.int32), [-1] * n
        if "changed" not in getattr(given, "tells", ()):
            return
        for step, seed in enumerate((0, 1, 1, 2)):
            centers = read_only(whole(seed, (9, 4), "float64"))
            sums, counts = np.zeros((9, 4)), np.zeros(9, np.int64)
            if hasattr(kernel, "assign_update"):
                kernel.assign_update(given, centers, labels, sums, counts)
            else:
                kernel.assign(given, centers, labels)
                kernel.update(given, labels, sums, counts)
            now = exact(rows, centers)[0]
            changed, before = sum(a != b for a, b in zip(now, before, strict=True)), now
            if (found := given.changed()) != changed:
                raise Wrong(
                    f"step {step + 1} of a fit, {n} rows: its prepared rows say that {found} "
                    f"labels changed, and {changed} did; the stop rule 'labels' relies on it"
                )


def _starts_are_drawn(name: str, kernel: Any) -> None:
    """Compare draws on whole numbers, where the first candidate wins ties, and on rounded ones."""
    rng = np.random.default_rng(10)
    for dtype in find_spec(name).dtypes:
        for rows in (whole(11, (300, 3), dtype), rng.normal(size=(501, 5)).astype(dtype)):
            given = prepared(kernel, read_only(rows), 12)
            if "greedy" not in getattr(given, "tells", ()):
                return
            first, draws = greedy_draws(len(rows), 12, rng)
            found, expected = given.greedy(first, draws), greedy_rows(rows, first, draws)
            if found != expected:
                raise Wrong(
                    f"{len(rows)} rows, {dtype}: greedy of its prepared rows chose {found} and "
                    f"k-means++ chooses {expected} (kmeans_lab.seeding.greedy_rows)"
                )


def many_rows(name: str, kernel: Any) -> None:
    """Test both steps on more rows than any tile or chunk has."""
    for n, d, k in MANY:
        what = f"{n:,} × {d} float64, k = {k}"
        rows = read_only(whole(n, (n, d), "float64"))
        centers = read_only(whole(k, (k, d), "float64"))
        given, labels = prepared(kernel, rows, k), np.full(n, POISON, np.int32)
        found = kernel.assign(given, centers, labels)
        expected, inertia = exact(rows, centers)
        compare_labels(what, labels, expected)
        if not found == inertia:
            raise Wrong(f"{what}: assign returned the inertia {found!r} and the sum is {inertia}")
        sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
        kernel.update(given, labels, sums, counts)
        compare_sums(what, sums, counts, exact_sums(rows, expected, k), "update")


def _rounding_is_judged(name: str, kernel: Any) -> None:
    rng = np.random.default_rng(8)
    for dtype in find_spec(name).dtypes:
        for n, d, k in ((501, 10, 25), (300, 33, 9), (400, 2, 64)):
            rows = read_only(rng.normal(size=(n, d)).astype(dtype))
            centers = read_only(rows[:k] + rows[k : 2 * k] / 8)
            labels = np.empty(n, np.int32)
            found = kernel.assign(prepared(kernel, rows, k), centers, labels)
            certify_assign(rows, centers, labels, found)
            sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
            kernel.update(prepared(kernel, rows, k), labels, sums, counts)
            certify_update(rows, labels, sums, counts)


def _it_repeats_itself(name: str, kernel: Any) -> None:
    counts = (1, 1, 2, 3) if find_spec(name).threading == "own" else (1, 1)
    for preset in ("smoke-wide", _TWO_CHUNKS):
        workload = find_preset(preset).load()
        k = workload.preset.n_clusters
        first = None
        for n_threads in counts:
            settings = workload.settings() | {"max_iter": 3, "n_threads": n_threads}
            fit = kernel.child.fit(workload.X, k, **settings)
            if first is not None:
                _compare_fits(fit, first, n_threads)
            first = fit


def _compare_fits(fit: KMeansResult, first: KMeansResult, n_threads: int) -> None:
    found = [
        f"{np.count_nonzero(ours != theirs)} {what}"
        for what, ours, theirs in (
            ("labels", fit.labels, first.labels),
            ("coordinates of centers", fit.centers, first.centers),
        )
        if ours.tobytes() != theirs.tobytes()
    ]
    if fit.inertia != first.inertia:
        found.append(f"the inertia, {fit.inertia!r} in place of {first.inertia!r}")
    if found:
        raise Wrong(
            f"a second fit, with {n_threads} thread{'s' * (n_threads > 1)}, gave other "
            f"bits ({', '.join(found)}); results must not depend on the run or on threads"
        )


def _it_computes_itself(name: str, kernel: Any) -> None:
    foreign = kernel.child.foreign_code(whole(9, (200, 5), "float64"))
    foreign = foreign or kernel.child.foreign_library()
    if foreign is not None:
        raise Wrong(
            f"code of {foreign} ran in place of its own; a kernel that is made of {foreign} says "
            "so in the requires of its KernelSpec"
        )


def _fits_are_certified(name: str, kernel: Any) -> None:
    _certify(name, kernel, ("smoke", "smoke-grid", "smoke-wide", "smoke-wide-f32", _TWO_CHUNKS))


def _certify(name: str, kernel: Any, presets: Sequence[str]) -> None:
    for preset in presets:
        workload = find_preset(preset).load()
        if workload.preset.dtype not in find_spec(name).dtypes:
            continue
        try:
            settings = workload.settings() | {"max_iter": 5}
            certify_fit(workload.X, workload.preset.n_clusters, settings, name, child=kernel.child)
        except CertificateError as error:
            raise Wrong(f"preset {preset}, {error}") from None


def _sparse_fits_are_certified(name: str, kernel: Any) -> None:
    """Judge its module for sparse rows, if it has one; without SciPy nobody has such rows."""
    if not find_spec(name).sparse or module_spec("scipy") is None:
        return
    kernel.child.describe(sparse=True)
    _certify(name, kernel, ("smoke-text", "smoke-text-f32"))


#: The tests of a kernel; each is given its name and a ``RemoteKernel``.
QUESTIONS: dict[str, Callable[[str, Any], None]] = {
    "every row gets its nearest center": _labels_are_nearest,
    "ties go to the lowest index": _ties_go_to_the_lowest,
    "assign returns the inertia": _inertia_is_exact,
    "update adds to sums and counts": _sums_are_added,
    "parts add up to the whole": _parts_add_up,
    "inputs stay as they are": _inputs_stay,
    "assign_update does both": _steps_follow,
    "changed counts labels": _changes_are_counted,
    "greedy chooses as k-means++": _starts_are_drawn,
    "rounded numbers stay within rounding": _rounding_is_judged,
    "it repeats itself, bit for bit": _it_repeats_itself,
    "its own code computes": _it_computes_itself,
    "whole fits are certified": _fits_are_certified,
    "fits of sparse rows are certified": _sparse_fits_are_certified,
}
