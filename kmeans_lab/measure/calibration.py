"""Measurements outside the rounds of a run: calibration loop, estimates, start-up costs."""

import json
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import kmeans_lab
from kmeans_lab.driver import kmeans
from kmeans_lab.isolation.children import ChildError
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.isolation.metadata import find_file
from kmeans_lab.kernel import Array, Prepares, read_only
from kmeans_lab.measure.machinecode import CannotTell, scratch_folder
from kmeans_lab.measure.schema import StartCosts
from kmeans_lab.presets import Workload
from kmeans_lab.registry import KERNELS, find_spec, load_for, spec_for
from kmeans_lab.sparse.rows import SparseRows

_CALIBRATION, _REPEATS = 100_000, 15


def calibrate() -> list[float]:
    """Return the seconds of a fixed loop of plain Python, which no kernel can change."""
    found = []
    for _ in range(_REPEATS):
        start = perf_counter()
        total = 0
        for i in range(_CALIBRATION):
            total += i
        found.append(perf_counter() - start)
    return found


def seconds_of_assign(kernel: str, workload: Workload) -> float:
    """Extrapolate the seconds of one assignment from a few rows."""
    X = some_rows(workload)
    return seconds_of(kernel, X, workload.centers) * len(workload.X) / len(X)


def some_rows(workload: Workload) -> Any:
    """Return so few rows that any kernel assigns them quickly.

    Of sparse ones, enough that they have more values than a center: each assignment begins with the
    norms of the centers, which few rows must not be charged with.
    """
    X, centers = workload.X, workload.centers
    if isinstance(X, SparseRows):
        n_values = max(X.n_features, 200_000 // len(centers))
        return X[: max(1, int(np.searchsorted(X.indptr, n_values)))]
    return X[: max(1, min(len(X), 200_000 // centers.size))]


def seconds_of(kernel: str, X: Any, centers: Any) -> float:
    """Return the seconds of one assignment of these rows."""
    X, centers = handed(X), read_only(centers)
    module, _ = load_for(kernel, sparse=isinstance(X, SparseRows))
    rows, labels = prepared(module, X, len(centers)), np.empty(len(X), np.int32)
    module.assign(rows, centers, labels)  # compiles, where the kernel does that
    start = perf_counter()
    module.assign(rows, centers, labels)
    return perf_counter() - start


def handed(X: Array | SparseRows) -> Any:
    """Return rows as kernels are given them, which must not write to them."""
    return X if isinstance(X, SparseRows) else read_only(X)


def prepared(kernel: Any, X: Any, n_clusters: int, n_threads: int = 1) -> Any:
    """Return what the kernel's own ``prepare`` makes of X, or X."""
    return kernel.prepare(X, n_clusters, n_threads) if isinstance(kernel, Prepares) else X


def start_costs(
    kernel: str,
    dtype: str,
    n_features: int,
    imported: float | None = None,
    *,
    sparse: bool = False,
    executable: str | None = None,
) -> StartCosts | None:
    """Return the seconds that a kernel takes before its first fit, in processes of their own.

    "import": its module and what that needs beyond kmeans_lab; ``imported`` where that is known.
    "compile" and "load", where it compiles on its first call: how much longer the first fit takes
    than the second, with an empty cache of compiled code and with a full one. "build", where a
    compiler made it when it was installed: what that took, wherever it was. None where it cannot
    run, and where there is no folder for a cache. ``executable``: of another interpreter, which
    does not tell what its modules took to build.
    """
    jits = find_spec(kernel).compiles_on_first_call
    found = []
    try:
        if jits:
            with scratch_folder() as folder:  # where compilers keep what they have compiled
                cache = {"NUMBA_CACHE_DIR": folder, "TMPDIR": folder}
                work = dtype, n_features, sparse
                found = [_start_once(kernel, cache, executable, *work) for _ in range(2)]
        elif imported is None:
            found = [_start_once(kernel, {}, executable, dtype, n_features, sparse)]
    except (CannotTell, ChildError):
        return None
    extra = [max(0.0, first - second) for _, first, second in found]
    return {
        "import": found[-1][0] if found else imported,
        "compile": extra[0] if jits else None,
        "load": extra[1] if jits else None,
        "build": build_seconds(kernel, sparse=sparse) if executable is None else None,
    }


def _start_once(
    kernel: str,
    environment: dict[str, str],
    executable: str | None,
    dtype: str,
    n_features: int,
    sparse: bool,
) -> tuple[float, float, float]:
    with KernelChild(kernel, environment, executable) as child:
        told = child.describe(sparse=sparse)
        if told["state"] != "ready":
            raise CannotTell(told["why"])
        asked = child.name, dtype, n_features, sparse
        first, second = child.checked(_two, child.ask(_two_fits, *asked))
        return child.checked(float, told["seconds"]), first, second


def _two(answer: Any) -> tuple[float, float]:
    first, second = answer
    return float(first), float(second)


def _two_fits(kernel: str, dtype: str, n_features: int, sparse: bool) -> list[float]:
    X: Any = np.random.default_rng(0).normal(size=(64, n_features)).astype(dtype)
    if sparse:  # one value a row
        columns = np.arange(64, dtype=np.int32) % n_features
        X = SparseRows(np.ascontiguousarray(X[:, 0]), columns, np.arange(65), n_features)
    spent = []
    for _ in range(2):
        begin = perf_counter()
        kmeans(X, 8, kernel=kernel, init="first", max_iter=1)
        spent.append(perf_counter() - begin)
    return spent


def build_seconds(kernel: str, *, sparse: bool = False) -> float | None:
    """Return what building a kernel's modules took, as the build wrote it down; None without.

    The build of kmeans_lab leaves ``_built.json`` in its folder, with the seconds of each source;
    that of another package may leave one beside its module, with the seconds of each
    ``KernelSpec.built``.
    """
    spec = spec_for(kernel, sparse=sparse)
    if kernel in KERNELS:
        patterns, folder = spec.sources, Path(kmeans_lab.__file__).parent
    else:  # which may name our sources as theirs
        file = find_file(spec.module) if spec.built else None
        patterns, folder = (spec.built,), Path() if file is None else file.parent
    try:
        told = json.loads((folder / "_built.json").read_text(encoding="utf-8"))
        found = [
            float(seconds)
            for source, seconds in told.items()
            if any(fnmatch(source, pattern) for pattern in patterns if pattern)
        ]
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # of another package
    return sum(found) if found else None
