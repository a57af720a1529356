"""Blocks of rows: every row once, in order, and as many at a time as was asked for."""

import pytest

from kmeans_lab.numerics.blocks import BLOCK_VALUES, row_blocks, rows_of_a_block


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64])
@pytest.mark.parametrize(
    ("width", "values", "least", "rows"),
    [(3, 24, 1, 8), (3, 26, 1, 8), (100, 24, 1, 1), (100, 24, 5, 5), (1, 7, 1, 7)],
)
def test_blocks_cover_all_rows_in_order(n, width, values, least, rows):
    assert rows_of_a_block(width, values, least) == rows
    blocks = [range(n)[part] for part in row_blocks(n, width, values, least)]
    assert [i for block in blocks for i in block] == [*range(n)]
    assert all(len(block) == rows for block in blocks[:-1])
    assert all(0 < len(block) <= rows for block in blocks)


def test_a_block_is_what_a_core_keeps_in_its_cache():
    assert [part.stop for part in row_blocks(3 * BLOCK_VALUES, 2)][:2] == [32_768, 65_536]
