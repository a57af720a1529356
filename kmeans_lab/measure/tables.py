"""The tables of a run: ratios with intervals, phases of a fit, start-up costs, the machine.

Everything is taken from the record of a run (see ``record``), so that a table printed today and one
made from a file say the same.
"""

from math import ceil
from statistics import median
from typing import Any, Literal

from kmeans_lab.formatting import (
    digits,
    faster_between,
    make_table,
    milliseconds,
    milliseconds_of_part,
    plural,
)
from kmeans_lab.measure.certify import in_words as certified
from kmeans_lab.measure.schema import ContestantRecord, RunRecord, StartCosts
from kmeans_lab.measure.statistics import Interval, corrected, is_resolved, ratio
from kmeans_lab.result import PHASES

#: The costs before the first fit, and after how many fits each of them has paid.
STARTS = ("import ms", "compile ms", "pays", "cached ms", "pays", "build s", "pays")
_ABSENT = ("unavailable", "left out")
_STYLES = {"INVALID": "red", "broken": "red", "unavailable": "yellow", "left out": "dim"}


def in_words(times: Interval, floor: float) -> tuple[str, str]:
    """Say how many times faster or slower than the baseline, and between which bounds."""
    if not is_resolved(times, floor):
        return "not resolved", _around_one(times)
    return faster_between(1 / times.middle, 1 / times.high, 1 / times.low)


def _around_one(times: Interval) -> str:
    return f"{1 / times.high:.3f}–{1 / times.low:.3f}"


def of_run(run: RunRecord) -> list[Any]:
    """Return a run as tables and lines."""
    pairs = [_pairs(run), ""] if pairs_of(run) else []
    return [_ratios(run), "", *pairs, _parts(run), "", _starts(run), "", *lines_below(run)]


def interval_of(it: ContestantRecord) -> Interval | None:
    """Return a contestant's ratio to the baseline, where it has one."""
    return None if it["ratio"] is None else Interval(**it["ratio"])


def title(run: RunRecord) -> str:
    """Say what ran."""
    shape = f"{run['n_samples']} × {run['n_features']} {run['dtype']}, k = {run['n_clusters']}"
    counts = {it["n_iter"] for it in run["contestants"]} - {None}
    iterations = "".join(f", {n} iterations" for n in counts)
    threads = plural(run["n_threads"], "thread")
    return f"{run['preset']}: {shape}; {threads}, whole fits{iterations}"


def _ratios(run: RunRecord) -> Any:
    several = in_several(run)  # names are long, and reasons are told below
    right = ("median ms", f"vs {run['baseline']}", "interval", "lock" if several else "fits")
    headers = ("kernel", *right, "verdict" if several else "certificate")
    table = make_table(*headers, right=right, whole=headers[:-1], title=title(run))
    for it in run["contestants"]:
        *cells, last, verdict = _cells(run, it)
        if several:
            last = lock_of(it)
            verdict = "–" if it["state"] in _ABSENT else verdict.partition(":")[0]
        table.add_row(it["name"], *cells, last, verdict, style=_STYLES.get(it["state"]))
    return table


def in_several(run: RunRecord) -> bool:
    """Whether kernels ran in more than one interpreter."""
    return any(it.get("interpreter") for it in run["contestants"])


def lock_of(it: ContestantRecord) -> str:
    """Say whether the interpreter's lock was on while a kernel was measured."""
    lock = it.get("lock")
    return "–" if lock is None else "yes" if lock else "no"


#: The columns of ``pairs_of``.
PAIRS = ("kernel", "ms here", "ms there", "there", "interval")


def pairs_of(run: RunRecord) -> list[tuple[str, ...]]:
    """Return a row for each kernel that has a number here and in another interpreter."""
    own = (it for it in measured(run) if not it.get("interpreter") and not is_twin(run, it))
    here = {it["kernel"]: it for it in own}
    there = [it for it in measured(run) if it.get("interpreter") and it["kernel"] in here]
    rows = []
    for it in there:
        base = here[it["kernel"]]
        at = dict(zip(base["rounds"], base["seconds"], strict=True))
        both = [(s, at[r]) for s, r in zip(it["seconds"], it["rounds"], strict=True) if r in at]
        words = "–", ""
        if both and run["floor"] is not None:
            spent, beside = [one for one, _ in both], [other for _, other in both]
            times = ratio(spent, beside, corrected(run["confidence"], len(there)))
            words = in_words(times, run["floor"])
        if run["void"]:
            words = "void", ""
        ms = (milliseconds(median_seconds(one)) for one in (base, it))
        rows.append((it["name"], *ms, *words))
    return rows


def _pairs(run: RunRecord) -> Any:
    headline = "the same kernel, here and there"
    table = make_table(*PAIRS, right=PAIRS[1:], whole=PAIRS, title=headline)
    for row in pairs_of(run):
        table.add_row(*row)
    return table


def _cells(run: RunRecord, it: ContestantRecord) -> tuple[str, ...]:
    if not it["seconds"]:
        why = f"{it['state']}: {it['why']}" if it["why"] else "not measured"
        return "–", "–", "–", "–", why
    times, floor = interval_of(it), run["floor"]
    if it["name"] == run["baseline"]:
        words = "1", ""
    elif times is None or floor is None:  # the baseline has no number, so that there is no ratio
        words = "–", ""
    else:
        words = in_words(times, floor)
    if times is not None and is_twin(run, it):
        words = "A/A", _around_one(times)
    if run["void"]:
        words = "void", ""
    certificate = certified(it["ties"] or 0)
    fits = str(len(it["seconds"]))
    return milliseconds(median_seconds(it)), *words, fits, certificate


