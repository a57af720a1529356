"""Partial results: sums, counts and inertia of some rows. They add up; means follow from them.

Each chunk of rows has a slot of its own. The thread or process that computes a chunk fills its
slot, and the slots are added in chunk order: that makes every result bit-identical for any number
of workers.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows per chunk at least. Below about two thousand rows the cost of a call (about a
#: microsecond each for two functions) starts to show beside the work.
MIN_CHUNK_ROWS = 2048
#: Chunks at most: enough for 16 workers to share evenly, and 32 slots of sums stay small.
MAX_CHUNKS = 32
#: Bytes that the slots of sparse rows may take, where two slots do not take more.
MAX_BYTES = 1 << 24


def chunk_bounds(n_samples: int, n_clusters: int, slot: int = 0) -> list[tuple[int, int]]:
    """Cut rows into chunks of nearly equal size: (first, last + 1) of each.

    Depends on the shape of the problem only, never on the number of workers. Many clusters
    make the slots large, so a chunk has at least 8 rows per cluster.

    Parameters
    ----------
    n_samples, n_clusters : int
    slot : int
        Bytes of a slot, where it is large beside the rows of a chunk: sparse rows are short, and
        their sums are not.
    """
    n_chunks = n_samples // max(MIN_CHUNK_ROWS, 8 * n_clusters)
    n_chunks = min(max(n_chunks, 1), MAX_CHUNKS)
    if slot > 0:
        n_chunks = min(n_chunks, max(2, MAX_BYTES // slot))
    edges = [n_samples * c // n_chunks for c in range(n_chunks + 1)]
    return list(pairwise(edges))


@dataclass(frozen=True, slots=True, eq=False)
class Partials:
    """One slot per chunk.

    Attributes
    ----------
    sums : ndarray of shape (n_chunks, n_clusters, n_features), float64
    counts : ndarray of shape (n_chunks, n_clusters)
        int64; float64 where the kernel adds up weights.
    inertia : ndarray of shape (n_chunks,), float64
    seconds : ndarray of shape (n_chunks, 2), float64
        Time spent in assign and in update.
    """

    sums: NDArray[np.float64]
    counts: NDArray[Any]
    inertia: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @classmethod
    def empty(
        cls, n_chunks: int, n_clusters: int, n_features: int, *, weighted: bool = False
    ) -> "Partials":
        """Allocate the slots."""
        return cls(
            np.zeros((n_chunks, n_clusters, n_features)),
            np.zeros((n_chunks, n_clusters), dtype=np.float64 if weighted else np.int64),
            np.zeros(n_chunks),
            np.zeros((n_chunks, 2)),
        )

    def clear(self) -> None:
        """Clear every slot."""
        self.sums.fill(0.0)
        self.counts.fill(0)

    def add_up(self, total: "Partials") -> None:
        """Overwrite the one slot of ``total`` with the sum of all slots, in chunk order."""
        if len(self.sums) == 1:
            total.sums[:] = self.sums
            total.counts[:] = self.counts
            return
        np.add.reduce(self.sums, axis=0, out=total.sums[0])
        np.add.reduce(self.counts, axis=0, out=total.counts[0])
