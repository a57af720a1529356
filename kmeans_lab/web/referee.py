"""Who runs a race: a thread that starts workers, hears what they say, and kills who has to stop."""

import threading
from contextlib import suppress
from multiprocessing.connection import wait
from time import monotonic
from typing import Any

import numpy as np

from kmeans_lab.registry import place_of
from kmeans_lab.web.lane import run_lane
from kmeans_lab.web.races import OVER, LaneRecord, Race
from kmeans_lab.web.scene import make_scene
from kmeans_lab.web.verdict import verdict
from kmeans_lab.web.workers import Worker, available_cores, shared

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

    def run(self) -> None:
        """Make the rows, run the lanes, judge."""
        race = self.race
        try:
            if self._make_scene():
                self._plan()
                at_once = self.request.mode == "race"
                for lanes in [self.lanes] if at_once else [[it] for it in self.lanes]:
                    self._run_lanes(lanes)
        except Exception as error:  # ours to mend, and nothing that a reader should wait for
            for it in self.lanes:
                race.set(it, "failed", f"the server failed: {type(error).__name__}: {error}")
        for it in self.lanes:
            it.close()
            if it.state not in OVER:
                race.set(it, "done" if it.result else "stopped")
        if race.plan is not None:
            race.verdict = verdict(self.lanes, self.request.baseline, self._labels())
            race.log.add("verdict", race.verdict)
        for it in self.lanes:
            it.labels = None  # memory is free when nobody has it any more
        race.end()

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
        self._scene = said
        for n_threads, roof in said["roofs"].items():
            self.roofs[self._dtype, n_threads] = roof
        return True

    def _hear_scene(self, worker: Worker) -> tuple[str, Any]:
        """Return ("scene", it), or a state and a sentence."""
        until = monotonic() + self.limits.seconds
        while monotonic() < until:
            if worker.connection in wait([worker.connection, self.race.wishes], 1.0):
                try:
                    found: tuple[str, Any] = worker.connection.recv()
                except (EOFError, OSError):
                    return "failed", f"the process that makes the rows {worker.how_it_ended()}"
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
                "are slower than alone; measure the lanes one after another for true times"
            )
        for it in self.lanes:
            it.cores, cores = cores[: it.threads], cores[it.threads :]
        return None

    def _run_lanes(self, lanes: list[LaneRecord]) -> None:
        """Start these lanes at once and listen until all are over."""
        for it in lanes:
            if it.stop_wanted:
                self.race.set(it, "stopped", "stopped before it began")
                continue
            self.race.set(it, "starting")
            it.labels = shared(4 * self.request.sizes[0])
            it.worker = Worker(run_lane, self._order(it), self._memory, it.labels)
            it.deadline = monotonic() + self.limits.seconds
        ready: set[int] = set()
        while ends := {it.worker.connection: it for it in lanes if it.worker is not None}:
            heard: list[Any] = wait([*ends, self.race.wishes], 1.0)
            for end in heard:
                if end in ends:
                    self._hear(ends[end], ready)
            self._drain()
            for it in ends.values():
                self._end_if_due(it)
            self._start_together([it for it in lanes if it.worker is not None], ready)

    def _start_together(self, lanes: list[LaneRecord], ready: set[int]) -> None:
        """Let lanes go that wait at the start line, once all are there."""
        if not ready or any(it.index not in ready for it in lanes):
            return
        ready.clear()
        for it in lanes:
            if it.worker is not None:
                with suppress(OSError):  # it is dead: the next look at its pipe will say so
                    it.worker.connection.send("go")

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

    def _hear(self, it: LaneRecord, ready: set[int]) -> None:
        """Take one message of a lane."""
        assert it.worker is not None  # it was heard
        try:
            what, data = it.worker.connection.recv()
        except (EOFError, OSError):  # it died
            self._died(it, it.worker.how_it_ended())
            return
        except Exception as error:  # a kernel may write into the pipe, too
            self._died(it, f"sent what cannot be read ({type(error).__name__})")
            return
        match what:
            case "lane":
                self.race.set(it, data["state"], data["sentence"])
            case "frame":
                it.iterations.append({name: data[name] for name in _NUMBERS})
                self.race.log.add("frame", {"lane": it.index, **data})
            case "result":
                it.result = data
                self.race.log.add("result", {"lane": it.index, **data})
            case "ready":
                ready.add(it.index)
                self.race.set(it, "waiting", "ready; waits for the others")
            case "failed":
                it.result = None
                self._over(it, "failed", data)
            case "finished":
                rest = [lane.state for lane in self.lanes if lane is not it]
                waits = any(state not in (*OVER, "replaying") for state in rest)
                replays = self.request.mode == "measure" and waits
                self._over(it, "replaying" if replays else "done")

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
