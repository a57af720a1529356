"""A run as one HTML page: no network, no script, opens from disk, light and dark, narrow and wide.

Charts are HTML and CSS. Colours are Okabe and Ito's, which colour-blind people can tell
apart ("Color universal design", 2008).
"""

from collections.abc import Sequence
from html import escape

from kmeans_lab.choosing.record import OverheadRecord
from kmeans_lab.formatting import milliseconds, milliseconds_of_part
from kmeans_lab.measure import machine
from kmeans_lab.measure.certify import in_words as certified
from kmeans_lab.measure.counts import digest_of, sources_of
from kmeans_lab.measure.schema import BenchRecord, ContestantRecord, RunRecord, ScalingRecord
from kmeans_lab.measure.tables import (
    PAIRS,
    bound_by_assign,
    in_several,
    in_words,
    interval_of,
    is_twin,
    lines_below,
    lock_of,
    measured,
    median_phases,
    median_seconds,
    pairs_of,
    title,
)
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
from kmeans_lab.pages.overhead import overhead
from kmeans_lab.pages.sections import roofline, scaling, starts
from kmeans_lab.registry import KERNELS, KernelUnavailable
from kmeans_lab.result import PHASES

_COLUMNS = ("kernel", "median ms", *PHASES, "at most", "fits", "near-ties", "certificate")


def page(
    data: BenchRecord,
    scalings: Sequence[ScalingRecord] = (),
    costs: OverheadRecord | None = None,
) -> str:
    """Return the page of a record of runs, with records of scaling and of other costs beside it."""
    return document(
        data["runs"][0]["preset"],
        "k-means kernels, measured in pairs and certified",
        [
            *map(_run, data["runs"]),
            scaling(scalings),
            overhead(costs),
            measured_on(_machine(data)),
            _sources(data),
        ],
    )


def _machine(data: BenchRecord) -> list[str]:
    others = machine.interpreter_lines(data.get("interpreters", []))
    return [*machine.lines(data["machine"]), *others]


def _run(run: RunRecord) -> str:
    warnings = [f"VOID: {run['void']}."] if run["void"] else []
    warnings += ["Partial: the run was interrupted."] if run["partial"] else []
    return section(
        title(run),
        lead(headline(run)),
        *map(alarm, warnings),
        _ratios(run),
        phases(
            (it["name"], median_phases(it), f"{milliseconds(median_seconds(it))} ms")
            for it in measured(run)
            if not is_twin(run, it)
        ),
        _pairs(run),
        part(
            "The numbers",
            table(
                (*_COLUMNS, *["lock"] * in_several(run)),
                [(it["state"], _cells(run, it)) for it in run["contestants"]],
            ),
        ),
        roofline(run),
        starts(run),
        notes(lines_below(run)),
    )


def headline(run: RunRecord) -> str:
    """Return the result in one sentence."""
    if run["void"]:
        return "No number of this run counts."
    best: ContestantRecord | None = None
    for it in measured(run):
        if not is_twin(run, it) and (best is None or median_seconds(it) < median_seconds(best)):
            best = it
    if best is None:
        return "No kernel has a certified number."
    times, ms = interval_of(best), f"{milliseconds(median_seconds(best))} ms"
    (base,) = [it for it in run["contestants"] if it["name"] == run["baseline"]]
    if best["name"] == run["baseline"]:
        return f"{best['name']}, the baseline, is the fastest: {ms}."
    if times is None or run["floor"] is None:
        which = run["baseline"] + ("" if not base["seconds"] else "’s second row")
        return f"{which} has no certified number, so that nothing can be compared with it."
    words, bounds = in_words(times, run["floor"])
    if words == "not resolved":
        return (
            f"{best['name']} has the shortest median, {ms}, which is not "
            f"resolved from that of {run['baseline']} ({bounds})."
        )
    return f"{best['name']} is the fastest: {ms}, {words} than {run['baseline']} ({bounds})."


def _ratios(run: RunRecord) -> str:
    """Lay ratios out on a logarithmic axis, with the baseline at 1 and its A/A band."""
    intervals = {it["name"]: interval_of(it) for it in measured(run)}
    known = [it for it in intervals.values() if it is not None]
    if run["void"] or run["floor"] is None or not known:
        return ""
    ends = [end for it in known for end in (1 / it.high, 1 / it.low)]
    axis = speed_axis([1 / run["floor"], run["floor"], *ends])
    band = bar(axis, 1 / run["floor"], run["floor"], "s")
    rows = []
    for it in run["contestants"]:
        times = intervals.get(it["name"])
        if it["name"] == run["baseline"] and it["seconds"]:
            marks, words = mark(axis, 1, base=True), "the baseline"
        elif times is None:
            marks, words = "", escape(it["state"])
        else:
            said, bounds = in_words(times, run["floor"])
            words = f"{'the same again' if is_twin(run, it) else said} <small>{bounds}</small>"
            marks = bar(axis, 1 / times.high, 1 / times.low) + mark(axis, 1 / times.middle)
        rows.append((it["name"], band + marks, words))
    more = " A bar is the interval, the grey band is by how much the baseline differs from itself."
    return speeds(run["baseline"], axis, rows, more)


def _pairs(run: RunRecord) -> str:
    """Set each kernel in another interpreter beside the same kernel here."""
    rows = pairs_of(run)
    if not rows:
        return ""
    return part("In another interpreter", table(PAIRS, [("", row) for row in rows], numbers=True))


def _cells(run: RunRecord, it: ContestantRecord) -> list[str]:
    lock = [lock_of(it)] * in_several(run)
    if not it["seconds"]:
        why = f"{it['state']}: {it['why']}" if it["why"] else "not measured"
        return [it["name"], *["–"] * (len(_COLUMNS) - 2), why, *lock]
    return [
        it["name"],
        milliseconds(median_seconds(it)),
        *map(milliseconds_of_part, median_phases(it).values()),
        bound_by_assign(it),
        str(len(it["seconds"])),
        str(it["rescored"]),
        certified(it["ties"] or 0),
        *lock,
    ]


def _sources(data: BenchRecord) -> str:
    """Return each kernel's source, folded, where it is here and the one that was measured."""
    measured = {
        (it["kernel"], it["source"]): None
        for run in data["runs"]
        for it in run["contestants"]
        if it["source"] is not None
    }
    folded = []
    for name, digest in measured:
        kinds = [sparse for sparse in (False, True) if digest_here(name, sparse=sparse) == digest]
        if not kinds:
            remedy = (
                "make the page in the checkout that made the run"
                if name in KERNELS
                else "it is not a kernel of kmeans_lab"
            )
            folded.append(
                f"<p><b>{escape(name)}</b> <small>the source that was measured is not here: "
                f"{remedy}</small></p>"
            )
            continue
        for shown, path in sources_of(name, sparse=kinds[0]).items():
            folded.append(
                f"<details><summary>{escape(name)} <small>{escape(shown)}</small></summary>"
                f"<pre>{escape(path.read_text('utf-8', 'replace'))}</pre></details>"
            )
    return section("The kernels", *folded) if folded else ""


def digest_here(name: str, *, sparse: bool = False) -> str | None:
    """Return the digest of a kernel's sources here; None where it is not known or cannot load."""
    try:
        return digest_of(name, sparse=sparse)
    except (ValueError, KernelUnavailable):
        return None
