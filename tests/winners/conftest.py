"""Maps whose times are made up: nothing here looks at a clock."""

import pytest

from tests.support.maps.made_up import made_up_map


@pytest.fixture
def data():
    """Return a map of 3 × 2 × 3 cells: the tuned kernel wins where rows are many."""
    return made_up_map()
