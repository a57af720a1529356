"""One race as one HTML page, in the look of the lab's other pages: no script, nothing fetched."""

from collections.abc import Sequence
from html import escape
from time import gmtime, strftime
from typing import Any

from kmeans_lab.formatting import faster_between, milliseconds, plural
from kmeans_lab.measure import machine
from kmeans_lab.pages.blocks import (
    alarm,
    bar,
    lead,
    mark,
    notes,
    part,
    phases,
    section,
    speed_axis,
    speeds,
    table,
)
from kmeans_lab.pages.document import document, measured_on

Record = dict[str, Any]

_COLUMNS = (
    "lane",
    "ms",
    "fits",
    "iterations",
    "inertia",
    "of the roofline",
    "ended by",
    "certificate",
)
_MODES = {
    "measure": "Lanes took turns in rounds; times are medians of fits without watching. Ratios "
    "are medians over rounds with intervals of 99.5 %; from a single fit, only a factor of two or "
    "more is reported.",
    "race": "Lanes ran at once and were watched; the seconds of watching are left out.",
}


def report_page(record: Record) -> str:
    """Return the page of a race's record, as ``GET /api/races/ID`` gives it."""
    names = names_of([(it["kernel"], it["threads"]) for it in record["lanes"]])
    began = strftime("%Y-%m-%d %H:%M UTC", gmtime(record["started"]))
    verdict = record["verdict"]["sentence"] if record["verdict"] else "no lane finished"
    fits = [(it["result"], name) for it, name in zip(record["lanes"], names, strict=True)]
    race = section(
        record["title"],
        lead(f"{verdict}."),
        _alarms(record),
        _ratios(record, names),
        phases(
            (name, it["phases"], f"{milliseconds(it['seconds'])} ms")
            for it, name in fits
            if it is not None
        ),
        part("The numbers", table(_COLUMNS, map(_row, record["lanes"], names))),
        notes(_notes(record)),
    )
    return document(
        record["title"],
        f"A race of k-means kernels, {began}",
        [race, measured_on(machine.lines(record["machine"]))],
    )


def names_of(lanes: Sequence[tuple[str, int]]) -> list[str]:
    """Return a name for each lane, from kernels and threads, that tells it from the others."""
    kernels = [kernel for kernel, _ in lanes]
    named = [
        f"{kernel} on {plural(threads, 'thread')}" if kernels.count(kernel) > 1 else kernel
        for kernel, threads in lanes
    ]
    return [
        f"{kernel} in lane {i}" if named.count(name) > 1 else name
        for i, ((kernel, _), name) in enumerate(zip(lanes, named, strict=True), 1)
    ]


def _alarms(record: Record) -> str:
    said = []
    if record["verdict"] and record["verdict"]["agree"] is False:
        said.append("The labels do not agree, although the start is the same.")
    if record["verdict"] and record["verdict"]["loaded"]:
        said.append(f"{record['verdict']['loaded'].capitalize()}.")
    if record["state"] != "done":
        said.append(f"The race is incomplete: {record['state']}.")
    return "".join(map(alarm, said))


def _ratios(record: Record, names: list[str]) -> str:
    """Lay ratios out on a logarithmic axis, the baseline at 1."""
    verdict = record["verdict"]
    known = [it for it in (verdict["times"] if verdict else []) if it is not None]
    if not known:
        return ""
    axis, rows = speed_axis(known), []
    for i, (name, times) in enumerate(zip(names, verdict["times"], strict=True)):
        marks, words = "", record["lanes"][i]["state"]
        if times is not None:
            base = i == verdict["baseline"]
            marks = bar(axis, *sorted((1.0, times))) + mark(axis, times, base=base)
            words = "the baseline" if base else _words(verdict, i)
        rows.append((name, marks, escape(words)))
    return speeds(names[verdict["baseline"]], axis, rows)


def _words(verdict: Record, i: int) -> str:
    """Return a lane's ratio in words: a factor with its interval, if a difference was found."""
    if not verdict["differs"][i]:
        return "no difference found"
    it = verdict["intervals"][i]
    words, bounds = faster_between(verdict["times"][i], it["low"], it["high"])
    return words if it["rounds"] == 1 else f"{words} ({bounds})"


def _row(lane: Record, name: str) -> tuple[str, list[str]]:
    it = lane["result"]
    if it is None:
        nothing = ["–"] * (len(_COLUMNS) - 2)
        return "INVALID", [name, *nothing, lane["sentence"] or lane["state"]]
    proof = it["certificate"]
    ties = f", {plural(proof['ties'], 'tie')}" if proof["ties"] else ""
    return "valid" if proof["valid"] else "INVALID", [
        name,
        milliseconds(it["seconds"]) if proof["valid"] else "–",
        str(len(it["repeats"])),
        str(it["n_iter"]),
        f"{it['inertia']:.10g}",
        "–" if it["share"] is None else f"{it['share']:.2%}",
        it["stop"],
        f"valid{ties}" if proof["valid"] else f"INVALID: {proof['sentence']}",
    ]


def _notes(record: Record) -> list[str]:
    plan, request = record["plan"], record["request"]
    said = [_MODES[record["mode"]]]
    results = [it["result"] for it in record["lanes"] if it["result"] is not None]
    if record["mode"] == "measure" and any(it["watched"] for it in results):
        said.append("A fit of more than a second was watched, too, less the seconds of watching.")
    proofs = dict.fromkeys(it["certificate"]["sentence"] for it in results)
    said += [f"Valid: {it}." for it in proofs if it]
    if plan is not None:
        preset = "preset" in request["workload"] and request["start"] is None
        start = "the preset’s own" if preset else request["start"] or "k-means++"
        seed = "" if preset else f", seed {request['start_seed']}"
        said += [
            "Same rows and same starting centers for all; at most "
            f"{plan['max_iter']} iterations; start: {start}{seed}.",
            "Of the roofline: what assign would use of the machine’s multiply-adds or bandwidth, "
            "were every pair of row and center computed; kernels that skip pairs may exceed 100 %.",
        ]
        if plan["sharing"]:
            said.append(f"Lanes that run at once share cores: {plan['sharing']}.")
    said.append(f"Made by kmeans_lab {record['version']}; race {record['id']}.")
    return said
