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
from kmeans_lab.dask.plan import Plan
from kmeans_lab.dask.source import ClusterRows, block_of
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.block_sums import inertia_of_blocks, lightest_of

_TOGETHER = 8  # answers that one task adds up


class ClusterCrew(StreamCrew):
    """Blocks stay where they are, and so do labels, until somebody looks at them."""

    def _start(self) -> None:
        source = self.job.rows.source  # type: ignore[union-attr]  # StreamedRows
        assert isinstance(source, ClusterRows)
        self._begin(source)
        super()._start()
        job, rows = self.job, self.rows
        assert job.largest is not None
        assert rows.least is not None
        self._plan: Plan = Plan(
            *(token_hex(8), job.name, rows.middle, job.largest, rows.least),
            *(*rows.shape, job.n_clusters, lightest_of(self.weights), self.kernel_threads),
        )

    def _begin(self, source: ClusterRows) -> None:
        self._source = source
        self._found: Labels | None = None  # labels of all rows, where they are here
        self._assigned: Array | None = None  # the centers that labels belong to; None: to none
        self._sent: Any = None  # the same, as tasks are given them
        self._which = 0  # the number of these centers
        self._step = self._rescored = 0
        self._heavy = source.in_blocks(self.weights)

    def _make_room_for_labels(self) -> None:
        """Do nothing: labels are where the rows are."""

    def forget_labels(self) -> None:
        """Let no row belong to a cluster."""
        self._assigned = self._found = None

    @property
    def labels(self) -> Labels:  # type: ignore[override]  # read alone
        """The labels of all rows, which come from the workers when they are asked for."""
        if self._found is None:
            if self._assigned is None:
                return np.full(len(self.rows), -1, np.int32)
            of = self._plan, self._which, self._sent
            found = self._source.everywhere(tasks.label, lambda b: (b,), *of)
            self._found = np.concatenate(found)
        return self._found

    def labels_to_keep(self, *, last: bool) -> Labels:
        """Return labels that outlive the crew: the futures of blocks, if these are asked for."""
        source = self._source
        if not source.keeps_labels:
            return self.labels
        from distributed import wait

        of = self._plan, self._which, self._sent
        kept: Any = [
            source.client.submit(tasks.label, block, b, *of, pure=False)
            for b, block in enumerate(source.blocks)
        ]
        wait(kept)  # before workers forget what labels follow from
        return kept  # type: ignore[no-any-return]

    def _run(self, order: str, centers: Array) -> None:
        assert order == "assign"
        self._assign(centers)

    def _assign(self, centers: Array) -> None:
        self._assigned, self._found = centers.copy(), None
        self._which += 1
        self._sent = self._source.shared(self._assigned)

    def assign_update(self, centers: Array) -> Pass:
        """Assign each row to its nearest center; return what all blocks found together."""
        start = perf_counter()
        before = None if self._assigned is None else self._sent
        self._assign(centers)
        self._step += 1
        source, sent = self._source, self._sent
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
        total = self._plan.start_sums(self.rows.dtype)
        total.add(np.require(found.parts, requirements=["C", "A"]))
        total.read(self.sums, self.counts)
        inertia = self.inertia(centers, None) if self.job.weighs_inertia else nan
        changed = found.changed if self._asked else -1
        return Pass(inertia, changed, perf_counter() - start, 0.0)

    def inertia(self, centers: Array, labels: Labels | None) -> float:
        """Sum the squared distances to the chosen centers; labels None: to the nearest ones."""
        source = self._source
        mine = None if labels is None or self._belong(centers) else labels
        parts: list[NDArray[np.float64]] = source.everywhere(
            tasks.inertia_parts,
            lambda b: (b, self._heavy[b], block_of(mine, source.ends, b)),
            *(self._plan, self._which, source.shared(centers.copy())),
        )
        return inertia_of_blocks(parts)

    def _belong(self, centers: Array) -> bool:
        """Return whether labels are those of the nearest centers, so that none need go out."""
        return self._assigned is not None and np.array_equal(self._assigned, centers)

    def close(self, *, kill: bool = False) -> None:
        """Let the workers forget what they know of this fit."""
        if self._source.client.status == "running":
            self._source.client.run(tasks.forget, self._plan.fit, on_error="ignore")
