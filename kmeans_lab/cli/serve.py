"""The command ``kmeans-lab serve``. FastAPI and uvicorn are imported when it runs."""

import argparse
import json
import os
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

from kmeans_lab.cli.terminal import emit, tell
from kmeans_lab.io.errors import MissingExtra, Refused

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab serve``."""
    add = parser.add_argument
    add("--host", metavar="H", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    add("--port", metavar="P", type=int, default=8000, help="port, 0 for a free one (8000)")
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="another name, or name:port, by which the page may be opened (repeatable)",
    )
    add("--studies", metavar="DIR", type=Path, help="folder of studies (docs/studies or studies)")
    add("--open", action="store_true", help="open the page in a browser")


def serve(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    try:
        import fastapi  # noqa: F401 (the app does; here it is asked for)
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("the page needs", str(error.name), extra="web") from None
    if not 0 <= arguments.port <= 65_535:
        raise Refused(f"--port {arguments.port} must be between 0 and 65535; choose another")
    if arguments.studies is not None and not arguments.studies.is_dir():
        raise Refused(
            f"there is no folder {arguments.studies}; kmeans-lab study all --output "
            f"{arguments.studies} makes it"
        )
    listener = listen(arguments.host, arguments.port)
    port = int(listener.getsockname()[1])
    url = f"http://{_name(arguments.host)}:{port}/"
    if arguments.host not in _LOOPBACK:
        tell(
            f"warning: whoever reaches {arguments.host} can make this machine compute; "
            "pages open by loopback names and those of --allow-host only"
        )
    emit(json.dumps({"url": url}) + "\n" if arguments.json else f"{url}  (Ctrl-C ends it)\n")
    if arguments.open:
        threading.Timer(0.5, webbrowser.open, (url,)).start()
    server = _server(arguments, port)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn tells it on, once it has ended everything
        tell("ended")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; ``Refused`` where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP is named, because asyncio turns off waiting for more to send only where it is: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would share the port with others
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Refused(
            f"port {port} of {host} cannot be had ({error.strerror}); choose another with --port"
        ) from None
    return listener


def _name(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _server(arguments: argparse.Namespace, port: int) -> Any:
    from kmeans_lab.web.app import Settings, create_app
    from kmeans_lab.web.files import default_studies
    from kmeans_lab.web.middleware import Names
    from kmeans_lab.web.server import make_server

    names = Names(arguments.host, port, tuple(it.lower() for it in arguments.allow_host))
    studies = arguments.studies or default_studies()
    return make_server(create_app(Settings(names, studies)))
