"""A cost model of a pass of ``kmeans_lab.dask``: bytes, memory and seconds, from a few rates.

Everything here is arithmetic: nothing is measured and no cluster is needed. ``Job`` says what is
clustered and how it is cut, ``Costs`` what a task and a byte take in the processes of client and
scheduler, and ``Machine`` what one machine can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

FAN_IN = 8  # answers that one task adds up: _TOGETHER in kmeans_lab/dask/crew.py
WORD = 8  # bytes of a whole number in an answer
VECTOR = 8  # sums are stored for a multiple of so many features
LABEL = 4  # bytes of a label


@dataclass(frozen=True, slots=True)
class Job:
    """What is clustered, on how many workers, in how many tasks.

    Parameters
    ----------
    n_samples, n_features, n_clusters : int
    n_workers : int
    tasks_per_worker : int
        Steps of one pass on one worker: one for each of its threads, or for each block.
    blocks_per_worker : int
        Blocks that a worker holds; each keeps sums of its own.
    scattered : bool
        Whether centers are what a task of their own returns, which each worker fetches once; if
        not, they are part of each step.
    itemsize : int
        Bytes of a value of the rows and of the centers.
    kept : int
        Bytes that the kernel keeps of each row from pass to pass, beside the row and its label.
    limbs : int
        Whole numbers that make up one sum: 2 for float32, 3 for float64, as a rule.
    """

    n_samples: int
    n_features: int
    n_clusters: int
    n_workers: int
    tasks_per_worker: int = 1
    blocks_per_worker: int = 1
    scattered: bool = False
    itemsize: int = 4
    kept: int = 0
    limbs: int = 2

    @property
    def steps(self) -> int:
        """Tasks that look at rows, per pass."""
        return self.n_workers * self.tasks_per_worker

    @property
    def tasks(self) -> int:
        """All tasks of a pass: steps, joins, and the one that returns scattered centers."""
        return self.steps + sum(joins(self.steps)) + self.scattered

    @property
    def gathered(self) -> int:
        """Answers that come to the client, which adds up the last few itself."""
        return [self.steps, *joins(self.steps)][-1]

    @property
    def centers(self) -> int:
        """Bytes of the centers."""
        return self.n_clusters * self.n_features * self.itemsize

    @property
    def answer(self) -> int:
        """Bytes of what a step or a join returns: sums as whole numbers, and counts."""
        columns = -(-self.n_features // VECTOR) * VECTOR
        return self.n_clusters * (columns * self.limbs + 1) * WORD


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of client and scheduler: per pass, per task and per byte that they handle."""

    fixed: float
    per_task: float
    per_byte: float

    def seconds(self, tasks: int, size: float) -> float:
        """Return the seconds of a pass of so many tasks that sends so many bytes."""
        return self.fixed + self.per_task * tasks + self.per_byte * size


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a cluster.

    Parameters
    ----------
    rows_per_second : float
        Rows that one thread assigns and adds up per second, for the features and clusters at hand.
    threads : int
    memory_rate : float
        Bytes per second that all threads together read from memory.
    network_rate : float
        Bytes per second in each direction, of this machine and of the scheduler's.
    """

    rows_per_second: float
    threads: int
    memory_rate: float
    network_rate: float


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of a pass by part; parts follow one another."""

    rows: float
    centers: float
    joins: float
    coordination: float

    @property
    def total(self) -> float:
        """Seconds of the pass."""
        return self.rows + self.centers + self.joins + self.coordination


def joins(answers: int, fan_in: int = FAN_IN) -> list[int]:
    """Return how many tasks each level of the tree of joins has, from the leaves up.

    Parameters
    ----------
    answers : int
        Answers to be added up, 1 or more.
    fan_in : int
        Answers that one task adds up, 2 or more; as few as that need no task, but go to the client.
    """
    levels = []
    while answers > fan_in:
        answers = ceil(answers / fan_in)
        levels.append(answers)
    return levels


def bytes_read(job: Job) -> int:
    """Return the bytes of rows that all workers read from their memory in a pass.

    A row whose label changes is read once more; that is not counted.
    """
    return job.n_samples * job.n_features * job.itemsize


