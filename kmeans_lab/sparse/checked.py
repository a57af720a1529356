"""Sparse X as a fit takes it: checked, finite, and scaled where angles are compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from kmeans_lab.checks import refuse_magnitudes, warn_of_rounding
from kmeans_lab.io.values import place
from kmeans_lab.metric import unit_rows
from kmeans_lab.sparse.numerics import largest as sparse_largest
from kmeans_lab.sparse.reading import read_sparse
from kmeans_lab.sparse.rows import SparseRows


def sparse_samples(data: Any, dtypes: tuple[str, ...], metric: str = "euclidean") -> SparseRows:
    """Return sparse X as rows whose arrays are checked and whose values are finite.

    With metric="cosine" they have length 1: X may hold values of any magnitude.

    Raises
    ------
    ValueError, TypeError
        As ``kmeans_lab.sparse.reading.read_sparse``, and as ``checks.samples`` for the values.
    """
    rows = read_sparse("X", data, dtypes)
    if hasattr(rows, "start_crew"):  # they lie elsewhere, where they have been checked
        return rows
    if isinstance(given := getattr(data, "data", None), np.ndarray) and given.dtype != object:
        warn_of_rounding("X.data", given, given)
    values = rows.stored()[0]
    if np.isnan(largest := sparse_largest(rows)):
        where = int(np.argmax(~np.isfinite(values)))
        index = int(rows.owners()[where]), int(rows.stored()[1][where])
        others = np.count_nonzero(~np.isfinite(values))
        more = f" ({others} are not)" if others > 1 else ""
        raise ValueError(
            f"{place('X', index)} is {values[where]} and every value must be finite{more}; drop or "
            "fill such rows first"
        )
    if metric == "cosine":
        return unit_rows(rows)
    refuse_magnitudes(largest, rows)
    return rows
