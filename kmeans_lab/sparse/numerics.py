"""Distances, inertia and variances of sparse rows, in NumPy.

A row has few values and a center has all of them, so that a squared distance is taken in two parts:

    ‖x − c‖² = Σ (x_f − c_f)² over the features that the row stores + ‖c‖² − Σ c_f² over these

The second part is what the center has elsewhere. Where both have the same places its two terms are
the same sum, and it vanishes without rounding: rows that lie on their center are no distance away.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import first_ready
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.double_double import sums_by_label, two_product
from kmeans_lab.registry import PROVIDERS, load_sparse
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]

#: A variance of less than this share of the squared mean leaves a squared distance 20 of its 53
#: binary digits.
_FAR_AWAY = 2.0**-33
_NOISE = 2.0**-46  # a share of the squared mean that rounding alone may leave of a variance


def own_squares(
    rows: SparseRows, centers: Array, labels: NDArray[np.integer]
) -> Iterator[tuple[slice, SparseRows, Floats]]:
    """Yield slices of rows, these rows, and their squared distances to their centers.

    The error is less than 10⁻¹⁵ of the distance itself for each value of a row. Of a row that has
    half of its center's square or more, sums are compensated, or else the difference would lose it.
    """
    norms = np.array([np.add.reduce(np.square(it, dtype=np.float64)) for it in centers])
    exact, lost = np.full((2, len(centers)), np.nan)
    for part, block in rows.blocks():
        (values, columns), owners = block.stored(), block.owners()
        mine = labels[part]
        theirs = centers[mine[owners], columns].astype(np.float64)
        apart = values - theirs
        apart *= apart
        elsewhere = norms[mine] - _added(owners, theirs * theirs, len(block))
        near = np.flatnonzero(~(elsewhere > norms[mine] / 2))
        if len(near):
            wanted = np.unique(mine[near][np.isnan(exact[mine[near]])])
            exact[wanted], lost[wanted] = squared_norms(centers[wanted])
            high, low = _shared_squares(block.take(near), centers, mine[near])
            elsewhere[near] = (exact[mine[near]] - high) + (lost[mine[near]] - low)
        yield part, block, _added(owners, apart, len(block)) + np.maximum(elsewhere, 0)


def _shared_squares(
    rows: SparseRows, centers: Array, labels: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return what centers have, squared, where their rows store something, as two doubles."""
    owners = rows.owners()
    theirs = centers[labels[owners], rows.stored()[1]].astype(np.float64)
    square, rest = two_product(theirs, theirs)
    high, low, _ = sums_by_label(square, owners, len(rows))
    low += _added(owners, rest, len(rows))
    return high, low


def plain_squares(rows: SparseRows, centers: Array, labels: NDArray[np.integer]) -> Floats:
    """Return the squared distance of each row to its center, as ``squared_distances`` does."""
    norms = np.array([_one_by_one(np.square(it, dtype=np.float64)) for it in centers])
    found = np.empty(len(rows))
    for part, block in rows.blocks():
        (values, columns), owners = block.stored(), block.owners()
        mine = labels[part]
        theirs = centers[mine[owners], columns].astype(np.float64)
        apart = values - theirs
        elsewhere = norms[mine] - _added(owners, theirs * theirs, len(block))
        found[part] = _added(owners, apart * apart, len(block)) + np.maximum(elsewhere, 0)
    return found


def squared_lengths(rows: SparseRows) -> Floats:
    """Return the squared length of each row, (n_samples,)."""
    values = rows.stored()[0].astype(np.float64)
    return _added(rows.owners(), values * values, len(rows))


def squared_norms(points: Array) -> tuple[Floats, Floats]:
    """Return the squared length of each point as two doubles, (n_points,) each."""
    high, low = np.empty((2, len(points)))
    for j, point in enumerate(points):
        wide = point[np.flatnonzero(point)].astype(np.float64)
        square, rest = two_product(wide, wide)
        one = np.zeros(len(wide), dtype=np.intp)
        (high[j],), (low[j],), _ = sums_by_label(square, one, 1)
        low[j] += _added(one, rest, 1)[0]  # in the same order as for rows: rows on it are at 0
    return high, low


def squared_distances(rows: SparseRows, points: Array, out: Floats) -> Floats:
    """Write the squared distance of each row to each point, (n_points, n_samples) float64.

    Sums are added up in the order of the features, and are the same on every machine. A point that
    is one of the rows is at no distance from it.
    """
    wide = points.astype(np.float64)
    # One after the other, as those of rows are: zeros change no sum.
    norms = [_one_by_one(point * point) for point in wide]
    for some, block in rows.blocks():
        (values, columns), owners = block.stored(), block.owners()
        for point, norm, squares in zip(wide, norms, out, strict=True):
            theirs = point[columns]
            apart = values - theirs
            apart *= apart
            theirs *= theirs
            elsewhere = np.maximum(norm - _added(owners, theirs, len(block)), 0)
            squares[some] = _added(owners, apart, len(block)) + elsewhere
    return out


def distances_to_rows(rows: SparseRows, numbers: NDArray[np.intp], out: Floats) -> Floats:
    """Write what ``squared_distances`` does, to some of the rows: (n_numbers, n_samples).

    By the kernel that meets batches for all others, where it can run: the same bits.
    """
    if (compiled := batches()) is None or hasattr(rows, "start_crew"):  # rows that lie elsewhere
        return squared_distances(rows, rows[numbers], out)
    compiled.measure_batch(rows, np.asarray(numbers, dtype=np.int64), out)
    return out


