"""``kmeans_lab.dask.kmeans``: the driver's loop, with passes that run on a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import kmeans_lab
from kmeans_lab import driver
from kmeans_lab.dask.crew import ClusterCrew
from kmeans_lab.dask.source import ClusterRows
from kmeans_lab.io.errors import MissingExtra
from kmeans_lab.isolation.availability import choose_kernel
from kmeans_lab.registry import find_spec
from kmeans_lab.result import KMeansResult


def kmeans(X: Any, n_clusters: int, *, client: Any = None, **settings: Any) -> KMeansResult:
    """Cluster rows that lie on a cluster; the same bits as ``kmeans_lab.kmeans`` in memory.

    Parameters
    ----------
    X : dask array, dask frame, list of delayed blocks or ``kmeans_lab.rows.RowSource``
        (n_samples, n_features), in blocks of rows of any size, empty ones and unknown sizes
        included. Delayed blocks may be sparse matrices of SciPy. Each block is loaded once and
        stays on its worker; one that is lost is loaded again.
    n_clusters : int
    client : distributed.Client, optional
        By default the current one.
    **settings
        Those of ``kmeans_lab.kmeans``, without ``mode`` and ``memory``. The kernel must be one of
        those whose sums are exact: "cpp-simd", "cython-tiled" or "numba-tiled"; with sparse blocks,
        "cpp-simd", without ``sample_weight``. ``n_threads`` is that of each task; a worker is given
        a task for each of its threads.

    Returns
    -------
    KMeansResult
        Its labels come to the client.

    Raises
    ------
    ValueError, TypeError
        As ``kmeans_lab.kmeans``; or there is no client, or it has no workers, or these have another
        version of kmeans_lab.
    """
    return fit(hold(X, client, settings), n_clusters, settings)


def hold(X: Any, client: Any, settings: dict[str, Any]) -> ClusterRows:
    """Return rows that the workers have loaded; refuse settings that no rows could go with."""
    for name in ("mode", "memory"):
        if settings.get(name) is not None:
            raise ValueError(f"{name}={settings[name]!r} has no meaning on a cluster; leave it out")
    _kernel_name(settings, sparse=False)  # before anything is loaded
    directions = settings.get("metric") == "cosine"
    return ClusterRows(client_of(client), X, ClusterCrew, directions=directions)


def fit(rows: ClusterRows, n_clusters: int, settings: dict[str, Any]) -> KMeansResult:
    """Do what ``kmeans`` does with rows that are held."""
    settings = settings | {"kernel": _kernel_name(settings, sparse=rows.sparse)}
    weights = settings.get("sample_weight")
    if hasattr(weights, "compute"):
        settings["sample_weight"] = np.asarray(rows.client.compute(weights).result())
    given: Any = rows
    if rows.sparse:
        if weights is not None:
            raise ValueError(
                "sample_weight is given and X has sparse blocks, whose weighted sums depend on the "
                "order of the rows; leave weights out, or use kmeans_lab.kmeans"
            )
        from kmeans_lab.dask.sparse import SparseClusterRows

        given = SparseClusterRows(rows, directions=settings.get("metric") == "cosine")
    found = driver.kmeans(given, n_clusters, **settings)
    rows.check()
    return replace(found, mode="dask")


def _kernel_name(settings: dict[str, Any], *, sparse: bool) -> str:
    kernel = settings.get("kernel", "auto")
    name = choose_kernel(sparse=sparse) if kernel == "auto" else kernel
    exact = isinstance(name, str) and find_spec(name).threading == "own"
    if exact and (not sparse or "sparse-blocks" in find_spec(name).provides):
        return str(name)
    raise ValueError(
        f"kernel={kernel!r} adds rows up in the order in which they come, which is any on a "
        "cluster; use 'cpp-simd' or, with dense rows, 'cython-tiled' or 'numba-tiled'"
    )


def client_of(client: Any) -> Any:
    """Return a client that has workers, of this version: this one, or the current one."""
    if client is None:
        try:
            from distributed import get_client
        except ModuleNotFoundError as error:
            missing = error.name or "distributed"
            raise MissingExtra("a cluster needs", missing, extra="dask") from None
        try:
            client = get_client()
        except ValueError:
            raise ValueError(
                "there is no client of a cluster; give client=distributed.Client(…)"
            ) from None
    if not hasattr(client, "scheduler_info") or not hasattr(client, "submit"):
        raise TypeError(
            f"client of type {type(client).__name__} must be a distributed.Client; make one with "
            "distributed.Client(…)"
        )
    if client.asynchronous:
        raise ValueError(f"{client} is asynchronous and must not be; leave asynchronous=True out")
    if client.status != "running":
        raise ValueError(f"{client} is {client.status} and must be running; make another")
    if not client.scheduler_info()["workers"]:
        raise ValueError(f"{client} has no workers; start some, or wait for them")
    versions = client.run(_version)
    if strange := {at: it for at, it in versions.items() if it != kmeans_lab.__version__}:
        at, version = next(iter(strange.items()))
        raise ValueError(
            f"worker {at} has kmeans_lab {version} and the client {kmeans_lab.__version__}, whose "
            "bits may differ; install the same version everywhere"
        )
    return client


def _version() -> str:
    return str(kmeans_lab.__version__)
