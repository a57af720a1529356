"""A race as everybody sees it: its request, its lanes, its events, and how to stop it.

A ``Referee`` runs it in a thread of its own. Who wants it to end leaves a wish and wakes him.
"""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from multiprocessing import Pipe
from secrets import token_hex
from time import monotonic, time
from typing import Any

from kmeans_lab.web.events import EventLog
from kmeans_lab.web.models import RaceRequest
from kmeans_lab.web.request_limits import Limits
from kmeans_lab.web.worker_process import Worker

#: States that a lane does not leave.
OVER = ("done", "stopped", "failed")


@dataclass
class LaneRecord:
    """What is known of a lane, and what is held for it while it runs.

    Attributes
    ----------
    index, kernel, threads : int, str, int
    state, sentence : str
        "waiting", "starting", "preparing", "running", "replaying", "done", "stopped" or "failed",
        and more about it.
    result : dict or None
        The data of its ``result`` event.
    iterations : list of dict
        What frames said, but for their pictures.
    stop_wanted : bool
    worker, labels
        Its process, and the memory where that leaves its labels.
    left, deadline : float
        Seconds that it may still take, and while it is its turn until when, by the monotonic
        clock.
    turn : dict or None
        What it said about its last one.
    cores : list of int
        That it is kept to; all of them where empty.
    """

    index: int
    kernel: str
    threads: int
    state: str = "waiting"
    sentence: str = ""
    result: dict[str, Any] | None = None
    iterations: list[dict[str, Any]] = field(default_factory=list)
    stop_wanted: bool = False
    worker: Worker | None = None
    labels: Any = None
    left: float = 0.0
    deadline: float = inf
    turn: dict[str, Any] | None = None
    cores: list[int] = field(default_factory=list)

    def close(self) -> None:
        """End its process, if there is one."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as plain JSON types."""
        names = ("kernel", "threads", "state", "sentence", "result", "iterations")
        return {name: getattr(self, name) for name in names}


class Race:
    """One race, from its request to its end."""

    def __init__(self, request: RaceRequest, limits: Limits) -> None:
        self.id = token_hex(8)
        self.request, self.limits = request, limits
        self.started, self._begun = time(), monotonic()
        self.state = "racing"
        self.log = EventLog()
        self.lanes = [LaneRecord(i, it.kernel, it.threads) for i, it in enumerate(request.lanes)]
        self.plan: dict[str, Any] | None = None
        self.verdict: dict[str, Any] | None = None
        self.wishes, self._wake = Pipe(duplex=False)
        self._changed = threading.Condition()

    def set(self, lane: LaneRecord, state: str, sentence: str = "") -> None:
        """Write down that a lane is in another state."""
        lane.state, lane.sentence = state, sentence
        at = round(monotonic() - self._begun, 4)
        self.log.add("lane", {"lane": lane.index, "state": state, "sentence": sentence, "at": at})
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """Write down that it is over, and how."""
        states = {it.state for it in self.lanes}
        if "stopped" in states and all(it.stop_wanted for it in self.lanes):
            self.state = "stopped"
        else:
            self.state = next((it for it in ("done", "stopped") if it in states), "failed")
        self.log.add("end", {"state": self.state})
        with self._changed:
            self._changed.notify_all()
        self.wishes.close()
        self._wake.close()

    def stop(self, lane: int | None = None) -> None:
        """Ask for an end of the race, or of a lane."""
        for it in self.lanes if lane is None else [self.lanes[lane]]:
            it.stop_wanted = True
        with suppress(OSError):  # it may be over
            self._wake.send_bytes(b"!")

    async def stopped(self, lane: int | None = None, patience: float = 10.0) -> None:
        """Ask for an end of the race, or of a lane, and wait until its processes are gone."""
        self.stop(lane)
        await asyncio.to_thread(self.wait_for_end, lane, patience)

    def wait_for_end(self, lane: int | None = None, patience: float = 10.0) -> None:
        """Wait until the race, or a lane, computes no more."""
        at_rest = (*OVER, "replaying")  # then its process is gone

        def over() -> bool:
            return self.log.ended or (lane is not None and self.lanes[lane].state in at_rest)

        with self._changed:
            self._changed.wait_for(over, patience)

    def summary(self) -> dict[str, Any]:
        """Return a line of the history."""
        n, d, k = self.request.sizes
        name = getattr(self.request.workload, "preset", "own blobs")
        return {
            "id": self.id,
            "started": self.started,
            "mode": self.request.mode,
            "workload": self.request.workload.model_dump(),
            "title": f"{name}: {n:,} × {d:,}, k = {k:,}",
            "lanes": [{"kernel": it.kernel, "threads": it.threads} for it in self.lanes],
            "state": self.state,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures of each iteration."""
        return self.summary() | {
            "request": self.request.model_dump(),
            "plan": self.plan,
            "lanes": [it.to_dict() for it in self.lanes],
            "verdict": self.verdict,
        }
