"""The cost model of a cluster: worked by hand, against the tasks themselves, and fitted back."""

from dataclasses import replace

import numpy as np
import pytest

from bench.cluster.model import (
    Costs,
    Job,
    Machine,
    bytes_between_workers,
    bytes_read,
    bytes_sent,
    bytes_through_scheduler,
    fit,
    joins,
    memory_per_worker,
    seconds,
)
from kmeans_lab.dask import crew
from kmeans_lab.numerics.block_sums import start_sums

SMALL = Job(n_samples=1000, n_features=4, n_clusters=5, n_workers=10, tasks_per_worker=2)
ANSWER = 5 * (8 * 2 + 1) * 8  # room for eight features


@pytest.mark.parametrize(
    ("answers", "levels"),
    [(1, []), (8, []), (9, [2]), (64, [8]), (65, [9, 2]), (1000, [125, 16, 2])],
)
def test_levels_of_joins(answers, levels):
    assert joins(answers) == levels


def test_as_many_answers_are_added_up_at_once_as_in_the_package():
    from bench.cluster.model import FAN_IN

    assert crew._TOGETHER == FAN_IN


@pytest.mark.parametrize("width", [1, 8, 33, 128])
@pytest.mark.parametrize(("kind", "limbs"), [(np.float32, 2), (np.float64, 3)])
@pytest.mark.kernels("cpp-simd")
def test_an_answer_is_as_large_as_the_parts_of_sums(kernel_name, width, kind, limbs):
    ends = np.full(width, 4.0), np.full(width, 1e-6)
    sums = start_sums(*ends, None, np.dtype(kind), (10**9, 5), None, 1)
    job = replace(SMALL, n_features=width, itemsize=np.dtype(kind).itemsize, limbs=limbs)
    assert job.answer == sums.parts().nbytes


def test_bytes_of_a_pass():
    assert (SMALL.steps, SMALL.tasks, SMALL.gathered) == (20, 23, 3)
    assert (SMALL.centers, SMALL.answer) == (80, ANSWER)
    assert bytes_read(SMALL) == 1000 * 4 * 4
    through = 20 * 2 * 80 + 3 * ANSWER
    assert bytes_through_scheduler(SMALL) == through
    assert bytes_between_workers(SMALL) == 17 * ANSWER  # 20 answers, 3 of them where they are added
    assert bytes_sent(SMALL) == 2 * through + 17 * ANSWER


def test_scattered_centers_are_sent_to_each_worker_once():
    job = replace(SMALL, scattered=True)
    assert job.tasks == 24
    assert bytes_through_scheduler(job) == 80 + 3 * ANSWER
    assert bytes_between_workers(job) == 17 * ANSWER + 9 * 80


def test_memory_of_a_worker():
    rows = 100 * (4 * 4 + 12)
    held = rows + 3 * 2 * ANSWER + 10 * ANSWER
    job = replace(SMALL, blocks_per_worker=3, kept=4)
    assert memory_per_worker(job) == held + 2 * 2 * 80
    assert memory_per_worker(replace(job, scattered=True)) == held + 2 * 80
    few = replace(job, n_workers=1)  # no joins
    assert memory_per_worker(few) == 1000 * (4 * 4 + 12) + 3 * 2 * ANSWER + 2 * 2 * 80


def test_seconds_of_a_pass():
    machine = Machine(rows_per_second=10, threads=2, memory_rate=1e3, network_rate=100)
    spent = seconds(SMALL, Costs(1.0, 0.5, 0.01), machine)
    assert spent.rows == 1000 / (10 * 2 * 10)
    assert spent.centers == 20 * 2 * 80 / 100
    # eight answers to a join, of which one is there already; three go in and out of the scheduler
    assert spent.joins == (7 + 2 * 3) * ANSWER / 100
    assert spent.coordination == 1.0 + 0.5 * 23 + 0.01 * (20 * 2 * 80 + 3 * ANSWER)
    assert spent.total == spent.rows + spent.centers + spent.joins + spent.coordination
    slow = seconds(SMALL, Costs(0, 0, 0), replace(machine, memory_rate=100))
    assert slow.rows == 1000 * 16 / 10 / 100
    scattered = seconds(replace(SMALL, scattered=True), Costs(0, 0, 0), machine)
    assert scattered.centers == 10 * 80 / 100


def test_costs_are_found_again():
    costs = Costs(0.004, 0.0015, 2e-9)
    tasks = [3, 9, 30, 100, 3, 9, 30, 100]
    sizes = [1e4, 1e5, 1e5, 1e6, 1e7, 1e7, 3e7, 1e8]
    spent = [costs.seconds(n, size) for n, size in zip(tasks, sizes, strict=True)]
    found = fit(tasks, sizes, spent)
    assert np.allclose(
        [found.fixed, found.per_task, found.per_byte], [0.004, 0.0015, 2e-9], rtol=1e-6
    )


def test_no_cost_is_below_0():
    found = fit([1, 2, 4, 8], [0.0, 0.0, 0.0, 0.0], [0.01, 0.03, 0.07, 0.15])
    assert found.fixed == 0
    assert found.per_byte == 0
    assert 0.01 < found.per_task < 0.02


def test_the_plan_in_the_documentation():
    costs = Costs(5e-3, 1.6e-3, 1.3e-9)
    machine = Machine(rows_per_second=42_000, threads=16, memory_rate=50e9, network_rate=1.25e9)
    plan = Job(10**9, 128, 10**4, 100, 1, 10, scattered=True, kept=900)
    spent = seconds(plan, costs, machine)
    assert plan.tasks == 116
    assert memory_per_worker(plan) == pytest.approx(14.8e9, rel=0.01)
    assert bytes_sent(plan) == pytest.approx(2.6e9, rel=0.01)
    assert bytes_through_scheduler(plan) == pytest.approx(46e6, rel=0.01)
    parts = spent.rows, spent.centers, spent.joins, spent.coordination
    assert parts == pytest.approx((14.8, 0.4, 0.3, 0.24), rel=0.05)
