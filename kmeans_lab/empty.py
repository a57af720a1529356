"""Four policies for clusters that own no row; a center never becomes NaN.

A policy edits the total of an iteration — sums and counts — before the means are taken, so
the division that follows needs no special case.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Samples
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.exact_sums import ExactTotal, column_sums, row_squares
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.numerics import cluster_sum, own_squares, squared_lengths
from kmeans_lab.sparse.rows import SparseRows

Floats = NDArray[np.float64]

POLICIES = ("relocate", "random", "keep", "error")


def fill_empty(
    policy: str,
    sums: NDArray[np.float64],  # INOUT (n_clusters, n_features)
    counts: NDArray[Any],  # INOUT (n_clusters,); with weights, the mass of each cluster
    rows: Samples,
    labels: NDArray[np.int32],
    centers: Array,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> None:
    """Give every empty cluster a center.

    "relocate": the rows farthest from their centers, farthest first, lowest index on a tie;
    each leaves its cluster's sum (scikit-learn's rule). A cluster's only row stays. "random": a
    random row. "keep": the old center. "error": ``ValueError``.

    Only rows that lie off their centers by more than rounding are moved; where there are none,
    the old center stays. Otherwise copies of one row would change clusters for ever, between
    their own rounded mean and the row itself. A row of weight 0 belongs to no cluster and is never
    moved.
    """
    empty = np.flatnonzero(counts == 0)
    owned = counts if weights is None else np.bincount(labels[weights > 0], minlength=len(counts))
    if policy == "error":
        raise ValueError(
            f"cluster {empty[0]} owns no row ({len(empty)} of {len(counts)} are empty) and "
            "empty='error' forbids that; use empty='relocate' or fewer clusters"
        )
    candidates = donors = np.empty(0, dtype=np.intp)
    if policy == "random":
        candidates, _ = _off_center(rows, labels, centers, owned, weights)
    elif policy == "relocate":
        off, distances = _off_center(rows, labels, centers, owned, weights)
        donors = off[np.argsort(-distances, kind="stable")]
    queue = iter(donors)
    moved: list[int] = []
    for j in empty:
        donor = next((i for i in queue if owned[labels[i]] > 1), None)
        if donor is not None:
            weight = 1 if weights is None else weights[donor]
            row = rows[donor].astype(np.float64)
            counts[labels[donor]] -= weight
            if owned is not counts:
                owned[labels[donor]] -= 1
            sums[j], counts[j] = weight * row, weight
            moved.append(int(donor))
            continue
        sums[j] = rows[rng.choice(candidates)] if len(candidates) else centers[j]
        counts[j] = 1
    if moved:
        _add_up_again(moved, sums, counts, rows, labels, weights)


def _add_up_again(
    moved: list[int],
    sums: NDArray[np.float64],
    counts: NDArray[Any],
    rows: Samples,
    labels: NDArray[np.int32],
    weights: NDArray[np.float64] | None,
) -> None:
    """Sum again the clusters that gave rows away: small rows lost digits beside a large one."""
    donors = np.unique(labels[moved])
    if isinstance(rows, StreamedRows):
        _add_up_blocks(donors, moved, sums, counts, rows, labels, weights)
        return
    kept = np.isin(labels, donors)
    kept[moved] = False
    theirs = np.flatnonzero(kept)
    for j in donors:
        mine = theirs[labels[theirs] == j]
        if isinstance(rows, SparseRows):
            sums[j], counts[j] = cluster_sum(rows, mine, weights)
            continue
        points = rows[mine].astype(np.float64)
        if weights is None:
            sums[j] = column_sums(points)
            continue
        shares = weights[mine, None]
        counts[j] = column_sums(shares).item()
        sums[j] = column_sums(points * shares)


def _add_up_blocks(
    donors: NDArray[np.int32],
    moved: list[int],
    sums: NDArray[np.float64],
    counts: NDArray[Any],
    rows: StreamedRows,
    labels: NDArray[np.int32],
    weights: NDArray[np.float64] | None,
) -> None:
    """Do the same in one pass over rows that are read block by block."""
    columns = rows.shape[1] + (weights is not None)
    totals = [[ExactTotal() for _ in range(columns)] for _ in donors]
    gone = np.sort(moved)
    for block in rows.blocks():
        mine = labels[block.part].copy()
        mine[gone[slice(*np.searchsorted(gone, (block.first, block.last)))] - block.first] = -1
        for j, total in zip(donors, totals, strict=True):
            some = np.flatnonzero(mine == j)
            points = block.rows[some].astype(np.float64)
            if weights is not None:
                shares = weights[block.part][some, None]
                points = np.hstack([points * shares, shares])
            for one, column in zip(total, points.T, strict=True):
                one.add(np.array(column))
    for j, total in zip(donors, totals, strict=True):
        found = [one.value() for one in total]
        sums[j] = found[: rows.shape[1]]
        if weights is not None:
            counts[j] = found[-1]


def _off_center(
    rows: Samples,
    labels: NDArray[np.int32],
    centers: Array,
    counts: NDArray[Any],
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the rows that lie off their centers by more than rounding, and how far, squared."""
    found, distances = [], []
    for some, distance, most, lengths in _squares(rows, centers, labels):
        chosen = labels[some]
        # A mean of n equal values is off by n roundings at most, and by one to the dtype.
        rounding = (counts[chosen] + 8) * np.finfo(np.float64).eps + np.finfo(rows.dtype).eps
        beyond = distance > rounding**2 * most
        near = np.flatnonzero(~beyond)
        beyond[near] = distance[near] > rounding[near] ** 2 * lengths(near)
        if weights is not None:
            beyond &= weights[some] > 0
        off = np.flatnonzero(beyond)
        found.append(off + some.start)
        distances.append(distance[off])
    return np.concatenate(found), np.concatenate(distances)


def _squares(
    rows: Samples, centers: Array, labels: NDArray[np.int32]
) -> Iterator[tuple[slice, Floats, float, Callable[[NDArray[np.intp]], Floats]]]:
    """Yield slices of rows and squared distances to their centers.

    With them, a number that no squared length of these rows exceeds, and a function that returns
    the squared lengths of some of them: few are needed.
    """
    if isinstance(rows, SparseRows):
        for some, block, distance in own_squares(rows, centers, labels):
            lengths = squared_lengths(block)
            yield some, distance, float(lengths.max()), lengths.__getitem__
        return
    wide = centers.astype(np.float64)
    for some in row_blocks(len(rows), rows.shape[1], least=512):
        points = rows[some].astype(np.float64, copy=False)
        most = 2 * rows.shape[1] * float(np.abs(points).max()) ** 2
        own = row_squares(points - wide[labels[some]])
        yield some, own, most, partial(_lengths, points)


def _lengths(points: Floats, which: NDArray[np.intp]) -> Floats:
    return row_squares(points[which])
