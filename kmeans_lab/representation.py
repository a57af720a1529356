"""How results show themselves: three lines in a terminal, a small table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

#: Names and values, a mapping for each line.
Lines = Sequence[Mapping[str, object]]

_TABLE = "border-collapse: collapse; font-size: 0.9em; color: inherit; background: transparent"
_ROW = "background: transparent"
_CELL = "text-align: left; padding: 0.15em 1.2em 0.15em 0; color: inherit"
_NAME = f"{_CELL}; font-weight: normal; opacity: 0.7"


class Shown(ABC):
    """A result that shows what matters, instead of its arrays; a subclass says what that is."""

    __slots__ = ()

    @abstractmethod
    def _lines(self) -> Lines:
        """Return what is shown."""

    def __repr__(self) -> str:
        start = f"{type(self).__name__}("
        lines = [
            ", ".join(f"{k}={_text(v, repr)}" for k, v in line.items()) for line in self._lines()
        ]
        return start + f",\n{' ' * len(start)}".join(lines) + ")"

    def _repr_html_(self) -> str:
        """Return the same as a table, in the colours of the page around it."""
        from html import escape  # 3 ms, for notebooks alone

        rows = "".join(
            f'<tr style="{_ROW}"><th scope="row" style="{_NAME}">{escape(name)}</th>'
            f'<td style="{_CELL}">{escape(_text(value, str))}</td></tr>'
            for line in self._lines()
            for name, value in line.items()
        )
        title = (
            f'<caption style="{_CELL}; caption-side: top"><b>{type(self).__name__}</b></caption>'
        )
        return f'<table style="{_TABLE}">{title}<tbody>{rows}</tbody></table>'


def _text(value: Any, write: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(write(value))
