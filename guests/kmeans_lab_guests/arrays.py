"""What guests that take bare addresses check first: nothing else would stop a wrong array.

An array is looked at through the buffer protocol, so that no code of NumPy runs in a guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

OUTSIDE = (
    "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; assign "
    "writes such labels"
)
#: What the buffer protocol calls int32, float64 and int64: C has two names for the last.
_INT32, _FLOAT64, _INT64 = ("i",), ("d",), ("l", "q")
_FLOATS = {"d": "float64", "f": "float32"}


def check_assign(rows: Rows, centers: Rows, labels: Labels) -> tuple[str, int, int, int]:
    """Return the dtype of rows and n_samples, n_features, n_clusters; refuse what does not fit."""
    n_samples, n_features = _two("assign", rows)
    n_clusters, _ = _two("assign", centers)
    if n_clusters == 0:
        raise ValueError("assign needs at least one center")
    form = memoryview(rows).format
    _fits("assign", "rows", rows, tuple(_FLOATS), (n_samples, n_features))
    _fits("assign", "centers", centers, (form,), (n_clusters, n_features))
    _fits("assign", "labels", labels, _INT32, (n_samples,), written=True)
    return _FLOATS[form], n_samples, n_features, n_clusters


def check_update(
    rows: Rows, labels: Labels, sums: Sums, counts: Counts
) -> tuple[str, int, int, int]:
    """Return the dtype of rows and n_samples, n_features, n_clusters; refuse what does not fit."""
    n_samples, n_features = _two("update", rows)
    n_clusters, _ = _two("update", sums)
    _fits("update", "rows", rows, tuple(_FLOATS), (n_samples, n_features))
    _fits("update", "labels", labels, _INT32, (n_samples,))
    _fits("update", "sums", sums, _FLOAT64, (n_clusters, n_features), written=True)
    _fits("update", "counts", counts, _INT64, (n_clusters,), written=True)
    return _FLOATS[memoryview(rows).format], n_samples, n_features, n_clusters


def address(array: Any) -> int:
    """Return where the values of an array begin."""
    return int(array.__array_interface__["data"][0])


def _two(verb: str, array: Any) -> tuple[int, int]:
    if array.ndim != 2:
        raise ValueError(f"{verb} needs rows, centers and sums with 2 dimensions")
    n, d = array.shape
    return n, d


def _fits(
    verb: str,
    name: str,
    array: Any,
    forms: tuple[str, ...],
    shape: tuple[int, ...],
    *,
    written: bool = False,
) -> None:
    view = memoryview(array)
    if view.format not in forms or not view.c_contiguous or (written and view.readonly):
        raise TypeError(
            f"{verb} needs C-contiguous arrays: rows and centers of one dtype, float64 or float32, "
            "labels of int32, sums of float64 and counts of int64; those that it writes to must "
            f"be writable, and {name} is another one"
        )
    if array.shape != shape:
        raise ValueError(f"{verb} needs {name} of shape {shape}, not {array.shape}")