def bytes_through_scheduler(job: Job) -> int:
    """Return the bytes that pass the scheduler in a pass, on their way out or back.

    A step carries its centers and those of the step before, from which a worker that has lost its
    blocks finds their labels again. Scattered centers pass once, and only the new ones. The last
    answers come back.
    """
    return job.centers * (1 if job.scattered else 2 * job.steps) + job.gathered * job.answer


def bytes_between_workers(job: Job) -> int:
    """Return the bytes that workers send one another in a pass, at most.

    The first answer of each join lies on its worker; the others come over the network. Blocks
    that follow each other on one worker make it less. Scattered centers go from worker to worker.
    """
    moved, answers = 0, job.steps
    for tasks in joins(job.steps):
        moved, answers = moved + answers - tasks, tasks
    sent = job.centers * (job.n_workers - 1) if job.scattered else 0
    return moved * job.answer + sent


def bytes_sent(job: Job) -> int:
    """Return all bytes that are sent in a pass, at most: those of the scheduler go two ways."""
    return 2 * bytes_through_scheduler(job) + bytes_between_workers(job)


def memory_per_worker(job: Job) -> int:
    """Return the bytes that the busiest worker holds during a pass.

    Its rows; their labels before and after, and what the kernel keeps of each; for each
    block the sums and the answer made from them; both sets of centers, once or in each step; and a
    join: what it adds up, its result, and a copy that adding makes.
    """
    share = ceil(job.n_samples / job.n_workers)
    rows = share * (job.n_features * job.itemsize + 2 * LABEL + job.kept)
    centers = 2 * job.centers * (1 if job.scattered else job.tasks_per_worker)
    joining = job.answer * (FAN_IN + 2 if joins(job.steps) else 0)
    return rows + 2 * job.answer * job.blocks_per_worker + centers + joining


def seconds(job: Job, costs: Costs, machine: Machine) -> Seconds:
    """Return what a pass takes, by part.

    Rows are computed or read, whichever takes longer. Centers leave the scheduler one after the
    other; scattered, they leave their first worker one after the other, since all steps learn at
    once where they are. In each level of the tree the busiest worker receives all answers but its
    own; the last ones enter and leave the scheduler's machine. Costs per byte are those of bytes
    that pass the client and the scheduler.
    """
    computed = job.n_samples / (job.n_workers * machine.threads * machine.rows_per_second)
    read = bytes_read(job) / job.n_workers / machine.memory_rate
    copies = job.n_workers if job.scattered else 2 * job.steps
    pulled, answers = 0, job.steps
    for tasks in joins(job.steps):
        pulled, answers = pulled + FAN_IN - 1, tasks
    return Seconds(
        rows=max(computed, read),
        centers=copies * job.centers / machine.network_rate,
        joins=(pulled + 2 * answers) * job.answer / machine.network_rate,
        coordination=costs.seconds(job.tasks, bytes_through_scheduler(job)),
    )


def fit(tasks: Sequence[int], sizes: Sequence[float], spent: Sequence[float]) -> Costs:
    """Return the costs that come nearest to measured seconds, none below 0.

    Parameters
    ----------
    tasks : sequence of int
        Tasks of each pass that was measured.
    sizes : sequence of float
        Bytes that each of them sent.
    spent : sequence of float
        Seconds of each, above 0. Relative errors count, so that short passes weigh as much as long
        ones.
    """
    columns = np.array([np.ones(len(spent)), tasks, sizes], np.float64)
    weighted = (columns / np.asarray(spent)).T
    used = list(range(len(columns)))
    while True:
        # Columns are scaled to length 1: bytes and tasks differ by a million.
        lengths = np.linalg.norm(weighted[:, used], axis=0)
        lengths[lengths == 0] = 1.0
        found = np.linalg.lstsq(weighted[:, used] / lengths, np.ones(len(spent)), rcond=None)[0]
        if (found >= 0).all():
            break
        used.pop(int(np.argmin(found)))
    costs = np.zeros(len(columns))
    costs[used] = found / lengths
    return Costs(*costs.tolist())
