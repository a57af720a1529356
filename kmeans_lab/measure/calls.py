"""What a run needs beside its rounds: the calibration loop, estimates, the costs of a start."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import kmeans_lab
from kmeans_lab.measure.machinecode import CannotTell, scratch_folder
from kmeans_lab.presets import Workload
from kmeans_lab.registry import find_spec, load_kernel, place_of
from kmeans_lab.workers import read_only

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
    centers = read_only(workload.centers)
    X = read_only(workload.X[: max(1, min(len(workload.X), 200_000 // centers.size))])
    module = load_kernel(kernel)
    rows, labels = prepared(module, X, len(centers)), np.empty(len(X), np.int32)
    module.assign(rows, centers, labels)  # compiles, where the kernel does that
    start = perf_counter()
    module.assign(rows, centers, labels)
    return (perf_counter() - start) * len(workload.X) / len(X)


def prepared(kernel: Any, X: Any, n_clusters: int, n_threads: int = 1) -> Any:
    """Return what the kernel's own ``prepare`` makes of X, or X."""
    return kernel.prepare(X, n_clusters, n_threads) if hasattr(kernel, "prepare") else X


_START = """
import json, sys, time
import numpy as np
from kmeans_lab import kmeans
from kmeans_lab.registry import known_as, load_kernel

begin = time.perf_counter()
name = known_as(sys.argv[1])
load_kernel(name)
spent = [time.perf_counter() - begin]
X = np.random.default_rng(0).normal(size=(64, int(sys.argv[3]))).astype(sys.argv[2])
for _ in range(2):
    begin = time.perf_counter()
    kmeans(X, 8, kernel=name, init="first", max_iter=1)
    spent.append(time.perf_counter() - begin)
print(json.dumps(spent))
"""


def start_costs(kernel: str, dtype: str, n_features: int) -> dict[str, float | None] | None:
    """Return the seconds that a kernel takes before its first fit, in processes of their own.

    "import": its module and what that needs beyond kmeans_lab. "compile" and "load", where it
    compiles on its first call: how much longer the first fit takes than the second, with an empty
    cache of compiled code and with a full one. "build", where a compiler made it when it was
    installed: what that took, wherever it was. None for a kernel that only this process knows, and
    where there is no folder for a cache.
    """
    jits = find_spec(kernel).compiles_on_first_call
    try:
        with scratch_folder() if jits else nullcontext("") as folder:
            environment = {"NUMBA_CACHE_DIR": folder} if jits else {}
            found = [_start_once(kernel, dtype, n_features, environment) for _ in range(1 + jits)]
    except CannotTell:
        return None
    extra = [max(0.0, first - second) for _, first, second in found]
    return {
        "import": found[-1][0],
        "compile": extra[0] if jits else None,
        "load": extra[1] if jits else None,
        "build": build_seconds(kernel),
    }


def _start_once(
    kernel: str, dtype: str, n_features: int, environment: dict[str, str]
) -> list[float]:
    command = [sys.executable, "-c", _START, place_of(kernel), dtype, str(n_features)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if run.returncode != 0:
        raise CannotTell("what is wrong with a kernel, its certificate tells")
    seconds: list[float] = json.loads(run.stdout.splitlines()[-1])  # a kernel may print, too
    return seconds


def build_seconds(kernel: str) -> float | None:
    """Return what building a kernel's modules took, as the build wrote it down; None without."""
    told = Path(kmeans_lab.__file__).parent / "_built.json"
    if not told.is_file():
        return None
    patterns = find_spec(kernel).sources
    found = [
        seconds
        for source, seconds in json.loads(told.read_text(encoding="utf-8")).items()
        if any(fnmatch(source, pattern) for pattern in patterns)
    ]
    return sum(found) if found else None
