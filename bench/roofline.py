"""The two limits of this machine, and how near the flagship comes to them on each preset.

``python -m bench.roofline [PRESET …]``. Multiply-adds per second and bytes read per second are
measured with the very vectors that the kernel uses, for one thread and for all cores, in the
same run as the kernel; the best of nine, because a limit is what can be reached. A pass over n
rows, d features and k centers needs 2·n·k·d operations (‖c‖² − 2x·c: one multiply-add per pair
and feature) and reads n·d values; the shares are those of a pass that meets every pair. Beside
it: the same pass by the engine of a fit, and how many of the pairs it looks at.
"""

import sys
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from kmeans_lab.centering import middle_and_variance
from kmeans_lab.crews.cores import available_cores
from kmeans_lab.formatting import digits, make_table, milliseconds, plural
from kmeans_lab.io.streams import spell_out
from kmeans_lab.measure import machine
from kmeans_lab.measure.roofline import bandwidth, peak, timed
from kmeans_lab.presets import find_dense
from kmeans_lab.registry import PROVIDERS, load_kernel

PRESETS = (
    "standard", "grid-10000-10", "grid-100000-20", "grid-1000000-10", "grid-1000000-40", "image",
    "digits", "wide-16-64", "wide-16-64-f32", "wide-64-256", "wide-64-256-f32", "wide-128-1024",
    "wide-128-1024-f32",
)  # fmt: skip


_DENSE = "the roofline is that of a pass over dense rows"


@dataclass
class Pass:
    """Seconds of a fused pass that meets every center and of one by the engine of a fit."""

    every: float
    bounds: float
    met: float  # share of all pairs of row and center that the second one looks at
    operations: float
    size: float
    dtype: str


def measure_pass(name: str, n_threads: int) -> Pass:
    """Measure one fused pass over a preset, from its starting centers."""
    workload = find_dense(name, _DENSE).load()
    middle, _ = middle_and_variance(workload.X)
    X, centers = workload.X - middle, workload.centers - middle
    kernel: Any = load_kernel(PROVIDERS["limits"])
    sums, counts = np.zeros(centers.shape), np.zeros(len(centers), np.int64)
    spent: list[float] = []
    for balls in (False, True):
        rows = kernel.prepare(X, len(centers), n_threads, balls=balls)
        labels = np.full(len(X), -1, np.int32)
        call = partial(kernel.assign_update, rows, centers, labels, sums, counts)
        spent.append(median(timed(call, 15)))
    operations = 2.0 * X.size * len(centers)
    every, tested = spent
    return Pass(every, tested, rows.met, operations, float(X.nbytes), X.dtype.name)


def main(names: list[str]) -> None:
    """Print the limits and the table."""
    console = Console(highlight=False)
    headers = (
        "preset", "threads", "all pairs\nms", "\nGFLOP/s", "of\npeak", "of\nreads",
        "bounds\nms", "pairs\nmet",
    )  # fmt: skip
    table = make_table(*headers, right=headers[1:], whole=headers)
    for n_threads in dict.fromkeys((1, available_cores())):
        peaks = {dtype: peak(dtype, n_threads) for dtype in ("float64", "float32")}
        memory = bandwidth(n_threads)
        console.print(
            f"{plural(n_threads, 'thread')}: float64 {digits(peaks['float64'] / 1e9)}, "
            f"float32 {digits(peaks['float32'] / 1e9)} GFLOP/s; read {digits(memory / 1e9)} GB/s"
        )
        for name in names:
            found = measure_pass(name, n_threads)
            rate = found.operations / found.every
            table.add_row(
                name, str(n_threads), milliseconds(found.every), digits(rate / 1e9),
                f"{rate / peaks[found.dtype]:.0%}", f"{found.size / found.every / memory:.0%}",
                milliseconds(found.bounds), f"{found.met * 100:.3g}%",
            )  # fmt: skip
    console.print(table)
    for line in machine.lines():
        console.print(line, style="dim", soft_wrap=True)


if __name__ == "__main__":
    spell_out()
    chosen = sys.argv[1:] or list(PRESETS)
    try:
        for preset in chosen:
            find_dense(preset, _DENSE)
    except ValueError as error:
        sys.exit(f"python -m bench.roofline: error: {error}")
    main(chosen)
