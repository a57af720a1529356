"""Clusters to measure: a process for each worker, or all workers in a few processes."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import dask
from distributed import Client, LocalCluster, Worker

#: Many workers in one process are slow to answer, and that is no fault of theirs; what samples
#: each of them for dashboards would be measured with them.
SETTINGS = {
    "distributed.admin.tick.cycle": "1h",
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.comm.timeouts.connect": "120s",
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.profile.enabled": False,
}
_AT_ONCE = 50  # workers that a process starts side by side
_FEWEST = 4  # connections that a worker keeps


def _open_files() -> int:
    """Return how many files a process may open: both ends of a connection count in this one."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Cluster(NamedTuple):
    """A cluster that runs: its client, whose process is also the scheduler's, and its workers'."""

    client: Any
    processes: list[int]


@contextmanager
def real(n_workers: int) -> Iterator[Cluster]:
    """Start workers of one thread, each in a process of its own."""
    with _scheduler(n_workers) as client:
        client.wait_for_workers(n_workers, timeout=120)
        yield Cluster(client, list(client.run(os.getpid).values()))


@contextmanager
def simulated(n_workers: int, n_processes: int, timeout: float = 600.0) -> Iterator[Cluster]:
    """Start workers that share a few processes, and one thread for tasks in each of these.

    A thread for each worker, as real ones have, would be measured instead of the scheduler: a
    thousand of them wait for one interpreter's lock, and ask for it every five milliseconds.
    """
    context = multiprocessing.get_context("spawn")
    with _scheduler(0) as client, ExitStack() as ended:
        processes, pipes = [], []
        for i in range(n_processes):
            here, there = context.Pipe()
            share = n_workers // n_processes + (i < n_workers % n_processes)
            arguments = client.cluster.scheduler_address, share, there
            process = context.Process(target=_host, args=arguments, daemon=True)
            process.start()
            there.close()
            ended.callback(process.join, 10)
            ended.callback(process.kill)
            processes.append(process)
            pipes.append(here)
        for here in pipes:
            if not here.poll(timeout):
                raise TimeoutError(f"{n_workers} workers did not start within {timeout:g} s")
            here.recv()
        client.wait_for_workers(n_workers, timeout=60)
        yield Cluster(client, [process.pid for process in processes if process.pid])


@contextmanager
def _scheduler(n_workers: int) -> Iterator[Any]:
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # blocks only say that they are large
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, timeout="60s") as client,
    ):
        yield client


def _host(address: str, n_workers: int, pipe: Connection) -> None:
    """Run workers until this process is killed."""
    for name in [*logging.root.manager.loggerDict, "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(SETTINGS), ThreadPoolExecutor(1) as executor:
        asyncio.run(_serve(address, n_workers, pipe, executor))


async def _serve(
    address: str, n_workers: int, pipe: Connection, executor: ThreadPoolExecutor
) -> None:
    options: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": 0,
        "dashboard": False,
        "executor": executor,
        "connection_limit": max(_FEWEST, min(512, _open_files() // 4 // n_workers)),
    }
    workers: list[Worker] = []
    while len(workers) < n_workers:
        several = range(min(_AT_ONCE, n_workers - len(workers)))
        workers += await asyncio.gather(*(Worker(address, **options) for _ in several))
    pipe.send(len(workers))
    await asyncio.Event().wait()
