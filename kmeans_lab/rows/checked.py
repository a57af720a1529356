"""Rows of a source as a fit takes them: looked at once, finite, and within a budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isfinite, isnan

import numpy as np

from kmeans_lab.checks import refuse_magnitudes
from kmeans_lab.io.values import place
from kmeans_lab.kernel import Array, MeasuresRows
from kmeans_lab.numerics.block_sums import adds_blocks
from kmeans_lab.numerics.moments import Moments, moments_of_blocks
from kmeans_lab.rows.memory import refuse_without_room
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.source import HoldsBlocks, RowSource
from kmeans_lab.rows.streamed import Block, StreamedRows, in_budget, is_narrow


def streamed_samples(
    source: RowSource,
    dtypes: tuple[str, ...],
    kernel: MeasuresRows | None,
    n_threads: int,
    metric: str = "euclidean",
    memory: int = 1 << 62,
    name: str = "",
) -> tuple[StreamedRows, Moments]:
    """Return rows that are not an array, and the moments of their columns, from one look at them.

    As ``checks.measured_samples`` for arrays. ``memory`` is their budget in bytes, ``name`` the
    kernel's.
    """
    narrow = is_narrow(source.dtype) and "float32" in dtypes
    dtype = np.dtype(np.float32 if narrow else np.float64)
    if not isinstance(source, HoldsBlocks):
        refuse_without_room(source.shape[0], memory)
    plain = StreamedRows(source, dtype, metric == "cosine", kernel=kernel, n_threads=n_threads)
    rows = in_budget(replace(plain, rounding=Rounding()), memory)
    adding, least = adds_blocks(), np.full(rows.shape[1], np.inf)

    def looked_at() -> Iterator[Array]:
        for block in rows.blocks():
            if adding is not None:
                np.minimum(least, adding.least(block.rows, n_threads), out=least)
            yield block.rows

    if isinstance(source, HoldsBlocks):
        moments, least[:] = source.measured(name)
    else:
        moments = moments_of_blocks(looked_at(), kernel, n_threads)
    rows.warn_of_rounding()
    rows = replace(rows, least=None if adding is None else least, rounding=None)
    largest = moments.largest()
    if isnan(largest):
        largest = max(largest_of_block(block, rows) for block in rows.blocks())
    if metric == "euclidean":
        refuse_magnitudes(largest, rows)
    return rows, moments


def largest_of_block(block: Block, of: StreamedRows) -> float:
    """Return the largest magnitude of a block of these rows; ``ValueError`` if one is not finite.

    Those of rows that are scaled are named as they were before.
    """
    low, high = float(block.rows.min()), float(block.rows.max())
    if isfinite(low) and isfinite(high):
        return max(-low, high)
    rows = block.rows
    if of.directions:
        rows = replace(of, directions=False).uncentered(block.first, block.last)
    row, column = np.argwhere(~np.isfinite(rows))[0].tolist()
    raise ValueError(
        f"{place('X', (block.first + row, column))} is {rows[row, column]} and every value "
        "must be finite; drop or fill such rows first"
    )
