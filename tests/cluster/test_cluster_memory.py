"""What a worker remembers is forgotten where nobody asks for it any more."""

from kmeans_lab.dask import memory
from kmeans_lab.dask.memory import Memory


def test_a_value_is_had_by_one_at_a_time():
    values = Memory()
    values.put("a", 0, "x")
    assert values.take("a", 1) is None
    assert values.take("a", 0) == "x"
    assert values.take("a", 0) is None


def test_those_of_a_name_are_forgotten():
    values = Memory()
    for name in "ab":
        for number in range(3):
            values.put(name, number, number)
    values.forget("c")
    values.forget("a")
    assert len(values) == 3
    values.put("a", 1, 1)  # by a task that was still running
    assert values.take("a", 1) is None


def test_what_is_forgotten_is_closed(monkeypatch):
    closed, now = [], [0.0]
    values = Memory(closed.append)
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    values.put("a", 0, "first")
    values.forget("a")
    values.put("a", 1, "late")
    values.put("b", 0, "idle")
    now[0] = 901.0
    values.put("c", 0, "used")
    assert closed == ["first", "late", "idle"]


def test_what_is_idle_is_forgotten(monkeypatch):
    values, now = Memory(), [0.0]
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    values.put("gone", 0, 1)
    now[0] = 800.0
    values.put("used", 0, 1)
    assert len(values) == 2
    now[0] = 1000.0
    values.put("used", 1, 1)
    assert values.take("gone", 0) is None
    assert len(values) == 2
