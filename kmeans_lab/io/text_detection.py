"""Detect how a text file is written; where its first lines are ambiguous, ask for an option.

Files with a decimal point are read without options, whatever stands between their columns. Where
another reading explains the lines better, or casts doubt on the usual one, the options that choose
each are named, with the numbers that it gives.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import NoReturn

from kmeans_lab.io.errors import Refused, short
from kmeans_lab.io.text_readings import (
    ALIKE,
    THOUSANDS,
    Options,
    Reading,
    is_missing,
    is_names,
    quoted,
)

_SIGNS = {".": "points", ",": "commas"}
_DELIMITERS = (",", ";", "\t", "|", " ")
#: One to three digits, and then three that no number begins with: 1,050 cut in two.
_CUT = re.compile(r"(?<![\d.])[1-9]\d{0,2},(0\d\d)(?!\d)")


@dataclass(frozen=True)
class Sample:
    """The first lines of a file that are neither empty nor comments."""

    path: Path
    lines: Sequence[str]
    numbers: Sequence[int]  # of these lines in the file
    quotes: bool  # whether the file has any: within them, a delimiter is none

    def refuse(self, why: str) -> NoReturn:
        """Raise ``Refused`` about the first line that is no header."""
        i = int(len(self.lines) > 1 and is_names([self.lines[0]]))
        text = self.lines[i].strip()
        shown = repr(short(text, 40))
        raise Refused(f"{self.path}, line {self.numbers[i]}: {shown} {why}")


def find_reading(sample: Sample, options: Options) -> tuple[Reading, str]:
    """Return how a file is read, and what else may be meant where its rows turn out ragged.

    Raises
    ------
    Refused
        Another reading than the usual one explains the lines better, or as well.
    """
    usual = Reading(None, options.decimal or ".", options.thousands)
    sign = options.delimiter
    if sign and sign in (usual.decimal, usual.thousands) and not sample.quotes:
        raise Refused(
            f"{sample.path} has no quotes, without which {quoted(sign)} cannot "
            "both separate columns and be part of a number; leave one of the options out"
        )
    known = list(_readings(sample, options))
    ours = [it for it in known if it == replace(usual, delimiter=it.delimiter)]
    scores = {it: _score(it, sample.lines) for it in ours}
    best = max(ours, key=lambda it: scores[it], default=usual)
    score = scores.get(best, (-1.0, False, False))
    certain = score[:2] == (1, True) and (options.delimiter or not _may_be_doubted(best, sample))
    others = [] if certain else [it for it in known if it not in ours]
    others = [it for it in others if _is_plausible(it, sample.lines)]
    scores |= {it: _score(it, sample.lines) for it in others}
    most = max([score, *(scores[it] for it in others)])
    better = [it for it in others if scores[it] > score and scores[it][0] == most[0]]
    ways = _ways(better, sample.lines, options)
    if sign and score[0] < 1 and _is_absent(sign, sample.lines):
        ways.insert(0, f"another --delimiter than {quoted(sign)}, which no line has")
    if score[0] < 1 and best.delimiter is options.delimiter is None:
        signs = set(_DELIMITERS) - {usual.decimal, usual.thousands}
        counts = {it: sum(it in line.strip() for line in sample.lines) for it in signs}
        likely = max(_DELIMITERS, key=lambda it: counts.get(it, 0))
        if counts.get(likely) and {it.delimiter for it in better} <= {None}:  # ragged, or text
            return replace(usual, delimiter=likely), ", or ".join(ways)
    if ways:
        why = f"is not a row of numbers with decimal {_SIGNS[usual.decimal]}"
        if score[0] == 1:
            why = "does not have as many columns as the header has names"
            above = sample.numbers[0]
            ways.append(f"--skip-rows {above} if line {above} is a title")
        sample.refuse(f"{why}; give {', or '.join(ways)}")
    if options.delimiter is None and score[0] > 0:
        doubt = [
            it for it in others if scores[it][0] == score[0] and _is_doubtful(best, it, sample)
        ]
        ways = _ways([best, *doubt], sample.lines, options)
        if len(ways) > 1:
            sample.refuse(f"can be read in more than one way; give {', or '.join(ways)}")
        _refuse_cut_numbers(best, sample)
    return (best if score[0] >= 0 else replace(usual, delimiter=options.delimiter)), ""


def _is_absent(sign: str, lines: Sequence[str]) -> bool:
    """Return whether no line has this delimiter, and one has another."""
    there = {it for line in lines for it in line.strip()}
    return not there & set(ALIKE.get(sign, sign) + "\t" * (sign == " ")) and bool(
        there & set(_DELIMITERS)
    )


def _readings(sample: Sample, options: Options) -> Iterator[Reading]:
    there = "".join(sample.lines)
    columns = [it for it in _DELIMITERS if any(it in line.strip() for line in sample.lines)]
    if " " in columns and not {";", "\t", "|"}.isdisjoint(columns):
        columns.remove(" ")  # which then stands within a cell, or around it
    for delimiter, decimal, thousands in product(
        [options.delimiter] if options.delimiter else [*columns, None],
        [options.decimal] if options.decimal else ".,",
        [options.thousands] if options.thousands else [None, *THOUSANDS],
    ):
        seen = thousands is None or any(it in there for it in ALIKE.get(thousands, thousands))
        alone = delimiter is None or delimiter not in (decimal, thousands)
        if seen and decimal != thousands and (alone or (sample.quotes and delimiter != " ")):
            yield Reading(delimiter, decimal, thousands)


def _score(reading: Reading, lines: Sequence[str]) -> tuple[float, bool, bool]:
    """Return the share of cells that are numbers, and what decides between equal shares.

    That is whether columns agree with a header, and whether no cell has a delimiter left in it.
    The share is -1 where rows have different lengths.
    """
    head, body = _parts(reading, lines)
    if not body or len({len(row) for row in body}) > 1:
        return -1.0, False, False
    cells = list(chain.from_iterable(body))
    numbers = sum(is_missing(it) or reading.number(it) is not None for it in cells)
    clean = not any(sign in cell for cell in cells for sign in ";\t|")
    return numbers / len(cells), len(head or body[0]) == len(body[0]), clean


def _parts(reading: Reading, lines: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the header, which may be empty, and the rows below it."""
    try:
        rows = [row for _, row in reading.rows(lines) if row]
    except csv.Error:
        return [], []
    return (rows[0], rows[1:]) if len(rows) > 1 and is_names(rows[0]) else ([], rows)


