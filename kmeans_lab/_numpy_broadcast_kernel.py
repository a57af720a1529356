"""The textbook NumPy one-liner, with its n·k·d temporary.

Every tutorial shows this form: subtract all centers from all rows by broadcasting, square, sum,
argmin. It is handed all rows at once, as in the textbook, and refuses fits whose temporary would
exceed the memory.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

_GIB = 2**30


def prepare(X: Rows, n_clusters: int, n_threads: int) -> Rows:
    """Refuse a fit whose temporary would not fit in memory; rows stay as they are."""
    _refuse_what_does_not_fit(X, n_clusters)
    return X


def assign(rows: Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    _refuse_what_does_not_fit(rows, len(centers))
    distances = ((rows[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1)
    labels[:] = nearest
    return float(distances[np.arange(len(rows)), nearest].sum(dtype=np.float64))


def update(rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count, one mask per cluster."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(counts):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    for j in range(len(counts)):
        members = rows[labels == j]
        sums[j] += members.sum(axis=0, dtype=np.float64)
        counts[j] += len(members)


def _refuse_what_does_not_fit(rows: Rows, n_clusters: int) -> None:
    n_samples, n_features = rows.shape
    needed = n_samples * n_clusters * n_features * rows.itemsize
    available = _available_memory()
    if needed > available:
        raise MemoryError(
            f"kernel 'numpy-broadcast' needs {needed / _GIB:.1f} GiB for its {n_samples} × "
            f"{n_clusters} × {n_features} temporary and {available / _GIB:.1f} GiB are available; "
            "use kernel='numpy', which works in blocks"
        )


def _available_memory() -> int:
    """Bytes available without swapping, as the Linux kernel estimates them."""
    if sys.platform == "linux":
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    if sys.platform != "win32":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sys.maxsize  # unknown: NumPy's own MemoryError names the array that did not fit
