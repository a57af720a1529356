"""The memory that a fit of rows may take: a budget, what is free, and what does not fit."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_UNITS = {
    **{"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40},
}
#: A budget of less holds neither two blocks of rows nor what reads them.
LEAST = 1 << 24
#: What is taken to be free where the system does not say.
_USUAL = 1 << 32


def budget(memory: Any) -> int:
    """Return a number of bytes: ``memory``, "512MB" for instance, or half of what is free.

    Raises
    ------
    ValueError, TypeError
        It is no such number, or too small for anything.
    """
    if memory is None:
        return max(LEAST, free_bytes() // 2)
    if isinstance(memory, bool) or not isinstance(memory, int | np.integer | str):
        raise TypeError(
            f"memory={memory!r} must be a number of bytes or a string like '512MB' or '4GiB'"
        )
    found = _in_bytes(memory) if isinstance(memory, str) else int(memory)
    if found < LEAST:
        raise ValueError(
            f"memory={memory!r} is too little to read blocks of rows; give at least '{LEAST >> 20}"
            "MiB'"
        )
    return found


def _in_bytes(text: str) -> int:
    if re.fullmatch(r"\s*\d+\s*", text):
        return int(text)
    parts = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b)\s*", text, re.IGNORECASE)
    unit = parts and _UNITS.get(parts[2].upper())
    if not (parts and unit):
        raise ValueError(
            f"memory={text!r} must be a number and a unit, B, kB, MB, GB, TB, KiB, MiB, GiB "
            "or TiB; write '512MB', for instance"
        )
    return int(float(parts[1]) * unit)


def free_bytes(root: str = "/") -> int:
    """Return how many bytes of memory are free, within what a container grants."""
    free = _available(Path(root, "proc/meminfo"))
    for limit, used, stat in (  # control groups, version 2, and 1
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        folder = Path(root, "sys/fs/cgroup")
        try:
            granted = int((folder / limit).read_text()) - int((folder / used).read_text())
        except (OSError, ValueError):
            continue
        free = min(free, max(granted + _cached(folder / stat), 0))
    return free


def _cached(stat: Path) -> int:
    """Return the bytes of files that a container counts as used, and gives back when asked."""
    try:
        found = re.search(r"^(?:total_)?inactive_file (\d+)$", stat.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _available(meminfo: Path) -> int:
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return _USUAL
    return int(found[1]) << 10 if found else _USUAL


def refuse_without_room(n_samples: int, memory: int) -> None:
    """Raise ``MemoryError`` where labels fit neither into the budget nor on the disk.

    That is found when labels are needed, too: after rows have been read once.
    """
    size, folder = 4 * n_samples, tempfile.gettempdir()
    if size > memory and size > (free := shutil.disk_usage(folder).free):
        raise MemoryError(
            f"labels of {n_samples:,} rows take {size:,} bytes, for which neither "
            f"memory={memory:,} nor {folder} with {free:,} bytes has room; set TMPDIR to a folder "
            "on a larger disk, or check the shape of X"
        )


class Scratch:
    """Arrays with a value for each row: in memory as far as a budget goes, else in a file.

    The file has no name and vanishes with the process, however that ends.

    Attributes
    ----------
    left : int
        Bytes of the budget that are not taken.
    in_files : int
        Bytes of the arrays that lie in files.
    """

    def __init__(self, left: int) -> None:
        self.left, self.in_files = left, 0
        self._maps: list[mmap.mmap] = []

    def array(self, n: int, dtype: DTypeLike, what: str) -> NDArray[Any]:
        """Return an array (n,), whose values are arbitrary.

        Raises
        ------
        MemoryError
            It fits neither into the budget nor on the disk; the sentence says where to.
        """
        size = n * np.dtype(dtype).itemsize
        if size <= self.left:
            self.left -= size
            return np.empty(n, dtype)
        try:
            with tempfile.TemporaryFile(prefix="kmeans_lab-") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise MemoryError(
                f"{what} take {size:,} bytes, which neither memory={self.left:,} more bytes nor "
                f"{tempfile.gettempdir()} has room for ({error.strerror}); set TMPDIR to a folder "
                "on a larger disk, or give more memory"
            ) from error
        self.in_files += size
        self._maps.append(mapped)
        return np.frombuffer(mapped, dtype, n)

    def let_go(self) -> None:
        """Take the pages of files out of this process's memory; what was written stays."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)
