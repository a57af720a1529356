"""The chunks that one worker computes: rows as the kernel prepared them, beside their outputs."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples
from kmeans_lab.crews.partial import Partials
from kmeans_lab.kernel import Array, Kernel, Labels, read_only
from kmeans_lab.sparse.rows import SparseRows

#: Most pairs of values in one call of a kernel that takes rows as they are: a tenth of a second of
#: plain compiled loops. Python sees Ctrl-C between two calls.
_PIECE = 200_000_000


def rows_of_a_piece(rows: Samples, n_clusters: int) -> int:
    """Return how many rows a call is given of a kernel that takes rows as they are."""
    values = rows.n_values // len(rows) if isinstance(rows, SparseRows) else rows.shape[1]
    return max(1, _PIECE // max(1, values * n_clusters))


class Chunks:
    """The chunks of one worker: prepared rows beside the outputs that they fill.

    A chunk is cut into pieces where a call would take long; they add to the same outputs.
    """

    stopped = False  # another thread has seen Ctrl-C: what is left does not matter

    def __init__(
        self,
        kernel: Kernel,
        rows: Samples,
        labels: Labels,
        partials: Partials,
        bounds: list[tuple[int, int]],
        share: range,
        n_threads: int,
        *,
        takes_middle: bool = False,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        prepare = getattr(kernel, "prepare", None)
        options: tuple[Any, ...] = partials.sums.shape[1], n_threads
        if takes_middle and isinstance(rows, Centered):
            options = *options, rows.middle
            rows = rows.X
        self._assign = kernel.assign
        self._update = kernel.update
        self._fused = getattr(kernel, "assign_update", None)
        self._partials = partials
        self._mine = slice(share.start, share.stop)
        self._slots = []
        for c in share:
            first, last = bounds[c]
            step = last - first
            if prepare is None:
                step = min(step, rows_of_a_piece(rows, partials.sums.shape[1]))
            for begin in range(first, last, step):
                piece = slice(begin, min(begin + step, last))
                chunk: Any = rows[piece]
                if not isinstance(chunk, SparseRows):  # whose arrays nobody can write to
                    chunk = read_only(chunk)
                if prepare is not None:
                    weighed = {} if weights is None else {"weights": weights[piece]}
                    chunk = prepare(chunk, *options, **weighed)
                self._slots.append((c, chunk, labels[piece], partials.sums[c], partials.counts[c]))

    @property
    def prepared(self) -> list[Any]:
        """The rows that the kernel prepared for each chunk, or for its pieces."""
        return [chunk for _, chunk, *_ in self._slots]

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences, if it says so."""
        return sum(getattr(chunk, "rescored", 0) for chunk in self.prepared)

    def in_one_call(self) -> Callable[[Array], float] | None:
        """Return a function of the centers that does a whole step, where a single call can."""
        if self._fused is None or len(self._slots) != 1:
            return None
        fused = self._fused
        ((_, chunk, labels, sums, counts),) = self._slots
        return lambda centers: float(fused(chunk, centers, labels, sums, counts))

    def assign(self, centers: Array) -> None:
        """Overwrite the labels of these chunks."""
        for _, chunk, labels, _, _ in self._slots:
            if self.stopped:
                return
            self._assign(chunk, centers, labels)

    def assign_update(self, centers: Array) -> None:
        """Overwrite the labels of these chunks and add to their slots."""
        inertia, seconds = self._partials.inertia, self._partials.seconds
        inertia[self._mine] = seconds[self._mine] = 0
        assign, update, fused = self._assign, self._update, self._fused
        for c, chunk, labels, sums, counts in self._slots:
            if self.stopped:
                return
            start = perf_counter()
            if fused is not None:
                inertia[c] += fused(chunk, centers, labels, sums, counts)
                seconds[c, 0] += perf_counter() - start
                continue
            inertia[c] += assign(chunk, centers, labels)
            middle = perf_counter()
            update(chunk, labels, sums, counts)
            seconds[c, 1] += perf_counter() - middle
            seconds[c, 0] += middle - start
