"""Read tables of numbers from text files; every error is reported with its position.

NumPy reads plain files. A file that it rejects is read again row by row, which finds the fault, or
accepts what is none: comments, a delimiter at the end of each line, decimal commas.
"""

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.formatting import plural
from kmeans_lab.io.errors import Refused, short
from kmeans_lab.io.paths import encoding_of
from kmeans_lab.io.text_columns import Columns, find_columns, is_all_text, remedy, without
from kmeans_lab.io.text_detection import Sample, find_reading
from kmeans_lab.io.text_readings import Options, is_missing, looks_numeric, other_notations
from kmeans_lab.io.values import EXACT

_SAMPLE = 100, 20_000  # lines and characters that decide how a file is read
_BLOCK = 4096  # rows that are converted at once
_NO_TEXT = (b"PK\x03\x04", b"\x1f\x8b", b"\xd0\xcf\x11\xe0", b"%PDF")
_LONGEST = 1 << 26  # characters of a line: four million columns
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.I)  # Excel's first line

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TextFormat:
    """The options for a text file; see those of ``kmeans-lab fit``."""

    skip_rows: int = 0
    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    header: str = "auto"
    columns: Sequence[str] = ()
    drop_columns: Sequence[str] = ()


def read_table(path: Path, form: TextFormat) -> Floats:
    """Return the numbers of a text file (n_samples, n_features); ``Refused`` says what is wrong."""
    with path.open("rb") as file:
        beginning = file.read(512)
    if beginning.startswith(_NO_TEXT):
        raise Refused(
            f"{path} is a workbook, an archive or a document and must be text; save its table as "
            "CSV"
        )
    if beginning and not beginning.strip(b"\0"):
        raise Refused(f"{path} begins with zero bytes and must be text; write it again")
    encoding = encoding_of(beginning)
    if "utf-8" not in encoding:
        try:
            return _Table(path, encoding, form).read()
        except UnicodeError as error:
            raise Refused(
                f"{path} begins as {encoding.upper()} text but is not valid "
                f"({error}); save it as UTF-8"
            ) from None
    for encoding in ("utf-8-sig", "cp1252"):  # only names depend on it: digits are the same
        with suppress(UnicodeError):
            return _Table(path, encoding, form).read()
    return _Table(path, "latin-1", form).read()  # which has a character for every byte


