"""Thread pools of other libraries, held at one thread while something is measured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from kmeans_lab.measure.schema import Pool

#: Variables that limit pools of libraries that a kernel may call; read when these are loaded.
POOLS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def pools() -> list[Pool]:
    """Return the thread pools that arithmetic may use, of all libraries that are loaded.

    Other pools are registered with threadpoolctl too, under rules of their own: SciPy's reader of
    Matrix Market files has 0 threads, for as many as there are, and a function as its version.
    """
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "num_threads", "architecture")
    found = [pool for pool in threadpool_info() if pool["user_api"] in ("blas", "openmp")]
    return [
        cast(Pool, {key: pool[key] for key in keys if pool.get(key) is not None}) for pool in found
    ]


def busy_pools() -> list[Pool]:
    """Return the pools that have more than one thread."""
    return [pool for pool in pools() if pool["num_threads"] != 1]


@contextmanager
def quiet_pools() -> Iterator[None]:
    """Hold the pools of all libraries at one thread, and make sure of it."""
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in POOLS}
    os.environ.update(dict.fromkeys(POOLS, "1"))  # for those that are loaded later
    try:
        with threadpool_limits(1):
            yield
            if busy := busy_pools():
                raise RuntimeError(f"a thread pool did not stay at one thread: {busy}")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
