"""What a worker remembers between tasks: by the fit, or start, and the number of a block.

All of it can be found again, so that whatever nobody has asked for in a while is forgotten: its
client may be gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")

_IDLE = 900.0  # seconds
_NAMES = 1000  # of fits that have ended; a task of one of the last may still run


class Memory(Generic[T]):
    """Values of blocks, each of which one task has at a time.

    Parameters
    ----------
    close : callable
        Called with each value that is forgotten.
    """

    def __init__(self, close: Callable[[T], None] = lambda value: None) -> None:
        self._values: dict[tuple[str, int], tuple[float, T]] = {}
        self._ended: deque[str] = deque(maxlen=_NAMES)
        self._lock, self._close = threading.Lock(), close

    def take(self, name: str, number: int) -> T | None:
        """Return what is known of a block, which is not remembered until it is put back."""
        with self._lock:
            found = self._values.pop((name, number), None)
        return None if found is None else found[1]

    def put(self, name: str, number: int, value: T) -> None:
        """Remember a value, unless its fit has ended meanwhile; forget those that are idle."""
        now = monotonic()
        with self._lock:
            gone = [] if name not in self._ended else [value]
            if not gone:
                self._values[name, number] = now, value
            idle = [key for key, (used, _) in self._values.items() if now - used > _IDLE]
            gone += [self._values.pop(key)[1] for key in idle]
        for each in gone:
            self._close(each)

    def forget(self, name: str) -> None:
        """Forget the blocks of a fit, or of a start, which has ended."""
        with self._lock:
            self._ended.append(name)
            mine = [key for key in self._values if key[0] == name]
            gone = [self._values.pop(key)[1] for key in mine]
        for each in gone:
            self._close(each)

    def __len__(self) -> int:
        return len(self._values)