class _Table:
    """A text file, and how it is read."""

    def __init__(self, path: Path, encoding: str, form: TextFormat) -> None:
        self.path, self.encoding = path, encoding
        self.options = Options.parsed(form.delimiter, form.decimal, form.thousands)
        sample, comment = self._sample(form.skip_rows)
        self.reading, self.hint = find_reading(sample, self.options)
        columns = find_columns(
            sample, self.reading, comment, form.header, form.columns, form.drop_columns
        )
        if columns is None:
            left, check = (" left", "--skip-rows") if form.skip_rows else ("", "the file")
            raise Refused(f"{path} has no row of numbers{left} and needs one; check {check}")
        self.columns: Columns = columns

    def _lines(self, skipped: int) -> Iterator[str]:
        with self.path.open(encoding=self.encoding) as file:
            lines = iter(partial(file.readline, _LONGEST), "")
            for number, line in islice(enumerate(lines, 1), min(skipped, 1 << 62), None):
                if len(line) == _LONGEST:
                    raise Refused(
                        f"{self.path}, line {number} has more than {_LONGEST >> 20} million "
                        "characters and must be a row of a table; write its rows on lines"
                    )
                yield line

    def _sample(self, skipped: int) -> tuple[Sample, str]:
        """Return the first lines, and the comment just above them."""
        lines: list[str] = []
        numbers: list[int] = []
        comment = ""
        for number, line in enumerate(self._lines(skipped), start=skipped + 1):
            stated = None if lines else _SEPARATOR.fullmatch(line)
            if stated:
                mine = self.options.delimiter
                self.options = replace(self.options, delimiter=mine or stated[1])
            elif line.lstrip().startswith("#"):
                comment = comment if lines else line
            elif line.strip():
                lines.append(line)
                numbers.append(number)
            if len(lines) >= _SAMPLE[0] or (len(lines) > 2 and sum(map(len, lines)) > _SAMPLE[1]):
                break
        quotes = any('"' in line for line in lines)
        if "," in (self.options.decimal, self.options.thousands):
            quotes = any('"' in line for line in self._lines(skipped))
        return Sample(self.path, lines, numbers, quotes), comment

    def read(self) -> Floats:
        """Return the numbers of the columns that are wanted."""
        rows = self._numbers()
        large = np.flatnonzero((np.abs(rows) >= EXACT).any(axis=1))  # 2⁵³ + 1 is rounded to 2⁵³
        if large.size:
            self._warn_of_rounding(set(large.tolist()))
        return rows

    def _numbers(self) -> Floats:
        plain = (self.reading.decimal, self.reading.thousands) == (".", None)
        if plain and self.columns.chosen == tuple(range(self.columns.width)):
            with suppress(ValueError):
                rows = self._plain()
                if rows.shape[1] == self.columns.width and np.isfinite(rows).all():
                    return rows
        return self._row_by_row()

    def _warn_of_rounding(self, large: set[int]) -> None:
        """Warn of the first integer, in rows with large numbers, that float64 does not hold."""
        for i, (line, row) in enumerate(self._rows()):
            for column in self.columns.chosen if i in large else ():
                if self.reading.is_rounded(row[column]):
                    warnings.warn(
                        f"{self.path}, line {line}, {self.columns.place(column)} holds "
                        f"{_shown(row[column])}, which float64 rounds, so that different values "
                        "beyond 2**53 may become equal; subtract what they have in common"
                        f"{without(self.columns, column)}",
                        UserWarning,
                        stacklevel=5,
                    )
                    return

    def _plain(self) -> Floats:
        delimiter = self.reading.delimiter or ","
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no data: an error of its own
            return np.loadtxt(
                str(self.path),
                delimiter=None if delimiter == " " else delimiter,
                comments=None,
                quotechar='"',
                encoding=self.encoding,
                ndmin=2,
                skiprows=self.columns.first_line - 1,
            )

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        skipped = line = self.columns.first_line - 1
        try:
            for begin, row in self.reading.rows(self._lines(skipped)):
                line = skipped + begin
                if not row:
                    continue
                if len(row) != self.columns.width:
                    self._refuse_ragged(line, len(row))
                yield line, row
        except csv.Error as error:
            raise Refused(
                f"{self.path} cannot be split into columns from line {line} on ({error}); correct "
                "it"
            ) from None

    def _refuse_ragged(self, line: int, n_cells: int) -> NoReturn:
        either = "correct it or drop it"
        if self.hint:
            either = f"correct it, or give {self.hint}"
        elif self.reading.delimiter == ",":  # what is dropped may be right, and the rest wrong
            either = "correct it, with quotes around numbers that have a comma in them"
        raise Refused(
            f"{self.path}, line {line} has {plural(n_cells, 'column')} and must have "
            f"{self.columns.width} like line {self.columns.first_line}; {either}"
        )

    def _row_by_row(self) -> Floats:
        rows, blocks = self._rows(), []
        chosen = self.columns.chosen
        pick = itemgetter(*chosen) if len(chosen) > 1 else lambda row: (row[chosen[0]],)
        missing = _Missing(self)
        while block := list(islice(rows, _BLOCK)):
            if self.columns.open_end:
                self._refuse_open_end(block)
            cells = list(chain.from_iterable(pick(row) for _, row in block))
            numbers = self.reading.numbers(cells)
            if numbers is None or not np.isfinite(numbers).all():
                numbers = []
                missing.look(block)
            blocks.append(np.array(numbers, dtype=np.float64).reshape(-1, len(chosen)))
        missing.refuse()
        return np.concatenate(blocks)

    def _refuse_open_end(self, block: list[tuple[int, list[str]]]) -> None:
        """Refuse values behind what seemed to be a delimiter at the end of each line."""
        for line, row in block:
            if row[-1].strip():
                first, width = self.columns.first_line, self.columns.width
                raise Refused(
                    f"{self.path}, line {line}, column {width} holds {_shown(row[-1])} and is "
                    f"empty in line {first}, and every value must be a number; fill it in"
                )


class _Missing:
    """The cells of a table that hold no finite number."""

    def __init__(self, table: _Table) -> None:
        self.table, self.count, self.first = table, 0, ""

    def look(self, block: list[tuple[int, list[str]]]) -> None:
        """Go through a block; ``Refused`` for text, which no other remedy helps."""
        for line, row in block:
            for column in self.table.columns.chosen:
                value = self.table.reading.number(row[column])
                if is_missing(row[column]) or (value is not None and not np.isfinite(value)):
                    self.count += 1
                    self.first = self.first or self._first(line, column, row[column])
                elif value is None:
                    alike = all(is_all_text(other) for _, other in block)
                    self._refuse_text(line, column, row, alike)

    def refuse(self) -> None:
        """Raise ``Refused`` where there are any."""
        if self.count:
            others = f" ({self.count:,} in all are not)" if self.count > 1 else ""
            raise Refused(self.first.replace("\0", others))

    def _first(self, line: int, column: int, cell: str) -> str:
        columns = self.table.columns
        what = f"holds {_shown(cell)}" if cell.strip() else "is empty"
        mend = "fill it in" if is_missing(cell) else "correct it"  # where it is infinite
        return (
            f"{self.table.path}, line {line}, {columns.place(column)} {what} and every value must "
            f"be a finite number\0; {mend}{remedy(columns, column)}"
        )

    def _refuse_text(self, line: int, column: int, row: list[str], alike: bool) -> NoReturn:
        table, cell = self.table, row[column]
        ways = other_notations(cell, table.reading, table.options)
        if ways:
            either = f"give {ways}"
        elif line == table.columns.first_line and is_all_text(row) and not alike:
            either = f"if the line belongs to the header, use --skip-rows {line}"
        elif looks_numeric(cell) and not {";", "|", "\t"}.isdisjoint(cell):
            either = "correct it, or say with --delimiter what separates columns"  # cut elsewhere
        else:
            either = f"correct it{remedy(table.columns, column)}"
        comma = " with a decimal comma" if table.reading.decimal == "," else ""
        raise Refused(
            f"{table.path}, line {line}, {table.columns.place(column)} holds {_shown(cell)} and "
            f"every value must be a number{comma}; {either}"
        )


def _shown(cell: str) -> str:
    return repr(short(cell.strip()))
