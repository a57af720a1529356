"""What a run looks like on a terminal: ratios with their intervals, parts, what they rest on.

Everything is taken from the record of a run (see ``record``), so that a table printed today and one
made from a file say the same.
"""

from math import ceil
from statistics import median
from typing import Any, Literal

from kmeans_lab.cli.terminal import make_table
from kmeans_lab.measure.certify import in_words as certified
from kmeans_lab.measure.explain import Explanation, verdict
from kmeans_lab.measure.profile import Profile
from kmeans_lab.measure.record import growth_dict
from kmeans_lab.measure.scaling import Growth, Scaling
from kmeans_lab.measure.schema import ContestantRecord, GrowthRecord, RunRecord, StartCosts
from kmeans_lab.measure.statistics import Interval, corrected, is_resolved
from kmeans_lab.result import PHASES

#: What comes before the first fit, and after how many fits each of it pays.
STARTS = ("import ms", "compile ms", "pays", "cached ms", "pays", "build s", "pays")
_STYLES = {"INVALID": "red", "broken": "red", "unavailable": "yellow", "left out": "dim"}


def factor(value: float) -> str:
    """Return a factor with three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def part(seconds: float) -> str:
    """Return seconds in ms, no finer than a microsecond."""
    ms = seconds * 1e3
    digits = 3 if ms < 1 else 2 if ms < 10 else 1 if ms < 100 else 0
    return f"{ms:.{digits}f}"


def in_words(times: Interval, floor: float) -> tuple[str, str]:
    """Say how many times faster or slower than the baseline, and between which bounds."""
    if not is_resolved(times, floor):
        return "not resolved", _around_one(times)
    if times.middle > 1:
        return f"{factor(times.middle)} × slower", f"{factor(times.low)}–{factor(times.high)}"
    bounds = f"{factor(1 / times.high)}–{factor(1 / times.low)}"
    return f"{factor(1 / times.middle)} × faster", bounds


def _around_one(times: Interval) -> str:
    return f"{1 / times.high:.3f}–{1 / times.low:.3f}"


def tables(run: RunRecord) -> list[Any]:
    """Return a run as tables and lines."""
    return [_ratios(run), "", _parts(run), "", _starts(run), "", *lines_below(run)]


def interval_of(it: ContestantRecord) -> Interval | None:
    """Return a contestant's ratio to the baseline, where it has one."""
    return None if it["ratio"] is None else Interval(**it["ratio"])


def title(run: RunRecord) -> str:
    """Say what ran."""
    threads = f"{run['n_threads']} thread{'s' * (run['n_threads'] > 1)}"
    shape = f"{run['n_samples']} × {run['n_features']} {run['dtype']}, k = {run['n_clusters']}"
    counts = {it["n_iter"] for it in run["contestants"]} - {None}
    iterations = "".join(f", {n} iterations" for n in counts)
    return f"{run['preset']}: {shape}; {threads}, whole fits{iterations}"


def _ratios(run: RunRecord) -> Any:
    right = ("median ms", f"vs {run['baseline']}", "interval", "fits")
    table = make_table("kernel", *right, "certificate", right=right, title=title(run))
    _keep_whole(table.columns[:-1])
    for it in run["contestants"]:
        table.add_row(it["name"], *_cells(run, it), style=_STYLES.get(it["state"]))
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
    return f"{median(it['seconds']) * 1e3:.4g}", *words, str(len(it["seconds"])), certificate


def measured(run: RunRecord) -> list[ContestantRecord]:
    """Return the contestants that have a number."""
    return [it for it in run["contestants"] if it["seconds"]]


def milliseconds(it: ContestantRecord) -> float:
    """Return a contestant's median."""
    return float(median(it["seconds"])) * 1e3


def is_twin(run: RunRecord, it: ContestantRecord) -> bool:
    """Whether this is the baseline's second row."""
    return bool(it["kernel"] == run["baseline"] != it["name"])


