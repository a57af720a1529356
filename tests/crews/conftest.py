"""What tests of worker processes share."""

import multiprocessing
from multiprocessing.shared_memory import SharedMemory

import pytest

from tests.support.process_fits import is_gone


@pytest.fixture
def left_behind(monkeypatch):
    """Fail the test when a block that a fit created, or a worker, outlives it."""
    created = []
    create = SharedMemory.__init__

    def record(self, *args, **kwargs):
        create(self, *args, **kwargs)
        created.append(self.name)

    monkeypatch.setattr(SharedMemory, "__init__", record)
    yield created
    assert created
    assert all(is_gone(name) for name in created)
    assert multiprocessing.active_children() == []
