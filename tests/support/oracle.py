"""The one oracle of all tests: what k-means has to answer, computed without rounding.

Rows and centers are floats, and every float is a fraction, so distances, sums and means are exact
(whole numbers are kept as ints, which Python computes with fastest). On data made of small whole
numbers every correct formulation, matrix products included, agrees with this oracle bit for bit.
For data where it cannot, ``count_ties`` judges labels and forgives true near-ties only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Exact = int | Fraction
Matrix = list[list[Exact]]
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pass:
    """One iteration of the reference loop, all exact."""

    centers: Matrix  # the rows were assigned to these
    labels: list[int]
    inertia: Exact
    gap: Exact | None  # smallest non-negative lead of a nearest center; None for a single one


def exact(values: Any) -> Any:
    """Return a vector or matrix of floats as nested lists of exact numbers."""
    if isinstance(values, (list, tuple, np.ndarray)):
        return [exact(value) for value in values]
    if isinstance(values, (int, Fraction)):
        return values
    value = float(values)
    return int(value) if value.is_integer() else Fraction(value)


def squared_distance(row: Sequence[Exact], center: Sequence[Exact]) -> Exact:
    return sum((x - c) * (x - c) for x, c in zip(row, center, strict=True))


def assign(rows: Any, centers: Any) -> tuple[list[int], Exact]:
    """Return the labels, lowest index on a tie, and the exact inertia."""
    rows, centers = exact(rows), exact(centers)
    labels: list[int] = []
    inertia: Exact = 0
    for row in rows:
        distances = [squared_distance(row, center) for center in centers]
        labels.append(distances.index(min(distances)))
        inertia += min(distances)
    return labels, inertia


def update(rows: Any, labels: Sequence[int], n_clusters: int) -> tuple[Matrix, list[int]]:
    """Return the exact sums and counts."""
    rows = exact(rows)
    sums: Matrix = [[0] * len(rows[0]) for _ in range(n_clusters)] if rows else []
    counts = [0] * n_clusters
    for row, label in zip(rows, labels, strict=True):
        sums[label] = [total + x for total, x in zip(sums[label], row, strict=True)]
        counts[label] += 1
    return sums, counts


def means(sums: Matrix, counts: Sequence[int], old: Matrix) -> Matrix:
    """Return the exact means; a cluster without rows keeps its old center."""
    return [
        [Fraction(total) / count for total in row] if count else center
        for row, count, center in zip(sums, counts, old, strict=True)
    ]


def smallest_gap(rows: Matrix, centers: Matrix) -> Exact | None:
    """Return the smallest lead that any row's nearest center has over the second nearest."""
    if len(centers) < 2:
        return None
    gaps = []
    for row in rows:
        first, second, *_ = sorted(squared_distance(row, center) for center in centers)
        gaps.append(second - first)
    return min(gaps)


def lloyd(rows: Any, centers: Any, max_iter: int = 100) -> list[Pass]:
    """Run the textbook loop until no center moves; return its passes, the last one included."""
    rows, centers = exact(rows), exact(centers)
    passes = []
    for _ in range(max_iter):
        labels, inertia = assign(rows, centers)
        passes.append(Pass(centers, labels, inertia, smallest_gap(rows, centers)))
        sums, counts = update(rows, labels, len(centers))
        moved = means(sums, counts, centers)
        if moved == centers:
            break
        centers = moved
    return passes


def distance_bound(rows: Array, centers: Array) -> NDArray[np.longdouble]:
    """Bound, per row, the rounding error of the difference of two squared distances.

    A sum of d products is computed to within d·u times the sum of their magnitudes (u = eps / 2,
    in any order of summation), so ‖x‖² − 2 x·c + ‖c‖² is off by at most (d + 2)·u·(‖x‖ + ‖c‖)²;
    direct differences are better. Two such distances are compared, hence eps instead of u.
    """
    n_features = rows.shape[1]
    eps = np.finfo(rows.dtype).eps
    row_norms = np.sqrt((rows.astype(np.longdouble) ** 2).sum(axis=1))
    center_norm = np.sqrt((centers.astype(np.longdouble) ** 2).sum(axis=1)).max()
    bound: NDArray[np.longdouble] = (n_features + 2) * eps * (row_norms + center_norm) ** 2
    return bound


def distances(rows: Array, centers: Array) -> NDArray[np.longdouble]:
    """Return all squared distances, from direct differences in long double."""
    wide = rows.astype(np.longdouble)
    columns = [((wide - center.astype(np.longdouble)) ** 2).sum(axis=1) for center in centers]
    return np.stack(columns, axis=1)


def count_ties(rows: Array, centers: Array, labels: Any) -> int:
    """Judge labels; return how many rows lie in a near-tie and got the other center.

    AssertionError names the first row whose center is farther than the nearest one by more than
    rounding explains, or whose label is no cluster at all.
    """
    assert len(labels) == len(rows), f"{len(labels)} labels for {len(rows)} rows"
    everything, bounds = distances(rows, centers), distance_bound(rows, centers)
    ties = 0
    for i, label in enumerate(np.asarray(labels).tolist()):
        assert 0 <= label < len(centers), f"row {i}: label {label} is no cluster"
        diff, tol = everything[i, label] - everything[i].min(), bounds[i]
        # In this form a NaN fails.
        assert diff <= tol, f"row {i}: label {label} is farther than the nearest center by {diff}"
        ties += bool(label != everything[i].argmin())
    return ties


def inertia(rows: Array, centers: Array, labels: NDArray[Any]) -> float:
    """Return the sum of squared distances to the chosen centers, from long doubles."""
    chosen = centers.astype(np.longdouble)[labels]
    return float(((rows.astype(np.longdouble) - chosen) ** 2).sum())


def inertia_bound(rows: Array, centers: Array) -> float:
    """Bound the rounding error of an inertia summed in float64 from distances in the dtype."""
    bound = distance_bound(rows, centers)
    return float(bound.sum() * (1 + len(rows) * np.finfo(np.float64).eps))
