"""A crew whose passes run on a cluster: centers go out, whole numbers come back."""

from __future__ import annotations

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
        self._sent: Any = None  # the centers of the last step, as tasks are given them
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
            sent = self._source.shared(self._assigned)
            found = self._source.everywhere(tasks.label, lambda b: (), self._plan, sent)
            np.concatenate(found, out=self._labels)
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
        before = None if begun else self._sent
        self._step += 1
        source, sent = self._source, self._source.shared(centers.copy())
        client = source.client
        answers: list[Any] = [
            client.submit(
                *(tasks.step, [source.blocks[b] for b in group]),
                *([(b, self._heavy[b]) for b in group], self._plan, self._step, sent, before),
                pure=False,
            )
            for group in source.groups
        ]
        while len(answers) > _TOGETHER:
            answers = [
                client.submit(tasks.join, *answers[i : i + _TOGETHER], pure=False)
                for i in range(0, len(answers), _TOGETHER)
            ]
        found = tasks.join(*client.gather(answers))
        self._rescored += found.rescored
        self._assigned, self._sent = centers.copy(), sent
        self._fetched = False
        total: Any = self._start_sums()
        total.add(np.require(found.parts, requirements=["C", "A"]))
        total.read(self.sums, self.counts)
        inertia = self.inertia(centers, None) if self.job.weighs_inertia else nan
        changed = found.changed if self._asked else -1
        return Pass(inertia, changed, perf_counter() - start, 0.0)

    def inertia(self, centers: Array, labels: Labels | None) -> float:
        """Sum the squared distances to the chosen centers; labels None: to the nearest ones."""
        source = self._source
        mine = None if self._belong(labels, centers) else labels
        parts: list[NDArray[np.float64]] = source.everywhere(
            tasks.inertia_parts,
            lambda b: (self._heavy[b], block_of(mine, source.ends, b)),
            *(self._plan, source.shared(centers.copy())),
        )
        return inertia_of_blocks(parts)

    def _belong(self, labels: Labels | None, centers: Array) -> bool:
        """Return whether labels are those of the nearest centers, so that none need go out."""
        if labels is None:
            return True
        return self._assigned is not None and np.array_equal(self._assigned, centers)

    def close(self, *, kill: bool = False) -> None:
        """Let the workers forget what they know of this fit."""
        if self._source.client.status == "running":
            self._source.client.run(tasks.forget, self._plan.fit, on_error="ignore")
