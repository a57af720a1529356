"""Nested loops over sparse rows in plain Python: the slowest and the plainest.

The same loops as ``_numba_kernel.py``, ``_cy_kernel.pyx`` and ``cpp/sparse/kmeans.cpp``, in the
same order and with the same names, so that the files can be compared line by line. A squared
distance is ‖c‖² − 2x·c + ‖x‖², whose last term decides nothing: a row meets only the columns that
it stores. Everything is computed in float64; float32 is a storage format here.
"""

from math import inf

from kmeans_lab.kernel import Counts, Labels, Rows, Sums
from kmeans_lab.sparse.rows import SparseRows


def assign(
    rows: SparseRows,  # IN  (n_samples, n_features)
    centers: Rows,  # IN  (n_clusters, n_features)
    labels: Labels,  # OUT (n_samples,)
) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    data, indices = (part.tolist() for part in rows.stored())
    indptr = (rows.indptr - rows.indptr[0]).tolist()
    values = centers.tolist()
    if not values:
        raise ValueError("assign needs at least one center")
    norms = []
    for center in values:
        norm = 0.0
        for value in center:
            norm += value * value
        norms.append(norm)
    inertia = 0.0
    for i in range(len(rows)):
        best = inf
        nearest = 0
        for j, center in enumerate(values):
            dot = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                dot += data[p] * center[indices[p]]
            score = norms[j] - 2.0 * dot
            if score < best:
                best = score
                nearest = j
        square = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            square += data[p] * data[p]
        labels[i] = nearest
        inertia += max(best + square, 0.0)
    return inertia


def update(
    rows: SparseRows,  # IN    (n_samples, n_features)
    labels: Labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Sums,  # INOUT (n_clusters, n_features), added to
    counts: Counts,  # INOUT (n_clusters,), added to
) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    data, indices = (part.tolist() for part in rows.stored())
    indptr = (rows.indptr - rows.indptr[0]).tolist()
    chosen = labels.tolist()
    if chosen and not 0 <= min(chosen) <= max(chosen) < len(counts):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    for i, j in enumerate(chosen):
        for p in range(indptr[i], indptr[i + 1]):
            sums[j, indices[p]] += data[p]
        counts[j] += 1
