"""Who runs a race: a thread that starts workers, hears what they say, and kills who has to stop."""

import threading
from contextlib import suppress
from math import inf
from multiprocessing.connection import wait
from time import monotonic
from typing import Any

import numpy as np

from kmeans_lab.registry import place_of
from kmeans_lab.web.comparison import verdict
from kmeans_lab.web.lane import run_lane
from kmeans_lab.web.load import load_sentence
from kmeans_lab.web.models import LaneResult
from kmeans_lab.web.race_data import Plane, make_scene
from kmeans_lab.web.races import OVER, LaneRecord, Race
from kmeans_lab.web.rounds import run_rounds
from kmeans_lab.web.worker_process import Silenced, Worker, available_cores, shared

#: What a frame says of an iteration, without its picture.
_NUMBERS = ("n_iter", "inertia", "changed", "seconds")

#: Dtype and threads → operations and bytes read per second, None where nobody can measure them.
Roofs = dict[tuple[str, int], tuple[float, float] | None]


class Referee(threading.Thread):
    """Runs one race. ``roofs`` is what earlier races measured, and gets what this one does."""

    def __init__(self, race: Race, roofs: Roofs) -> None:
        super().__init__(name=f"race {race.id}", daemon=True)
        self.race, self.request, self.lanes = race, race.request, race.lanes
        self.limits, self.roofs = race.limits, roofs
        preset = race.request.preset
        self._dtype = preset.dtype if preset else "float64"
        self._rule = (preset.stop, preset.tol) if preset else ("shift", 0.0)
        self._memory: Any = None
        self._scene: dict[str, Any] = {}
        self._ready: set[int] = set()  # lanes that wait to be told something
        self._others: list[int] = []

    def run(self) -> None:
        """Make the rows, run the lanes, judge."""
        race = self.race
        try:
            if self._make_scene():
                self._plan()
                if self.request.mode == "race":
                    self._race()
                else:
                    self._measure()
        except Exception as error:  # ours to mend, and nothing that a reader should wait for
            for it in self.lanes:
                race.set(it, "failed", f"the server failed: {type(error).__name__}: {error}")
        for it in self.lanes:
            it.close()
            if it.state not in OVER:
                race.set(it, "done" if it.result else "stopped")
        if race.plan is not None:
            race.verdict = verdict(
                self.lanes, self.request.baseline, self._labels(), self._load_sentence()
            )
            race.log.add("verdict", race.verdict)
        for it in self.lanes:
            it.labels = None  # memory is free when nobody has it any more
        race.end()

    def _load_sentence(self) -> str:
        results = [it.result for it in self.lanes if it.result is not None]
        waited = [it["waited"] for it in results if it["waited"] is not None]
        return load_sentence(waited, self._others)

    def _labels(self) -> list[Any]:
        n = self.request.sizes[0]
        return [
            None if it.result is None else np.frombuffer(it.labels, np.int32, count=n)
            for it in self.lanes
        ]

    def _make_scene(self) -> bool:
        """Let a worker make what all lanes share; whether there is something to race on."""
        n, d, _ = self.request.sizes
        self._memory = shared(n * d * np.dtype(self._dtype).itemsize)
        workload, threads = self.request.workload, {it.threads for it in self.lanes}
        order = {
            "sizes": self.request.sizes,
            "dtype": self._dtype,
            "preset": getattr(workload, "preset", None),
            "spread": getattr(workload, "spread", 0.0),
            "seed": getattr(workload, "seed", 0),
            "start": self.request.start,
            "start_seed": self.request.start_seed,
            "drawn": self.limits.drawn,
            "roofs": [it for it in threads if (self._dtype, it) not in self.roofs],
        }
        worker = Worker(make_scene, order, self._memory)
        try:
            what, said = self._hear_scene(worker)
        finally:
            worker.close()
        if what != "scene":
            for it in self.lanes:
                self.race.set(it, what, said)
            return False
        self._scene = said | {"plane": Plane(**said["plane"])}
        for n_threads, roof in said["roofs"].items():
            self.roofs[self._dtype, n_threads] = roof
        return True

    def _hear_scene(self, worker: Worker) -> tuple[str, Any]:
        """Return ("scene", it), or a state and a sentence."""
        until = monotonic() + self.limits.seconds
        while monotonic() < until:
            if worker.connection in wait([worker.connection, self.race.wishes], 1.0):
                try:
                    found: tuple[str, Any] = worker.hear()
                except Silenced as end:
                    return "failed", f"the process that makes the rows {end}"
                return found
            self._drain()
            if all(it.stop_wanted for it in self.lanes):
                return "stopped", "stopped before the rows were made"
        most = f"{self.limits.seconds:g} s"
        return "failed", f"making the rows took longer than {most}; use fewer"

    def _plan(self) -> None:
        n, d, k = self.request.sizes
        scene, race = self._scene, self.race
        race.plan = {
            "id": race.id,
            "mode": self.request.mode,
            "n_samples": n,
            "n_features": d,
            "n_clusters": k,
            "drawn": len(scene["drawn"]),
            "plane": scene["plane"].name,
            "points": scene["points"],
            "lanes": [{"kernel": it.kernel, "threads": it.threads} for it in self.lanes],
            "sharing": self._share_cores(),
            "max_iter": self.request.iterations,
            "inputs": scene["inputs"],
        }
        race.log.add("plan", race.plan)
        for it in self.lanes:
            race.set(it, "waiting")

    def _share_cores(self) -> str | None:
        """Give lanes that run at once cores of their own, or say that there are too few."""
        cores = available_cores()
        needed = sum(it.threads for it in self.lanes)
        if self.request.mode != "race" or len(self.lanes) == 1:
            return None
        if needed > len(cores):
            return (
                f"{needed} threads share {len(cores)} core{'s' * (len(cores) != 1)}, so that all "
                "are slower than alone; measure the lanes for true times"
            )
        for it in self.lanes:
            it.cores, cores = cores[: it.threads], cores[it.threads :]
        return None

    def _race(self) -> None:
        """Start all lanes, let them go together, and listen until all are over."""
        for it in self.lanes:
            self._start(it)
        while at_work := [it for it in self.lanes if it.worker is not None]:
            if all(it.index in self._ready for it in at_work):
                for it in at_work:
                    self._send(it, "go")
            self._listen()

    def _measure(self) -> None:
        """Let the lanes prepare one by one, fit in rounds, and show one by one what they did."""
        for it in self.lanes:
            self._start(it)
            self._wait_for(it)
        self._others = run_rounds(self.lanes, self.limits.fits, self._turn)
        for it in self.lanes:
            self._send(it, None)
            self._wait_for(it)

    def _turn(self, it: LaneRecord, turn: tuple[int | None, float]) -> dict[str, Any] | None:
        self._send(it, turn)
        self._wait_for(it)
        return None if it.worker is None else it.turn

    def _start(self, it: LaneRecord) -> None:
        """Start the process of a lane."""
        if it.stop_wanted:
            self.race.set(it, "stopped", "stopped before it began")
            return
        self.race.set(it, "starting")
        it.labels = shared(4 * self.request.sizes[0])
        it.worker = Worker(run_lane, self._order(it), self._memory, it.labels)
        it.left = self.limits.seconds
        it.deadline = monotonic() + it.left

    def _send(self, it: LaneRecord, what: Any) -> None:
        """Tell a lane to go on, which counts as its time from now on."""
        self._ready.discard(it.index)
        if it.worker is not None:
            it.deadline = monotonic() + it.left
            with suppress(OSError):  # it is dead: the next look at its pipe will say so
                it.worker.connection.send(what)

    def _wait_for(self, it: LaneRecord) -> None:
        """Listen until a lane waits to be told something, or is over."""
        while it.worker is not None and it.index not in self._ready:
            self._listen()

    def _listen(self) -> None:
        """Hear whoever says something, and end whoever has to."""
        ends = {it.worker.connection: it for it in self.lanes if it.worker is not None}
        heard: list[Any] = wait([*ends, self.race.wishes], 1.0)
        for end in heard:
            if end in ends:
                self._hear(ends[end])
        self._drain()
        for it in ends.values():
            self._end_if_due(it)

    def _order(self, it: LaneRecord) -> dict[str, Any]:
        """Return what a lane's process needs to know."""
        n, d, _ = self.request.sizes
        stop, tol = self._rule
        return {
            "name": it.kernel,
            "place": place_of(it.kernel),
            "threads": it.threads,
            "mode": self.request.mode,
            "cores": it.cores,
            "shape": (n, d),
            "dtype": self._dtype,
            "roof": self.roofs.get((self._dtype, it.threads)),
            "settings": {"max_iter": self.request.iterations, "stop": stop, "tol": tol},
            **{name: self._scene[name] for name in ("centers", "drawn", "plane", "inputs")},
        }

    def _hear(self, it: LaneRecord) -> None:
        """Take one message of a lane."""
        assert it.worker is not None  # it was heard
        try:
            what, data = it.worker.hear()
            self._take(it, what, data)
        except Silenced as end:
            self._died(it, str(end))
        except (TypeError, ValueError, LookupError):  # from whoever else writes into its pipe
            self._died(it, "sent what is no answer")

    def _take(self, it: LaneRecord, what: str, data: Any) -> None:
        match what:
            case "lane":
                self.race.set(it, data["state"], data["sentence"])
            case "frame":
                it.iterations.append({name: data[name] for name in _NUMBERS})
                self.race.log.add("frame", {"lane": it.index, **data})
            case "result":
                it.result = LaneResult.model_validate(data).model_dump()
                self.race.log.add("result", {"lane": it.index, **data})
            case "ready":
                self._rest(it)
                self.race.set(it, "waiting", "ready; waits for the others")
            case "turn":
                it.turn = data
                self._rest(it)
            case "failed":
                it.result = None
                self._over(it, "failed", data)
            case "finished":
                rest = [lane.state for lane in self.lanes if lane is not it]
                waits = any(state not in (*OVER, "replaying") for state in rest)
                replays = self.request.mode == "measure" and waits
                self._over(it, "replaying" if replays else "done")

    def _rest(self, it: LaneRecord) -> None:
        """Note that a lane waits to be told something, which is nobody's time."""
        self._ready.add(it.index)
        it.left, it.deadline = it.deadline - monotonic(), inf

    def _died(self, it: LaneRecord, how: str) -> None:
        others = "; the other lanes go on" if len(self.lanes) > 1 else ""
        self._over(it, "failed", f"the process of {it.kernel} {how}{others}")

    def _end_if_due(self, it: LaneRecord) -> None:
        if it.worker is None:
            return
        if it.stop_wanted:
            self._over(it, "stopped", "stopped on request")
        elif monotonic() > it.deadline:
            most = f"{self.limits.seconds:g} s, the most that a lane may take"
            sentence = f"{it.kernel} took longer than {most}; use fewer rows or iterations"
            self._over(it, "failed", sentence)

    def _over(self, it: LaneRecord, state: str, sentence: str = "") -> None:
        it.close()
        self.race.set(it, state, sentence)

    def _drain(self) -> None:
        while self.race.wishes.poll():
            self.race.wishes.recv_bytes()
