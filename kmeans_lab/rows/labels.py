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


def refuse_labels_out(where: Any, n_samples: int) -> None:
    """Raise ``ValueError`` or ``TypeError`` where labels cannot go, before a fit begins."""
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
        return
    if not isinstance(where, str | os.PathLike):
        raise TypeError(
            f"labels_out of type {type(where).__name__} must be the path of an .npy file or an "
            "array; give one of them"
        )
    path = Path(where)
    if path.suffix.lower() != ".npy":
        raise ValueError(
            f"labels_out={str(path)!r} must end with .npy, which it becomes; name it so"
        )
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(
            f"labels_out={str(path)!r} cannot be written: {folder} must be a folder that can be "
            "written to; make it, or choose another"
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
    path = Path(where)
    temporary = path.with_name(f".{path.name}.{token_hex(4)}.tmp")
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
            f"the labels cannot be written to {path} ({error.strerror}); make room or choose "
            "another labels_out, and fit again from result.centers"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