def _parts(run: RunRecord) -> Any:
    right = (*PHASES, "at most")
    table = make_table("kernel", *right, right=right, title="parts, ms")
    _keep_whole(table.columns)
    for it in run["contestants"]:
        if not it["seconds"] or is_twin(run, it):
            continue
        whole = median(it["seconds"])
        spent = {phase: median(values) for phase, values in it["phases"].items()}
        rest = whole - spent["assign"]
        bound = f"{factor(whole / rest)} ×" if rest > 0 else "–"
        parts = (part(spent[phase]) for phase in PHASES)
        table.add_row(it["name"], *parts, bound)
    return table


def _starts(run: RunRecord) -> Any:
    table = make_table("kernel", *STARTS, right=STARTS, title="before the first fit")
    _keep_whole(table.columns)
    for it in run["contestants"]:
        if it["seconds"] and it["start"] is not None and not is_twin(run, it):
            table.add_row(it["name"], *starting(run, it))
    return table


def starting(run: RunRecord, it: ContestantRecord) -> tuple[str, ...]:
    """Return what a kernel costs before its first fit, and after how many fits that pays."""
    unknown: StartCosts = {"import": None, "compile": None, "load": None, "build": None}
    start = it["start"] or unknown
    build = start["build"]
    return (
        _part_or_dash(start["import"]),
        _part_or_dash(start["compile"]),
        _pays_after(run, it, "compile"),
        _part_or_dash(start["load"]),
        _pays_after(run, it, "load"),
        "–" if build is None else f"{build:.1f}",
        _pays_after(run, it, "build"),
    )


def _part_or_dash(seconds: float | None) -> str:
    return "–" if seconds is None else part(seconds)


def _pays_after(
    run: RunRecord, it: ContestantRecord, cost: Literal["compile", "load", "build"]
) -> str:
    """Return after how many fits a cost beyond the baseline's has been gained against it."""
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


def _keep_whole(columns: list[Any]) -> None:
    for column in columns:
        column.no_wrap = True


def lines_below(run: RunRecord) -> list[str]:
    """Return what has to be known to read the numbers."""
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


def explained(it: Explanation) -> list[Any]:
    """Return what was found out about a kernel as tables and lines, its verdict first."""
    threads = f"{it.n_threads} thread{'s' * (it.n_threads > 1)}"
    right = ("ms", "GFLOP/s", "of peak", "GB/s", "of reads")
    headline = f"{it.kernel} on {it.preset}, {threads}"
    table = make_table("step", *right, right=right, title=headline)
    for name, step in it.steps.items():
        rates = step.operations / step.seconds / 1e9, step.bytes / step.seconds / 1e9
        table.add_row(
            name,
            f"{step.seconds * 1e3:.4g}",
            factor(rates[0]),
            f"{step.of_peak:.1%}",
            factor(rates[1]),
            f"{step.of_read:.1%}",
        )
    facts = make_table("", "", show_header=False)
    for name, text in _facts(it).items():
        facts.add_row(name, text)
    flops = "3·n·k·d (direct)" if it.arithmetic == "direct" else "2·n·k·d (expanded)"
    note = f"Operations are nominal, {flops} for assign and n·d for update; bytes are those of X."
    return [verdict(it), "", table, "", facts, "", note]


def _not_chosen(it: Explanation) -> str:
    whose = "the compiler's" if it.code else "that of the packages it calls"
    return f"{whose}: the kernel does not choose"


def _facts(it: Explanation) -> dict[str, str]:
    peaks, roof = it.roof.operations, it.roof
    code = it.code and (
        f"main loop: registers of {it.code.widest or 64} bits, {'' if it.code.fma else 'no '}fused "
        f"multiply-add, {it.code.packed} of {it.code.packed + it.code.scalar} arithmetic "
        f"instructions packed ({it.code.source})"
    )
    found = {
        "machine code": code,
        "memory of a fit": None if it.memory is None else f"{it.memory / 2**20:.1f} MiB beyond X",
        "instructions": it.instructions and f"{it.instructions:.2f} per pair of row and center",
        "lines of code": it.lines and str(it.lines),
    }
    parts = {"machine code": "code", "memory of a fit": "memory", "lines of code": "lines"}
    facts = {
        "the machine": f"{peaks['float64'] / 1e9:.0f} GFLOP/s float64, "
        f"{peaks['float32'] / 1e9:.0f} float32; {roof.read / 1e9:.1f} GB/s read, "
        f"{roof.triad / 1e9:.1f} GB/s a = b + c",
        "pairs looked at": f"{it.met:.1%}",
        "instruction set": it.isa or _not_chosen(it),
    }
    for name, text in found.items():
        facts[name] = text or f"unavailable: {it.reasons[parts.get(name, name)]}"
    return facts


