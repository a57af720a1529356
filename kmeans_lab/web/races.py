"""The state of a race: its request, its lanes, its events, and how to stop it.

A ``RaceRunner`` runs it in a thread of its own. A request to stop sets a flag and wakes that thread
by a pipe.
"""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from multiprocessing import Pipe
from secrets import token_hex
from time import monotonic, time
from typing import Any, TypedDict

from kmeans_lab.measure.schema import Card
from kmeans_lab.web.events import EventLog
from kmeans_lab.web.models import LaneResult, LaneState, RaceRequest, RaceState, Step, Verdict
from kmeans_lab.web.request_limits import Limits
from kmeans_lab.web.worker_process import Worker

#: States that a lane does not leave.
OVER = ("done", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class Turn:
    """The report of a lane after its turn.

    Attributes
    ----------
    seconds : float
        Median of the fits of this turn.
    watched : bool
        It has had its only fit, which was watched.
    """

    seconds: float
    watched: bool


class LaneName(TypedDict):
    """A lane in the plan or the history of races."""

    kernel: str
    threads: int


class Plan(TypedDict):
    """The data of the event ``plan``, which is sent once the rows are made."""

    id: str
    mode: str
    n_samples: int
    n_features: int
    n_clusters: int
    drawn: int
    plane: str
    points: str
    lanes: list[LaneName]
    sharing: str | None
    max_iter: int
    inputs: str


class Summary(TypedDict):
    """A race as a line of the history."""

    id: str
    started: float
    mode: str
    workload: Mapping[str, object]
    title: str
    lanes: list[LaneName]
    state: str


@dataclass
class LaneRecord:
    """The state of a lane, and its resources while it runs.

    Attributes
    ----------
    index, kernel, threads : int, str, int
    state, sentence : str
        "waiting", "starting", "preparing", "running", "replaying", "done", "stopped" or "failed",
        and more about it.
    result : LaneResult or None
    iterations : list of Step
        The content of the frames without their pictures.
    stop_wanted : bool
    worker, labels
        Its process, and the memory where that leaves its labels.
    left, deadline : float
        Seconds that it may still take, and while it is its turn until when, by the monotonic
        clock.
    waits : bool
        Whether the lane waits for a message from the server.
    turn : Turn or None
        Its report after its last turn.
    cores : list of int
        Those that it keeps to; all of them where empty.
    """

    index: int
    kernel: str
    threads: int
    state: str = "waiting"
    sentence: str = ""
    result: LaneResult | None = None
    iterations: list[Step] = field(default_factory=list)
    stop_wanted: bool = False
    worker: Worker | None = None
    labels: Any = None
    left: float = 0.0
    deadline: float = inf
    waits: bool = False
    turn: Turn | None = None
    cores: list[int] = field(default_factory=list)

    @property
    def name(self) -> LaneName:
        """Its kernel and threads."""
        return {"kernel": self.kernel, "threads": self.threads}

    def start(self, worker: Worker, seconds: float) -> None:
        """Take a process, which may compute for so many seconds."""
        self.worker, self.left = worker, seconds
        self.deadline = monotonic() + seconds

    def tell(self, what: object) -> None:
        """Tell the process to go on; from now on its time counts."""
        self.waits = False
        if self.worker is not None:
            self.deadline = monotonic() + self.left
            with suppress(OSError):  # it is dead: the next look at its pipe will say so
                self.worker.connection.send(what)

    def rest(self) -> None:
        """Record that the lane waits for a message, which does not count as its time."""
        self.waits = True
        self.left, self.deadline = self.deadline - monotonic(), inf

    def close(self) -> None:
        """End its process, if there is one."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None

    def public(self) -> LaneState:
        """Return the lane's state as the server publishes it."""
        return LaneState(
            kernel=self.kernel,
            threads=self.threads,
            state=self.state,
            sentence=self.sentence,
            result=self.result,
            iterations=self.iterations,
        )


class Race:
    """One race, from its request to its end."""

    def __init__(self, request: RaceRequest, limits: Limits) -> None:
        self.id = token_hex(8)
        self.request, self.limits = request, limits
        self.started, self._begun = time(), monotonic()
        self.state = "racing"
        self.log = EventLog()
        self.lanes = [LaneRecord(i, it.kernel, it.threads) for i, it in enumerate(request.lanes)]
        self.plan: Plan | None = None
        self.verdict: Verdict | None = None
        self.alarm, self._wake = Pipe(duplex=False)
        self._changed = threading.Condition()

    def set(self, lane: LaneRecord, state: str, sentence: str = "") -> None:
        """Record a new state of a lane."""
        lane.state, lane.sentence = state, sentence
        at = round(monotonic() - self._begun, 4)
        self.log.add("lane", {"lane": lane.index, "state": state, "sentence": sentence, "at": at})
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        """Record that the race is over, and how it ended."""
        states = {it.state for it in self.lanes}
        if "stopped" in states and all(it.stop_wanted for it in self.lanes):
            self.state = "stopped"
        else:
            self.state = next((it for it in ("done", "stopped") if it in states), "failed")
        self.log.add("end", {"state": self.state})
        with self._changed:
            self._changed.notify_all()
        self.alarm.close()
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

    def summary(self) -> Summary:
        """Return a line of the history."""
        n, d, k = self.request.sizes
        name = getattr(self.request.workload, "preset", "own blobs")
        return {
            "id": self.id,
            "started": self.started,
            "mode": self.request.mode,
            "workload": self.request.workload.model_dump(),
            "title": f"{name}: {n:,} × {d:,}, k = {k:,}",
            "lanes": [it.name for it in self.lanes],
            "state": self.state,
        }

    def public(self, machine: Card, version: str) -> RaceState:
        """Return everything but the pictures of each iteration."""
        summary = self.summary()
        return RaceState(
            id=summary["id"],
            started=summary["started"],
            mode=summary["mode"],
            workload=summary["workload"],
            title=summary["title"],
            state=summary["state"],
            request=self.request.model_dump(),
            plan=self.plan,
            lanes=[it.public() for it in self.lanes],
            verdict=self.verdict,
            machine=machine,
            version=version,
        )
