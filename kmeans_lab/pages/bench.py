"""A run as one HTML page: no network, no script, opens from disk, light and dark, narrow and wide.

Charts are HTML and CSS: a bar is a box of so many percent, so that they scale with the page, can be
copied as text, and need no library. Colours are Okabe and Ito's, which colour-blind people can tell
apart ("Color universal design", 2008).
"""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from statistics import median

from kmeans_lab.measure import machine
from kmeans_lab.measure.certify import in_words as certified
from kmeans_lab.measure.counts import digest_of, sources_of
from kmeans_lab.measure.schema import BenchRecord, ContestantRecord, RunRecord, ScalingRecord
from kmeans_lab.measure.tables import (
    factor,
    in_words,
    interval_of,
    is_twin,
    lines_below,
    measured,
    milliseconds,
    part,
    title,
)
from kmeans_lab.pages.document import document, measured_on
from kmeans_lab.pages.sections import roofline, scaling, starts
from kmeans_lab.registry import KERNELS, KernelUnavailable
from kmeans_lab.result import PHASES

_COLUMNS = ("kernel", "median ms", *PHASES, "at most", "fits", "near-ties", "certificate")


def page(data: BenchRecord, scalings: Sequence[ScalingRecord] = ()) -> str:
    """Return the page of a record of runs, and of records of scaling beside it (see ``record``)."""
    return document(
        data["runs"][0]["preset"],
        "k-means kernels, measured in pairs and certified",
        [
            *map(_run, data["runs"]),
            scaling(scalings),
            measured_on(machine.lines(data["machine"])),
            _sources(data),
        ],
    )


def _run(run: RunRecord) -> str:
    blocks = [f"<h2>{escape(title(run))}</h2>", f'<p class="lead">{escape(headline(run))}</p>']
    if run["void"]:
        blocks.append(f'<p class="alarm">VOID: {escape(run["void"])}.</p>')
    if run["partial"]:
        blocks.append('<p class="alarm">Partial: the run was interrupted.</p>')
    blocks += [_ratios(run), _phases(run), _table(run), roofline(run), starts(run)]
    notes = "".join(f"<li>{escape(line)}</li>" for line in lines_below(run))
    blocks.append(f'<ul class="notes">{notes}</ul>')
    return "<section>" + "\n".join(blocks) + "</section>"


def headline(run: RunRecord) -> str:
    """Say in a sentence what came out."""
    if run["void"]:
        return "No number of this run counts."
    best: ContestantRecord | None = None
    for it in measured(run):
        if not is_twin(run, it) and (best is None or milliseconds(it) < milliseconds(best)):
            best = it
    if best is None:
        return "No kernel has a certified number."
    times = interval_of(best)
    (base,) = [it for it in run["contestants"] if it["name"] == run["baseline"]]
    if best["name"] == run["baseline"]:
        return f"{best['name']}, the baseline, is the fastest: {milliseconds(best):.4g} ms."
    if times is None or run["floor"] is None:
        which = run["baseline"] + (", the baseline," if not base["seconds"] else "’s second row")
        return f"{which} has no certified number: there are no ratios."
    words, bounds = in_words(times, run["floor"])
    if words == "not resolved":
        return (
            f"{best['name']} has the shortest median, {milliseconds(best):.4g} ms, which is not "
            f"resolved from that of {run['baseline']} ({bounds})."
        )
    return (
        f"{best['name']} is the fastest: {milliseconds(best):.4g} ms, {words} than "
        f"{run['baseline']} ({bounds})."
    )


