"""Nearest centers of sparse rows, and the distances to all centers, for rows seen once."""

import numpy as np

from kmeans_lab.kernel import Array, Labels
from kmeans_lab.registry import load_sparse
from kmeans_lab.sparse.numerics import own_squares, squared_lengths
from kmeans_lab.sparse.reading import as_scipy
from kmeans_lab.sparse.rows import SparseRows

#: A square that is a smaller share of ‖x‖² + ‖c‖² is taken from differences: it has lost digits.
_SMALL = 2.0**-16
_BLOCK_PAIRS = 1 << 20  # distances that are held at once, in float64


def nearest(kernel: str, rows: SparseRows, centers: Array) -> Labels:
    """Return the center that is nearest to each row, the first of equals: (n_samples,), int32."""
    dtype = np.result_type(rows.dtype, centers.dtype)
    labels = np.empty(len(rows), dtype=np.int32)
    wide = np.ascontiguousarray(centers, dtype=dtype)
    load_sparse(kernel).assign(rows.astype(dtype), wide, labels)
    return labels


def distances(rows: SparseRows, centers: Array) -> Array:
    """Return the distance of each row to each center, (n_samples, n_clusters).

    In the wider dtype of both; computed in float64. Small ones come from differences.
    """
    found = np.empty((len(rows), len(centers)), dtype=np.result_type(rows.dtype, centers.dtype))
    columns = np.ascontiguousarray(centers.T, dtype=np.float64)
    norms = np.add.reduce(columns * columns, axis=0)
    step = max(1, _BLOCK_PAIRS // len(centers))
    for first in range(0, len(rows), step):
        block = rows[first : first + step].astype(np.dtype(np.float64))
        lengths = squared_lengths(block)[:, None]
        squares = norms - 2.0 * (as_scipy(block) @ columns)
        squares += lengths
        i, j = np.nonzero(squares < _SMALL * (norms + lengths))
        for part, _, direct in own_squares(block.take(i), centers, j):
            squares[i[part], j[part]] = direct
        np.sqrt(squares, out=found[first : first + step], casting="same_kind")
    return found
