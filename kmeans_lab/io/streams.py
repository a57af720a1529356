"""Standard streams: spell characters that their encodings lack, and detect terminals.

× becomes x, ≥ becomes >=: nothing is lost, and nothing fails, where a terminal or a file takes
ASCII or a code page of Windows.
"""

import codecs
import io
import os
import re
import sys
import threading
from typing import Any

#: What is written instead of a character that an encoding does not have.
PLAIN = {
    "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "…": "...", "‘": "'", "’": "'", "“": '"',
    "”": '"', "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "±": "+-", "→": "->", "√": "sqrt",
    "∝": "~", "∞": "inf", "∪": "u", "‖": "||", "⌊": "floor(", "⌋": ")", "½": "1/2", "µ": "u",
    "μ": "mu", "σ": "sigma", "π": "pi", "Σ": "sum", "Δ": "delta", "─": "-", "━": "-", "│": "|",
    "┼": "+", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
}  # fmt: skip
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "₀₁₂₃₄₅₆₇₈₉₋₊"
_ON_THE_LINE = str.maketrans(_RAISED + _LOWERED, "0123456789-+" * 2)
ERRORS = "kmeans_lab.plain"  #: the error handler, for streams and codecs


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell the characters that an encoding does not have: an error handler of ``codecs``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    text = re.sub(f"([{_RAISED}]+)|([{_LOWERED}]+)", _on_the_line, text)
    text = "".join(PLAIN.get(it, it) for it in text)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _on_the_line(found: re.Match[str]) -> str:
    return ("^" if found[1] else "_") + found[0].translate(_ON_THE_LINE)


codecs.register_error(ERRORS, _spell)


def spell_out() -> None:
    """Make stdout and stderr spell characters that their encodings do not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def seen_by_a_person() -> bool:
    """Whether stderr is a terminal that can draw, and rich is installed."""
    from importlib.util import find_spec

    there = sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
    return there and os.environ.get("TERM") != "dumb" and bool(find_spec("rich"))


class _OutputToErrors:
    """Sends what is printed to stderr, as long as any thread is inside.

    ``redirect_stdout`` of two threads at once would leave stderr in the place of stdout for good.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside = 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before, sys.stdout = sys.stdout, sys.stderr
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                sys.stdout, self._before = self._before, None


#: A context in which what is printed goes to stderr.
output_to_errors = _OutputToErrors()
