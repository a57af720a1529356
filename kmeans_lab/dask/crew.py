"""A crew whose passes run on a cluster: centers go out, whole numbers come back through a tree."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from secrets import token_hex
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.crews.base import Pass
from kmeans_lab.crews.stream import StreamCrew
from kmeans_lab.dask import tasks
from kmeans_lab.dask.source import ClusterRows, block_of
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.block_sums import inertia_of_blocks, lightest_of

_TOGETHER = 8  # answers that one task adds up


class ClusterCrew(StreamCrew):
    """Blocks stay where they are, and so do labels, until somebody looks at them."""

    def _start(self) -> None:
        self._assigned: Array | None = None  # the centers that labels belong to
        self._fetched = True
        self._centers: Array | None = None
        self._step = 0
        super()._start()
        job, rows = self.job, self.rows
        source = rows.source
        assert isinstance(source, ClusterRows)
        assert job.largest is not None
        assert rows.least is not None
        self._source = source
        self._plan = tasks.Plan(
            *(token_hex(8), job.name, rows.middle, job.largest, rows.least),
            *(len(rows), job.n_clusters, lightest_of(self.weights), self.kernel_threads),
        )
        blocks = range(len(source.blocks))
        self._heavy = [block_of(self.weights, source.ends, b) for b in blocks]

    @property
    def labels(self) -> Labels:
        """The labels of all rows, which come from the workers when they are asked for."""
        if not self._fetched:
            self._fetched = True
            assert self._assigned is not None
            self._labels[:] = np.concatenate(
                self._everywhere(lambda b, block: (tasks.label, block, self._plan, self._assigned))
            )
        return self._labels

    @labels.setter
    def labels(self, labels: Labels) -> None:
        self._labels = labels

    def _run(self, order: str, centers: Array) -> None:
        assert order == "assign"
        self._assigned, self._fetched = centers.copy(), False

    def _by_moves(self, centers: Array) -> Pass:
        start = perf_counter()
        begun = self._fetched and self._labels[0] < 0
        before = None if begun else self._centers
        self._step += 1
        source, sent = self._source, centers.copy()
        answers: list[Any] = [
            source.client.submit(
                *(tasks.step, block, self._heavy[b], self._plan, b, self._step, sent, before),
                pure=False,
            )
            for b, block in enumerate(source.blocks)
        ]
        while len(answers) > 1:
            answers = [
                source.client.submit(tasks.join, *answers[i : i + _TOGETHER], pure=False)
                for i in range(0, len(answers), _TOGETHER)
            ]
        parts, changed, near = answers[0].result()
        self._rescored += near
        self._centers = self._assigned = sent
        self._fetched = False
        total: Any = self._start_sums()
        total.add(np.require(parts, requirements=["C", "A"]))
        total.read(self.sums, self.counts)
        inertia = self.inertia(centers, None) if self.job.weighs_inertia else nan
        return Pass(inertia, changed if self._asked else -1, perf_counter() - start, 0.0)

    def inertia(self, centers: Array, labels: Labels | None) -> float:
        """Sum the squared distances to the chosen centers; labels None: to the nearest ones."""
        sent, ends = centers.copy(), self._source.ends
        mine = None if self._belong(labels, centers) else labels
        parts: list[NDArray[np.float64]] = self._everywhere(
            lambda b, block: (
                *(tasks.inertia_parts, block, self._heavy[b], self._plan, sent),
                block_of(mine, ends, b),
            )
        )
        return inertia_of_blocks(parts)

    def _belong(self, labels: Labels | None, centers: Array) -> bool:
        """Return whether labels are those of the nearest centers, so that none need go out."""
        if labels is None:
            return True
        return self._assigned is not None and np.array_equal(self._assigned, centers)

    def _everywhere(self, task: Callable[[int, Any], tuple[Any, ...]]) -> list[Any]:
        """Run a task on each block; return the answers, in the order of the blocks."""
        client = self._source.client
        sent = [client.submit(*task(b, block)) for b, block in enumerate(self._source.blocks)]
        return list(client.gather(sent))

    def close(self, *, kill: bool = False) -> None:
        """Let the workers forget what they know of this fit."""
        if self._source.client.status == "running":
            self._source.client.run(tasks.forget, self._plan.fit, on_error="ignore")
