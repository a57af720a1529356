"""Mode "serial": the calling thread computes all chunks; a kernel may have threads of its own."""

import numpy as np

from kmeans_lab.crews.base import Crew
from kmeans_lab.crews.chunks import Chunks
from kmeans_lab.crews.partial import Partials
from kmeans_lab.kernel import Array


class SerialCrew(Crew):
    """Chunks in this process, computed by the thread that asks."""

    def _start(self) -> None:
        job = self.job
        self.rows = job.rows
        # The passes fill them; until then, while the start is drawn, they take no memory.
        self.labels = np.empty(len(job.rows), dtype=np.int32)
        self.partials = Partials.empty(
            len(self.bounds), job.n_clusters, job.rows.shape[1], weighted=self.kernel_weighs
        )
        self._parts = [
            Chunks(
                job.kernel,
                job.rows,
                self.labels,
                self.partials,
                self.bounds,
                share,
                self.kernel_threads,
                takes_middle=job.spec.centers,
                weights=self.weights if self.kernel_weighs else None,
            )
            for share in self.shares()
        ]
        self._prepared = [chunk for part in self._parts for chunk in part.prepared]
        if len(self.bounds) == 1:
            self._in_one_call = self._parts[0].in_one_call()
        if len(self._prepared) == 1:
            (self.prepared,) = self._prepared
        if all(hasattr(chunk, "changed") for chunk in self._prepared):
            self._counting = self._prepared

    def _run(self, order: str, centers: Array) -> None:
        getattr(self._parts[0], order)(centers)

    def rescored(self) -> int:
        """Count the near-ties that the kernel has decided by direct differences so far."""
        return sum(part.rescored() for part in self._parts)

    def close(self, *, kill: bool = False) -> None:
        """Let the kernel end its threads."""
        for chunk in self._prepared:
            if hasattr(chunk, "close"):
                chunk.close()
