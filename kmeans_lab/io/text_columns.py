"""The columns of a text file: whether its first line names them, and which of them are wanted."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kmeans_lab.formatting import plural
from kmeans_lab.io.errors import Refused, short
from kmeans_lab.io.text_detection import Sample
from kmeans_lab.io.text_readings import Reading, is_missing, is_names

HEADERS = ("auto", "yes", "no")


@dataclass(frozen=True)
class Columns:
    """The line on which rows begin, and the columns in them.

    Attributes
    ----------
    first_line : int
        Of the rows, counted from 1.
    width : int
        Cells of a row, that behind a delimiter at the end of the line included.
    open_end : bool
        Whether each line ends with a delimiter, behind which there is no column.
    names : tuple of str
        One for each column, or none at all.
    chosen : tuple of int
        The columns that are wanted, counted from 0.
    """

    first_line: int
    width: int
    open_end: bool
    names: tuple[str, ...]
    chosen: tuple[int, ...]

    def place(self, column: int) -> str:
        """Return the number of a column, and its name where it has one."""
        name = self.names[column] if self.names else ""
        return f"column {column + 1}" + (f" ({short(name)!r})" if name else "")


def find_columns(
    sample: Sample,
    reading: Reading,
    comment: str,
    header: str,
    wanted: Sequence[str],
    unwanted: Sequence[str],
) -> Columns | None:
    """Return the columns of a file by its first lines; None where there is no row.

    ``comment`` is the one just above them: NumPy's ``savetxt`` writes a header there.
    """
    rows: list[tuple[int, list[str]]] = []
    fault = ""
    try:
        rows.extend(islice(reading.rows(sample.lines), 50))
    except csv.Error as error:
        where = f"{sample.path}, line {sample.numbers[len(rows)]}"
        fault = f"{where} cannot be split into columns ({error}); correct it"
    rows = [(sample.numbers[begin - 1], [it.strip() for it in row]) for begin, row in rows]
    names: list[str] = []
    if rows and _has_header(sample, reading, rows, header):
        (line, names), *rows = rows
    if not rows and fault:  # with rows, it may be the sample that ends within a cell
        raise Refused(fault)
    if not rows:
        return None
    first, row = rows[0]
    open_end = (
        len(row) > 1 and not row[-1] and (not names or not names[-1] or len(names) < len(row))
    )
    width = len(row) - open_end
    if len(names) == width + 1 and not names[-1]:
        names = names[:-1]
    if names and len(names) != width:
        cut = reading.delimiter == "," and len(names) < width
        correct = "put numbers that have a comma in them in quotes" if cut else "correct it"
        raise Refused(
            f"{sample.path}, line {line} has {plural(len(names), 'name')} and line {first} has "
            f"{plural(width, 'column')}, and there must be as many; {correct}, or leave the line "
            f"out with --skip-rows {line} if it is a title"
        )
    if not names and comment:
        found = _names_in(comment, reading)
        names = found if len(found) == width else []
    chosen = choose_columns(sample.path, names, width, wanted, unwanted)
    return Columns(first, len(row), open_end, tuple(names), chosen)


def _has_header(
    sample: Sample, reading: Reading, rows: list[tuple[int, list[str]]], header: str
) -> bool:
    """Return whether the first row names the columns; ``Refused`` where that is ambiguous."""
    if header not in HEADERS:
        raise Refused(f"--header {header} must be one of {', '.join(HEADERS)}")
    (line, first), *others = rows
    if header != "auto":
        return header == "yes"
    if is_names(first):
        return True
    where = f"{sample.path}, line {line}"
    below = [row for _, row in others if len(row) == len(first)]
    for i, cell in enumerate(first if below else ()):
        if not is_names([cell]) or any(is_names([row[i]]) for row in below):
            continue
        raise Refused(
            f"{where}, column {i + 1} holds {short(cell)!r} and another column a number, so that "
            "the line may be names or data; give --header yes if it names the columns, else "
            "correct it"
        )
    needless = not any(sign in cell for cell in first for sign in (reading.delimiter or ",", "."))
    quoted = ['"' in text for text in sample.lines]
    if quoted[0] and not any(quoted[1:]) and others and needless:
        raise Refused(
            f"{where} has numbers in quotes and the lines below have none; give --header yes if "
            "they are names of columns, else --header no"
        )
    return False


def _names_in(comment: str, reading: Reading) -> list[str]:
    with suppress(csv.Error, StopIteration):
        bare = comment.lstrip().lstrip("#").strip()
        return [it.strip() for it in next(reading.rows([bare]))[1]]
    return []


def choose_columns(
    path: Path, names: Sequence[str], width: int, wanted: Sequence[str], unwanted: Sequence[str]
) -> tuple[int, ...]:
    """Return the columns that are wanted, counted from 0, in the order in which they are named."""
    if not wanted and not unwanted:
        return tuple(range(width))
    if wanted and unwanted:
        raise Refused("--columns and --drop-columns exclude each other; give one of them")
    flag = "--columns" if wanted else "--drop-columns"
    found: list[int] = []
    for text in wanted or unwanted:
        for part in [text] if text in names else next(csv.reader([text]), []):
            found += _columns_of(flag, part.strip(), path, names, width)
    twice = [it for it in found if found.count(it) > 1]
    if twice:
        raise Refused(f"{flag} names column {twice[0] + 1} twice; name it once")
    chosen = found if wanted else [it for it in range(width) if it not in found]
    if not chosen:
        raise Refused(f"{flag} leaves no column of {path}; keep one at least")
    return tuple(chosen)


def _columns_of(
    flag: str, part: str, path: Path, names: Sequence[str], width: int
) -> Iterator[int]:
    """Yield the columns, counted from 0, of a name, of a number from 1 on, or of two like 2-5."""
    same = [i for i, name in enumerate(names) if name == part]
    numbers = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part, re.A)
    if len(same) > 1:
        places = " and ".join(str(i + 1) for i in same)
        raise Refused(
            f"{flag} {part!r} is the name of columns {places} of {path}; give the number instead"
        )
    if same:
        yield from same
    elif numbers:
        first = int(numbers[1])
        last = int(numbers[2] or first)
        if not 1 <= first <= last <= width:
            raise Refused(
                f"{flag} {part} must be from 1 to {width}, the columns of {path}, which are "
                "counted from 1; choose among them"
            )
        yield from range(first - 1, last)
    elif names:
        known = [repr(short(name)) for name in names[:20]] + ["…"] * (len(names) > 20)
        raise Refused(
            f"{path} has no column {part!r}; it has {', '.join(known)}, and numbers from 1 to "
            f"{width} are taken, too"
        )
    else:
        raise Refused(
            f"{flag} {part!r} is a name, and {path} has no header; give a number from 1 to {width}"
        )


def remedy(columns: Columns, column: int) -> str:
    """Return the advice for leaving out a value: its line, or its column."""
    left_out = without(columns, column)
    return f", drop the line{left_out}" if left_out else " or drop the line"


def without(columns: Columns, column: int) -> str:
    """Return the advice for leaving out a column; empty where there is no other."""
    if len(columns.chosen) == 1:
        return ""
    name = columns.names[column] if columns.names else ""
    plain = re.fullmatch(r"[^\W\d][\w.]{0,29}", name) and columns.names.count(name) == 1
    known = name if plain else str(column + 1)
    return f", or leave the column out with --drop-columns {known}"


def is_all_text(row: Sequence[str]) -> bool:
    """Return whether no cell of a row holds a number."""
    return is_names(row) and not any(is_missing(it) for it in row)
