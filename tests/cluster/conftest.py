"""Clusters on this machine, with time limits of their own; one is started for a module."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

LIMITS = {
    "distributed.comm.timeouts.connect": "20s",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.admin.tick.limit": "1h",  # loaded machines are slow, and that is no news
    "distributed.worker.memory.terminate": False,
}


@contextmanager
def cluster_of(n_workers: int, **options: Any) -> Iterator[Client]:
    """Start workers of one thread each, on loopback and without a dashboard."""
    with (
        dask.config.set(LIMITS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            silence_logs=50,
            **options,
        ) as cluster,
        Client(cluster, timeout="20s") as client,
    ):
        client.wait_for_workers(n_workers, timeout=60)
        yield client


@pytest.fixture(scope="session")
def started() -> Callable[[int], AbstractContextManager[Client]]:
    """Return what starts a cluster of so many workers, as a context manager."""
    return cluster_of


@pytest.fixture(scope="module")  # other tests count the processes of theirs
def client() -> Iterator[Client]:
    with cluster_of(2) as found:
        yield found
