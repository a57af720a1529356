"""Fits in mode "processes", and what they must not leave behind."""

from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Unpack

from kmeans_lab import kmeans
from kmeans_lab.presets import FitSettings
from kmeans_lab.result import Iteration, KMeansResult
from tests.support.helpers import FIVE_CHUNKS, cloud, some_rows

X = cloud(seed=1, n_samples=FIVE_CHUNKS, n_features=3)
START = some_rows(X, 4)


def fit(
    kernel: str = "numpy",
    callback: Callable[[Iteration], Any] | None = None,
    **options: Unpack[FitSettings],
) -> KMeansResult:
    fixed: FitSettings = {"init": START, "mode": "processes", "n_threads": 2, "max_iter": 4}
    return kmeans(X, 4, kernel=kernel, callback=callback, **(fixed | options))


def is_gone(name: str) -> bool:
    """Say whether a block of shared memory has been removed."""
    folder = Path("/dev/shm")
    if folder.is_dir():  # attaching would make this process feel responsible for the block
        return not (folder / name).exists()
    try:
        block = SharedMemory(name)
    except FileNotFoundError:
        return True
    block.close()
    return False


#: How a script begins whose worker processes are watched.
HEAD = """
import json, multiprocessing, os, sys, time
import numpy as np
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from kmeans_lab import KERNELS, kmeans
from kmeans_lab.registry import KernelSpec

KERNELS["faulty"] = KernelSpec("faulty_kernel", "fails as it is told", "")
X = np.random.default_rng(0).normal(size=(12_000, 3))

def record(self, *args, **kwargs):
    create(self, *args, **kwargs)
    blocks.append(self.name)

blocks = []
create = SharedMemory.__init__
SharedMemory.__init__ = record

def fit(**options):
    fixed = {"init": "first", "kernel": "numpy", "mode": "processes", "n_threads": 2}
    return kmeans(X, 4, **fixed | options)
"""
