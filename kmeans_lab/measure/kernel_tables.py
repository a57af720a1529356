"""The tables of the commands that look at one kernel: explain, profile and scaling."""

from typing import Any

from kmeans_lab.formatting import (
    digits,
    make_table,
    memory_size,
    milliseconds,
    milliseconds_of_part,
    plural,
)
from kmeans_lab.measure.explain import Explanation, verdict
from kmeans_lab.measure.profile import Profile
from kmeans_lab.measure.record import growth_dict
from kmeans_lab.measure.scaling import Growth, Scaling
from kmeans_lab.measure.schema import GrowthRecord


def of_explanation(it: Explanation) -> list[Any]:
    """Return what was found out about a kernel as tables and lines, its verdict first."""
    right = ("ms", "GFLOP/s", "of peak", "GB/s", "of reads")
    headline = f"{it.kernel} on {it.preset}, {plural(it.n_threads, 'thread')}"
    table = make_table("step", *right, right=right, title=headline)
    for name, step in it.steps.items():
        rates = step.operations / step.seconds / 1e9, step.bytes / step.seconds / 1e9
        table.add_row(
            name,
            milliseconds(step.seconds),
            digits(rates[0]),
            f"{step.of_peak:.1%}",
            digits(rates[1]),
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
        "memory of a fit": None if it.memory is None else f"{memory_size(it.memory)} beyond X",
        "instructions": it.instructions and f"{digits(it.instructions)} per pair of row and center",
        "lines of code": it.lines and str(it.lines),
    }
    parts = {"machine code": "code", "memory of a fit": "memory", "lines of code": "lines"}
    facts = {
        "the machine": f"{digits(peaks['float64'] / 1e9)} GFLOP/s float64, "
        f"{digits(peaks['float32'] / 1e9)} float32; {digits(roof.read / 1e9)} GB/s read, "
        f"{digits(roof.triad / 1e9)} GB/s a = b + c",
        "pairs looked at": f"{it.met:.1%}",
        "instruction set": it.isa or _not_chosen(it),
    }
    for name, text in found.items():
        facts[name] = text or f"unavailable: {it.reasons[parts.get(name, name)]}"
    return facts


def of_profile(it: Profile) -> list[Any]:
    """Return a profile as tables and lines."""
    headline = f"{it.kernel} on {it.preset}, {it.n_iter} iterations"
    phases = make_table("phase", "ms", "share", right=("ms", "share"))
    outside = it.seconds - sum(it.phases.values())
    rows = it.phases | {"the call itself": outside, "whole fit": it.seconds}
    for name, seconds in rows.items():
        phases.add_row(name, milliseconds(seconds), f"{seconds / it.seconds:.1%}")
    if not it.functions:
        return [headline, "", phases, "", f"Functions: {it.reason}."]
    right = ("calls", "own", "whole")
    headers = ("function", "where", *right)
    table = make_table(*headers, right=right, whole=headers, title="under cProfile")
    for function in it.functions:
        shares = f"{function.own:.1%}", f"{function.whole:.1%}"
        table.add_row(function.name[:34], function.where, f"{function.calls:,}", *shares)
    return [headline, "", phases, "", table]


def of_scaling(it: Scaling) -> list[Any]:
    """Return a scaling as a headline, a table and what follows from it."""
    right = ("workers", "ms", "start-up", "speedup", "interval", "each", "of the work", "machine")
    table = make_table(*right, right=right, whole=right)
    for point in it.points:
        serial = point.workers == 1
        table.add_row(
            str(point.workers),
            milliseconds(point.seconds),
            milliseconds_of_part(point.start_up),
            "1" if serial else digits(point.speedup.middle),
            "" if serial else f"{digits(point.speedup.low)}–{digits(point.speedup.high)}",
            f"{point.efficiency:.0%}",
            "1" if serial else digits(point.work.middle),
            "–" if point.machine is None else digits(point.machine),
        )
    lines = [
        "Speedup: median over rounds of t_serial / t_p within a round, whole fits; start-up, in "
        "ms, is what comes before the first iteration; each: per worker; of the work: the "
        "iterations alone; machine: what as many threads gain in the same rounds for multiply-adds "
        "without memory. Every fit equals the serial one bit for bit."
    ]
    if it.serial_share is not None:
        bound = (
            "" if it.serial_share == 0 else f", which bounds it at {digits(1 / it.serial_share)}"
        )
        lines.append(
            f"As if {it.serial_share:.0%} of the serial fit were serial (Amdahl){bound}; what a "
            "start costs and cores that are not there count as serial, too."
        )
    return [f"{it.kernel} on {it.preset}, {it.mode}", "", table, "", *lines]


def of_growth(it: Growth) -> list[Any]:
    """Return a growth as a headline, a table and its exponent."""
    right = (it.axis, "ms per iteration", "times the one before")
    table = make_table(*right, right=right)
    before = None
    for size, seconds in zip(it.sizes, it.seconds, strict=True):
        times = "" if before is None else digits(seconds / before)
        table.add_row(f"{size:,}", milliseconds(seconds), times)
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
