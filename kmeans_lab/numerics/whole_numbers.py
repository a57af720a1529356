"""Test cases in small whole numbers, their exact answers, and checks of a kernel's answers.

Every correct formulation is exact on them, so that answers are compared bit for bit.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import read_only
from kmeans_lab.registry import find_spec

Array = NDArray[np.floating[Any]]

#: The value of labels before a kernel writes them.
POISON = -1_234_567
#: (n_samples, n_features, n_clusters) around the widths of vectors and tiles.
_SHAPES = (
    *((37, d, 8) for d in (1, 2, 3, 5, 8, 9, 16, 17, 33)),
    *((71, 3, k) for k in (1, 2, 7, 9, 25, 64)),
    *((n, 5, 7) for n in (7, 8, 9, 16, 31, 33, 127, 129, 257)),
    (1, 4, 1),
    (64, 6, 64),
)
#: The driver hands out chunks of 2,048 to 4,095 rows, or all rows at once.
_CHUNKS = tuple((n, 2, 3) for n in (2_047, 2_048, 2_049, 2_205, 4_095, 4_097))


class Wrong(Exception):
    """A kernel gave a wrong answer, as opposed to an error in the test itself."""


def whole(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    """Return random numbers from −8 to 8."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def cases(name: str) -> Iterator[tuple[str, Array, Array]]:
    """Yield a name, rows and centers for each dtype of a kernel and each shape."""
    for dtype in find_spec(name).dtypes:
        for n, d, k in (*_SHAPES, *_CHUNKS):
            what = f"{n} × {d} {dtype}, k = {k}"
            yield (
                what,
                read_only(whole(d, (n, d), dtype)),
                read_only(whole(99 + k, (k, d), dtype)),
            )


def exact(rows: Array, centers: Array) -> tuple[list[int], int]:
    """Return labels, lowest index on a tie, and the inertia, in whole numbers."""
    x, c = rows.astype(np.int64), centers.astype(np.int64)
    distances = ((x[:, None] - c) ** 2).sum(axis=2)
    labels = distances.argmin(axis=1)
    return labels.tolist(), int(distances.min(axis=1).sum())


def exact_sums(rows: Array, labels: list[int], k: int) -> tuple[list[list[int]], list[int]]:
    """Return the sums and counts of the clusters, in whole numbers."""
    sums, counts = np.zeros((k, rows.shape[1]), np.int64), np.zeros(k, np.int64)
    np.add.at(sums, labels, rows.astype(np.int64))
    np.add.at(counts, labels, 1)
    return sums.tolist(), counts.tolist()


def compare_labels(what: str, labels: NDArray[np.int32], expected: list[int]) -> None:
    """Raise ``Wrong`` where a label is missing, or is not the expected one."""
    left = np.flatnonzero(labels == POISON)
    if len(left):
        raise Wrong(
            f"{what}: assign left {len(left)} labels unwritten, the first in row {left[0]}; it "
            "must overwrite all"
        )
    wrong = np.flatnonzero(labels != np.array(expected))
    if len(wrong):
        i = wrong[0]
        raise Wrong(
            f"{what}: row {i} got label {labels[i]} and its nearest center is {expected[i]} "
            f"({len(wrong)} rows are wrong)"
        )


def compare_sums(what: str, sums: Any, counts: Any, expected: Any, who: str) -> None:
    """Raise ``Wrong`` where a count or a sum is not the expected one; ``who`` made them."""
    if counts.tolist() != expected[1]:
        j = int(np.flatnonzero(counts != np.array(expected[1]))[0])
        raise Wrong(
            f"{what}: {who} made the count of cluster {j} {counts[j]:+} and it owns "
            f"{expected[1][j]} rows"
        )
    wrong = np.argwhere(~(sums == np.array(expected[0])))
    if len(wrong):
        j, f = wrong[0]
        raise Wrong(
            f"{what}: {who} made the sum of cluster {j}, feature {f}, {sums[j, f]:+} and its rows "
            f"sum to {expected[0][j][f]}"
        )
