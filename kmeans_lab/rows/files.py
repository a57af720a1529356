"""Rows of files: .npy, raw numbers, and several files one after the other.

Files are read and never mapped: a mapped file that is cut short meanwhile ends the process.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kmeans_lab.arrays import whole
from kmeans_lab.io.errors import Refused, refusing_damage
from kmeans_lab.io.paths import refuse_unreadable
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.source import ArrayRows, RowSource, name_of, take_rows
from kmeans_lab.rows.state import FileState
from kmeans_lab.rows.streamed import is_narrow


class RawRows:
    """Rows of a file that holds nothing but numbers, row by row.

    Parameters
    ----------
    path : path-like
    shape : tuple of int
        (n_samples, n_features).
    dtype : dtype
    offset : int, default 0
        Bytes before the first row.

    Raises
    ------
    Refused
        The file is not there, cannot be read, or is too short for its rows.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, int],
        dtype: DTypeLike,
        offset: int = 0,
    ) -> None:
        self.path, self.name = Path(path), str(path)
        self._state = FileState(self.path)
        self.shape, self.dtype = shape, np.dtype(dtype)
        if self.dtype.hasobject or len(shape) != 2 or min(shape) < 1 or offset < 0:
            raise ValueError(
                f"{path} cannot have shape={shape}, dtype={self.dtype} and offset={offset}: rows "
                "need (n_samples, n_features), at least one of each, real numbers, and an offset "
                "of at least 0; correct them"
            )
        self._stored = self.dtype
        self._row_bytes, self._offset = shape[1] * self.dtype.itemsize, offset
        size, needed = self._state.size, offset + shape[0] * self._row_bytes
        if size < needed:
            raise Refused(
                f"{path} is truncated: it has {size} bytes and its {shape[0]} rows need {needed}; "
                "write it again"
            )

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        rows = np.empty((stop - start, self.shape[1]), self._stored)
        with self._file() as file:
            file.seek(self._offset + start * self._row_bytes)
            read = _fill(file, rows.reshape(-1).view(np.uint8).data)
        if read < rows.nbytes:
            raise self._cut_short(start, stop - 1)
        return rows

    def take(self, numbers: NDArray[np.int64], /) -> NDArray[Any]:
        """Return rows of these numbers: the file is opened once, and each row read."""
        places = (self._offset + numbers * self._row_bytes).tolist()
        with self._file() as file:
            number, size = file.fileno(), self._row_bytes
            parts = [os.pread(number, size, place) for place in places]
        found = b"".join(parts)
        if len(found) < len(places) * self._row_bytes:
            raise self._cut_short(numbers[0], numbers[-1])
        return np.frombuffer(found, self._stored).reshape(len(places), self.shape[1])

    @contextmanager
    def _file(self) -> Iterator[Any]:
        try:
            with self.path.open("rb", buffering=0) as file:
                yield file
        except OSError as error:
            why = f"{self.path} cannot be read any more ({error.strerror})"
            raise Refused(f"{why}; check the disk and the file, and fit again") from error

    def _cut_short(self, first: int, last: int) -> Refused:
        return Refused(
            f"{self.path} was cut short while it was read: rows {first} to {last} are not "
            "all there; write it again"
        )

    def check(self) -> None:
        """Raise ``Refused`` where the file is not the one that was opened."""
        self._state.check()


def _fill(file: Any, view: memoryview) -> int:
    """Read until a buffer is full or the file ends; return how many bytes there were."""
    done = 0
    while done < len(view):
        more = file.readinto(view[done:])
        if not more:
            break
        done += more
    return done


