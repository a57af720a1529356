"""The scheduler of the server: one race, or one question, computes at a time.

Two computations at once would falsify both. All methods but ``_ask`` run in the thread of the event
loop, so that nothing else can start between a check and a start.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from kmeans_lab.registry import KERNELS, place_of
from kmeans_lab.web.models import RaceRequest
from kmeans_lab.web.queries import (
    KernelRow,
    Ladder,
    SourceFile,
    Survey,
    all_places,
    answer,
    broken,
)
from kmeans_lab.web.race_runner import RaceRunner, Roofs
from kmeans_lab.web.races import Race
from kmeans_lab.web.request_limits import Complaint, Limits, Refusal
from kmeans_lab.web.worker_process import Silenced, Worker

#: Seconds that an answer may take.
_PATIENCE = 120.0
#: Seconds that the import of a kernel that others bring may take, and how many are tried at once.
_PATIENCE_TO_IMPORT = 30.0
_AT_ONCE = 4


class NoAnswer(Refusal):
    """A process did not answer its question; ``how`` says why."""

    def __init__(self, question: str, how: str) -> None:
        super().__init__(503, f"the process that answers {question} {how}; ask again")
        self.how = how


class Died(NoAnswer):
    """The process ended."""


class Late(NoAnswer):
    """The process took too long."""


class Scheduler:
    """The races and answers that are kept, and what may start now."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.races: OrderedDict[str, Race] = OrderedDict()
        self.roofs: Roofs = {}
        self._asking: str | None = None
        self._answers: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._workers: set[Worker] = set()
        self._lock = threading.Lock()
        self._closing = False

    @property
    def racing(self) -> bool:
        """Whether a race is on."""
        return any(not it.log.ended for it in self.races.values())

    def refuse_if_busy(self) -> None:
        """Raise a ``Refusal`` while something is computed or when the server is ending."""
        if self._closing:
            raise Refusal(503, "the server is ending; start it again")
        if self.racing:
            raise Refusal(503, "another race is on; wait for it or stop it")
        if self._asking is not None:
            raise Refusal(503, f"{self._asking} is being measured; wait some seconds")

    def find(self, race_id: str) -> Race:
        """Return a race; a ``Refusal`` where there is none."""
        race = self.races.get(race_id)
        if race is None:
            most = self.limits.races
            raise Refusal(
                404, f"there is no race {race_id[:32]!r}; the last {most} are at /api/races"
            )
        return race

    async def start_race(self, request: RaceRequest) -> Race:
        """Begin a race that nothing speaks against."""
        states = {it["name"]: it for it in (await self.survey())["kernels"]}
        if found := check(request, self.limits, states):
            raise Refusal(422, "; ".join(sentence for _, sentence in found), found)
        self.refuse_if_busy()
        race = Race(request, self.limits)
        self.races[race.id] = race
        self._forget()
        RaceRunner(race, self.roofs).start()
        return race

    def _forget(self) -> None:
        """Drop the oldest races beyond the limits on number and bytes, but never the newest."""
        while len(self.races) > 1 and (
            len(self.races) > self.limits.races
            or sum(it.log.n_bytes for it in self.races.values()) > self.limits.bytes
        ):
            self.races.popitem(last=False)

    def prepare(self) -> None:
        """Look the kernels up before anybody asks."""
        self._task(("survey",), ())

    async def survey(self) -> Survey:
        """Return the table of kernels, their sources and the machine; looked up once."""
        found: Survey = await self._once(("survey",), ())
        return found

    async def explain(self, name: str) -> Mapping[str, object]:
        """Return why a kernel is as fast as it is; measured once."""
        states = {it["name"]: it for it in (await self.survey())["kernels"]}
        if name not in states:
            raise Refusal(404, f"there is no kernel {name[:32]!r}; they are at /api/kernels")
        if states[name]["state"] != "ready":
            raise Refusal(503, states[name]["reason"])
        found: Mapping[str, object] = await self._measured(
            name, ("explain", name), (place_of(name),)
        )
        return found

    async def ladder(self) -> Ladder:
        """Return the ladder; climbed once."""
        found: Ladder = await self._measured("the ladder", ("ladder",), ())
        return found

    async def _measured(self, what: str, key: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
        if key not in self._answers:
            self.refuse_if_busy()
            self._asking = what
            self._task(key, arguments).add_done_callback(self._measured_it)
        return await self._once(key, arguments)

    def _measured_it(self, _: object) -> None:
        self._asking = None

    async def _once(self, key: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
        """Ask, or wait with those who asked before; an answer is kept, a failure is not."""
        task = self._answers.get(key) or self._task(key, arguments)
        try:
            return await asyncio.shield(task)  # a client that leaves must not cancel it for others
        except Exception:
            if self._answers.get(key) is task:
                del self._answers[key]
            raise

    def _task(self, key: tuple[str, ...], arguments: tuple[Any, ...]) -> "asyncio.Task[Any]":
        ask: Callable[..., Any] = self._survey if key == ("survey",) else partial(self._ask, key[0])
        asking = asyncio.to_thread(ask, *arguments)
        self._answers[key] = task = asyncio.create_task(asking)
        task.add_done_callback(_look_at)
        return task

    def _survey(self) -> Survey:
        """Ask about all of our own kernels together, and about each kernel of others separately.

        Nothing of theirs is imported in this process: it may hang, crash, or end it.
        """
        places = all_places()
        theirs = {name: place for name, place in places.items() if name not in KERNELS}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            others = [pool.submit(self._survey_one, *it) for it in theirs.items()]
            try:
                found: Survey = self._ask("survey", [it for it in places.values() if it in KERNELS])
            except Died:  # one of ours, then: which one?
                found = self._ask("survey", [])
                others = [
                    *(pool.submit(self._survey_one, name, name) for name in KERNELS),
                    *others,
                ]
            for it in others:
                rows, sources = it.result()
                found["kernels"] += rows
                found["sources"] |= sources
        return found

    def _survey_one(
        self, name: str, place: str
    ) -> tuple[list[KernelRow], dict[str, list[SourceFile]]]:
        """Return the row and the sources of one kernel."""
        try:
            found: Survey = self._ask("survey", [place], patience=_PATIENCE_TO_IMPORT)
        except (Died, Late) as trouble:
            return [broken(name, trouble.how)], {name: []}
        return found["kernels"], found["sources"]

    def _ask(self, question: str, *arguments: Any, patience: float = _PATIENCE) -> Any:
        """Let a worker answer; in a thread of its own."""
        with self._lock:
            if self._closing:
                raise Refusal(503, "the server is ending; start it again")
            try:
                worker = Worker(answer, question, arguments)
            except OSError as error:
                why = f"no process can be started for it ({error.strerror})"
                raise Refusal(503, f"{question} cannot be answered: {why}; ask again") from None
            self._workers.add(worker)
        try:
            what, said = _hear(worker, question, patience)
        finally:
            with self._lock:
                self._workers.discard(worker)
            worker.close()
        if what == "failed":
            raise Refusal(503, f"{question} cannot be answered: {said}")
        return said

    def begin_to_close(self) -> None:
        """Stop everything that computes, which lets all readers go."""
        self._closing = True
        for race in self.races.values():
            race.stop()
        with self._lock:
            for worker in self._workers:
                worker.kill()

    async def close(self) -> None:
        """Wait until nothing computes any more."""
        self.begin_to_close()
        for race in self.races.values():
            await asyncio.to_thread(race.wait_for_end)
        await asyncio.gather(*self._answers.values(), return_exceptions=True)


def _hear(worker: Worker, question: str, patience: float) -> tuple[str, Any]:
    """Return what a worker sends; ``Died`` or ``Late`` where that is nothing."""
    if not worker.connection.poll(patience):
        raise Late(question, f"takes longer than {patience:g} s")
    try:
        what, said = worker.hear()
    except (Silenced, TypeError, ValueError) as end:  # what is heard may be no pair
        raise Died(question, str(end) if isinstance(end, Silenced) else "sent no answer") from None
    return what, said


def _look_at(task: "asyncio.Task[Any]") -> None:
    """Retrieve a task's exception, so that asyncio does not report it as unhandled."""
    if not task.cancelled():
        task.exception()


def check(request: RaceRequest, limits: Limits, states: dict[str, KernelRow]) -> list[Complaint]:
    """Return everything that speaks against a race, field by field."""
    named = getattr(request.workload, "preset", None)
    if named is not None and request.preset is None:
        return [
            ("workload.preset", f"preset={named!r} is not known; the presets are at /api/presets")
        ]
    n, d, k = request.sizes
    found = list(limits.of_the_data(n, d, k))
    lanes, most = len(request.lanes), limits.lanes
    if lanes > most:
        found.append(("lanes", f"there are {lanes} lanes and may be at most {most}; remove some"))
    if request.baseline >= lanes:
        sentence = f"baseline={request.baseline} must be one of the lanes, 0 … {lanes - 1}"
        found.append(("baseline", sentence))
    if request.iterations > limits.iterations:
        sentence = f"max_iter={request.iterations} must be at most {limits.iterations}; use fewer"
        found.append(("max_iter", sentence))
    for i, lane in enumerate(request.lanes):
        row = states.get(lane.kernel)
        if row is None:
            sentence = f"kernel={lane.kernel!r} is not known; choose one of {', '.join(states)}"
            found.append((f"lanes.{i}.kernel", sentence))
        elif row["state"] != "ready":
            found.append((f"lanes.{i}.kernel", f"{lane.kernel} cannot run: {row['reason']}"))
        else:
            work = n * d * k, request.iterations
            told = limits.of_a_lane(lane.kernel, row["threading"], lane.threads, *work)
            found += [(f"lanes.{i}.{name}", sentence) for name, sentence in told]
    if not found:
        found += limits.of_the_memory(n * d, lanes if request.mode == "race" else 1)
    return found
