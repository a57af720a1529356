"""A race: its lanes, their processes, and the thread that listens to them.

The thread starts workers, hears what they say, writes events and kills who has to stop. Requests
come from other threads: they leave a wish and wake it.
"""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import wait
from secrets import token_hex
from time import monotonic, time
from typing import Any

import numpy as np

from kmeans_lab.presets import Preset
from kmeans_lab.registry import place_of
from kmeans_lab.web.events import EventLog
from kmeans_lab.web.lane import run_lane
from kmeans_lab.web.limits import Limits
from kmeans_lab.web.models import RaceRequest
from kmeans_lab.web.scene import make_scene
from kmeans_lab.web.verdict import verdict
from kmeans_lab.web.workers import Worker, available_cores, shared

#: States that a lane does not leave.
OVER = ("done", "stopped", "failed")
#: What a frame says of an iteration, without its picture.
_NUMBERS = ("n_iter", "inertia", "changed", "seconds")

Roofs = dict[tuple[str, int], tuple[float, float] | None]


@dataclass
class LaneRecord:
    """What is known of a lane."""

    index: int
    kernel: str
    threads: int
    state: str = "waiting"
    sentence: str = ""
    result: dict[str, Any] | None = None
    iterations: list[dict[str, Any]] = field(default_factory=list)
    stop_wanted: bool = False
    worker: Worker | None = None
    labels: Any = None  # shared memory
    deadline: float = 0.0
    cores: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        names = ("kernel", "threads", "state", "sentence", "result", "iterations")
        return {name: getattr(self, name) for name in names}


