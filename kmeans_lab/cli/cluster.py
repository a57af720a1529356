"""Where ``kmeans-lab fit`` computes: in this process, or on the workers of a cluster."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from threading import Thread
from typing import Any

from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.paths import known_suffix, refuse_unreadable
from kmeans_lab.result import KMeansResult
from kmeans_lab.rows.opening import ROW_SUFFIXES, open_rows

Fit = Callable[..., KMeansResult]

_SECONDS = 20  # that a scheduler has to answer


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names the cluster."""
    text = "the address of a scheduler of Dask's, like tcp://host:8786, whose workers compute"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=text)
    text = "processes that are started here as a cluster of Dask's, of one thread each"
    parser.add_argument("--workers", metavar="N", type=int, help=text)


def on_cluster(arguments: argparse.Namespace) -> bool:
    """Return whether a cluster was named."""
    return arguments.scheduler is not None or arguments.workers is not None


def rows_for_workers(path: Path, array: str | None = None) -> Any:
    """Return the rows of a file as every worker reads them, wherever it was started."""
    if not path.is_dir():
        refuse_unreadable(path)
        known_suffix(path, ROW_SUFFIXES, "convert it, or leave --scheduler and --workers out")
    return open_rows(path.resolve(), array)


@contextmanager
def fit_there(arguments: argparse.Namespace) -> Iterator[Fit | None]:
    """Yield what does as ``kmeans`` does on the cluster that was named; None where none was."""
    if not on_cluster(arguments):
        yield None
        return
    if arguments.scheduler is not None and arguments.workers is not None:
        raise Refused("--scheduler and --workers name two clusters; leave one of them out")
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise MissingExtra("a cluster needs", error.name or "distributed", extra="dask") from None
    from kmeans_lab.dask import kmeans as on_workers

    with _address(arguments) as address:
        try:
            client = _connected(lambda: Client(address, timeout=_SECONDS))
        except (OSError, ValueError) as error:
            said = str(error) or "it did not answer"
            raise Refused(
                f"--scheduler {arguments.scheduler} cannot be reached ({said}); name one that runs"
            ) from None
        with client:
            yield lambda *given, **settings: on_workers(*given, client=client, **settings)


def _connected(connect: Callable[[], Any]) -> Any:
    """Return a client; ``TimeoutError`` where what was connected to says nothing."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(connect())
        except Exception as error:  # raised where the client is waited for
            found.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(2 * _SECONDS)
    if not found:
        raise TimeoutError(f"it has not answered in {2 * _SECONDS} s")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


@contextmanager
def _address(arguments: argparse.Namespace) -> Iterator[Any]:
    """Yield the scheduler, of workers that were started here where so many were asked for."""
    if arguments.scheduler is not None:
        yield arguments.scheduler
        return
    if arguments.workers < 1:
        raise Refused(f"--workers {arguments.workers} must be at least 1; or leave it out")
    from distributed import LocalCluster

    # Workers inherit what is ignored: Ctrl-C is for the command, which ends them.
    before = signal(SIGINT, SIG_IGN)
    try:
        cluster = LocalCluster(
            n_workers=arguments.workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        )
    finally:
        signal(SIGINT, before)
    with cluster:
        yield cluster
