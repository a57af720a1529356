"""One race as one HTML page, in the look of the lab's other pages: no script, nothing fetched.

Ratios are bars on a logarithmic axis, as in ``kmeans_lab.pages.bench``, whose style this shares.
"""

from html import escape
from math import ceil, floor, log10
from time import gmtime, strftime
from types import SimpleNamespace
from typing import Any

from kmeans_lab.measure import machine
from kmeans_lab.pages.document import document, measured_on
from kmeans_lab.result import PHASES
from kmeans_lab.web.comparison import in_words, names_of

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
    "measure": "Lanes took turns in rounds; times are medians of fits that nobody watched. Ratios "
    "are medians over rounds with intervals of 99.5 %; from a single fit, only a factor of two or "
    "more is told.",
    "race": "Lanes ran at once and were watched; the seconds of watching are left out.",
}


def report_page(record: Record) -> str:
    """Return the page of a race's record, as ``GET /api/races/ID`` gives it."""
    names = names_of([SimpleNamespace(**it) for it in record["lanes"]])
    began = strftime("%Y-%m-%d %H:%M UTC", gmtime(record["started"]))
    verdict = record["verdict"]["sentence"] if record["verdict"] else "no lane came to an end"
    blocks = [
        f"<h2>{escape(record['title'])}</h2>",
        f'<p class="lead">{escape(verdict)}.</p>',
        _alarm(record),
        _ratios(record, names),
        _phases(record, names),
        _table(record, names),
        f'<ul class="notes">{_notes(record)}</ul>',
    ]
    return document(
        record["title"],
        f"A race of k-means kernels, {began}",
        [
            f"<section>{''.join(blocks)}</section>",
            measured_on(machine.lines(record["machine"])),
        ],
    )


def _alarm(record: Record) -> str:
    said = []
    if record["verdict"] and record["verdict"]["agree"] is False:
        said.append("The labels do not agree, and from the same start they must.")
    if record["verdict"] and record["verdict"]["loaded"]:
        said.append(f"{record['verdict']['loaded'].capitalize()}.")
    if record["state"] != "done":
        said.append(f"The race is not whole: {record['state']}.")
    return "".join(f'<p class="alarm">{escape(it)}</p>' for it in said)


def _ratios(record: Record, names: list[str]) -> str:
    """Lay ratios out on a logarithmic axis, the baseline at 1."""
    verdict = record["verdict"]
    known = [it for it in (verdict["times"] if verdict else []) if it is not None]
    if not known:
        return ""
    low = floor(log10(min(1.0, *known)) * 2) / 2
    high = ceil(log10(max(1.0, *known)) * 2 + 0.01) / 2

    def at(times: float) -> float:
        return 100 * (log10(times) - low) / (high - low)

    rows = []
    for i, (name, times) in enumerate(zip(names, verdict["times"], strict=True)):
        mark, words = "", record["lanes"][i]["state"]
        if times is not None:
            left, right = sorted((at(1.0), at(times)))
            bar = f'<em style="left:{left:.2f}%;width:{right - left:.2f}%"></em>'
            base = ' class="base"' if i == verdict["baseline"] else ""
            mark = f'{bar}<u{base} style="left:{at(times):.2f}%"></u>'
            words = _words(verdict, i)
        rows.append(
            f'<div class="row"><span>{escape(name)}</span><div class="track">{mark}</div>'
            f'<span class="words">{escape(words)}</span></div>'
        )
    ticks = "".join(
        f'<i style="left:{at(10.0**e):.2f}%"><b>{_tick(e)}</b></i>'
        for e in range(ceil(low), floor(high) + 1)
    )
    return (
        f"<h3>Speed beside {escape(names[verdict['baseline']])}</h3>"
        '<p class="how">Farther right is faster; each step is ten times.</p>'
        f'<div class="chart ratios">{"".join(rows)}<div class="row axis"><span></span>'
        f'<div class="track">{ticks}</div><span></span></div></div>'
    )


def _words(verdict: Record, i: int) -> str:
    """Say what a lane's ratio tells: a factor with its interval, if it tells anything."""
    if i == verdict["baseline"]:
        return "the baseline"
    if not verdict["differs"][i]:
        return "no difference found"
    bounds = verdict["intervals"][i]
    words = in_words(verdict["times"][i]).removesuffix(" than")
    if bounds["rounds"] == 1:
        return words
    low, high = sorted(max(it, 1 / it) for it in (bounds["low"], bounds["high"]))
    return f"{words} ({low:.3g} to {high:.3g})"


def _tick(exponent: int) -> str:
    return f"{10**exponent:,} ×" if exponent >= 0 else f"1/{10**-exponent:,}"


def _phases(record: Record, names: list[str]) -> str:
    rows = []
    for it, name in zip(record["lanes"], names, strict=True):
        if it["result"] is None:
            continue
        spent = it["result"]["phases"]
        total = sum(spent.values())
        bars = "".join(
            f'<b class="{phase}" style="width:{100 * spent[phase] / total:.2f}%" '
            f'title="{phase} {1e3 * spent[phase]:.3g} ms"></b>'
            for phase in PHASES
        )
        rows.append(
            f'<div class="row"><span>{escape(name)}</span><div class="stack">{bars}</div>'
            f'<span class="words">{1e3 * it["result"]["seconds"]:.4g} ms</span></div>'
        )
    if not rows:
        return ""
    keys = "".join(f'<li class="{phase}">{phase}</li>' for phase in PHASES)
    return (
        "<h3>Where the time goes</h3>"
        f'<ul class="keys">{keys}</ul><div class="chart">{"".join(rows)}</div>'
    )


def _table(record: Record, names: list[str]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = []
    for it, name in zip(record["lanes"], names, strict=True):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(it))
        valid = it["result"] is not None and it["result"]["certificate"]["valid"]
        look = "valid" if valid else "INVALID"
        rows.append(f'<tr class="{look}"><th>{escape(name)}</th>{cells}</tr>')
    return (
        '<h3>The numbers</h3><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(lane: Record) -> list[str]:
    it = lane["result"]
    if it is None:
        return ["–"] * (len(_COLUMNS) - 2) + [lane["sentence"] or lane["state"]]
    proof = it["certificate"]
    ties = f", {proof['ties']} tie{'s' * (proof['ties'] != 1)}" if proof["ties"] else ""
    return [
        f"{1e3 * it['seconds']:.4g}" if proof["valid"] else "–",
        str(len(it["repeats"])),
        str(it["n_iter"]),
        f"{it['inertia']:.10g}",
        "–" if it["share"] is None else f"{it['share']:.2%}",
        it["stop"],
        f"valid{ties}" if proof["valid"] else f"INVALID: {proof['sentence']}",
    ]


def _notes(record: Record) -> str:
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
            "were every pair of row and center computed; who spares pairs may be beyond 100 %.",
        ]
        if plan["sharing"]:
            said.append(f"At once means shared: {plan['sharing']}.")
    said.append(f"Made by kmeans_lab {record['version']}; race {record['id']}.")
    return "".join(f"<li>{escape(it)}</li>" for it in said)
