"""Distances that starts ask for, kept on the workers; see ``kmeans_lab.rows.distances``."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.dask import nearest
from kmeans_lab.dask.plan import Floats
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.grids import Grid
from kmeans_lab.rows.distances import Steps, masses_of

if TYPE_CHECKING:
    from kmeans_lab.dask.source import ClusterRows


class ClusterDistances:
    """Questions that go to the workers, with all points that there are so far.

    Parameters
    ----------
    source : ClusterRows
    middle : ndarray of shape (n_features,), optional
        What is subtracted from each row.
    weights : ndarray of shape (n_samples,), float64, optional
    owners : bool
        Whether it is of interest which point is the nearest one.
    """

    def __init__(
        self, source: ClusterRows, middle: Array | None, weights: Floats | None, *, owners: bool
    ) -> None:
        self._source, self._weights = source, weights
        self._start = nearest.Start(token_hex(8), middle, owners)
        self._points: list[Array] = []
        self._heavy = source.in_blocks(weights)

    def add(self, points: Array) -> None:
        """Take points into account from now on."""
        if len(points) > 0:
            self._points.append(points)

    def steps(self, grid: Grid) -> Steps:
        """Return the steps of each block."""
        return np.array(self._ask("steps", grid), dtype=np.int64)

    def tried(self, points: Array, grid: Grid) -> Steps:
        """Return the steps of each block, were each of these points added."""
        return np.array(self._ask("tried", points, grid), dtype=np.int64)

    def most(self) -> float:
        """Return the largest distance, times its weight."""
        return float(max(self._ask("most")))

    def rows_at(self, places: Floats, steps: Steps, grid: Grid) -> NDArray[np.intp]:
        """Return the row at each of some places in the running sum of steps."""
        upto = np.cumsum(steps)
        which = np.minimum(np.searchsorted(upto, places, side="right"), len(steps) - 1)
        rows = np.empty(len(places), dtype=np.intp)
        blocks = np.unique(which).tolist()
        before = upto - steps
        found = self._ask_some(
            blocks, "rows_at", grid, own=lambda b: (places[which == b] - before[b],)
        )
        for b, inside in zip(blocks, found, strict=True):
            rows[which == b] = inside + self._first(b)
        return rows

    def drawn(
        self, rng: np.random.Generator, total: int, times: int, grid: Grid
    ) -> NDArray[np.intp]:
        """Return rows drawn in proportion to their distances times weights."""
        chances = chances_of(rng, self._source.ends)
        found = self._ask("drawn", total, times, grid, own=lambda b: (chances[b],))
        return np.concatenate([self._first(b) + inside for b, inside in enumerate(found)])

    def masses(self, n_points: int) -> Floats:
        """Return how many rows, or which weight, is nearest to each point."""
        if self._weights is None:
            counts: Floats = np.sum(self._ask("masses", n_points), axis=0)
            return counts
        return masses_of(np.concatenate(self._ask("owners")), self._weights, n_points)

    def close(self) -> None:
        """Let the workers forget."""
        if self._source.client.status == "running":
            self._source.client.run(nearest.forget, self._start.name, on_error="ignore")

    def _first(self, b: int) -> int:
        return self._source.ends[b - 1] if b > 0 else 0

    def _ask(
        self, question: str, *arguments: Any, own: Callable[[int], tuple[Any, ...]] | None = None
    ) -> list[Any]:
        more = own or (lambda b: ())
        return self._source.everywhere(
            *(nearest.ask, lambda b: (b, self._heavy[b], more(b))),
            *(self._start, *self._known(), question, *arguments),
        )

    def _ask_some(
        self, blocks: list[int], question: str, *arguments: Any, own: Callable[[int], Any]
    ) -> list[Any]:
        client, known = self._source.client, self._known()
        sent = [
            client.submit(
                *(nearest.ask, self._source.blocks[b], b, self._heavy[b], own(b)),
                *(self._start, *known, question, *arguments),
                pure=False,
            )
            for b in blocks
        ]
        return list(client.gather(sent))

    def _known(self) -> tuple[Any, list[int]]:
        """Return all points so far, and how many there were after each time."""
        ends = np.cumsum([len(points) for points in self._points]).tolist()
        return self._source.shared(np.concatenate(self._points)), ends


def chances_of(rng: np.random.Generator, ends: list[int]) -> list[Any]:
    """Return for each block what draws the numbers that ``rng.random(ends[-1])`` would give it.

    Generators that can leap are sent; of others, the numbers are. ``rng`` is as after these draws.
    """
    begins = [0, *ends[:-1]]
    bits: Any = rng.bit_generator
    if type(bits).__name__ not in ("PCG64", "PCG64DXSM"):  # a number takes one step of these
        return [
            nearest.Chances(rng.random(end - begin))
            for begin, end in zip(begins, ends, strict=True)
        ]
    found = [np.random.Generator(deepcopy(bits).advance(begin)) for begin in begins]
    before = bits.state
    bits.advance(ends[-1])
    kept = {name: before[name] for name in ("has_uint32", "uinteger")}  # half of an earlier draw
    bits.state = bits.state | kept
    return found
