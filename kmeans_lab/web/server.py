"""The uvicorn server with our settings: quiet, HTTP/1.1 only, and quick to shut down."""

import socket
from typing import Any

import uvicorn

from kmeans_lab.web.connection import Connection


class Server(uvicorn.Server):
    """A server that stops all computing before it waits for its clients."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop races, which ends the streams of their events; then end."""
        app: Any = self.config.app
        app.state.scheduler.begin_to_close()
        await super().shutdown(sockets)


def make_server(app: Any) -> Server:
    """Return a server for the application; ``run(sockets=[...])`` serves."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody may say on whose behalf they come
        timeout_graceful_shutdown=3,
        timeout_keep_alive=20,
    )
    return Server(config)
