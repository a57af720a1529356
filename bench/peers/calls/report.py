"""The table of whole calls in the terminal, in Markdown and as JSON."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text

from bench.peers.calls.run import OTHER, Crew, Measured
from bench.peers.calls.table import (
    DRAWN_THAT_REACH,
    SHARE_OF_NEAREST,
    SHARE_OF_ONE_THREAD,
    Row,
    nearest,
)
from bench.peers.cells import Cell
from bench.peers.report import DISTURBED
from kmeans_lab.formatting import digits, make_table
from kmeans_lab.measure import machine

SCHEMA = 1
_NAMES = {"baseline": "baseline", "avx2": "AVX2", "avx512": "AVX-512", "": "ours"}
#: Columns of a terminal in which times fit beside the ratios of two instruction sets.
_WIDE = 110
LEGEND = (
    f"Each ratio is {OTHER}'s time over ours (weighted fits: ours over ours without weights, and "
    "at most the target), the median over paired rounds of whole calls with the same data, start, "
    "iterations and threads, tol = 0; beside it the interval that holds it with 95 % (all rounds "
    "where they are few). A target with two threads is "
    f"{SHARE_OF_ONE_THREAD} of what one thread reached in this run, or of its target; one of a "
    f"drawn cell is {SHARE_OF_NEAREST} of the listed fit's that is nearest in (log n, log d, "
    "log k). Our labels were judged against direct distances, theirs by iterations and inertia."
)


class Report:
    """All measured rows, and what each is held to."""

    def __init__(self, isas: Sequence[str], quick: bool = False) -> None:
        self.isas, self.quick = tuple(isas), quick
        self.rows: list[Measured] = []
        self.card = machine.card()

    def target(self, it: Measured, isa: str) -> float:
        """Return what a row is held to."""
        return it.row.held_to(lambda row: self._reached(row, isa))

    def _reached(self, row: Row, isa: str) -> float | None:
        for it in self.rows:
            if it.row == row and (found := it.ratio(isa)) is not None:
                return found.middle
        return None

    def reaches(self, it: Measured, isa: str) -> bool | None:
        """Tell whether a row reaches its target; None where it was not measured, or is tiny."""
        found = it.ratio(isa)
        if found is None or self.quick:
            return None
        return it.row.reaches(found.middle, self.target(it, isa))

    def cells(self, it: Measured, *, times: bool = True) -> list[str]:
        """Return the columns of a row, but for its shape."""
        labels = [it.base(self.isas[0]), *self.isas] if times else []
        found = [_milliseconds(it, label) for label in labels]
        for isa in self.isas:
            ratio = it.ratio(isa)
            if ratio is None:
                found += ["–", "–", "–", "no"]
                continue
            target, reached = self.target(it, isa), self.reaches(it, isa)
            verdict = "–" if reached is None else "yes" if reached else "no"
            bounds = f"{digits(ratio.low, 3, 2)}–{digits(ratio.high, 3, 2)}"
            found += [digits(ratio.middle, 3, 2), bounds, f"{target:.3g}", verdict]
        return found

    def headers(self, *, times: bool = True) -> list[str]:
        """Return the headings of these columns."""
        names = [_NAMES[isa] for isa in self.isas] if len(self.isas) > 1 else ["ours"]
        found = ["base ms", *(f"{name} ms" for name in names)] if times else []
        for isa in self.isas:
            found += [_NAMES[isa], "interval", "target", "ok"]
        return found

    def print(self, console: Console, crew: Crew) -> None:
        """Print a table per heading, what they come to, and the notes."""
        times = len(self.isas) == 1 or console.width >= _WIDE
        headers = ["call", *self.headers(times=times)]
        body = {id(it): [str(it.row.cell), *self.cells(it, times=times)] for it in self.rows}
        style: Any = {
            "widths": [max(map(len, it)) for it in zip(headers, *body.values(), strict=True)],
            "right": [header for header in headers if header not in ("call", "ok")],
            "whole": headers,
            "padding": 0,
        }
        console.print(make_table(*headers, **style))
        for title, group in self.groups():
            table = make_table(*headers, **style, title=title, show_header=False)
            for it in group:
                below = any(self.reaches(it, isa) is False for isa in self.isas) or it.reason
                table.add_row(*body[id(it)], style="red" if below else "")
            console.print(table)
        console.print()
        for line in self.notes(crew):
            console.print(Text(line))
        for line in [LEGEND, *machine.lines(self.card)]:
            console.print(Text(line), style="dim")

    def groups(self) -> Iterable[tuple[str, list[Measured]]]:
        """Yield the headings with their rows."""
        for title, group in groupby(self.rows, key=lambda it: it.row.title):
            yield title, list(group)

    def markdown(self, crew: Crew) -> str:
        """Return the same as one table of Markdown."""
        right = [header != "ok" for header in self.headers()]
        lines = [
            _line(["call", "n × d, k, iterations", *self.headers()]),
            _line(["---", "---", *("---:" if it else "---" for it in right)]),
        ]
        lines += [_line([it.row.title, str(it.row.cell), *self.cells(it)]) for it in self.rows]
        notes = [*self.notes(crew), LEGEND, *machine.lines(self.card)]
        return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])

    def notes(self, crew: Crew) -> list[str]:
        """Return what the rows come to, what went wrong, and what the numbers hang on."""
        found = [] if self.quick else [self._summary(isa) for isa in self.isas]
        if self.quick:
            found.append("quick: data of a few hundred rows show that it works, and nothing else")
        found += [line for isa in self.isas for line in self._of_drawn(isa)]
        for it in self.rows:
            if it.reason:
                found.append(f"{it.row.name}: {it.reason}")
            elif it.certificate != "valid":
                found.append(f"{it.row.name}: {it.certificate}")
        busy = [it.others for it in self.rows if it.others is not None and it.others > DISTURBED]
        if busy and not self.quick:
            found.append(
                f"DISTURBED: in {len(busy)} of {len(self.rows)} rows other programs kept "
                f"up to {digits(max(busy), 2)} cores busy; run them again"
            )
        floors = [floor for it in self.rows if (floor := it.floor()) is not None]
        if floors and not self.quick:
            found.append(
                f"ours beside itself (A/A): intervals reach {digits(median(floors))} at the median "
                f"of rows, {digits(max(floors))} at most"
            )
        blas = ", ".join(sorted(crew.blas)) or "none"
        found.append(
            f"{', '.join(crew.versions.values())}; {OTHER}'s BLAS: {blas}. KMEANS_LAB_ISA sets our "
            "instructions alone: its BLAS chooses its own in every column"
        )
        return list(dict.fromkeys(found))

    def _summary(self, isa: str) -> str:
        verdicts = [self.reaches(it, isa) for it in self.rows if it.row.kind != "drawn"]
        words = f"{_NAMES[isa]}: {verdicts.count(True)} of {len(verdicts)} listed rows reach their "
        without = verdicts.count(None)
        return f"{words}target" + (f"; {without} have no number" if without else "")

    def _of_drawn(self, isa: str) -> list[str]:
        drawn = [it for it in self.rows if it.row.kind == "drawn"]
        known = [(it, found.middle) for it in drawn if (found := it.ratio(isa)) is not None]
        if not known or self.quick:
            return []
        reached = sum(self.reaches(it, isa) is True for it in drawn)
        worst, ratio = min(known, key=lambda pair: pair[1] / self.target(pair[0], isa))
        assert isinstance(worst.row.cell, Cell)
        place, target = nearest(worst.row.cell)
        return [
            f"{_NAMES[isa]}: {reached} of {len(drawn)} drawn cells reach {SHARE_OF_NEAREST} of the "
            f"nearest target ({DRAWN_THAT_REACH} of 12 are wanted); the worst: {worst.row.cell}, "
            f"spread {worst.row.cell.spread}, {digits(ratio)} where {place} must reach "
            f"{digits(target)}"
        ]

    def as_json(self, crew: Crew, rounds: int) -> dict[str, object]:
        """Return everything that was measured, as plain JSON types."""
        return {
            "schema": SCHEMA,
            "machine": self.card,
            "versions": crew.versions,
            "other_blas": sorted(crew.blas),
            "rounds": rounds,
            "quick": self.quick,
            "rows": [self._row(it) for it in self.rows],
        }

    def _row(self, it: Measured) -> dict[str, object]:
        cell, verdicts = it.row.cell, {}
        for isa in self.isas:
            found = it.ratio(isa)
            verdicts[isa] = {
                "ratio": None if found is None else found.middle,
                "interval": None if found is None else [found.low, found.high],
                "confidence": None if found is None else found.confidence,
                "target": self.target(it, isa),
                "reached": self.reaches(it, isa),
            }
        return {
            "kind": it.row.kind,
            "title": it.row.title,
            "call": it.row.call,
            "cell": [cell.n_samples, cell.n_features, cell.n_clusters, cell.max_iter],
            "spread": getattr(cell, "spread", None),
            "threads": it.row.n_threads,
            "dtype": it.row.dtype,
            "at_most": it.row.at_most,
            "certificate": it.certificate,
            "reason": it.reason,
            "other_programs_cores": it.others,
            "order": it.order,
            "seconds": it.seconds,
            "by_instruction_set": verdicts,
        }


def _milliseconds(it: Measured, label: str) -> str:
    found = it.seconds.get(label)
    return digits(1e3 * median(found)) if found and not it.reason else "–"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
