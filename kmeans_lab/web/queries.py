"""Questions that a worker process answers: the table of kernels, ``explain``, the ladder.

The server asks in a worker because an answer imports every kernel, and a kernel may crash.
"""

from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, TypedDict

from kmeans_lab.isolation.availability import reason_of, state_of
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.measure import machine
from kmeans_lab.measure.counts import lines_of_code, sources_of
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.machinecode import CannotTell
from kmeans_lab.measure.roofline import can_measure, peak
from kmeans_lab.measure.schema import Card
from kmeans_lab.presets import PRESETS
from kmeans_lab.registry import (
    KERNELS,
    added,
    find_spec,
    installed,
    known_as,
    load_kernel,
    place_of,
)

#: Rounds of the ladder: enough for a picture, and over soon.
LADDER_ROUNDS = 3


class KernelRow(TypedDict):
    """A kernel in the table of kernels."""

    name: str
    summary: str
    state: str
    reason: str
    threading: str
    broadcasts: bool
    lines: int | None
    build: str | None


class SourceFile(TypedDict):
    """A file of source code."""

    name: str
    text: str


class Survey(TypedDict):
    """The table of kernels, the sources of each, and the machine card."""

    kernels: list[KernelRow]
    sources: dict[str, list[SourceFile]]
    machine: Card


class Rung(TypedDict):
    """A rung of the ladder."""

    rung: str
    kernel: str
    seconds: float
    times: float
    idea: str


class Ladder(TypedDict):
    """The ladder from plain Python to the limit of the machine."""

    preset: str
    what: str
    rungs: list[Rung]
    limit: float | None
    machine: list[str]


def survey(places: list[str]) -> Survey:
    """Return the rows of the table of kernels, their sources, and the machine card."""
    rows: list[KernelRow] = []
    sources: dict[str, list[SourceFile]] = {}
    with quiet_pools():  # as they are in lanes
        for place in places:
            if place in installed():
                installed()[place].tried = True  # here and now: this process is made for that
            name = known_as(place)
            rows.append(_row(name))
            sources[name] = _sources(name) if rows[-1]["state"] != "broken" else []
        return {"kernels": rows, "sources": sources, "machine": machine.card()}


def _row(name: str) -> KernelRow:
    state = state_of(name)[0]
    build = getattr(load_kernel(name), "BUILD", None) if state == "ready" else None
    try:
        lines = lines_of_code(name) if state == "ready" else None
    except CannotTell:
        lines = None
    return _row_of(name, state, reason_of(name), lines, build)


def _row_of(
    name: str, state: str, reason: str, lines: int | None = None, build: str | None = None
) -> KernelRow:
    spec = find_spec(name)
    return {
        "name": name,
        "summary": spec.summary,
        "state": state,
        "reason": reason,
        "threading": spec.threading,
        "broadcasts": spec.broadcasts,
        "lines": lines,
        "build": build,
    }


def _sources(name: str) -> list[SourceFile]:
    if not find_spec(name).sources and state_of(name)[0] != "ready":
        return []
    return [
        {"name": shown, "text": path.read_text(encoding="utf-8", errors="replace")}
        for shown, path in sources_of(name).items()
    ]


def explain(place: str) -> dict[str, object]:
    """Return what ``kmeans-lab explain NAME --json`` prints."""
    from kmeans_lab.measure.explain import explain as measure

    with quiet_pools():
        found = measure(known_as(place), PRESETS["standard"].load(), "standard")
        return found.to_dict() | {"machine": machine.card()}


def ladder() -> Ladder:
    """Climb from plain Python to the limit in a few rounds."""
    from kmeans_lab.studies.ladder import FIRST, RUNGS, climb

    workload = PRESETS["standard"].load()
    quiet: Any = SimpleNamespace(track=lambda items, *_: items)  # no progress bar
    with quiet_pools():
        seconds = climb(quiet, workload, LADDER_ROUNDS)
        limit = None
        if can_measure():
            pairs = workload.X.size * len(workload.centers)
            limit = 2.0 * pairs / peak("float64", 1)
        card = machine.card()
    rungs: list[Rung] = [
        {
            "rung": rung,
            "kernel": RUNGS[rung][0],
            "seconds": seconds[rung],
            "times": seconds[FIRST] / seconds[rung],
            "idea": RUNGS[rung][1],
        }
        for rung in RUNGS
        if rung in seconds
    ]
    return {
        "preset": "standard",
        "what": "assignment and update of one iteration, one thread; medians of "
        f"{LADDER_ROUNDS} rounds, measured here",
        "rungs": rungs,
        "limit": limit,
        "machine": machine.lines(card),
    }


QUESTIONS: dict[str, Callable[..., object]] = {
    "survey": survey,
    "explain": explain,
    "ladder": ladder,
}


def answer(connection: Connection, question: str, arguments: tuple[Any, ...]) -> None:
    """Answer one question in this process."""
    try:
        connection.send(("answer", QUESTIONS[question](*arguments)))
    except CertificateError as error:
        connection.send(("failed", f"it gives wrong results ({error}); nothing is measured"))
    except Exception as error:  # a kernel may raise anything
        connection.send(("failed", f"{type(error).__name__}: {error}"))


def all_places() -> dict[str, str]:
    """Return the name of every kernel that is known here, and what a worker finds it by."""
    return {name: place_of(name) for name in (*KERNELS, *installed(), *added())}


def broken(name: str, reason: str) -> KernelRow:
    """Return the row of a kernel whose import ends the process, or takes too long."""
    why = f"the process that imports {name} {reason}"
    if (plugin := installed().get(name)) is not None:
        plugin.fault = why  # or the server would import it for its row
    return _row_of(name, "broken", why)
