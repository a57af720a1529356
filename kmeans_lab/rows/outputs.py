"""Arrays with values for each row that are written block by block: to a file, or into an array."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.errors import Refused

#: Takes the values of the next rows.
Put = Callable[[NDArray[Any]], None]

_AT_ONCE = 1 << 24  # bytes that are written in one call
#: What file systems answer that reserve no space.
_CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def refuse_out(
    where: Any, shape: tuple[int, ...], dtype: np.dtype[Any], rows: Any, name: str = "out"
) -> None:
    """Raise ``ValueError`` or ``TypeError`` where values cannot go, before they are computed.

    Parameters
    ----------
    where : path-like or ndarray
        An .npy file; or an array of the shape, and of a dtype of the same kind or wider.
    shape : tuple of int
    dtype : dtype
        int32, float32 or float64.
    rows : object
        What they are values of, as the caller gave it.
    name : str
        The argument's.
    """
    if isinstance(where, np.ndarray):
        kinds = "iu" if dtype.kind == "i" else dtype.kind
        wide = where.dtype.kind in kinds and where.dtype.itemsize >= dtype.itemsize
        if where.shape != shape or not wide or not where.flags.writeable:
            size = shape[0] if len(shape) == 1 else shape
            raise ValueError(
                f"{name} of shape {where.shape} and dtype {where.dtype} must be an array "
                f"{shape} of {dtype} that can be written to; make one with "
                f"numpy.empty({size}, numpy.{dtype})"
            )
        if isinstance(rows, np.ndarray) and np.may_share_memory(where, rows):
            raise ValueError(
                f"{name} and X share memory, and X is never modified; give an array of its own"
            )
        refuse_own_file(name, getattr(where, "filename", None), rows)  # where it is mapped
        return
    if not isinstance(where, str | os.PathLike):
        raise TypeError(
            f"{name} of type {type(where).__name__} must be the path of an .npy file or an "
            "array; give one of them"
        )
    path = Path(where)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{name}={str(path)!r} must end with .npy; name it so")
    if path.exists() and not path.is_file():
        raise ValueError(f"{name}={str(path)!r} is there and is no file; choose another name")
    folder = path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(
            f"{name}={str(path)!r} cannot be written: {folder} must be a folder that can be "
            "written to; make it, or choose another"
        )
    refuse_own_file(f"{name}={str(path)!r}", path, rows)


def refuse_own_file(name: str, path: Any, rows: Any) -> None:
    """Raise ``ValueError`` where a file is one that the rows are in."""
    if path is None or not os.path.exists(path):
        return
    rows = getattr(rows, "sources", rows)
    for source in rows if isinstance(rows, list | tuple) else [rows]:
        file: Any = getattr(source, "path", getattr(source, "filename", source))
        known = isinstance(file, str | os.PathLike) and os.path.exists(file)
        if known and os.path.samefile(path, file):
            raise ValueError(
                f"{name} is the file that the rows are in, which is never modified; choose another"
            )
        if hasattr(source, "sources"):
            refuse_own_file(name, path, source)


@contextmanager
def written(
    where: Any, shape: tuple[int, ...], dtype: np.dtype[Any], what: str, more: str = ""
) -> Iterator[Put]:
    """Yield a function that takes the values of all rows, in their order.

    An array is written to as they come. A file appears when all of them have been written: it is
    whole, or what was there before is kept. Its space is reserved first, where file systems can.

    Parameters
    ----------
    where, shape, dtype
        As for ``refuse_out``.
    what : str
        What the values are, for the sentence that says why they cannot be written.
    more : str
        The end of that sentence.

    Raises
    ------
    Refused
        The file cannot be written.
    """
    if isinstance(where, np.ndarray):
        yield _into(where)
        return
    path = Path(where).resolve()  # behind a link
    temporary = path.with_name(f".kmeans-lab-{token_hex(8)}.tmp")
    stored = dtype.newbyteorder("<")

    @contextmanager
    def saying_why() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"{what} cannot be written to {where} ({error.strerror})"
            raise Refused(f"{why}; make room or choose another file{more}") from error

    file: Any = None
    try:
        with saying_why():
            file = temporary.open("xb")
            header = {"descr": stored.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            _reserve(file, int(np.prod(shape)) * dtype.itemsize)

        def put(values: NDArray[Any]) -> None:
            flat = np.ascontiguousarray(values, stored).reshape(-1).view(np.uint8).data
            with saying_why():
                for first in range(0, len(flat), _AT_ONCE):  # Ctrl-C comes between two calls
                    file.write(flat[first : first + _AT_ONCE])

        yield put
        with saying_why():
            file.flush()
            os.fsync(file.fileno())  # some disks say only now that they are full
            file.close()
            temporary.replace(path)
    finally:
        if file is not None:
            with suppress(OSError):  # of a buffer that has no room, as has been said
                file.close()
        temporary.unlink(missing_ok=True)


def _into(array: NDArray[Any]) -> Put:
    at = 0

    def put(values: NDArray[Any]) -> None:
        nonlocal at
        array[at : at + len(values)] = values
        at += len(values)

    return put


def _reserve(file: Any, size: int) -> None:
    """Reserve space for values after the header, so that a full disk is known before hours pass."""
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, file.tell() + size)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def given_back(where: Any) -> NDArray[Any]:
    """Return what was written: the array that was given, or the file, mapped and not loaded."""
    return where if isinstance(where, np.ndarray) else np.load(where, mmap_mode="r")