class NpyRows(RawRows):
    """Rows of an .npy file in C order.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    Refused
        As ``RawRows``; or it is no .npy file, is not a matrix, or lies column by column.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        refuse_unreadable(Path(path))
        with Path(path).open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise Refused(f"{path} is not an .npy file; write it with numpy.save")
        with (
            Path(path).open("rb") as file,
            refusing_damage(Path(path), "write it again with numpy.save"),
        ):
            shape, in_columns, dtype, offset = _header(file)
        if dtype.hasobject:
            why = "holds Python objects and must hold numbers; save array.astype(float)"
            raise Refused(f"{path} {why}")
        if len(shape) != 2 or 0 in shape:
            raise Refused(
                f"{path} holds an array of shape {shape} and must hold rows, (n_samples, "
                "n_features), at least one of each; save such an array"
            )
        if in_columns and min(shape) > 1:
            raise Refused(
                f"{path} lies column by column and must lie row by row, to be read some rows at a "
                "time; save numpy.ascontiguousarray(array)"
            )
        super().__init__(path, (shape[0], shape[1]), dtype, offset)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        found = np.lib.format.read_array_header_1_0(file)
    else:
        found = np.lib.format.read_array_header_2_0(file)
    return *found, file.tell()


class JoinedRows:
    """The rows of several sources, one after the other.

    Parameters
    ----------
    sources : sequence of RowSource
        Of as many features. Their dtype is float32 where all have it, otherwise float64.

    Raises
    ------
    ValueError
        There are none, or they have different numbers of features.
    """

    def __init__(self, sources: Sequence[RowSource]) -> None:
        if not sources:
            raise ValueError("sources is empty and must have at least one source of rows; add one")
        self.sources = list(sources)
        self._ends = list(accumulate(source.shape[0] for source in sources))
        widths = [source.shape[1] for source in sources]
        for source, width in zip(sources, widths, strict=True):
            if source.dtype.kind not in "fiub":
                raise TypeError(
                    f"{name_of(source)} holds {source.dtype} and must hold real numbers; convert it"
                )
            if width != widths[0]:
                raise ValueError(
                    f"{name_of(source)} has {width} features and {name_of(sources[0])} has "
                    f"{widths[0]}, and joined rows must have as many; leave one of them out"
                )
        self.shape = self._ends[-1], widths[0]
        self.rounding = Rounding()
        narrow = all(is_narrow(source.dtype) for source in sources)
        self.dtype: np.dtype[Any] = np.dtype(np.float32 if narrow else np.float64)
        self.name = f"{name_of(sources[0])} … {name_of(sources[-1])}"

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        rows = np.empty((stop - start, self.shape[1]), self.dtype)
        at, which = start, bisect_right(self._ends, start)
        while at < stop:
            before = self._ends[which - 1] if which > 0 else 0
            end = min(stop, self._ends[which])
            part = self.sources[which].read(at - before, end - before)
            self.rounding.look(at, np.asarray(part))
            self.rounding.look_into(self.sources[which], before)
            rows[at - start : end - start] = part
            at, which = end, which + 1
        return rows

    def take(self, numbers: NDArray[np.int64], /) -> NDArray[Any]:
        """Return rows of these numbers, which ascend."""
        rows = np.empty((len(numbers), self.shape[1]), self.dtype)
        cuts = np.searchsorted(numbers, [0, *self._ends])
        for which, (begin, end) in enumerate(pairwise(cuts.tolist())):
            if begin < end:
                before = self._ends[which - 1] if which > 0 else 0
                rows[begin:end] = take_rows(self.sources[which], numbers[begin:end] - before)
        return rows

    def check(self) -> None:
        """Raise ``Refused`` where a file is not the one that was opened."""
        for source in self.sources:
            if hasattr(source, "check"):
                source.check()


def mapped_rows(array: np.memmap[Any, Any]) -> RowSource:
    """Return the rows of a mapped file, which is read where it holds what the array does.

    It does not where the array is a private copy of it, or another file has its name by now.
    """
    mapped: Any = getattr(array, "_mmap", None)
    name: Any = array.filename
    private = name is None or array.mode == "c" or mapped is None
    if private or array.ndim != 2 or array.size == 0 or not array.flags.c_contiguous:
        return ArrayRows(array)
    begin = np.frombuffer(mapped, np.uint8).ctypes.data
    before = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    n, d = array.shape
    try:
        found = RawRows(name, (n, d), array.dtype, before + array.ctypes.data - begin)
        ends = [(0, min(n, _FEW)), (max(0, n - _FEW), n)]
        alike = all(found.read(*end).tobytes() == array[slice(*end)].tobytes() for end in ends)
    except Refused:
        whole("X", array)  # which says why, where it was cut short
        return ArrayRows(array)
    return found if alike else ArrayRows(array)


_FEW = 64  # rows at either end, by which a file is known
