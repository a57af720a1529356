"""Connections with time limits: an idle or slow client holds neither a place nor memory for ever.

uvicorn waits without limit for the rest of a request's head and for a client that reads nothing,
counts both as connections, and refuses everybody else once there are too many.
"""

import asyncio
import json
import math
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kmeans_lab.web.middleware import HEADERS


class Connection(H11Protocol):
    """HTTP/1.1 with limits: ``Limits.connections``, ``.asking`` and ``.reading``."""

    _asking: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _silent = True
    _headed = 0.0  # when the head of its request was whole, by the loop's clock

    @property
    def _limits(self) -> Any:
        app: Any = self.config.app
        return app.state.scheduler.limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give it a place, and close the one that has been idle the longest if there are too many.

        So clients that ask for nothing do not keep others out.
        """
        super().connection_made(transport)
        self._begin_to_ask()
        if len(self.connections) <= self._limits.connections:
            return
        ours = [it for it in self.connections if isinstance(it, Connection)]
        min(ours, key=Connection._idle_since)._refuse(
            503, "there are too many connections; close some and ask again"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the connection's time limits."""
        self._end_asking()
        self._end_reading()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; its head has to be whole in time."""
        self._silent = False
        if self._asking is None and self.conn.their_state is h11.IDLE:
            self._begin_to_ask()
        super().data_received(data)
        if self._asking is not None and self.conn.their_state is not h11.IDLE:
            self._headed = self.loop.time()
            self._end_asking()

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._begin_to_read()

    def resume_writing(self) -> None:
        """Note that the client did read."""
        self._end_reading()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Give the client some time to read what is left, even of a connection that is closed."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._begin_to_read()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in one sentence like all refusals."""
        self._refuse(400, "the request is not HTTP/1.1; open the address in a browser")

    def _idle_since(self) -> float:
        """Return since when the connection has had no request for us, by the loop's clock."""
        if self._asking is not None:
            return self._asking.when() - float(self._limits.asking)
        if self.conn.their_state is h11.SEND_BODY:
            return self._headed
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        return math.inf

    def _begin_to_ask(self) -> None:
        self._asking = self.loop.call_later(self._limits.asking, self._asked_too_slowly)

    def _end_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _asked_too_slowly(self) -> None:
        most = f"{self._limits.asking:g} s"
        self._refuse(408, f"the head of a request must be here within {most}; send it at once")

    def _begin_to_read(self) -> None:
        if self._reading is None:
            self._reading = self.loop.call_later(self._limits.reading, self._read_too_slowly)

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _read_too_slowly(self) -> None:
        self._reading = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer and close; a client that has sent nothing gets no answer."""
        self._end_asking()
        if self.transport.is_closing():
            return
        answers = (h11.IDLE, h11.SEND_RESPONSE) if status == 400 else (h11.IDLE,)
        if not self._silent and self.conn.our_state in answers:
            body = json.dumps({"detail": sentence}).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
                *HEADERS.items(),
            ]
            for event in (
                h11.Response(
                    status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._begin_to_read()
