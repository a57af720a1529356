"""Event streams that last as long as a race, and the limit on how many are open at once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from fastapi.responses import StreamingResponse

from kmeans_lab.web.events import EventLog
from kmeans_lab.web.request_limits import Limits, Refusal


class Places:
    """The places of listening clients: ``Limits.streams`` of them.

    The server cannot see whether anybody looks at what it sends. So when all places are taken, a
    client that has listened for ``Limits.listening`` seconds gives way to a new one: a browser that
    is still there reconnects by itself and goes on with the first event that it has not seen.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._taken: dict[asyncio.Event, float] = {}  # in the order in which they came

    @contextmanager
    def one(self) -> Iterator[asyncio.Event]:
        """Hold a place until the event says to leave it; a ``Refusal`` where all are taken."""
        if len(self._taken) >= self.limits.streams:
            longest = next(iter(self._taken), None)
            if longest is None or monotonic() - self._taken[longest] < self.limits.listening:
                raise Refusal(503, f"{len(self._taken)} pages listen already; close one")
            del self._taken[longest]
            longest.set()
        leave = asyncio.Event()
        self._taken[leave] = monotonic()
        try:
            yield leave
        finally:
            self._taken.pop(leave, None)


class EventStream(StreamingResponse):
    """The events of a race. Its place is taken before it is accepted, and left however it ends."""

    def __init__(self, log: EventLog, after: int, places: Places) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._told(log, after), 200, headers, "text/event-stream")
        self._places = places
        self._leave: asyncio.Event | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send them, or raise a ``Refusal`` before anything is sent."""
        with self._places.one() as self._leave:
            await super().__call__(scope, receive, send)

    async def _told(self, log: EventLog, after: int) -> AsyncIterator[bytes]:
        async for event in log.read(after):
            yield event
            await asyncio.sleep(0)  # so that a client that is gone is noticed
            if self._leave is not None and self._leave.is_set():
                return
