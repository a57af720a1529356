"""The tasks of a pass without its arithmetic, and the two ways to hand them to the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from bench.cluster.model import FAN_IN, WORD, Job

Answer = tuple[NDArray[np.int64], int, int]

_answers: dict[int, NDArray[np.int64]] = {}


class Way(NamedTuple):
    """How the tasks and the centers of a pass are sent."""

    graph: bool  # all tasks at once; or else each by a call of its own, as the crew does
    scattered: bool

    def __str__(self) -> str:
        tasks = "one graph" if self.graph else "task by task"
        return f"{tasks}, centers {'scattered' if self.scattered else 'inside'}"


WAYS = tuple(Way(graph, scattered) for graph in (False, True) for scattered in (False, True))


class Block:
    """Stands for a block of rows: large, as the scheduler sees it, so that steps go where it is."""

    def __sizeof__(self) -> int:
        return 1 << 30


def make_block(_number: int) -> Block:
    """Return a block on the worker that runs this."""
    return Block()


def held(block: Block) -> int:
    """Return how large a block says that it is."""
    return block.__sizeof__()


def step(_block: Block, _number: int, size: int, _centers: Any, _before: Any) -> Answer:
    """Return sums of the right size, as ``kmeans_lab.dask.tasks.step`` does, without work."""
    if size not in _answers:
        _answers[size] = np.ones(size, np.int64)
    return _answers[size], 0, 0


def same(centers: Any) -> Any:
    """Return centers, which all steps fetch from the worker that runs this."""
    return centers


def join(*answers: Answer) -> Answer:
    """Add answers up, as ``kmeans_lab.dask.tasks.join`` does."""
    parts = reduce(np.add, [answer[0] for answer in answers])
    return parts, sum(answer[1] for answer in answers), sum(answer[2] for answer in answers)


class Passes:
    """Passes of a fit on the workers of a client."""

    def __init__(self, client: Any, job: Job, way: Way) -> None:
        self.client, self.way, self.steps = client, way, job.steps
        self.size = job.answer // WORD
        workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
        # Consecutive blocks on one worker, as a scheduler places what is loaded in order.
        self.blocks = [
            client.submit(make_block, b, workers=[workers[b // job.tasks_per_worker]], pure=False)
            for b in range(job.steps)
        ]
        client.gather([client.submit(held, block) for block in self.blocks])
        self.centers = np.zeros((job.n_clusters, job.n_features), np.float32)
        self.before = self._sent()

    def __call__(self) -> None:
        """Run a pass, and check what comes back."""
        sent = self._sent()
        answers = [
            self._task(step, block, b, self.size, sent, self.before)
            for b, block in enumerate(self.blocks)
        ]
        while len(answers) > FAN_IN:
            answers = [
                self._task(join, *answers[i : i + FAN_IN]) for i in range(0, len(answers), FAN_IN)
            ]
        if self.way.graph:
            answers = self.client.compute(answers, optimize_graph=False)
        parts, _, _ = join(*self.client.gather(answers))
        self.before = sent
        if len(parts) != self.size or not (parts[0] == parts[-1] == self.steps):
            raise RuntimeError(f"{self.steps} answers of ones add up to {parts[0]}")

    def _sent(self) -> Any:
        """Return centers as steps receive them."""
        if self.way.scattered:
            return self.client.submit(same, self.centers, pure=False)
        return self.centers.copy()

    def _task(self, function: Callable[..., Answer], *arguments: Any) -> Any:
        """Return a future of what a task returns, or a task of the graph to be sent."""
        if self.way.graph:
            return delayed(function, pure=False, traverse=False)(*arguments)
        return self.client.submit(function, *arguments, pure=False)
