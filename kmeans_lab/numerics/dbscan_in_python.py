"""DBSCAN's neighbour search in plain Python: a dictionary of cells and nested loops.

Every other kernel must agree with this one. Cells divide the first three features at most: a row
within eps is within eps in each feature, so that a filter on a few of them loses no neighbour.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from kmeans_lab.kernel import Counts, Labels, Rows

Cell = tuple[int, ...]


class Index(NamedTuple):
    """Rows as lists, the cell of each row, and the rows of each cell."""

    rows: list[list[float]]
    places: list[Cell]
    cells: dict[Cell, list[int]]
    reach: float  # eps, squared


def prepare(X: Rows, eps: float) -> Index:
    """Put every row into a cell."""
    rows, reach = X.tolist(), eps * eps
    columns = list(zip(*rows, strict=True))[:3]
    places = list(zip(*(_parts(column, reach) for column in columns), strict=True))
    cells: dict[Cell, list[int]] = {}
    for i, place in enumerate(places):
        cells.setdefault(place, []).append(i)
    return Index(rows, places, cells, reach)


def count(index: Index, counts: Counts) -> None:
    """Overwrite counts with each row's number of neighbours, itself included."""
    for i in range(len(index.rows)):
        counts[i] = sum(1 for _ in _neighbours(index, i))


def grow(index: Index, core: NDArray[np.bool_], labels: Labels) -> None:
    """Overwrite labels with the clusters of core rows; a border row goes to the first cluster."""
    is_core = core.tolist()
    found = [-1] * len(is_core)
    n_clusters = 0
    for first in range(len(is_core)):
        if not is_core[first] or found[first] >= 0:
            continue
        found[first] = n_clusters
        reached = [first]
        while reached:
            for j in _neighbours(index, reached.pop()):
                if found[j] < 0:
                    found[j] = n_clusters
                    if is_core[j]:  # border rows are reached, and lead nowhere
                        reached.append(j)
        n_clusters += 1
    labels[:] = found


def _parts(values: tuple[float, ...], reach: float) -> list[int]:
    """Return for each value the number of its part of the line.

    A part begins with the first value farther than eps from where the part before begins: values
    within eps lie in the same part or in adjoining ones. Nothing is divided by eps, so nothing is
    rounded and nothing overflows; and there are no more parts than values.
    """
    parts = [0] * len(values)
    order = sorted(range(len(values)), key=values.__getitem__)
    part, start = 0, values[order[0]]
    for i in order:
        if (values[i] - start) * (values[i] - start) > reach:
            part, start = part + 1, values[i]
        parts[i] = part
    return parts


def _neighbours(index: Index, i: int) -> Iterator[int]:
    """Yield the rows within eps of row i, itself included."""
    rows, places, cells, reach = index
    row = rows[i]
    for cell in product(*((part - 1, part, part + 1) for part in places[i])):
        for j in cells.get(cell, ()):
            distance = 0.0
            for x, y in zip(row, rows[j], strict=True):
                distance += (x - y) * (x - y)
            if distance <= reach:
                yield j
