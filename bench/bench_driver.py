"""The driver's own cost: the standard preset's loop around a kernel that does nothing."""

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kmeans_lab import kmeans
from kmeans_lab.formatting import duration
from kmeans_lab.presets import PRESETS

N_ITER = 200
GROUP = f"driver alone, {N_ITER} iterations on standard"


@pytest.mark.benchmark(group=GROUP)
def test_driver(benchmark: BenchmarkFixture, notes: list[str]) -> None:
    workload = PRESETS["standard"].load()
    tick = count(1)

    def assign(given: Any, centers: Any, labels: Any) -> float:
        return 0.0

    def update(given: Any, labels: Any, sums: Any, counts: Any) -> None:
        counts.fill(1)  # no cluster is empty: nothing but the usual path is measured
        sums[0, 0] = next(tick)  # and the centers move, so that the loop goes on

    idle = SimpleNamespace(assign=assign, update=update, __name__="idle")
    spent = []

    def fit() -> None:
        result = kmeans(
            workload.X, 25, kernel=idle, init=workload.centers, max_iter=N_ITER, tol=0.0
        )
        assert result.n_iter == N_ITER
        spent.append(result.seconds["assign"] + result.seconds["update"])

    benchmark.pedantic(fit, rounds=15, iterations=1)
    if benchmark.disabled:
        return
    median = sorted(spent)[len(spent) // 2]
    per_iteration = f"{duration(median / N_ITER)} per iteration"
    benchmark.extra_info["per_iteration"] = per_iteration
    notes.append(f"the driver's own cost: {per_iteration} (standard, a kernel that does nothing)")
