"""The limits of this machine: multiply-adds per second and bytes per second.

Measured with the very vectors that the fastest kernel uses, for one thread or several, in the same
run as the kernel that is held against them; the best of nine, because a limit is what can be
reached. The model is the roofline (Williams, Waterman and Patterson, CACM 52, 2009).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any, cast

import numpy as np

from kmeans_lab.isolation.availability import state_of
from kmeans_lab.kernel import MeasuresLimits
from kmeans_lab.registry import PROVIDERS, load_kernel

READ_BYTES = 2**28  # far beyond every cache
ROUNDS = 3_000_000


@dataclass(frozen=True, slots=True)
class Roof:
    """The limits of one thread count.

    Attributes
    ----------
    n_threads : int
    operations : dict of str to float
        Floating-point operations per second by dtype, two for each multiply-add.
    read, triad : float
        Bytes per second from memory: reading alone, and a = b + c (24 bytes for each element).
    """

    n_threads: int
    operations: dict[str, float]
    read: float
    triad: float


def timed(task: Callable[[], Any], repeats: int) -> list[float]:
    """Return the seconds of every call."""
    spent = []
    for _ in range(repeats):
        start = perf_counter()
        task()
        spent.append(perf_counter() - start)
    return spent


def measure_roof(n_threads: int) -> Roof:
    """Measure all limits; ``KernelUnavailable`` where the code that reaches them is not built."""
    peaks = {dtype: peak(dtype, n_threads) for dtype in ("float64", "float32")}
    return Roof(n_threads, peaks, bandwidth(n_threads), triad(n_threads))


@cache
def roof_if_known(n_threads: int) -> Roof | None:
    """Return the limits, measured once in a process; None where they cannot be."""
    return measure_roof(n_threads) if can_measure() else None


def can_measure() -> bool:
    """Whether the kernel whose code reaches the limits can run here."""
    return state_of(PROVIDERS["limits"])[0] == "ready"


def _loops() -> MeasuresLimits:
    return cast(MeasuresLimits, load_kernel(PROVIDERS["limits"]))


def arithmetic_alone(n_threads: int) -> float:
    """Return the seconds of a loop of multiply-adds in each of ``n_threads`` concurrent threads.

    It needs neither memory nor the other threads: what it gains from them is what the machine has
    to give.
    """
    multiply_add = _loops().multiply_add_float64
    with ThreadPoolExecutor(n_threads) as pool:
        # Threads start, and the system finds a core for each: that takes it some milliseconds.
        list(pool.map(lambda _: multiply_add(2 * ROUNDS, 0.5), range(n_threads)))
        start = perf_counter()
        list(pool.map(lambda _: multiply_add(4 * ROUNDS, 0.5), range(n_threads)))
        return perf_counter() - start


def peak(dtype: str, n_threads: int) -> float:
    """Return multiply-add operations per second."""
    loops = _loops()
    multiply_add = loops.multiply_add_float32 if dtype == "float32" else loops.multiply_add_float64
    operations = multiply_add(1000, 0.5) / 1000 * ROUNDS * n_threads
    seconds = timed(lambda: _together(lambda _: multiply_add(ROUNDS, 0.5), range(n_threads)), 9)
    return float(operations / min(seconds))


def bandwidth(n_threads: int) -> float:
    """Return bytes read per second from memory."""
    read_all = _loops().read_all
    parts = np.array_split(_aligned(READ_BYTES // 8).reshape(-1, 8), n_threads)  # cache lines
    return READ_BYTES / min(timed(lambda: _together(read_all, parts), 9))


def triad(n_threads: int) -> float:
    """Return bytes read and written per second by NumPy's a = b + c."""
    n = READ_BYTES // 32
    parts = [[np.ones(n // n_threads) for _ in range(3)] for _ in range(n_threads)]

    def add(arrays: list[Any]) -> None:
        np.add(arrays[1], arrays[2], out=arrays[0])

    return 24.0 * (n // n_threads) * n_threads / min(timed(lambda: _together(add, parts), 9))


def _together(task: Callable[[Any], Any], parts: Any) -> None:
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(task, parts))


def _aligned(n: int) -> Any:
    values = np.ones(n + 8)
    offset = -values.ctypes.data % 64 // 8  # to a cache line
    return values[offset : offset + n]