def _ratios(run: RunRecord) -> str:
    """Lay ratios out on a logarithmic axis, with the baseline at 1 and its A/A band."""
    if run["void"] or run["floor"] is None:
        return ""
    intervals = {it["name"]: interval_of(it) for it in measured(run)}
    known = [it for it in intervals.values() if it is not None]
    if not known:
        return ""
    low = floor(log10(min([1 / run["floor"], *(1 / it.high for it in known)])) * 2) / 2
    high = ceil(log10(max([run["floor"], *(1 / it.low for it in known)])) * 2) / 2

    def at(speed: float) -> float:
        return 100 * (log10(speed) - low) / max(high - low, 1e-9)

    ticks = [10.0**e for e in range(ceil(low), floor(high) + 1)]
    axis = "".join(f'<i style="left:{at(t):.2f}%"><b>{_tick(t)}</b></i>' for t in ticks)
    band_left, band_right = at(1 / run["floor"]), at(run["floor"])
    band = f'<s style="left:{band_left:.2f}%;width:{band_right - band_left:.2f}%"></s>'
    rows = []
    for it in run["contestants"]:
        times = intervals.get(it["name"])
        if it["name"] == run["baseline"] and it["seconds"]:
            mark, words = f'<u class="base" style="left:{at(1):.2f}%"></u>', "the baseline"
        elif times is None:
            mark, words = "", escape(it["state"])
        else:
            left, right, middle = at(1 / times.high), at(1 / times.low), at(1 / times.middle)
            said, bounds = in_words(times, run["floor"])
            words = f"{said if not is_twin(run, it) else 'the same again'} <small>{bounds}</small>"
            mark = (
                f'<em style="left:{left:.2f}%;width:{max(right - left, 0.3):.2f}%"></em>'
                f'<u style="left:{middle:.2f}%"></u>'
            )
        rows.append(
            f'<div class="row"><span>{escape(it["name"])}</span>'
            f'<div class="track">{band}{mark}</div><span class="words">{words}</span></div>'
        )
    return (
        f"<h3>Speed beside {escape(run['baseline'])}</h3>"
        '<p class="how">Farther right is faster; each step is ten times. A bar is the interval, '
        "the grey band what the baseline differs from itself.</p>"
        f'<div class="chart ratios">{"".join(rows)}'
        f'<div class="row axis"><span></span><div class="track">{axis}</div><span></span></div>'
        "</div>"
    )


def _tick(value: float) -> str:
    return f"{value:g} ×" if value >= 1 else f"1/{1 / value:g}"


def _phases(run: RunRecord) -> str:
    """Stack each kernel's phases to its whole fit."""
    keys = "".join(f'<li class="{phase}">{phase}</li>' for phase in PHASES)
    rows = []
    for it in measured(run):
        if is_twin(run, it):
            continue
        spent = {phase: median(values) for phase, values in it["phases"].items()}
        total = sum(spent.values())
        bars = "".join(
            f'<b class="{phase}" style="width:{100 * spent[phase] / total:.2f}%" '
            f'title="{phase} {part(spent[phase])} ms"></b>'
            for phase in PHASES
        )
        rows.append(
            f'<div class="row"><span>{escape(it["name"])}</span><div class="stack">{bars}</div>'
            f'<span class="words">{milliseconds(it):.4g} ms</span></div>'
        )
    return (
        "<h3>Where the time goes</h3>"
        f'<ul class="keys">{keys}</ul><div class="chart">{"".join(rows)}</div>'
    )


def _table(run: RunRecord) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = []
    for it in run["contestants"]:
        body = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(run, it))
        rows.append(f'<tr class="{escape(it["state"])}"><th>{escape(it["name"])}</th>{body}</tr>')
    return (
        "<h3>The numbers</h3>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )


def _cells(run: RunRecord, it: ContestantRecord) -> Iterator[str]:
    if not it["seconds"]:
        yield from ["–"] * (len(PHASES) + 4)
        yield f"{it['state']}: {it['why']}" if it["why"] else "not measured"
        return
    whole = median(it["seconds"])
    rest = whole - median(it["phases"]["assign"])
    yield f"{whole * 1e3:.4g}"
    for phase in PHASES:
        yield part(median(it["phases"][phase]))
    yield f"{factor(whole / rest)} ×" if rest > 0 else "–"
    yield str(len(it["seconds"]))
    yield str(it["rescored"])
    yield certified(it["ties"] or 0)


def _sources(data: BenchRecord) -> str:
    """Return each kernel's source, folded, where it is here and the one that was measured."""
    measured = {
        it["kernel"]: it["source"]
        for run in data["runs"]
        for it in run["contestants"]
        if it["source"] is not None
    }
    folded = []
    for name, digest in measured.items():
        if digest_here(name) != digest:
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
        for shown, path in sources_of(name).items():
            folded.append(
                f"<details><summary>{escape(name)} <small>{escape(shown)}</small></summary>"
                f"<pre>{escape(path.read_text('utf-8', 'replace'))}</pre></details>"
            )
    return f"<section><h2>The kernels</h2>{''.join(folded)}</section>" if folded else ""


def digest_here(name: str) -> str | None:
    """Return the digest of a kernel's sources here; None where it is not known or cannot load."""
    try:
        return digest_of(name)
    except (ValueError, KernelUnavailable):
        return None