class Race:
    """One race, from its request to its end."""

    def __init__(self, request: RaceRequest, limits: Limits, roofs: Roofs) -> None:
        self.id = token_hex(8)
        self.request, self.limits, self.roofs = request, limits, roofs
        self.started = time()
        self.state = "racing"
        self.log = EventLog()
        self.lanes = [LaneRecord(i, it.kernel, it.threads) for i, it in enumerate(request.lanes)]
        self.plan: dict[str, Any] | None = None
        self.verdict: dict[str, Any] | None = None
        self._scene: dict[str, Any] = {}
        self._begun = monotonic()
        self._changed = threading.Condition()
        self._heard, self._wake = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name=f"race {self.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, lane: int | None = None) -> None:
        """Ask for an end of the race, or of a lane."""
        for it in self.lanes if lane is None else [self.lanes[lane]]:
            it.stop_wanted = True
        if self._thread.is_alive():
            self._wake.send_bytes(b"!")

    async def stopped(self, lane: int | None = None, patience: float = 10.0) -> None:
        """Ask for an end of the race, or of a lane, and wait until its processes are gone."""
        self.stop(lane)

        def wait_here() -> None:
            with self._changed:
                self._changed.wait_for(lambda: self._over(lane), patience)

        await asyncio.to_thread(wait_here)

    def _over(self, lane: int | None) -> bool:
        return self.log.ended or (
            lane is not None and self.lanes[lane].state in (*OVER, "replaying")
        )

    def join(self, patience: float = 10.0) -> None:
        """Wait until the thread is gone."""
        if self._thread.is_alive():
            self._thread.join(patience)

    @property
    def title(self) -> str:
        """The workload in a few words."""
        n, d, k = self.request.sizes
        name = getattr(self.request.workload, "preset", "own blobs")
        return f"{name}: {n:,} × {d:,}, k = {k:,}"

    def summary(self) -> dict[str, Any]:
        """Return a line of the history."""
        return {
            "id": self.id,
            "started": self.started,
            "mode": self.request.mode,
            "workload": self.request.workload.model_dump(),
            "title": self.title,
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

    # ---- in the thread of the race

    def _run(self) -> None:
        try:
            if self._make_scene():
                at_once = self.request.mode == "race"
                for lanes in [self.lanes] if at_once else [[it] for it in self.lanes]:
                    self._run_lanes(lanes)
        except Exception as error:  # ours to mend, and not what a reader should wait for
            for it in self.lanes:
                self._set(it, "failed", f"the server failed: {type(error).__name__}: {error}")
        finally:
            self._end()

    def _end(self) -> None:
        for it in self.lanes:
            self._close(it)
            if it.state not in OVER:
                self._set(it, "done" if it.result else "stopped")
        if self.plan is not None:
            self.verdict = verdict(self.lanes, self.request.baseline, self._labels())
            self.log.add("verdict", self.verdict)
        for it in self.lanes:
            it.labels = None  # the memory is free as soon as nobody has it
        states = {it.state for it in self.lanes}
        self.state = next((it for it in ("done", "stopped") if it in states), "failed")
        if all(it.stop_wanted for it in self.lanes) and "stopped" in states:
            self.state = "stopped"
        self.log.add("end", {"state": self.state})
        with self._changed:
            self._changed.notify_all()

    def _labels(self) -> list[Any]:
        n = self.request.sizes[0]
        return [
            None if it.result is None else np.frombuffer(it.labels, np.int32, count=n)
            for it in self.lanes
        ]

    def _make_scene(self) -> bool:
        """Let a worker make what all lanes share; whether there is something to race on."""
        preset = self.request.preset
        n, d, _ = self.request.sizes
        self._dtype = preset.dtype if preset else "float64"
        self._memory = shared(n * d * np.dtype(self._dtype).itemsize)
        threads = {it.threads for it in self.lanes}
        order = {
            "sizes": self.request.sizes,
            "dtype": self._dtype,
            "preset": getattr(self.request.workload, "preset", None),
            "spread": getattr(self.request.workload, "spread", 0.0),
            "seed": getattr(self.request.workload, "seed", 0),
            "start": self.request.start,
            "start_seed": self.request.start_seed,
            "drawn": self.limits.drawn,
            "roofs": [it for it in threads if (self._dtype, it) not in self.roofs],
        }
        worker = Worker(make_scene, order, self._memory)
        try:
            said = self._hear_scene(worker)
        finally:
            how = "" if worker.process.is_alive() else worker.how_it_ended()
            worker.close()
        if isinstance(said, str):
            for it in self.lanes:
                self._set(it, "stopped" if it.stop_wanted else "failed", f"{said}{how}")
            return False
        self._scene = said
        for n_threads, roof in said["roofs"].items():
            self.roofs[self._dtype, n_threads] = roof
        self._plan()
        return True

    def _hear_scene(self, worker: Worker) -> dict[str, Any] | str:
        until = monotonic() + self.limits.seconds
        while monotonic() < until:
            if worker.connection in wait([worker.connection, self._heard], 1.0):
                try:
                    what, said = worker.connection.recv()
                except (EOFError, OSError):
                    return "the process that makes the rows "
                return said if what == "scene" else str(said)
            self._drain()
            if all(it.stop_wanted for it in self.lanes):
                return "stopped before the rows were made"
        return f"making the rows took longer than {self.limits.seconds:g} s; use fewer"

    def _plan(self) -> None:
        n, d, k = self.request.sizes
        cores = available_cores()
        needed = sum(it.threads for it in self.lanes)
        sharing = None
        if self.request.mode == "race" and len(self.lanes) > 1:
            if needed <= len(cores):
                for it in self.lanes:
                    it.cores, cores = cores[: it.threads], cores[it.threads :]
            else:
                sharing = (
                    f"{needed} threads share {len(cores)} cores, so that everybody is slower than "
                    "alone; measure the lanes one after another for true times"
                )
        self.plan = {
            "id": self.id,
            "mode": self.request.mode,
            "n_samples": n,
            "n_features": d,
            "n_clusters": k,
            "drawn": len(self._scene["drawn"]),
            "plane": self._scene["plane"].name,
            "points": self._scene["points"],
            "lanes": [{"kernel": it.kernel, "threads": it.threads} for it in self.lanes],
            "sharing": sharing,
            "max_iter": self.request.iterations,
            "inputs": self._scene["inputs"],
        }
        self.log.add("plan", self.plan)
        for it in self.lanes:
            self._set(it, "waiting")

    def _run_lanes(self, lanes: list[LaneRecord]) -> None:
        """Start these lanes at once and listen until all are over."""
        n = self.request.sizes[0]
        for it in lanes:
            if it.stop_wanted:
                self._set(it, "stopped", "stopped before it began")
                continue
            self._set(it, "starting")
            it.labels = shared(4 * n)
            it.worker = Worker(run_lane, self._order(it), self._memory, it.labels)
            it.deadline = monotonic() + self.limits.seconds
        ready: set[int] = set()
        while running := [it for it in lanes if it.worker is not None]:
            ends: dict[Any, LaneRecord] = {
                it.worker.connection: it for it in running if it.worker is not None
            }
            for end in wait([*ends, self._heard], 1.0):
                if end is not self._heard:
                    self._hear(ends[end], end, ready)
            self._drain()
            for it in running:
                self._end_if_due(it)
            waiting = [it for it in lanes if it.worker is not None]
            if waiting and ready and all(it.index in ready for it in waiting):
                for it in waiting:
                    assert it.worker is not None  # as asked above
                    _tell(it.worker)
                ready.clear()

    def _order(self, it: LaneRecord) -> dict[str, Any]:
        preset: Preset | None = self.request.preset
        n, d, _ = self.request.sizes
        rule = (preset.stop, preset.tol) if preset else ("shift", 0.0)
        return {
            "name": it.kernel,
            "place": place_of(it.kernel),
            "threads": it.threads,
            "mode": self.request.mode,
            "cores": it.cores,
            "shape": (n, d),
            "dtype": self._dtype,
            "roof": self.roofs.get((self._dtype, it.threads)),
            "settings": {"max_iter": self.request.iterations, "stop": rule[0], "tol": rule[1]},
            **{name: self._scene[name] for name in ("centers", "drawn", "plane", "inputs")},
        }

    def _hear(self, it: LaneRecord, connection: Any, ready: set[int]) -> None:
        """Take one message of a lane."""
        try:
            what, data = connection.recv()
        except (EOFError, OSError):  # it died
            self._bury(it)
            return
        if what == "lane":
            self._set(it, data["state"], data["sentence"])
        elif what == "frame":
            it.iterations.append({name: data[name] for name in _NUMBERS})
            self.log.add("frame", {"lane": it.index, **data})
        elif what == "result":
            it.result = data
            self.log.add("result", {"lane": it.index, **data})
        elif what == "ready":
            ready.add(it.index)
            self._set(it, "waiting", "ready; waits for the others")
        elif what == "failed":
            it.result = None
            self._close(it)
            self._set(it, "failed", data)
        elif what == "finished":
            self._close(it)
            alone = self.request.mode == "race" or all(
                other.state in (*OVER, "replaying") or other is it for other in self.lanes
            )
            self._set(it, "done" if alone else "replaying")

    def _bury(self, it: LaneRecord) -> None:
        assert it.worker is not None  # somebody was heard
        how = it.worker.how_it_ended()
        self._close(it)
        others = "; the other lanes go on" if len(self.lanes) > 1 else ""
        self._set(it, "failed", f"the process of {it.kernel} {how}{others}")

    def _end_if_due(self, it: LaneRecord) -> None:
        if it.worker is None:
            return
        if it.stop_wanted:
            self._close(it)
            self._set(it, "stopped", "stopped on request")
        elif monotonic() > it.deadline:
            self._close(it)
            most = f"{self.limits.seconds:g} s"
            sentence = f"{it.kernel} took longer than {most}, the most that a lane may take"
            self._set(it, "failed", f"{sentence}; use fewer rows or iterations")

    def _close(self, it: LaneRecord) -> None:
        if it.worker is not None:
            it.worker.close()
            it.worker = None

    def _set(self, it: LaneRecord, state: str, sentence: str = "") -> None:
        it.state, it.sentence = state, sentence
        at = monotonic() - self._begun
        data = {"lane": it.index, "state": state, "sentence": sentence, "at": round(at, 4)}
        self.log.add("lane", data)
        with self._changed:
            self._changed.notify_all()

    def _drain(self) -> None:
        while self._heard.poll():
            self._heard.recv_bytes()


def _tell(worker: Worker) -> None:
    with suppress(OSError):  # it is dead, and the next look at its pipe will say so
        worker.connection.send("go")
