"""Labels that go to a file, or into an array of the caller's."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from kmeans_lab.io.errors import Refused
from kmeans_lab.kernel import Labels

_AT_ONCE = 1 << 22  # labels that are written in one call


def refuse_labels_out(where: Any, n_samples: int, rows: Any) -> None:
    """Raise ``ValueError`` or ``TypeError`` where labels cannot go, before a fit begins.

    ``rows`` are what the fit was given.
    """
    if where is None:
        return
    if isinstance(where, np.ndarray):
        fits = where.shape == (n_samples,) and where.dtype.kind in "iu" and where.dtype.itemsize > 3
        if not fits or not where.flags.writeable:
            raise ValueError(
                f"labels_out of shape {where.shape} and dtype {where.dtype} must be an array "
                f"({n_samples},) of int32 that can be written to; make one with "
                f"numpy.empty({n_samples}, numpy.int32)"
            )
        if isinstance(rows, np.ndarray) and np.may_share_memory(where, rows):
            raise ValueError(
                "labels_out and X share memory, and X is never modified; give an array of its own"
            )
        return
    if not isinstance(where, str | os.PathLike):
        raise TypeError(
            f"labels_out of type {type(where).__name__} must be the path of an .npy file or an "
            "array; give one of them"
        )
    path = Path(where)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"labels_out={str(path)!r} must end with .npy; name it so")
    if path.exists() and not path.is_file():
        raise ValueError(f"labels_out={str(path)!r} is there and is no file; choose another name")
    folder = path.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(
            f"labels_out={str(path)!r} cannot be written: {folder} must be a folder that can be "
            "written to; make it, or choose another"
        )
    for source in rows if isinstance(rows, list | tuple) else [rows]:
        file: Any = getattr(source, "path", getattr(source, "filename", source))
        known = isinstance(file, str | os.PathLike) and path.exists() and os.path.exists(file)
        if known and path.samefile(file):
            raise ValueError(
                f"labels_out={str(path)!r} is the file that the rows are in, which is never "
                "modified; choose another"
            )


def put_labels(labels: Labels, where: Any) -> None:
    """Write labels: into an array, or into a file that is whole or not there.

    Raises
    ------
    Refused
        The file cannot be written; what was there before is kept.
    """
    if where is None:
        return
    if isinstance(where, np.ndarray):
        where[:] = labels
        return
    path = Path(where).resolve()  # behind a link
    temporary = path.with_name(f".kmeans-lab-{token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<i4", "fortran_order": False, "shape": labels.shape}
            )
            for first in range(0, len(labels), _AT_ONCE):
                file.write(np.ascontiguousarray(labels[first : first + _AT_ONCE], "<i4").data)
            file.flush()
            os.fsync(file.fileno())  # some disks say only now that they are full
        temporary.replace(path)
    except OSError as error:
        raise Refused(
            f"the labels cannot be written to {where} ({error.strerror}); make room or choose "
            "another file: the fit is done, and its result is this exception's attribute result"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