def _is_plausible(reading: Reading, lines: Sequence[str]) -> bool:
    """Return whether numbers look as they are written, and no text has commas where none split."""
    head, body = _parts(reading, lines)
    for cell in chain(head, *body):
        text = reading.number(cell) is None
        if reading.odd.fullmatch(cell.strip()) and not text:
            return False
        if reading.delimiter is None and text and "," in cell:
            return False
    return True


def _may_be_doubted(best: Reading, sample: Sample) -> bool:
    return best.delimiter in (" ", ";") or not _is_plausible(best, sample.lines)


def _is_doubtful(best: Reading, other: Reading, sample: Sample) -> bool:
    """Return whether a reading that is as good as the usual one casts doubt on it.

    1 000 may be two columns or one; so may 1,05; and beside semicolons, 1.234 may be 1234.
    """
    if best.delimiter == " ":
        return other.delimiter is None and other.thousands == " "
    if best.delimiter == ",":
        return other.delimiter is None and not _is_plausible(best, sample.lines)
    return best.delimiter == other.delimiter == ";" and other.thousands == "."


def _refuse_cut_numbers(best: Reading, sample: Sample) -> None:
    for line in sample.lines if best.delimiter == "," else ():
        if found := _CUT.search(re.sub('"[^"]*"', "", line)):
            sample.refuse(
                f"may have numbers cut in two, since none begins like {found[1]!r}; give "
                "--delimiter ',' if each comma separates columns, or save the file with another "
                "delimiter"
            )


def _ways(found: Iterable[Reading], lines: Sequence[str], options: Options) -> list[str]:
    """Return the options that choose each reading, and the numbers that it gives."""
    ways: dict[tuple[float | None, ...], str] = {}
    for it in sorted(found, key=lambda it: len(it.options(options))):
        body = _parts(it, lines)[1]
        signs = f"{'' if it.decimal == '.' else it.decimal}{it.thousands or ''}"
        cells = next((row for row in body if any(c in signs for c in "".join(row))), body[0])
        typed = it.options(options) or f"--delimiter {quoted(it.delimiter or ',')}"
        shown = [repr(short(cell.strip())) if it.number(cell) is None else f"{it.number(cell):.15g}"
                 for cell in cells[:4]]  # fmt: skip
        more = ["…"] if len(cells) > 4 else []
        values = tuple(it.number(cell) for row in body for cell in row)
        ways.setdefault(values, f"{typed} to read {' | '.join([*shown, *more])}")
    return list(ways.values())[:3]
