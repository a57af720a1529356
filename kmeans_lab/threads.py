"""Mode "threads": a share of the chunks in each of several threads.

Imported when the mode is asked for: ``concurrent.futures`` would add a tenth to the import.
"""

from concurrent.futures import Future, ThreadPoolExecutor, wait

from kmeans_lab.centering import Samples
from kmeans_lab.kernel import Kernel
from kmeans_lab.workers import Array, Crew


class ThreadCrew(Crew):
    """Kernels that release the GIL run side by side; each thread has a share of the chunks."""

    def _start(self, kernel: Kernel, rows: Samples, n_clusters: int) -> None:
        super()._start(kernel, rows, n_clusters)
        self._pool = ThreadPoolExecutor(max(1, self.n_workers - 1), "kmeans_lab")

    def _run(self, order: str, centers: Array) -> None:
        mine, *others = (getattr(team, order) for team in self._teams)
        futures: list[Future[None]] = []
        try:
            for task in others:
                futures.append(self._pool.submit(task, centers))  # noqa: PERF401 (it may be left)
            mine(centers)
            while wait(futures, 0.1).not_done:
                pass  # a signal may come where Python does not look: look again
        except BaseException:  # Ctrl-C comes to this thread alone
            for team in self._teams:
                team.stopped = True
            wait(futures)  # they write into this fit's buffers
            raise
        for future in futures:
            future.result()

    def close(self, *, kill: bool = False) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=kill)
