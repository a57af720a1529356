"""What workers do: functions of a block of rows, and what a worker remembers of its blocks.

A worker may be lost at any time, and whatever it remembered. A step says which centers came before,
so that a worker that knows nothing of a block finds its labels first; and what it returns are the
sums of the whole block, not what has changed in them.

A task computes several blocks, those of a thread of a worker: a task costs the scheduler some
milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple

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
        return replace(self, middle=aligned(self.middle))


def aligned(array: Any) -> Any:
    """Return an array whose values lie where compiled code may read them.

    Those that came over the network may lie at any address.
    """
    return None if array is None else np.require(array, requirements=["C", "A"])


class Answer(NamedTuple):
    """What a step found in blocks: whole numbers, which are added in any order."""

    parts: NDArray[np.int64]
    changed: int
    rescored: int


@dataclass(slots=True, eq=False)
class _Block:
    """A block as kernels prepared it, and what the last step made of it."""

    prepared: Any
    labels: Labels
    sums: Any
    step: int = -1
    answer: Answer | None = None


_blocks: dict[tuple[str, int], _Block] = {}
_lock = threading.Lock()


def each(
    function: Callable[..., Any], blocks: list[Any], own: list[tuple[Any, ...]], *common: Any
) -> list[Any]:
    """Call a function of each block, of what is its own, and of what all have in common."""
    return [function(block, *mine, *common) for block, mine in zip(blocks, own, strict=True)]


def same(value: Any) -> Any:
    """Return a value, which all tasks that are given this one share."""
    return value


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


def cut(rows: Array, which: slice | NDArray[np.intp]) -> Array:
    """Return some rows of a block."""
    return rows[which]


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
    rows = aligned(rows)
    return moments_of_blocks([rows], measuring, 1, aligned(pivot)), adding.least(rows, 1)


def label(rows: Array, plan: Plan, centers: Array) -> Labels:
    """Return each row's nearest center."""
    return _label(aligned(rows), plan.aligned(), centers)


def inertia_parts(
    rows: Array, weights: Floats | None, labels: Labels | None, plan: Plan, centers: Array
) -> Floats:
    """Return numbers whose exact sum is the inertia of a block; labels None: nearest centers."""
    adding = adds_blocks()
    assert adding is not None  # or measure would have failed
    rows, weights, plan = aligned(rows), aligned(weights), plan.aligned()
    mine = label(rows, plan, centers) if labels is None else aligned(labels)
    of = read_only(rows), read_only(aligned(centers)), mine, plan.middle, weights, plan.n_threads
    return adding.inertia_parts(*of)


def step(
    blocks: list[Array],
    own: list[tuple[int, Floats | None]],
    plan: Plan,
    step: int,
    centers: Array,
    before: Array | None,
) -> Answer:
    """Assign the rows of some blocks; return their sums, how many labels changed, and near-ties.

    Parameters
    ----------
    own : list of tuple
        The number of each block, and the weights of its rows.
    step : int
        Of the fit: the same one may be asked for twice, and is answered alike.
    before : ndarray of shape (n_clusters, n_features), optional
        The centers of the step before; None where rows have no labels yet.
    """
    plan, centers, before = plan.aligned(), aligned(centers), aligned(before)
    given = zip(blocks, own, strict=True)
    return join(*(_step(rows, *mine, plan, step, centers, before) for rows, mine in given))


def _step(
    rows: Array,
    number: int,
    weights: Floats | None,
    plan: Plan,
    step: int,
    centers: Array,
    before: Array | None,
) -> Answer:
    rows, weights = aligned(rows), aligned(weights)
    key = plan.fit, number
    with _lock:
        known = _blocks.pop(key, None)
    if known is not None and known.step == step and known.answer is not None:
        with _lock:
            _blocks[key] = known
        return known.answer
    rescored = 0
    if known is None or known.step != step - 1 or before is None:
        prepared = _prepared(rows, plan) if known is None else known.prepared
        known = _Block(prepared, np.full(len(rows), -1, np.int32), _start(rows, plan))
        if before is not None:
            rescored = _move(known, rows, weights, plan, before)[1]
    changed, near = _move(known, rows, weights, plan, centers)
    answer = Answer(known.sums.parts(), changed, rescored + near)
    known.step, known.answer = step, answer
    with _lock:
        _blocks[key] = known
    return answer


def _move(
    known: _Block, rows: Array, weights: Floats | None, plan: Plan, centers: Array
) -> tuple[int, int]:
    """Assign rows, and move those whose labels change; return how many, and near-ties."""
    kernel: Any = load_kernel(plan.kernel)
    labels = known.labels.copy()
    seen = getattr(known.prepared, "rescored", 0)
    kernel.assign(known.prepared, read_only(centers), labels)
    near = getattr(known.prepared, "rescored", 0) - seen
    changed = known.sums.move(rows, plan.middle, weights, known.labels, labels)
    known.labels = labels
    return changed, near


def join(*answers: Answer) -> Answer:
    """Add answers up, in whatever order: they are whole numbers."""
    parts = reduce(np.add, [answer.parts for answer in answers])
    return Answer(parts, sum(it.changed for it in answers), sum(it.rescored for it in answers))


def forget(fit: str) -> None:
    """Forget the blocks of a fit."""
    with _lock:
        forgotten = [_blocks.pop(key) for key in list(_blocks) if key[0] == fit]
    for block in forgotten:
        if hasattr(block.prepared, "close"):
            block.prepared.close()


def _start(rows: Array, plan: Plan) -> Any:
    shape = plan.n_samples, plan.n_clusters
    known = plan.largest, plan.least, plan.middle, rows.dtype, shape
    return start_sums(*known, plan.lightest, plan.n_threads)


def _prepared(rows: Array, plan: Plan) -> Any:
    """Return rows as the kernel prepares them."""
    kernel: Any = load_kernel(plan.kernel)
    of = plan.n_clusters, plan.n_threads
    if plan.middle is None:
        return kernel.prepare(read_only(rows), *of)
    if find_spec(plan.kernel).centers:
        return kernel.prepare(read_only(rows), *of, plan.middle)
    return kernel.prepare(read_only(rows - plan.middle), *of)


def _label(rows: Array, plan: Plan, centers: Array) -> Labels:
    kernel: Any = load_kernel(plan.kernel)
    labels, centers = np.empty(len(rows), np.int32), read_only(aligned(centers))
    if hasattr(kernel, "label_rows"):
        kernel.label_rows(read_only(rows), centers, labels, plan.n_threads, plan.middle)
        return labels
    prepared = _prepared(rows, plan)
    try:
        kernel.assign(prepared, centers, labels)
        return labels
    finally:
        if hasattr(prepared, "close"):
            prepared.close()