def distances_to_points(rows: SparseRows, points: Array, out: Floats) -> Floats:
    """Write what ``squared_distances`` does, by the kernel that meets batches where it can run."""
    if batches() is None:
        return squared_distances(rows, points, out)
    (values, columns), (owners, others) = rows.stored(), np.nonzero(points)
    sizes = np.concatenate([np.diff(rows.indptr), np.bincount(owners, minlength=len(points))])
    both = SparseRows(
        np.concatenate([values, points[owners, others].astype(rows.dtype)]),
        np.concatenate([columns, others.astype(np.int32)]),
        np.concatenate([[0], np.cumsum(sizes)]),
        rows.n_features,
    )
    n, squares = len(rows), np.empty((len(points), len(both)))
    out[:] = distances_to_rows(both, np.arange(n, len(both)), squares)[:, :n]
    return out


def batches() -> Any:
    """Return the module that meets sparse rows in batches, or None where it cannot run."""
    name = first_ready((PROVIDERS["batches"],), sparse=True)
    return None if name is None else load_sparse(name)


def _one_by_one(values: Floats) -> float:
    some = values[values != 0]
    return float(np.add.accumulate(some)[-1]) if len(some) else 0.0


def _added(owners: NDArray[np.intp], values: Floats, n_owners: int) -> Floats:
    """Return the sum of each owner's values, added one after the other."""
    return np.asarray(np.bincount(owners, values, n_owners), np.float64)


def largest(rows: SparseRows) -> float:
    """Return the largest magnitude; NaN where a value is not finite."""
    if (most := getattr(rows, "most", None)) is not None:  # of rows that lie elsewhere
        return float(most)
    values = rows.stored()[0]
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    return max(-low, high) if np.isfinite(low) and np.isfinite(high) else np.nan


def mean_square(rows: SparseRows) -> float:
    """Return the mean of the squares of all values, zeros included."""
    total = sum(float(squared_lengths(block).sum()) for _, block in rows.blocks())
    return total / len(rows) / rows.n_features


def mean_variance(rows: SparseRows) -> float:
    """Return the mean over the features of the variance of their values, to 24 binary digits.

    Added up feature by feature as the values come: their order may show in digits beyond those.
    Warns of rows so far from the origin, beside their spread, that distances lose their digits:
    sparse rows are not moved to it.
    """
    n_samples = len(rows)
    sums, squares = rows.column_sums()
    means = sums / n_samples
    variances = np.maximum(squares / n_samples - means**2, 0)
    total, away = float(variances.sum()), float((means**2).sum())
    f = int(np.abs(means).argmax())
    if total < away * _FAR_AWAY and (total > away * _NOISE or _varies(rows, f)):
        warnings.warn(
            f"X lies far from the origin beside its spread (column {f} has mean {means[f]:.3g}), "
            "where squared distances of sparse rows keep few of their digits and labels may be "
            "wrong; subtract the mean from such columns, or give X.toarray(), which is centered",
            UserWarning,
            stacklevel=5,  # the caller of kmeans
        )
    fraction, exponent = np.frexp(total)
    return float(np.ldexp(np.rint(np.ldexp(fraction, 24)), exponent - 24)) / rows.n_features


def _varies(rows: SparseRows, column: int) -> bool:
    found = [block.stored() for _, block in rows.blocks()]
    mine = np.concatenate([values[columns == column] for values, columns in found])
    return len(mine) < len(rows) or bool(mine.min() < mine.max())


def scaled_to_one(
    rows: SparseRows, lengths: Callable[[Floats], Floats]
) -> tuple[SparseRows, NDArray[np.intp]]:
    """Return rows divided by their lengths, and which rows store nothing but zeros.

    ``lengths`` makes lengths of squared ones. Rows are first scaled by a power of two, so that no
    square leaves the range of float64.
    """
    values, first = np.empty(rows.n_values, rows.dtype), rows.indptr[0]
    zeros = []
    for some, block in rows.blocks():
        wide, owners = block.stored()[0].astype(np.float64), block.owners()
        largest = np.zeros(len(block))
        np.maximum.at(largest, owners, np.abs(wide))
        exponents = np.frexp(largest)[1]
        np.ldexp(wide, -exponents[owners], out=wide)
        length = lengths(_added(owners, wide * wide, len(block)))
        zeros.append(np.flatnonzero(largest == 0) + some.start)
        length[largest == 0] = 1
        places = slice(block.indptr[0] - first, block.indptr[-1] - first)
        np.divide(wide, length[owners], out=values[places], casting="same_kind")
    units = SparseRows(values, rows.stored()[1], rows.indptr - first, rows.n_features)
    return units, np.concatenate(zeros)


def add_weighed(
    rows: SparseRows, weights: Floats, labels: Labels, sums: Floats, mass: Floats
) -> None:
    """Add w·x of each row to the sum of its cluster and w to its mass, row by row."""
    mass += np.bincount(labels, weights, len(mass))
    flat = sums.reshape(-1)
    for some, block in rows.blocks():
        values, columns = block.stored()
        owners = block.owners()
        places = labels[some][owners].astype(np.intp) * rows.n_features + columns
        np.add.at(flat, places, values * weights[some][owners])


def cluster_sum(
    rows: SparseRows, numbers: NDArray[np.intp], weights: Floats | None
) -> tuple[Floats, float]:
    """Return the (weighted) sum of some rows, (n_features,), and how many they are or weigh."""
    total, mass = np.zeros((1, rows.n_features)), np.zeros(1)
    share = np.ones(len(numbers)) if weights is None else weights[numbers]
    add_weighed(rows.take(numbers), share, np.zeros(len(numbers), np.int32), total, mass)
    return np.asarray(total[0]), float(mass[0])
