"""A run as one HTML page: no network, no script, opens from disk, light and dark, narrow and wide.

Charts are HTML and CSS: a bar is a box of so many percent, so that they scale with the page, can be
copied as text, and need no library. Colours are Okabe and Ito's, which colour-blind people can tell
apart ("Color universal design", 2008).
"""

from collections.abc import Iterator
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from statistics import median

from kmeans_lab.certify import in_words as certified
from kmeans_lab.measure import machine
from kmeans_lab.measure.report import (
    Record,
    factor,
    in_words,
    interval_of,
    is_twin,
    lines_below,
    part,
    starting,
    title,
)
from kmeans_lab.registry import KERNELS
from kmeans_lab.result import PHASES

_COLUMNS = (
    *("kernel", "median ms", *PHASES, "at most"),
    *("import", "compile", "cached", "fits", "near-ties", "certificate"),
)
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_REPOSITORY = Path(__file__).parent.parent.parent


def page(data: Record) -> str:
    """Return the page of a record of runs (see ``record``)."""
    runs = "\n".join(_run(run) for run in data["runs"])
    first = data["runs"][0]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kmeans_lab: {escape(first["preset"])}</title>
<style>
{_STYLE}</style>
</head>
<body>
<header><h1>kmeans_lab</h1><p>k-means kernels, measured in pairs and certified</p></header>
<main>
{runs}
{_machine(data["machine"])}
{_sources(data)}
</main>
</body>
</html>
"""


def _run(run: Record) -> str:
    blocks = [f"<h2>{escape(title(run))}</h2>", f'<p class="lead">{escape(headline(run))}</p>']
    if run["void"]:
        blocks.append(f'<p class="alarm">VOID: {escape(run["void"])}.</p>')
    if run["partial"]:
        blocks.append('<p class="alarm">Partial: the run was interrupted.</p>')
    blocks += [_ratios(run), _phases(run), _table(run)]
    notes = "".join(f"<li>{escape(line)}</li>" for line in lines_below(run))
    blocks.append(f'<ul class="notes">{notes}</ul>')
    return "<section>" + "\n".join(blocks) + "</section>"


def headline(run: Record) -> str:
    """Say in a sentence what came out."""
    if run["void"]:
        return "No number of this run counts."
    best: Record | None = None
    for it in _measured(run):
        if not is_twin(run, it) and (best is None or _ms(it) < _ms(best)):
            best = it
    if best is None:
        return "No kernel has a certified number."
    times = interval_of(best)
    if best["name"] == run["baseline"]:
        return f"{best['name']}, the baseline, is the fastest: {_ms(best):.4g} ms."
    if times is None or run["floor"] is None:
        return f"{run['baseline']}, the baseline, has no certified number: there are no ratios."
    words, bounds = in_words(times, run["floor"])
    return (
        f"{best['name']} is the fastest: {_ms(best):.4g} ms, {words} than {run['baseline']} "
        f"({bounds})."
    )


def _measured(run: Record) -> list[Record]:
    return [it for it in run["contestants"] if it["seconds"]]


def _ms(it: Record) -> float:
    return float(median(it["seconds"])) * 1e3


def _ratios(run: Record) -> str:
    """Lay ratios out on a logarithmic axis, with the baseline at 1 and its A/A band."""
    if run["void"] or run["floor"] is None:
        return ""
    intervals = {it["name"]: interval_of(it) for it in _measured(run)}
    known = [it for it in intervals.values() if it is not None]
    if not known:
        return ""
    low = floor(log10(min([1.0, *(1 / it.high for it in known)])) * 2) / 2
    high = ceil(log10(max([1.0, *(1 / it.low for it in known)])) * 2) / 2

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


def _phases(run: Record) -> str:
    """Stack each kernel's phases to its whole fit."""
    keys = "".join(f'<li class="{phase}">{phase}</li>' for phase in PHASES)
    rows = []
    for it in _measured(run):
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
            f'<span class="words">{_ms(it):.4g} ms</span></div>'
        )
    return (
        "<h3>Where the time goes</h3>"
        f'<ul class="keys">{keys}</ul><div class="chart">{"".join(rows)}</div>'
    )


def _table(run: Record) -> str:
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


def _cells(run: Record, it: Record) -> Iterator[str]:
    if not it["seconds"]:
        yield from ["–"] * (len(PHASES) + 7)
        yield f"{it['state']}: {it['why']}" if it["why"] else "not measured"
        return
    whole = median(it["seconds"])
    rest = whole - median(it["phases"]["assign"])
    yield f"{whole * 1e3:.4g}"
    for phase in PHASES:
        yield part(median(it["phases"][phase]))
    yield f"{factor(whole / rest)} ×" if rest > 0 else "–"
    yield from starting(run, it)[:3]
    yield str(len(it["seconds"]))
    yield str(it["rescored"])
    yield certified(it["ties"])


def _machine(card: Record) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in machine.lines(card))
    return f'<section><h2>Measured on</h2><ul class="notes">{lines}</ul></section>'


def _sources(data: Record) -> str:
    """Return each kernel's source, folded, where there is a checkout to take it from."""
    names = dict.fromkeys(it["kernel"] for run in data["runs"] for it in run["contestants"])
    folded = []
    for name in names:
        for path in _files_of(name):
            text = escape(path.read_text(encoding="utf-8"))
            where = escape(str(path.relative_to(_REPOSITORY)))
            folded.append(
                f"<details><summary>{escape(name)} <small>{where}</small></summary>"
                f"<pre>{text}</pre></details>"
            )
    if not folded:
        return ""
    return f"<section><h2>The kernels</h2>{''.join(folded)}</section>"


def _files_of(name: str) -> list[Path]:
    spec = KERNELS.get(name)
    if spec is None:
        return []
    module = f"{spec.module.replace('.', '/')}.py"
    patterns = spec.sources or (module,)
    return sorted(path for pattern in patterns for path in _REPOSITORY.glob(pattern))
