"""Both steps in PyTorch, eager: each operation is a call, and makes a whole tensor.

Rows are taken in blocks, so that the differences of a block to all centers stay in a core's cache.
Tensors end with the rows, and not with the few features, so that vector instructions work on
several rows at once: on the standard preset 3.9 ms a pass, in place of 5.9. Distances are computed
in float64 for both dtypes. ``torch_compile_kernel.py`` compiles the same function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from kmeans_lab import KernelSpec
from kmeans_lab_guests.arrays import OUTSIDE

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

SPEC = KernelSpec(
    module="",
    summary="PyTorch, eager: blocks of rows, an operation after the other",
    remedy="pip install torch",
    requires=("torch", "numpy"),
    threading="own",
    debugging="pdb stops between operations; tracebacks name them",
    wheels="Linux, macOS arm64 and Windows",
)

#: Differences held at once: 64 Ki of them are 512 KiB in float64. Twice as many take seven times as
#: long, since the memory of larger tensors comes anew from the system each time.
BLOCK_DIFFERENCES = 65_536


class Prepared:
    """Rows in float64, the same transposed, and how many threads PyTorch may take."""

    def __init__(self, X: Rows, n_threads: int) -> None:
        self.X = torch.tensor(X, dtype=torch.float64)
        self.columns = self.X.T.contiguous()
        self.n_threads = n_threads


def prepare(X: Rows, n_clusters: int, n_threads: int) -> Prepared:
    """Copy X to tensors, once for all passes."""
    return Prepared(X, n_threads)


def find_nearest(
    columns: Any,  # (n_features, n_samples)
    centers: Any,  # (n_clusters, n_features)
) -> tuple[Any, Any]:
    """Return each row's nearest center, the first of equals, and its squared distance."""
    diffs = columns[:, None, :] - centers.T[:, :, None]
    best, nearest = (diffs * diffs).sum(dim=0).min(dim=0)
    return nearest, best


def assign(rows: Prepared, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    torch.set_num_threads(rows.n_threads)  # of the process: PyTorch has no other place for it
    means = torch.tensor(centers, dtype=torch.float64)
    written, distances = torch.from_numpy(labels), torch.empty(len(labels), dtype=torch.float64)
    block = max(1, BLOCK_DIFFERENCES // max(1, centers.size))
    for first in range(0, len(labels), block):
        nearest, best = find_nearest(rows.columns[:, first : first + block], means)
        written[first : first + block] = nearest
        distances[first : first + block] = best
    return float(distances.numpy().sum())  # PyTorch's own sum depends on the number of threads


def update(rows: Prepared, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    j = torch.tensor(labels, dtype=torch.int64)
    if len(labels) and not 0 <= int(j.min()) <= int(j.max()) < len(counts):
        raise ValueError(OUTSIDE)
    torch.set_num_threads(rows.n_threads)
    torch.from_numpy(sums).index_add_(0, j, rows.X)
    torch.from_numpy(counts).index_add_(0, j, torch.ones_like(j))