def profiled(it: Profile) -> list[Any]:
    """Return a profile as tables and lines."""
    headline = f"{it.kernel} on {it.preset}, {it.n_iter} iterations"
    phases = make_table("phase", "ms", "share", right=("ms", "share"))
    outside = it.seconds - sum(it.phases.values())
    rows = it.phases | {"the call itself": outside, "whole fit": it.seconds}
    for name, seconds in rows.items():
        phases.add_row(name, f"{seconds * 1e3:.3f}", f"{seconds / it.seconds:.1%}")
    if not it.functions:
        return [headline, "", phases, "", f"Functions: {it.reason}."]
    right = ("calls", "own", "whole")
    table = make_table("function", "where", *right, right=right, title="under cProfile")
    _keep_whole(table.columns)
    for function in it.functions:
        shares = f"{function.own:.1%}", f"{function.whole:.1%}"
        table.add_row(function.name[:34], function.where, f"{function.calls:,}", *shares)
    return [headline, "", phases, "", table]


def scaled(it: Scaling) -> list[Any]:
    """Return a scaling as a headline, a table and what follows from it."""
    right = ("workers", "ms", "start-up", "speedup", "interval", "each", "of the work", "machine")
    table = make_table(*right, right=right)
    _keep_whole(table.columns)
    for point in it.points:
        serial = point.workers == 1
        table.add_row(
            str(point.workers),
            f"{point.seconds * 1e3:.4g}",
            f"{point.start_up * 1e3:.3g}",
            "1" if serial else f"{point.speedup.middle:.2f}",
            "" if serial else f"{point.speedup.low:.2f}–{point.speedup.high:.2f}",
            f"{point.efficiency:.0%}",
            "1" if serial else f"{point.work.middle:.2f}",
            "–" if point.machine is None else f"{point.machine:.2f}",
        )
    lines = [
        "Speedup: median over rounds of t_serial / t_p within a round, whole fits; start-up, in "
        "ms, is what comes before the first iteration; each: per worker; of the work: the "
        "iterations alone; machine: what so many threads gained meanwhile for multiply-adds "
        "without memory. Every fit equals the serial one bit for bit."
    ]
    if it.serial_share is not None:
        bound = "" if it.serial_share == 0 else f", which bounds it at {1 / it.serial_share:.1f}"
        lines.append(
            f"As if {it.serial_share:.0%} of the serial fit were serial (Amdahl){bound}; what a "
            "start costs and cores that are not there count as serial, too."
        )
    return [f"{it.kernel} on {it.preset}, {it.mode}", "", table, "", *lines]


def grown(it: Growth) -> list[Any]:
    """Return a growth as a headline, a table and its exponent."""
    right = (it.axis, "ms per iteration", "times the one before")
    table = make_table(*right, right=right)
    before = None
    for size, seconds in zip(it.sizes, it.seconds, strict=True):
        times = "" if before is None else f"{seconds / before:.2f}"
        table.add_row(f"{size:,}", f"{seconds * 1e3:.4g}", times)
        before = seconds
    return [in_one_line(growth_dict(it)), "", table]


def in_one_line(it: GrowthRecord) -> str:
    """Say how time grows along one axis, from its record."""
    e, axis, sizes = it["exponent"], it["axis"], it["sizes"]
    others = ", ".join(f"{other} = {size:,}" for other, size in it["others"].items())
    return (
        f"{it['kernel']}, {others}: time grows as {axis}^{e['middle']:.2f} "
        f"({e['low']:.2f}–{e['high']:.2f}, {e['confidence']:.0%}) from {axis} = {sizes[0]:,} to "
        f"{sizes[-1]:,}"
    )
