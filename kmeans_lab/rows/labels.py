"""Labels of a fit that go to a file, or into an array of the caller's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab.kernel import Labels
from kmeans_lab.rows.outputs import refuse_out, refuse_own_file, written

_INT32 = np.dtype(np.int32)


def refuse_labels_out(where: Any, n_samples: int, rows: Any) -> None:
    """Raise ``ValueError`` or ``TypeError`` where labels cannot go, before a fit begins.

    ``rows`` are what the fit was given.
    """
    if where is not None:
        refuse_out(where, (n_samples,), _INT32, rows, "labels_out")


def refuse_resume(where: Any, labels_out: Any, rows: Any) -> None:
    """Raise ``ValueError`` where the progress of a fit would replace its rows or its labels."""
    if not isinstance(where, str | os.PathLike):
        raise TypeError(
            f"resume of type {type(where).__name__} must be the path of a file; give one"
        )
    refuse_own_file(f"resume={str(where)!r}", where, rows)
    other = getattr(labels_out, "filename", labels_out)
    if isinstance(other, str | os.PathLike) and Path(other).resolve() == Path(where).resolve():
        raise ValueError(f"resume={str(where)!r} is where labels go, too; choose a file of its own")


def put_labels(labels: Labels, where: Any) -> None:
    """Write labels: into an array, or into a file that is whole or not there.

    Raises
    ------
    Refused
        The file cannot be written; what was there before is kept.
    """
    if where is None:
        return
    more = ": the fit is done, and its result is this exception's attribute result"
    with written(where, labels.shape, _INT32, "the labels", more) as put:
        put(labels)
