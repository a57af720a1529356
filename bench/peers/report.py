"""The tables of the comparison, the lines below them, and the JSON."""

import platform
from math import inf
from statistics import median

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.peers.libraries import PEERS
from bench.peers.rounds import Comparison, Row, ratios
from kmeans_lab.formatting import digits, duration, faster, faster_between, make_table
from kmeans_lab.measure import machine

SCHEMA = 1
#: From which share of held-up fits on a note says so, and from how many foreign cores on.
OFTEN, DISTURBED = 0.2, 0.1
_SHORT = {"float64": "f64", "float32": "f32", "": "–"}


def ours_is(found: list[float]) -> tuple[str, str]:
    """Say how much faster or slower ours is by the median of paired ratios, and the extremes."""
    return faster_between(median(found), min(found), max(found)) if found else ("–", "–")


def baseline_of(row: Row, rows: list[Row], baseline: str) -> Row | None:
    """Return our row of the same dtype."""
    same = (r for r in rows if r.peer == baseline and r.dtype == row.dtype and not r.reason)
    return next(same, None)


def comparison_table(title: str, rows: list[Row], baseline: str) -> Table:
    """Lay out one preset and thread count."""
    right = ("ms/iter", f"{baseline} is", "min–max", "iter", "cores")
    headers = ("peer", "type", *right, "result")
    table: Table = make_table(*headers, right=right, whole=headers, title=title, padding=0)
    for row in rows:
        ours = baseline_of(row, rows, baseline)
        numbers = ["–"] * 5
        if not row.reason:
            verdict = ("1", "–") if row is ours else ours_is(ratios(row, ours))
            numbers = [
                digits(1e3 * median(row.per_iteration().values())),
                *verdict,
                f"{row.few}–{row.many}",
                f"{row.cores():.1f}",
            ]
        result = "beside" if row.beside else row.reason.partition(":")[0]
        result = result or row.certificate.partition(" ")[0]
        wrong = row.reason.startswith(("no number", "failed")) and not row.beside
        style = "red" if wrong else ""
        table.add_row(Text(row.peer), _SHORT[row.dtype], *numbers, _result(result), style=style)
    return table


def _result(word: str) -> str:
    return {"unavailable": "absent", "approximate:": "approx."}.get(word, word)


def footnotes(rows: list[Row], rounds: int) -> list[str]:
    """Return what the columns had no room for: reasons, remarks, rounds that a peer sat out."""
    notes: dict[str, dict[str, None]] = {}

    def note(who: str, text: str) -> None:
        notes.setdefault(text, {})[who] = None

    for row in rows:
        name = f"{row.peer} {_SHORT[row.dtype]}" if row.dtype else row.peer
        if row.reason:
            note(name, "; ".join(filter(None, [row.reason, row.beside])))
            continue
        if row.certificate != "valid":
            note(name, row.certificate)
        if row.remark:
            note(row.peer, row.remark)
        if row.held_up() > OFTEN:
            best, middle, mean = map(duration, row.whole_fits())
            note(
                name,
                f"{row.held_up():.0%} of its fits took over twice the shortest "
                f"({row.many} iterations: best {best}, median {middle}, mean {mean})",
            )
        if len(row.turns) < rounds:
            note(name, f"ran in {len(row.turns)} of {rounds} rounds")
    return [f"{', '.join(names)}: {text}" for text, names in notes.items()]


def fastest(rows: list[Row], baseline: str) -> list[str]:
    """Name the fastest library of each kind that trained on all rows, and the ratio to it."""
    peers: dict[tuple[str, str], tuple[float, str]] = {}
    for row in rows:
        found = ratios(row, baseline_of(row, rows, baseline))
        if row.peer in PEERS and found:
            kind = _SHORT[row.dtype], "exact" if row.certificate == "valid" else "approximate"
            peers[kind] = min(peers.get(kind, (inf, "")), (median(found), row.peer))
    return [
        f"fastest {kind} {dtype} library that trained on all rows for as many iterations: {peer}; "
        f"{baseline} is {faster(ratio)}"
        for (dtype, kind), (ratio, peer) in peers.items()
    ]


def print_comparison(
    console: Console, title: str, comparison: Comparison, baseline: str, rounds: int
) -> None:
    """Print a table and its footnotes."""
    console.print(comparison_table(title, comparison.rows, baseline))
    for note in [*fastest(comparison.rows, baseline), *footnotes(comparison.rows, rounds)]:
        console.print(Text(f"  {note}"), style="dim")
    others = comparison.others
    if others is None:
        console.print("  other programs: unavailable: /proc cannot be read", style="dim")
    elif others > DISTURBED:
        warning = (
            f"  DISTURBED: other programs kept {others:.1f} cores busy meanwhile; run it again"
        )
        console.print(warning, style="red")
    else:
        console.print(f"  other programs kept {others:.2f} cores busy meanwhile", style="dim")
    console.print()


def legend(rounds: int, baseline: str) -> str:
    """Say what the columns mean."""
    return (
        "ms/iter: (fit of many iterations − fit of few) / difference; iter: few–many; "
        f"{baseline} is: median over {rounds} rounds of the ratio within a round, same dtype, same "
        "threads, then its extremes; cores: kept busy, waiting in a loop included. Same X, same "
        "starting centers, tol = 0; results judged in float64."
    )


def versions(rows: list[Row]) -> str:
    """Return the versions of all the libraries that were opened."""
    return ", ".join(dict.fromkeys(row.version for row in rows if row.version))


def as_json(results: list[tuple[str, Comparison]], baseline: str, rounds: int) -> dict[str, object]:
    """Return everything that was measured, as plain JSON types."""
    return {
        "schema": SCHEMA,
        "machine": {**machine.card(), "node": platform.machine()},
        "baseline": baseline,
        "rounds": rounds,
        "comparisons": [
            {
                "preset": preset,
                "threads": comparison.threads,
                "other_programs_cores": comparison.others,
                "order": comparison.order,
                "rows": [_row(row, comparison.rows, baseline) for row in comparison.rows],
            }
            for preset, comparison in results
        ],
    }


def _row(row: Row, rows: list[Row], baseline: str) -> dict[str, object]:
    kept = ("peer", "dtype", "reason", "beside", "certificate", "remark", "version", "few", "many")
    turns = {
        number: {"few": turn["few"], "many": turn["many"], "busy": turn["busy"]}
        for number, turn in row.turns.items()
    }
    return {name: getattr(row, name) for name in kept} | {
        "pools": row.pools,
        "turns": turns,
        "cores": row.cores(),
        "whole_fit_seconds": row.whole_fits() if row.turns else None,
        "held_up": row.held_up(),
        "seconds_per_iteration": row.per_iteration(),
        "ratios": ratios(row, baseline_of(row, rows, baseline)),
    }
