"""What workers do: functions of a block of rows, and what a worker remembers of its blocks.

A worker may be lost at any time, and whatever it remembered. A step says which centers came before,
so that a worker that knows nothing of a block finds its labels first; and what it returns are the
sums of the whole block, not what has changed in them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.arrays import read
from kmeans_lab.kernel import Array, Labels, read_only
from kmeans_lab.numerics.block_sums import adds_blocks, start_sums
from kmeans_lab.numerics.moments import moments_of_blocks
from kmeans_lab.registry import KernelUnavailable, find_spec, load_kernel
from kmeans_lab.rows.source import ArrayRows
from kmeans_lab.rows.streamed import StreamedRows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What all steps of a fit have in common."""

    fit: str
    kernel: str
    middle: Array | None
    largest: Floats
    least: Floats
    n_samples: int
    n_clusters: int
    lightest: float | None
    n_threads: int

    def aligned(self) -> Plan:
        """Return the same with arrays that compiled code takes."""
        return replace(self, middle=_aligned(self.middle))


def _aligned(array: Any) -> Any:
    """Return an array whose values lie where compiled code may read them.

    Those that came over the network may lie at any address.
    """
    return None if array is None else np.require(array, requirements=["C", "A"])


@dataclass(slots=True, eq=False)
class _Block:
    labels: Labels
    sums: Any
    step: int = -1
    answer: tuple[NDArray[np.int64], int, int] | None = None


_blocks: dict[tuple[str, int], _Block] = {}
_lock = threading.Lock()


def load(block: Any) -> NDArray[Any]:
    """Return a block as an array: of an array, a frame, or what a delayed function returned."""
    rows = np.asarray(read("X", block))
    return rows.reshape(1, -1) if rows.ndim == 1 else rows


def convert(rows: NDArray[Any], dtype: str, directions: bool) -> Array:
    """Return rows as kernels take them; see ``StreamedRows``."""
    source = StreamedRows(ArrayRows(rows), np.dtype(dtype), directions)
    return source.uncentered(0, len(rows))


def shape_of(rows: NDArray[Any]) -> tuple[int, int, str]:
    """Return the shape of a block, and its dtype."""
    return rows.shape[0], rows.shape[1], rows.dtype.str


def cut(rows: Array, first: int, last: int) -> Array:
    """Return some rows of a block."""
    return rows[first:last]


def measure(rows: Array, kernel: str, pivot: Floats) -> tuple[Any, Floats]:
    """Return the moments of a block around a pivot, and the least magnitudes of its columns."""
    provides = find_spec(kernel).provides
    measuring: Any = load_kernel(kernel) if "measuring" in provides else None
    adding = adds_blocks()
    if adding is None:
        raise KernelUnavailable(
            "a worker cannot add blocks of rows up: kernel 'cpp-simd' is not available on it; "
            "install the same kmeans_lab on all workers"
        )
    rows = _aligned(rows)
    return moments_of_blocks([rows], measuring, 1, _aligned(pivot)), adding.least(rows, 1)


def label(rows: Array, plan: Plan, centers: Array) -> Labels:
    """Return each row's nearest center."""
    return _label(_aligned(rows), plan.aligned(), centers)[0]


def inertia_parts(
    rows: Array, weights: Floats | None, plan: Plan, centers: Array, labels: Labels | None
) -> Floats:
    """Return numbers whose exact sum is the inertia of a block."""
    adding = adds_blocks()
    assert adding is not None  # or measure would have failed
    rows, weights, plan, labels = (
        _aligned(rows),
        _aligned(weights),
        plan.aligned(),
        _aligned(labels),
    )
    mine = label(rows, plan, centers) if labels is None else labels
    of = read_only(rows), _aligned(centers), mine, plan.middle, weights, plan.n_threads
    return adding.inertia_parts(*of)


def step(
    rows: Array,
    weights: Floats | None,
    plan: Plan,
    number: int,
    step: int,
    centers: Array,
    before: Array | None,
) -> tuple[NDArray[np.int64], int, int]:
    """Assign the rows of a block; return its sums, how many labels changed, and near-ties.

    Parameters
    ----------
    number : int
        Of the block.
    step : int
        Of the fit: the same one may be asked for twice, and is answered alike.
    before : ndarray of shape (n_clusters, n_features), optional
        The centers of the step before; None where rows have no labels yet.
    """
    rows, weights, plan = _aligned(rows), _aligned(weights), plan.aligned()
    key = plan.fit, number
    with _lock:
        known = _blocks.get(key)
    if known is not None and known.step == step and known.answer is not None:
        return known.answer
    rescored = 0
    if known is None or known.step != step - 1 or before is None:
        known = _Block(np.full(len(rows), -1, np.int32), _start(rows, plan))
        if before is not None:
            labels, rescored = _label(rows, plan, before)
            known.sums.move(rows, plan.middle, weights, known.labels, labels)
            known.labels = labels
    labels, near = _label(rows, plan, centers)
    changed = known.sums.move(rows, plan.middle, weights, known.labels, labels)
    answer = known.sums.parts(), changed, rescored + near
    with _lock:
        _blocks[key] = _Block(labels, known.sums, step, answer)
    return answer


def join(*answers: tuple[NDArray[np.int64], int, int]) -> tuple[NDArray[np.int64], int, int]:
    """Add answers up, in whatever order: they are whole numbers."""
    parts = reduce(np.add, [answer[0] for answer in answers])
    return parts, sum(answer[1] for answer in answers), sum(answer[2] for answer in answers)


def forget(fit: str) -> None:
    """Forget the blocks of a fit."""
    with _lock:
        for key in [key for key in _blocks if key[0] == fit]:
            del _blocks[key]


def _start(rows: Array, plan: Plan) -> Any:
    shape = plan.n_samples, plan.n_clusters
    known = plan.largest, plan.least, plan.middle, rows.dtype, shape
    return start_sums(*known, plan.lightest, plan.n_threads)


def _label(rows: Array, plan: Plan, centers: Array) -> tuple[Labels, int]:
    kernel: Any = load_kernel(plan.kernel)
    labels, centers = np.empty(len(rows), np.int32), _aligned(centers)
    if hasattr(kernel, "label_rows"):
        of = read_only(rows), read_only(centers), labels, plan.n_threads, plan.middle
        return labels, kernel.label_rows(*of)
    centered = rows if plan.middle is None else rows - plan.middle
    chunk = kernel.prepare(read_only(centered), plan.n_clusters, plan.n_threads)
    try:
        kernel.assign(chunk, read_only(centers), labels)
        return labels, int(getattr(chunk, "rescored", 0))
    finally:
        if hasattr(chunk, "close"):
            chunk.close()
