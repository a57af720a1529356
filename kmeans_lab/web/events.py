"""The log of a race's events, for any number of readers that begin and read at their own pace.

One thread writes, event loops read. The writer never waits for a reader: a slow one only finds
more to read.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping

#: Seconds after which a comment shows a silent reader, and what is between, that we are there.
HEARTBEAT = 10.0


class EventLog:
    """Server-sent events, numbered from 1; ``end`` is the last one."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self._ended = False
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def ended(self) -> bool:
        """Whether the last event is written."""
        return self._ended

    def add(self, name: str, data: Mapping[str, object]) -> None:
        """Write an event; after ``end``, none."""
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self._lock:
            if self._ended:
                return
            number = len(self._events) + 1
            event = f"event: {name}\nid: {number}\ndata: {text}\n\n".encode()
            self._events.append(event)
            self.n_bytes += len(event)
            self._ended = name == "end"
            self._wake()

    def close(self) -> None:
        """Release all readers, because the server ends."""
        with self._lock:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        for loop, event in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def read(self, after: int, heartbeat: float = HEARTBEAT) -> AsyncIterator[bytes]:
        """Yield the events after number ``after``: old ones at once, new ones as they come."""
        news = asyncio.Event()
        entry = asyncio.get_running_loop(), news
        with self._lock:
            self._waiting.add(entry)
        try:
            while True:
                news.clear()
                with self._lock:
                    found, ended = self._events[after:], self._ended
                for event in found:
                    yield event
                after += len(found)
                if ended:
                    return
                if not found:
                    try:
                        await asyncio.wait_for(news.wait(), heartbeat)
                    except TimeoutError:
                        yield b": still here\n\n"
        finally:
            with self._lock:
                self._waiting.discard(entry)
