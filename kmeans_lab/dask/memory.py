"""What a worker remembers between tasks: by the fit, or start, and the number of a block.

All of it can be found again, so that whatever nobody has asked for in a while is forgotten: its
client may be gone.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

_IDLE = 900.0  # seconds


class Memory(Generic[T]):
    """Values of blocks, each of which one task has at a time."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, int], tuple[float, T]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, number: int) -> T | None:
        """Return what is known of a block, which is not remembered until it is put back."""
        with self._lock:
            found = self._values.pop((name, number), None)
        return None if found is None else found[1]

    def put(self, name: str, number: int, value: T) -> None:
        """Remember a value; forget those that have been idle."""
        now = monotonic()
        with self._lock:
            self._values[name, number] = now, value
            for key in [key for key, (used, _) in self._values.items() if now - used > _IDLE]:
                del self._values[key]

    def forget(self, name: str) -> list[T]:
        """Forget the blocks of a fit, or of a start; return what was known of them."""
        with self._lock:
            mine = [key for key in self._values if key[0] == name]
            return [self._values.pop(key)[1] for key in mine]

    def __len__(self) -> int:
        return len(self._values)
