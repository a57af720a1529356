"""Mode "stream": rows are read a block at a time, pass by pass; what is kept grows with neither.

Sums do not depend on blocks. Those of the tuned kernels and of weighted rows are exact, and rows
move from sum to sum (``numerics.block_sums``); those of the textbook kernels are added up chunk by
chunk, as in memory, and a block ends where a chunk or a piece of one does.
"""

from collections.abc import Iterator
from math import isfinite, nan
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.crews.base import Crew, Pass
from kmeans_lab.crews.chunks import rows_of_a_piece
from kmeans_lab.crews.partial import Partials
from kmeans_lab.kernel import Array, Labels, SumsOfBlocks, read_only
from kmeans_lab.numerics.block_sums import (
    adds_blocks,
    inertia_of_blocks,
    lightest_of,
    start_sums,
)
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
        self._make_room_for_labels()
        self.partials = Partials.empty(len(self.bounds), job.n_clusters, job.rows.shape[1])
        self._rescored = 0
        self._exact = job.spec.threading == "own" or job.spec.whole or job.weighting is not None
        self._moving: SumsOfBlocks | None = None
        self._adding = adds_blocks()
        #: Blocks whose middle kernels subtract themselves, and what they subtract.
        self._plain = self.rows.as_they_are()
        self._middle = self.rows.middle
        self._look = getattr(job.kernel, "label_rows", None)
        self._prepare = getattr(job.kernel, "prepare", None)

    def _make_room_for_labels(self) -> None:
        scratch = self.rows.scratch
        self.labels = scratch.array(len(self.rows), np.int32, "labels of all rows")

    def _start_weighted_sums(self, weighting: Weighting) -> None:
        """Do nothing: those of ``_moving`` are weighted."""

    def _run(self, order: str, centers: Array) -> None:
        assert order == "assign"
        for block in self._blocks():
            self._label(block, centers, self.labels[block.part])
            self.rows.scratch.let_go()

    def assign_update(self, centers: Array) -> Pass:
        """Assign each row to its nearest center, and add it to that cluster's sum and count."""
        if self._exact:
            return self._by_moves(centers)
        self.partials.clear()
        changed, before = 0, None
        kernel, partials = self.job.kernel, self.partials
        partials.inertia.fill(0)
        partials.seconds.fill(0)
        for c, piece in self._pieces(self.rows):
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

    def _by_moves(self, centers: Array) -> Pass:
        """Move rows whose labels change between exact sums."""
        moving, self._moving = self._moving, None  # until the pass has come to its end
        if moving is None or self.labels[0] < 0:
            self.labels.fill(-1)
            moving = self._start_sums()
        changed, assign, update = 0, 0.0, 0.0
        weights = self.weights
        for block in self._blocks():
            labels = self.labels[block.part]
            before = labels.copy()
            start = perf_counter()
            self._label(block, centers, labels)
            middle = perf_counter()
            heavy = None if weights is None else weights[block.part]
            changed += moving.move(block.rows, self._middle, heavy, before, labels)
            assign, update = assign + middle - start, update + perf_counter() - middle
            self.rows.scratch.let_go()
        self._moving = moving
        moving.read(self.sums, self.counts)
        inertia = self.inertia(centers, self.labels) if self.job.weighs_inertia else nan
        return Pass(inertia, changed if self._asked else -1, assign, update)

    def _start_sums(self) -> SumsOfBlocks:
        rows, largest = self.rows, self.job.largest
        assert largest is not None
        shape = len(rows), self.job.n_clusters
        return start_sums(
            *(largest, rows.least, rows.middle, rows.dtype, shape),
            *(lightest_of(self.weights), self.kernel_threads),
        )

    def _label(self, block: Block, centers: Array, labels: Labels) -> None:
        """Overwrite the labels of a block, whose middle has not been subtracted."""
        if self._look is not None:
            more = self.kernel_threads, self._middle
            self._rescored += self._look(read_only(block.rows), centers, labels, *more)
            return
        rows = block.rows if self._middle is None else block.rows - self._middle
        chunk = self._prepared_rows(rows)
        try:
            self.job.kernel.assign(chunk, centers, labels)
            self._rescored += getattr(chunk, "rescored", 0)
        finally:
            if hasattr(chunk, "close"):
                chunk.close()

    def inertia(self, centers: Array, labels: Labels) -> float:
        """Sum the squared distances to the chosen centers, exactly, and round the sum once."""
        if self._adding is None:
            return super().inertia(centers, labels)
        parts = []
        for block in self._plain.blocks():
            weights = None if self.weights is None else self.weights[block.part]
            of = read_only(block.rows), read_only(centers), labels[block.part]
            more = self._middle, weights, self.kernel_threads
            parts.append(self._adding.inertia_parts(*of, *more))
            self.rows.scratch.let_go()
        return self.finite(inertia_of_blocks(parts))

    def finite(self, inertia: float) -> float:
        """Return an inertia; ``ValueError`` where rows are no longer what they were at first."""
        if not isfinite(inertia):
            raise ValueError(
                f"{self.rows.name} has returned values that are not finite, or too large, which "
                "were not there at first; it must return the same rows in each pass"
            )
        return inertia

    def _prepared_rows(self, rows: Array) -> Any:
        if self._prepare is None:
            return read_only(rows)
        return self._prepare(read_only(rows), self.job.n_clusters, self.kernel_threads)

    def _blocks(self) -> Iterator[Block]:
        """Yield blocks whose middle has not been subtracted."""
        if self.job.spec.threading == "own" or self.job.spec.whole:
            return self._plain.blocks()
        return (piece for _, piece in self._pieces(self._plain))

    def _pieces(self, of: StreamedRows) -> Iterator[tuple[int, Block]]:
        """Yield the pieces that chunks have in memory, and the number of their chunk."""
        whole = self._prepare is not None
        for c, (first, last) in enumerate(self.bounds):
            step = last - first
            if not whole:
                step = min(step, rows_of_a_piece(self.rows, self.job.n_clusters))
            for piece in of.blocks(step, (first, last)):
                yield c, piece

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences so far."""
        return self._rescored

    def close(self, *, kill: bool = False) -> None:
        """Nothing is open between two passes."""
