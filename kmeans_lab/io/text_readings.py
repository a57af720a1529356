"""Numbers in text: how they and their columns are written, and the options that say so.

A reading is a delimiter, a decimal sign and perhaps a thousands separator.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import product

from kmeans_lab.io.errors import Refused

_NAMES = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "space": " ",
    "whitespace": " ",
    "pipe": "|",
    "point": ".",
    "dot": ".",
    "apostrophe": "'",
    "underscore": "_",
}
THOUSANDS = (",", ".", " ", "'", "_")
#: Characters that stand for the same separator.
ALIKE = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}
_MISSING = {"", "-", "--", "?", ".", "na", "n/a", "<na>", "nan", "+nan", "-nan", "nat"} | {
    *("null", "none", "nil", "missing", "1.#qnan", "-1.#ind"),
    *("#n/a", "#div/0!", "#value!", "#num!", "#ref!", "#name?"),
}


@dataclass(frozen=True)
class Reading:
    """The separators of columns (None: nothing, " ": any white space), decimals and thousands."""

    delimiter: str | None = ","
    decimal: str = "."
    thousands: str | None = None

    @cached_property
    def _number(self) -> str:
        point, digits = re.escape(self.decimal), r"\d+"
        if self.thousands:
            digits = rf"(?:\d{{1,3}}(?:[{self._groups}]\d{{3}})+|\d+)"
        return rf"[+-]?(?:{digits}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"

    @property
    def _groups(self) -> str:
        return re.escape(ALIKE.get(self.thousands or "", self.thousands or ""))

    @cached_property
    def _one(self) -> re.Pattern[str]:
        return re.compile(rf"{self._number}|[+-]?inf(?:inity)?", re.A | re.I)

    @cached_property
    def _many(self) -> re.Pattern[str]:
        return re.compile(rf"(?>[ \t]*{self._number}[ \t]*\n)*+", re.A)

    @cached_property
    def odd(self) -> re.Pattern[str]:
        """A number that begins with a needless zero or ends with its decimal sign."""
        return re.compile(rf"[+-]?0[\d{self._groups}].*|.*\d{re.escape(self.decimal)}", re.DOTALL)

    def number(self, cell: str) -> float | None:
        """Return a cell's number, which may be infinite; None where it is none."""
        cell = cell.strip()
        return float(self._plain(cell)) if self._one.fullmatch(cell) else None

    def numbers(self, cells: Sequence[str]) -> list[float] | None:
        """Return the numbers of many cells at once; None where one of them is none."""
        text = "\n".join([*cells, ""])
        if not self._many.fullmatch(text):
            return None
        found = list(map(float, self._plain(text).split("\n")[:-1]))
        return found if len(found) == len(cells) else None

    def _plain(self, text: str) -> str:
        if self.thousands:
            text = re.sub(rf"(?<=\d)[{self._groups}](?=\d)", "", text)
        return text if self.decimal == "." else text.replace(self.decimal, ".")

    def is_rounded(self, cell: str) -> bool:
        """Return whether a cell is an integer that float64 does not hold to the last digit."""
        text = self._plain(cell.strip())
        whole = re.fullmatch(r"[+-]?[0-9]+", text) is not None
        return whole and Decimal(repr(float(text))) != Decimal(text)

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield where each row begins, lines counted from 1, and its cells; comments are empty."""
        kept = ("\n" if _is_skipped(line) else line for line in lines)
        if self.delimiter == " ":
            kept = (" ".join(line.split()) + "\n" for line in kept)
        delimiter = self.delimiter or "\x1f"  # one that no text has
        reader = csv.reader(kept, delimiter=delimiter, skipinitialspace=True, strict=True)
        begin = 1
        for row in reader:
            yield begin, row
            begin = reader.line_num + 1

    def options(self, given: "Options") -> str:
        """Return the options, besides those given already, that choose this reading."""
        delimiter = "" if self.delimiter == "," != self.decimal else self.delimiter or ""
        wanted = (
            ("--delimiter", delimiter, given.delimiter),
            ("--decimal", "" if self.decimal == "." else self.decimal, given.decimal),
            ("--thousands", self.thousands or "", given.thousands),
        )
        return " ".join(f"{flag} {quoted(it)}" for flag, it, old in wanted if it and it != old)


@dataclass(frozen=True)
class Options:
    """The user's options for the signs of a file; None: not given."""

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None

    @classmethod
    def parsed(cls, delimiter: str | None, decimal: str | None, thousands: str | None) -> "Options":
        """Return the options as characters; ``Refused`` for what cannot be one."""
        found = cls(_sign(delimiter), _sign(decimal), _sign(thousands))
        if found.delimiter is not None and (
            len(found.delimiter) != 1 or found.delimiter in '+-."eE\r\n#' + "0123456789"
        ):
            raise Refused(
                f"--delimiter {delimiter!r} must be one character that is no part of a number, "
                "like ';', or one of comma, semicolon, tab, space and pipe"
            )
        if found.decimal not in (None, ".", ","):
            raise Refused(f"--decimal {decimal!r} must be '.' or ','")
        if found.thousands not in (None, *THOUSANDS):
            raise Refused(f"--thousands {thousands!r} must be one of , . ' _ and space")
        if found.thousands is not None and found.thousands == (found.decimal or "."):
            raise Refused(
                f"--thousands {quoted(found.thousands)} is the decimal sign, too, and must be "
                f"another; give --decimal {quoted(',' if found.thousands == '.' else '.')} with it"
            )
        return found


def _sign(text: str | None) -> str | None:
    if text is None:
        return None
    bare = text[1:-1] if len(text) == 3 and text[0] == text[2] and text[0] in "'\"" else text
    return _NAMES.get(bare.lower(), {"\u2019": "'", "\u00a0": " "}.get(bare, bare))


def quoted(sign: str) -> str:
    """Return a sign as it is typed in a shell."""
    return {"\t": "tab", "'": '"\'"'}.get(sign, f"'{sign}'")


def _is_skipped(line: str) -> bool:
    bare = line.lstrip()
    return not bare or bare[0] == "#"


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty, or one of the usual words for no value."""
    return cell.strip().lower() in _MISSING


def is_names(cells: Sequence[str]) -> bool:
    """Return whether a row can only be names: some text, and not one number in any notation."""
    notations = (Reading(), Reading(decimal=","))
    if any(it.number(cell) is not None for cell in cells for it in notations):
        return False
    return any(not is_missing(cell) and not looks_numeric(cell) for cell in cells)


def looks_numeric(cell: str) -> bool:
    """Return whether a cell has digits, and besides them only what separates numbers."""
    digits, others = set("0123456789"), set(".,;|'\"\u2019_ \t\u00a0\u2009\u202f")
    return bool(digits & set(cell)) and set(cell.strip().lstrip("+-")) <= digits | others


def other_notations(cell: str, reading: Reading, options: Options) -> str:
    """Return the options with which a cell is a number, and that number; empty without any."""
    ways: dict[float, str] = {}
    for decimal, thousands in product(".,", (None, *THOUSANDS)):
        it = replace(reading, decimal=decimal, thousands=thousands)
        free = options.decimal in (None, decimal) and options.thousands in (None, thousands)
        if not free or thousands in (decimal, reading.delimiter if thousands == " " else decimal):
            continue
        value = it.number(cell)
        if value is not None and not it.odd.fullmatch(cell.strip()):
            ways.setdefault(value, f"{it.options(options)} to read {value:.15g}")
    return ", or ".join(ways.values())
