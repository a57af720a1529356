"""Rows of Parquet files, a row group at a time."""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.arrays import read
from kmeans_lab.io.arrow_tables import from_lists, holds_lists
from kmeans_lab.io.errors import MissingExtra, Refused, refusing_damage
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.state import FileState


class ParquetRows:
    """Rows of a Parquet file: columns of numbers, or one column of lists of the same length.

    A row group is read at once, and the last one is kept: write files with groups that fit into
    memory several times.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    Refused
        The file is not there, is damaged, has no rows, or a column is no number.
    MissingExtra
        pyarrow is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.name = Path(path), str(path)
        self._state = FileState(self.path)
        try:
            from pyarrow import types
            from pyarrow.parquet import ParquetFile
        except ModuleNotFoundError:
            raise MissingExtra(f"reading {path} needs", "pyarrow", "pyarrow") from None
        with (
            refusing_damage(self.path, "write it again with pyarrow"),
            ParquetFile(self.path, memory_map=False) as file,
        ):
            schema, meta = file.schema_arrow, file.metadata
            sizes = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
        self._ends, self.rounding = list(accumulate(sizes)), Rounding()
        kinds = [field.type for field in schema]
        self._lists = len(kinds) == 1 and holds_lists(kinds[0], types)
        if self._lists:
            kinds = [kinds[0].value_type]
        for field, kind in zip(schema, kinds, strict=True):
            if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
                raise Refused(
                    f"{path} has a column that is not numeric, {field.name!r} ({kind}), and every "
                    "column must be; write the others to a file of their own"
                )
        if not kinds or not self._ends or self._ends[-1] == 0:
            raise Refused(f"{path} holds no rows and must have at least one; check what wrote it")
        narrow = all(str(kind) in ("halffloat", "float") for kind in kinds)
        self.dtype = np.dtype(np.float32 if narrow else np.float64)
        self._last: tuple[int, NDArray[Any]] = (-1, np.empty((0, 0)))
        width = self._group(0).shape[1] if self._lists else len(kinds)
        self.shape = self._ends[-1], width

    def __getstate__(self) -> dict[str, Any]:
        """Return what goes to other processes: all but the group that was read last."""
        return self.__dict__ | {"_last": (-1, np.empty((0, 0)))}

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        rows = np.empty((stop - start, self.shape[1]), self.dtype)
        at, g = start, bisect_right(self._ends, start)
        while at < stop:
            before = self._ends[g - 1] if g > 0 else 0
            end = min(stop, self._ends[g])
            rows[at - start : end - start] = self._group(g)[at - before : end - before]
            at, g = end, g + 1
        return rows

    def check(self) -> None:
        """Raise ``Refused`` where the file is not the one that was opened."""
        self._state.check()

    def _group(self, g: int) -> NDArray[Any]:
        if self._last[0] == g:
            return self._last[1]
        from pyarrow.parquet import ParquetFile

        with (
            refusing_damage(self.path, "write it again with pyarrow"),
            ParquetFile(self.path, memory_map=False) as file,
        ):
            table = file.read_row_group(g)
            table.validate(full=True)  # offsets that lead elsewhere would be followed
        try:
            rows = from_lists(table) if self._lists else read("X", table)
        except (TypeError, ValueError) as error:
            raise Refused(f"{self.path}, row group {g}: {error}") from None
        if hasattr(self, "shape") and rows.shape[1] != self.shape[1]:
            raise Refused(
                f"{self.path}, row group {g}: lists have {rows.shape[1]} values and those of the "
                f"first group {self.shape[1]}; all must have the same length"
            )
        self.rounding.look(self._ends[g] - len(rows), rows)
        self._last = g, np.asarray(rows, self.dtype)
        return self._last[1]
