"""Middleware that checks every request: its target host, its origin and its size.

A page of another site can make a browser send requests to 127.0.0.1. It cannot forge ``Host`` (so a
name that somebody points at 127.0.0.1 is refused), nor leave out ``Origin`` where it changes
anything, nor ``Sec-Fetch-Site`` in today's browsers.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kmeans_lab.web.request_limits import Limits

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: Headers of every answer that sets no others. None of them lets other origins read an answer.
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",  # the page's own files say otherwise
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that the server goes by.

    Loopback names and the host it is bound to need its port; ``allowed`` are "name", with any port
    (a container's may be mapped), or "name:port".
    """

    host: str
    port: int
    allowed: tuple[str, ...] = ()

    def know(self, header: str) -> bool:
        """Whether a ``Host`` header names this server."""
        try:
            it = urlsplit(f"//{header}")
            name, port = it.hostname, it.port or 80
        except ValueError:
            return False
        if not name or it.username is not None or it.path or it.query or it.fragment:
            return False
        if name in (*LOOPBACK, self.host) and port == self.port:
            return True
        return name in self.allowed or f"{name}:{port}" in self.allowed


class Guards:
    """ASGI middleware: refuses strangers, large bodies and slow ones, adds the headers."""

    def __init__(self, app: Any, names: Names, limits: Limits) -> None:
        self.app, self.names, self.limits = app, names, limits

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message.get("headers", ())}
                more = ((k.encode(), v.encode()) for k, v in HEADERS.items())
                headers = [*message.get("headers", ()), *(it for it in more if it[0] not in own)]
                message = {**message, "headers": headers}
            await send(message)

        if refusal := self._refusal(scope):
            await _answer(send_with_headers, *refusal)
            return
        try:
            async with asyncio.timeout(self.limits.asking):
                message = await self._whole_body(receive)
        except TimeoutError:
            most = f"{self.limits.asking:g} s"
            sentence = f"the body must be here within {most} of its head; send it at once"
            await _answer(send_with_headers, 408, sentence)
            return
        if message is None:
            sentence = f"the body must be at most {self.limits.body:,} bytes; send less"
            await _answer(send_with_headers, 413, sentence)
            return
        given = False

        async def receive_again() -> Any:
            nonlocal given
            if given:
                return await receive()
            given = True
            return message

        await self.app(scope, receive_again, send_with_headers)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or not self.names.know(hosts[0]):
            return 421, (
                "the Host header does not name this server; open the address that it printed, or "
                "start it with --allow-host NAME"
            )
        own = (f"http://{hosts[0]}", f"https://{hosts[0]}")
        if any(origin.lower() not in map(str.lower, own) for origin in origins):
            return 403, "the request comes from another site and is refused; open the page itself"
        sites = _values(scope, b"sec-fetch-site")
        inside = scope["path"].startswith("/api/")
        if inside and any(site not in ("same-origin", "none") for site in sites):
            return 403, "the request comes from another site and is refused; open the page itself"
        return None

    async def _whole_body(self, receive: Any) -> Any:
        """Return one message with the whole body; None where it is too large."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if len(body) > self.limits.body:
                return None
            if not message.get("more_body", False):
                return {"type": "http.request", "body": body, "more_body": False}


def _values(scope: Any, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


async def _answer(send: Any, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # what is left of a large body is not read
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
