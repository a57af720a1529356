"""Blocks of rows, so that no temporary grows with the number of rows."""

from collections.abc import Iterator

#: Values of a block: 512 KiB in float64, which stay in a core's second-level cache. Half and twice
#: as many take the same time within 5 % (the kernel ``numpy``, whose blocks are as large).
BLOCK_VALUES = 65_536


def rows_of_a_block(width: int, values: int = BLOCK_VALUES, least: int = 1) -> int:
    """Return how many rows of ``width`` values make a block; at least ``least``, however wide."""
    return max(least, values // width)


def row_blocks(
    n_samples: int, width: int, values: int = BLOCK_VALUES, least: int = 1
) -> Iterator[slice]:
    """Yield slices of consecutive rows that cover all of them.

    Python checks for Ctrl-C between two blocks.

    Parameters
    ----------
    n_samples : int
    width : int
        Values that are held for each row.
    values : int
        Values that are held at once.
    least : int
        Rows of a block, where that is more.
    """
    step = rows_of_a_block(width, values, least)
    for first in range(0, n_samples, step):
        yield slice(first, min(first + step, n_samples))
