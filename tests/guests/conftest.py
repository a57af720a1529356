"""The guests that are installed, as every command finds them."""

import pytest

from kmeans_lab import registry
from kmeans_lab.isolation import plugins


@pytest.fixture(autouse=True)
def guests_are_listed(lists_of_all, monkeypatch):
    """Show the tests of this room what the others are spared."""
    monkeypatch.setattr(plugins, "_lists", lists_of_all)
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()
