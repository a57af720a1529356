"""Labels of a fit that go to a file, or into an array of the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np

from kmeans_lab.kernel import Labels
from kmeans_lab.rows.outputs import refuse_out, written

_INT32 = np.dtype(np.int32)


def refuse_labels_out(where: Any, n_samples: int, rows: Any) -> None:
    """Raise ``ValueError`` or ``TypeError`` where labels cannot go, before a fit begins.

    ``rows`` are what the fit was given.
    """
    if where is not None:
        refuse_out(where, (n_samples,), _INT32, rows, "labels_out")


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
