"""A real server on a free port, in a thread, and a client that reads its events."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from kmeans_lab.cli.serve import listen
from kmeans_lab.web.app import Settings, create_app
from kmeans_lab.web.middleware import Names
from kmeans_lab.web.race_runner import Roofs
from kmeans_lab.web.request_limits import Limits
from kmeans_lab.web.scheduler import Scheduler
from kmeans_lab.web.server import make_server

SMALL = {"preset": "smoke"}
#: With max_iter=120 some ten seconds of plain Python, to be stopped in.
LONG = {"n_samples": 4000, "n_features": 10, "n_clusters": 60, "spread": 20.0, "seed": 1}

#: Name, number and data.
Event = tuple[str, int, Any]

#: Limits of a machine, so that not every server has to measure them.
ROOFS: Roofs = {("float64", n_threads): (1e11, 1e10) for n_threads in (1, 2, 3)}


class Client(httpx.Client):
    """Asks the server; ``scheduler`` is the server's own, for a look behind the scenes."""

    def __init__(self, app: FastAPI, port: int) -> None:
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self.scheduler: Scheduler = app.state.scheduler
        self.port = port

    def race(
        self, *kernels: str | dict[str, object], workload: object = SMALL, **more: object
    ) -> str:
        """Start a race and return its id."""
        lanes = [it if isinstance(it, dict) else {"kernel": it} for it in kernels]
        answer = self.post("/api/races", json={"workload": workload, "lanes": lanes} | more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def events(self, race: str, after: int | None = None) -> Iterator[Event]:
        """Yield (name, number, data) until the stream ends."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        with self.stream("GET", f"/api/races/{race}/events", headers=headers) as answer:
            if answer.status_code == 204:
                return
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield from read_events(answer.iter_lines())

    def run(self, *kernels: str | dict[str, object], **more: Any) -> list[Event]:
        """Race to the end and return all events."""
        return list(self.events(self.race(*kernels, **more)))

    def wait_for(self, race: str, lane: int, state: str) -> str:
        """Read events until a lane is in a state; return its sentence."""
        for name, _, data in self.events(race):
            if name == "lane" and (data["lane"], data["state"]) == (lane, state):
                return str(data["sentence"])
        raise AssertionError(f"lane {lane} was never {state}")


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield (name, number, data) from the lines of a stream."""
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(": ")
        if key:
            found[key] = value
        elif "data" in found:
            yield found["event"], int(found["id"]), json.loads(found["data"])
            found = {}


def states(events: Iterable[Event], lane: int) -> list[str]:
    """Return the states that a lane went through."""
    return [data["state"] for name, _, data in events if name == "lane" and data["lane"] == lane]


def named(events: Iterable[Event], name: str) -> list[Any]:
    """Return the data of all events of a name."""
    return [data for it, _, data in events if it == name]


@contextmanager
def serving(
    studies: Path | None = None, *, roofs: Roofs = ROOFS, fits: float = 0.01, **limits: Any
) -> Iterator[Client]:
    """Serve in a thread; yield a ``Client``. ``roofs={}`` has the machine's limits measured."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = create_app(Settings(Names("127.0.0.1", port), studies, Limits(fits=fits, **limits)))
    app.state.scheduler.roofs |= roofs
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    with Client(app, port) as client:
        try:
            yield client
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
