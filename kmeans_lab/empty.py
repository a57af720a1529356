"""What becomes of a cluster that owns no row: four policies, one place. Never NaN.

A policy edits the total of an iteration — sums and counts — before the means are taken, so
the division that follows needs no special case.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

POLICIES = ("relocate", "random", "keep", "error")


def fill_empty(
    policy: str,
    sums: NDArray[np.float64],  # INOUT (n_clusters, n_features)
    counts: NDArray[np.int64],  # INOUT (n_clusters,)
    rows: Array,
    labels: NDArray[np.int32],
    centers: Array,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Give every empty cluster a center; return which clusters were empty.

    "relocate": the rows farthest from their centers, farthest first, lowest index on a tie;
    each leaves its cluster's sum (scikit-learn's rule). A cluster's only row stays, and where no
    row is off its center the old center stays. "random": a uniformly random row. "keep": the
    old center. "error": ``ValueError``.
    """
    empty = np.flatnonzero(counts == 0)
    if policy == "error":
        raise ValueError(
            f"cluster {empty[0]} owns no row ({len(empty)} of {len(counts)} are empty) and "
            "empty='error' forbids that; use empty='relocate' or fewer clusters"
        )
    donors = iter(_farthest_rows(rows, labels, centers)) if policy == "relocate" else iter(())
    for j in empty:
        donor = next((i for i in donors if counts[labels[i]] > 1), None)
        if donor is not None:
            row = rows[donor].astype(np.float64)
            sums[labels[donor]] -= row
            counts[labels[donor]] -= 1
            sums[j] = row
        elif policy == "random":
            sums[j] = rng.choice(rows)
        else:
            sums[j] = centers[j]
        counts[j] = 1
    return empty


def _farthest_rows(rows: Array, labels: NDArray[np.int32], centers: Array) -> NDArray[np.intp]:
    distances = np.empty(len(rows))
    wide = centers.astype(np.float64)
    block = max(1, 65_536 // rows.shape[1])
    for first in range(0, len(rows), block):
        diff = rows[first : first + block] - wide[labels[first : first + block]]
        np.einsum("if,if->i", diff, diff, out=distances[first : first + block])
    order = np.argsort(-distances, kind="stable")
    return order[distances[order] > 0]
