"""Mode "stream": rows are read a block at a time, pass by pass; what is kept grows with neither.

Sums do not depend on blocks. Those of the tuned kernels and of weighted rows are exact, and rows
move from sum to sum (``MovingSums``); those of the textbook kernels are added up chunk by chunk, as
in memory, and a block ends where a chunk or a piece of one does.
"""

from collections.abc import Iterator
from math import nan
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.crews.base import Crew, Pass
from kmeans_lab.crews.chunks import rows_of_a_piece
from kmeans_lab.crews.partial import Partials
from kmeans_lab.kernel import Array, Labels, read_only
from kmeans_lab.numerics.exact_sums import MovingSums
from kmeans_lab.rows.streamed import Block, StreamedRows
from kmeans_lab.weights import Weighting


class StreamCrew(Crew):
    """One thread that computes, beside one that reads; a kernel may have threads of its own."""

    _one_process = False  # no kernel is given the weights
    rows: StreamedRows

    def _start(self) -> None:
        job = self.job
        assert isinstance(job.rows, StreamedRows)
        self.rows = job.rows
        self.labels = job.rows.scratch.array(len(job.rows), np.int32, "labels of all rows")
        self.partials = Partials.empty(len(self.bounds), job.n_clusters, job.rows.shape[1])
        self._rescored = 0
        self._moving: _Moving | None = None
        if job.spec.threading == "own" or job.spec.whole or job.weighting is not None:
            assert job.largest is not None
            self._moving = _Moving(job.rows, job.n_clusters, self.weights, job.largest)
        self._look = getattr(job.kernel, "label_rows", None)
        self._prepare = getattr(job.kernel, "prepare", None)

    def _start_weighted_sums(self, weighting: Weighting) -> None:
        """Do nothing: those of ``_moving`` are weighted."""

    def _run(self, order: str, centers: Array) -> None:
        assert order == "assign"
        for block in self._blocks():
            self._label(block, centers, self.labels[block.part])
            self.rows.scratch.let_go()

    def assign_update(self, centers: Array) -> Pass:
        """Assign each row to its nearest center, and add it to that cluster's sum and count."""
        if self._moving is not None:
            return self._by_moves(self._moving, centers)
        self.partials.clear()
        changed, before = 0, None
        kernel, partials = self.job.kernel, self.partials
        partials.inertia.fill(0)
        partials.seconds.fill(0)
        for c, piece in self._pieces():
            labels = self.labels[piece.part]
            if self._asked:
                before = labels.copy()
            start = perf_counter()
            rows = self._prepared_rows(piece.rows)
            partials.inertia[c] += kernel.assign(rows, centers, labels)
            middle = perf_counter()
            kernel.update(rows, labels, partials.sums[c], partials.counts[c])
            partials.seconds[c] += middle - start, perf_counter() - middle
            if before is not None:
                changed += int(np.count_nonzero(before != labels))
        inertia, assign, update = self._added_up()
        return Pass(inertia, changed if self._asked else -1, assign, update)

    def _by_moves(self, moving: "_Moving", centers: Array) -> Pass:
        changed, assign, update = 0, 0.0, 0.0
        moving.follow(self.labels)
        for block in self._blocks():
            labels = self.labels[block.part]
            before = labels.copy()
            start = perf_counter()
            self._label(block, centers, labels)
            middle = perf_counter()
            changed += moving.move(block, before, labels)
            self.rows.scratch.let_go()
            assign, update = assign + middle - start, update + perf_counter() - middle
        moving.read(self.sums, self.counts)
        inertia = self.inertia(centers, self.labels) if self.job.weighs_inertia else nan
        return Pass(inertia, changed if self._asked else -1, assign, update)

    def _label(self, block: Block, centers: Array, labels: Labels) -> None:
        """Overwrite the labels of a block."""
        rows = read_only(block.rows)
        if self._look is not None:
            self._rescored += self._look(rows, centers, labels, self.kernel_threads)
            return
        chunk = self._prepared_rows(rows)
        try:
            self.job.kernel.assign(chunk, centers, labels)
            self._rescored += getattr(chunk, "rescored", 0)
        finally:
            if hasattr(chunk, "close"):
                chunk.close()

    def _prepared_rows(self, rows: Array) -> Any:
        if self._prepare is None:
            return read_only(rows)
        return self._prepare(read_only(rows), self.job.n_clusters, self.kernel_threads)

    def _blocks(self) -> Iterator[Block]:
        spec = self.job.spec
        if spec.threading == "own" or spec.whole:
            return self.rows.blocks()
        return (piece for _, piece in self._pieces())

    def _pieces(self) -> Iterator[tuple[int, Block]]:
        """Yield the pieces that chunks have in memory, and the number of their chunk."""
        whole = self._prepare is not None
        for c, (first, last) in enumerate(self.bounds):
            step = last - first
            if not whole:
                step = min(step, rows_of_a_piece(self.rows, self.job.n_clusters))
            for piece in self.rows.blocks(step, bounds=(first, last)):
                yield c, piece

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences so far."""
        return self._rescored

    def close(self, *, kill: bool = False) -> None:
        """Nothing is open between two passes."""


class _Moving:
    """Exact sums and counts of rows that come in blocks.

    With weights, products w·x, each rounded once, are added up, and a column of weights.
    """

    def __init__(
        self,
        rows: StreamedRows,
        n_clusters: int,
        weights: NDArray[np.float64] | None,
        largest: NDArray[np.float64],
    ) -> None:
        self._n_samples, self._n_clusters, self._weights = len(rows), n_clusters, weights
        self._most = largest if weights is None else np.append(largest, 1.0)
        self._begin()

    def _begin(self) -> None:
        self._sums = MovingSums(self._most, self._n_samples, self._n_clusters)
        self._counts = np.zeros(self._n_clusters, np.int64)
        self._whole = True

    def follow(self, labels: Labels) -> None:
        """Begin anew where no row has a label, or the last pass was not ended."""
        if labels[0] < 0 or not self._whole:
            labels.fill(-1)
            self._begin()
        self._whole = False

    def move(self, block: Block, before: Labels, labels: Labels) -> int:
        """Move rows whose label has changed; return how many there are."""
        changed = np.flatnonzero(before != labels)
        if len(changed) == 0:
            return 0
        after = labels[changed].astype(np.intp)
        left = before[changed].astype(np.intp) if before[0] >= 0 else None
        rows = block.rows[changed].astype(np.float64)
        columns = list(np.ascontiguousarray(rows.T))
        if self._weights is not None:
            weights = self._weights[block.part][changed]
            columns = [column * weights for column in columns]
            columns.append(weights.copy())
        self._sums.move(columns, left, after)
        self._counts += np.bincount(after, minlength=self._n_clusters)
        if left is not None:
            self._counts -= np.bincount(left, minlength=self._n_clusters)
        return len(changed)

    def read(self, sums: NDArray[np.float64], counts: NDArray[Any]) -> None:
        """Overwrite sums (n_clusters, n_features) and counts, or masses, each rounded once."""
        self._whole = True
        found = self._sums.sums()
        sums[:] = found[: sums.shape[1]].T
        counts[:] = self._counts if self._weights is None else found[-1]