def measured(run: RunRecord) -> list[ContestantRecord]:
    """Return the contestants that have a number."""
    return [it for it in run["contestants"] if it["seconds"]]


def median_seconds(it: ContestantRecord) -> float:
    """Return what a contestant's fit took."""
    return float(median(it["seconds"]))


def median_phases(it: ContestantRecord) -> dict[str, float]:
    """Return the seconds of each of its phases."""
    return {phase: median(it["phases"][phase]) for phase in PHASES}


def bound_by_assign(it: ContestantRecord) -> str:
    """Return how many times as fast its fit would be if assign took no time."""
    whole = median_seconds(it)
    rest = whole - median(it["phases"]["assign"])
    return f"{digits(whole / rest)} ×" if rest > 0 else "–"


def is_twin(run: RunRecord, it: ContestantRecord) -> bool:
    """Whether this is the baseline's second row."""
    own = not it.get("interpreter")
    return bool(own and it["kernel"] == run["baseline"] != it["name"])


def _parts(run: RunRecord) -> Any:
    right = (*PHASES, "at most")
    headers = ("kernel", *right)
    table = make_table(*headers, right=right, whole=headers, title="parts, ms")
    for it in run["contestants"]:
        if it["seconds"] and not is_twin(run, it):
            parts = map(milliseconds_of_part, median_phases(it).values())
            table.add_row(it["name"], *parts, bound_by_assign(it))
    return table


def _starts(run: RunRecord) -> Any:
    headers = ("kernel", *STARTS)
    table = make_table(*headers, right=STARTS, whole=headers, title="before the first fit")
    for it in run["contestants"]:
        # The names of others are too long for so many columns; the page has them.
        others = it.get("interpreter") or is_twin(run, it)
        if it["seconds"] and it["start"] is not None and not others:
            table.add_row(it["name"], *starting(run, it))
    return table


def starting(run: RunRecord, it: ContestantRecord) -> tuple[str, ...]:
    """Return what a kernel costs before its first fit, and after how many fits that pays."""
    unknown: StartCosts = {"import": None, "compile": None, "load": None, "build": None}
    start = it["start"] or unknown
    build = start["build"]
    return (
        _part(start["import"]),
        _part(start["compile"]),
        _pays_after(run, it, "compile"),
        _part(start["load"]),
        _pays_after(run, it, "load"),
        "–" if build is None else digits(build, places=1),
        _pays_after(run, it, "build"),
    )


def _part(seconds: float | None) -> str:
    return "–" if seconds is None else milliseconds_of_part(seconds)


def _pays_after(
    run: RunRecord, it: ContestantRecord, cost: Literal["compile", "load", "build"]
) -> str:
    """Return after how many fits a higher start-up cost than the baseline's has paid."""
    own = it["start"] and it["start"][cost]
    if own is None or it["name"] == run["baseline"] or run["void"]:
        return "–"
    (base,) = [b for b in run["contestants"] if b["name"] == run["baseline"]]
    if not base["seconds"]:
        return "–"
    times = interval_of(it)
    if times is None or run["floor"] is None or not is_resolved(times, run["floor"]):
        return "?"
    extra = own - ((base["start"] and base["start"][cost]) or 0.0)
    gain = median(base["seconds"]) - median(it["seconds"])
    if gain <= 0:
        return "never"
    return f"{max(0, ceil(extra / gain)):,}"


def lines_below(run: RunRecord) -> list[str]:
    """Return the notes that explain the numbers."""
    found = measured(run)
    wanted = corrected(run["confidence"], len(found) - 1)
    lines = [
        "Same X, same starting centers, same iterations; every fit certified off the clock; one "
        "fit of each per round, in Latin squares. Ratios: median over rounds of the ratio within "
        f"a round; all intervals together hold with {run['confidence']:.0%} (sign test).",
        "At most: how many times as fast a fit would be if assign took no time. Compile: how much "
        "longer the first fit of a process takes than the second, where nothing is cached; build: "
        "what the compiler took when kmeans_lab was installed. Each pays after so many fits "
        f"beside {run['baseline']}; ?: the ratio is not resolved.",
    ]
    if in_several(run):
        lines.append(
            "A name with @ is a kernel in another interpreter. Lock: whether Python code runs in "
            "one thread at a time there, as found after the import and a whole fit."
        )
        lines += [
            f"{it['name']} is {it['state']}: {it['why']}."
            for it in run["contestants"]
            if it["why"] and not it["seconds"]
        ]
    short = [
        f"{it['name']} ({times.confidence:.1%})"
        for it in found
        if (times := interval_of(it)) is not None and times.confidence < wanted
    ]
    if short:
        lines.append(
            "Too few rounds for that: the interval is from the least to the most, and holds by "
            f"itself with what is given: {', '.join(short)}."
        )
    rare = [f"{it['name']} one in {it['every']}" for it in found if it["every"] > 1]
    if rare:
        lines.append(f"Slow ones do not join every round: {', '.join(rare)}.")
    busy = [(cores, it["name"]) for it in found if (cores := it.get("cores")) is not None]
    if busy:
        most, name = max(busy)
        lines.append(f"Cores busy in a fit, by the processor's clock: at most {most:.2f} ({name}).")
    if run["floor"] is not None:
        lines.append(
            f"The baseline beside itself was off by up to {run['floor'] - 1:.1%}: what differs by "
            "less is not resolved."
        )
    if run["calibration"]["drift"] is not None:
        lines.append(f"Calibration loop, end over beginning: {run['calibration']['drift']:.3f}.")
    if run["void"]:
        lines.append(f"VOID: {run['void']}.")
    if run["partial"]:
        lines.append("PARTIAL: interrupted; what was measured until then is shown.")
    return lines
