"""What workers remember of the distances that starts ask for; see ``kmeans_lab.rows.distances``.

Each question says which points there are so far, so that a worker that knows nothing of a block,
or is asked twice, answers alike.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from kmeans_lab.dask.memory import Memory
from kmeans_lab.dask.plan import Floats, aligned
from kmeans_lab.dask.sparse_nearest import SparseDistances
from kmeans_lab.kernel import Array
from kmeans_lab.rows.distances import Labels, StreamedDistances
from kmeans_lab.rows.source import ArrayRows
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.seeding import squared_distances
from kmeans_lab.sparse.rows import SparseRows

_known: Memory[tuple[int, StreamedDistances]] = Memory()


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What all questions of a start have in common."""

    name: str
    middle: Array | None
    owners: bool


class Chances:
    """Numbers that were drawn elsewhere, in the place of a generator."""

    def __init__(self, chances: Floats) -> None:
        self._left = chances

    def random(self, n: int) -> Floats:
        """Return the next n of them."""
        found, self._left = self._left[:n], self._left[n:]
        return found


def ask(
    rows: Any,
    number: int,
    weights: Floats | None,
    more: tuple[Any, ...],
    start: Start,
    points: Array,
    ends: list[int],
    question: str,
    *arguments: Any,
) -> Any:
    """Answer a question about the distances of a block.

    Parameters
    ----------
    number : int
        Of the block.
    more : tuple
        Arguments of this block alone, which come first.
    points : ndarray of shape (n_points, n_features)
        All that have been added, and ``ends``, how many there were after each time.
    question : str
        A method of ``StreamedDistances``, or "owners".
    """
    known = _known.take(start.name, number)
    if known is None:
        known = 0, _distances(aligned(rows), aligned(weights), start)
    asked, near = known
    for i in range(asked, len(ends)):
        near.add(aligned(points[(ends[i - 1] if i > 0 else 0) : ends[i]]))
    answer = _ANSWERS[question](near, *more, *arguments)
    _known.put(start.name, number, (len(ends), near))
    return answer


def _distances(rows: Any, weights: Floats | None, start: Start) -> StreamedDistances:
    if isinstance(rows, SparseRows):
        return SparseDistances(rows, weights, owners=start.owners)
    own = StreamedRows(ArrayRows(rows), rows.dtype, middle=aligned(start.middle))
    return StreamedDistances(own, weights, squared_distances, owners=start.owners)


def _rows_at(near: StreamedDistances, places: Floats, grid: Any) -> Any:
    return near.rows_at(places, near.steps(grid), grid)


def _owners(near: StreamedDistances) -> Labels:
    near.settle()
    assert near.owners is not None
    return near.owners


_ANSWERS: dict[str, Any] = {
    "steps": lambda near, grid: near.steps(grid).sum(),
    "tried": lambda near, points, grid: near.tried(aligned(points), grid).sum(axis=0),
    "most": StreamedDistances.most,
    "rows_at": _rows_at,
    "drawn": lambda near, rng, *of: near.drawn(deepcopy(rng), *of),  # a task may run again
    "masses": StreamedDistances.masses,
    "owners": _owners,
}


def forget(start: str) -> None:
    """Forget the blocks of a start."""
    _known.forget(start)


def remembered() -> int:
    """Return how many blocks of starts this worker remembers."""
    return len(_known)
