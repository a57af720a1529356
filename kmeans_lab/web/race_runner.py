"""The runner of a race: a thread that starts workers, reads their messages and stops them."""

import threading
from multiprocessing.connection import wait
from time import monotonic
from typing import Any

import numpy as np

from kmeans_lab.registry import place_of
from kmeans_lab.web.comparison import verdict
from kmeans_lab.web.lane import LaneOrder, run_lane
from kmeans_lab.web.load import load_sentence
from kmeans_lab.web.models import LaneResult, Step
from kmeans_lab.web.race_data import DataOrder, RaceData, make_race_data
from kmeans_lab.web.races import OVER, LaneRecord, Race, Turn
from kmeans_lab.web.turns import take_turns
from kmeans_lab.web.worker_process import Silenced, Worker, core_ids, shared

#: Dtype and threads → operations and bytes read per second, None where they cannot be measured.
Roofs = dict[tuple[str, int], tuple[float, float] | None]


class RaceRunner(threading.Thread):
    """Runs one race. ``roofs`` is what earlier races measured, and gets what this one does."""

    def __init__(self, race: Race, roofs: Roofs) -> None:
        super().__init__(name=f"race {race.id}", daemon=True)
        self.race, self.request, self.lanes = race, race.request, race.lanes
        self.limits, self.roofs = race.limits, roofs
        preset = race.request.preset
        self._dtype = preset.dtype if preset else "float64"
        self._rule = (preset.stop, preset.tol) if preset else ("shift", 0.0)
        self._memory: Any = None
        self._others: list[int] = []

    def run(self) -> None:
        """Make the rows, run the lanes, judge."""
        race = self.race
        try:
            if (data := self._make_data()) is not None:
                self._plan(data)
                if self.request.mode == "race":
                    self._race(data)
                else:
                    self._measure(data)
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
            race.log.add("verdict", race.verdict.model_dump())
        for it in self.lanes:
            it.labels = None  # memory is freed with its last reference
        race.end()

    def _load_sentence(self) -> str:
        results = [it.result for it in self.lanes if it.result is not None]
        waited = [it.waited for it in results if it.waited is not None]
        return load_sentence(waited, self._others)

    def _labels(self) -> list[Any]:
        n = self.request.sizes[0]
        return [
            None if it.result is None else np.frombuffer(it.labels, np.int32, count=n)
            for it in self.lanes
        ]

    def _make_data(self) -> RaceData | None:
        """Let a worker make what all lanes share; None if that fails."""
        n, d, _ = self.request.sizes
        self._memory = shared(n * d * np.dtype(self._dtype).itemsize)
        workload, threads = self.request.workload, {it.threads for it in self.lanes}
        order = DataOrder(
            sizes=self.request.sizes,
            dtype=self._dtype,
            preset=getattr(workload, "preset", None),
            spread=getattr(workload, "spread", 0.0),
            seed=getattr(workload, "seed", 0),
            start=self.request.start,
            start_seed=self.request.start_seed,
            drawn=self.limits.drawn,
            roofs=[it for it in threads if (self._dtype, it) not in self.roofs],
        )
        worker = Worker(make_race_data, order, self._memory)
        try:
            what, said = self._hear_data(worker)
        finally:
            worker.close()
        if what != "data":
            for it in self.lanes:
                self.race.set(it, what, said)
            return None
        data = RaceData.of_message(said)
        for n_threads, roof in data.roofs.items():
            self.roofs[self._dtype, n_threads] = roof
        return data

    def _hear_data(self, worker: Worker) -> tuple[str, Any]:
        """Return "data" and what a worker sent, or a state and a sentence."""
        until = monotonic() + self.limits.seconds
        while monotonic() < until:
            if worker.connection in wait([worker.connection, self.race.alarm], 1.0):
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

    def _plan(self, data: RaceData) -> None:
        n, d, k = self.request.sizes
        race = self.race
        race.plan = {
            "id": race.id,
            "mode": self.request.mode,
            "n_samples": n,
            "n_features": d,
            "n_clusters": k,
            "drawn": len(data.drawn),
            "plane": data.plane.name,
            "points": data.points,
            "lanes": [it.name for it in self.lanes],
            "sharing": self._share_cores(),
            "max_iter": self.request.iterations,
            "inputs": data.inputs,
        }
        race.log.add("plan", race.plan)
        for it in self.lanes:
            race.set(it, "waiting")

    def _share_cores(self) -> str | None:
        """Give lanes that run at once cores of their own, or say that there are too few."""
        cores = core_ids()
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

    def _race(self, data: RaceData) -> None:
        """Start all lanes, let them go together, and listen until all are over."""
        for it in self.lanes:
            self._start(it, data)
        while at_work := [it for it in self.lanes if it.worker is not None]:
            if all(it.waits for it in at_work):
                for it in at_work:
                    it.tell("go")
            self._listen()

    def _measure(self, data: RaceData) -> None:
        """Let the lanes prepare one by one, fit in rounds, and show one by one what they did."""
        for it in self.lanes:
            self._start(it, data)
            self._wait_for(it)
        self._others = take_turns(self.lanes, self.limits.fits, self._turn)
        for it in self.lanes:
            it.tell(None)
            self._wait_for(it)

    def _turn(self, it: LaneRecord, turn: tuple[int | None, float]) -> Turn | None:
        it.tell(turn)
        self._wait_for(it)
        return None if it.worker is None else it.turn

    def _start(self, it: LaneRecord, data: RaceData) -> None:
        """Start the process of a lane."""
        if it.stop_wanted:
            self.race.set(it, "stopped", "stopped before it began")
            return
        self.race.set(it, "starting")
        it.labels = shared(4 * self.request.sizes[0])
        worker = Worker(run_lane, self._order(it, data), self._memory, it.labels)
        it.start(worker, self.limits.seconds)

    def _wait_for(self, it: LaneRecord) -> None:
        """Listen until a lane waits to be told something, or is over."""
        while it.worker is not None and not it.waits:
            self._listen()

    def _listen(self) -> None:
        """Read the messages of lanes, and end lanes that were stopped or have timed out."""
        ends = {it.worker.connection: it for it in self.lanes if it.worker is not None}
        heard: list[Any] = wait([*ends, self.race.alarm], 1.0)
        for end in heard:
            if end in ends:
                self._hear(ends[end])
        self._drain()
        for it in ends.values():
            self._end_if_due(it)

    def _order(self, it: LaneRecord, data: RaceData) -> LaneOrder:
        """Return what a lane's process needs to know."""
        n, d, _ = self.request.sizes
        stop, tol = self._rule
        return LaneOrder(
            name=it.kernel,
            place=place_of(it.kernel),
            threads=it.threads,
            mode=self.request.mode,
            cores=it.cores,
            shape=(n, d),
            dtype=self._dtype,
            roof=self.roofs.get((self._dtype, it.threads)),
            settings={"max_iter": self.request.iterations, "stop": stop, "tol": tol},
            data=data,
        )

    def _hear(self, it: LaneRecord) -> None:
        """Take one message of a lane."""
        assert it.worker is not None  # it was heard
        try:
            what, data = it.worker.hear()
            self._take(it, what, data)
        except Silenced as end:
            self._died(it, str(end))
        except (TypeError, ValueError, LookupError):  # other code may write to its pipe
            self._died(it, "sent an invalid answer")

    def _take(self, it: LaneRecord, what: str, data: Any) -> None:
        match what:
            case "lane":
                self.race.set(it, data["state"], data["sentence"])
            case "frame":
                it.iterations.append(Step.model_validate(data))
                self.race.log.add("frame", {"lane": it.index, **data})
            case "result":
                it.result = LaneResult.model_validate(data)
                self.race.log.add("result", {"lane": it.index, **data})
            case "ready":
                it.rest()
                self.race.set(it, "waiting", "ready; waits for the others")
            case "turn":
                it.turn = Turn(float(data["seconds"]), bool(data["watched"]))
                it.rest()
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
        while self.race.alarm.poll():
            self.race.alarm.recv_bytes()
