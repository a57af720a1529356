"""What workers do: functions of a block of rows, and what a worker remembers of its blocks.

A worker may be lost at any time, and whatever it remembered. A step says which centers came before,
so that a worker that knows nothing of a block finds its labels first; and what it returns are the
sums of the whole block, not what has changed in them.

A task computes several blocks, those of a thread of a worker: a task costs the scheduler some
milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.arrays import read
from kmeans_lab.dask.memory import Memory
from kmeans_lab.dask.plan import Floats, Plan, aligned
from kmeans_lab.kernel import Array, Labels, read_only
from kmeans_lab.metric import unit_rows
from kmeans_lab.numerics.block_sums import adds_blocks
from kmeans_lab.numerics.moments import moments_of_blocks
from kmeans_lab.registry import KernelUnavailable, find_spec, load_kernel
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.source import ArrayRows, read_rows
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.numerics import largest as sparse_largest
from kmeans_lab.sparse.reading import is_sparse, read_sparse
from kmeans_lab.sparse.rows import SparseRows


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
    found: tuple[int, Labels] | None = None  # labels of centers of this number, out of step


def _close(block: _Block) -> None:
    if hasattr(block.prepared, "close"):
        block.prepared.close()


_blocks: Memory[_Block] = Memory(_close)


def each(
    function: Callable[..., Any], blocks: list[Any], own: list[tuple[Any, ...]], *common: Any
) -> list[Any]:
    """Call a function of each block, of what is its own, and of what all have in common."""
    return [function(block, *mine, *common) for block, mine in zip(blocks, own, strict=True)]


def same(value: Any) -> Any:
    """Return a value, which all tasks that are given this one share."""
    return value


def load(block: Any) -> Any:
    """Return a block as an array: of an array, a frame, or what a delayed function returned.

    Sparse matrices stay what they are.
    """
    if is_sparse(block):
        return block
    rows = np.asarray(read("X", block))
    if rows.ndim not in (1, 2):
        raise ValueError(
            f"it has {rows.ndim} dimensions and must have 2, (n_samples, n_features); "
            "check what makes it"
        )
    return rows.reshape(1, -1) if rows.ndim == 1 else rows


def load_block(block: Any, number: int) -> Any:
    """Return what ``load`` does; errors say which block it was."""
    try:
        return load(block)
    except (ValueError, TypeError) as error:
        raise type(error)(f"block {number} of X: {error}") from None


def read_source(source: Any, first: int, last: int) -> NDArray[Any]:
    """Return rows of a source, checked as they are where it is streamed."""
    rows = read_rows(source, first, last)
    if (check := getattr(source, "check", None)) is not None:
        check()
    return rows


def convert(rows: Any, first: int, dtype: str, directions: bool) -> Any:
    """Return rows as kernels take them: checked, of a dtype, and of length 1 for angles.

    ``first`` is the number of the first one.
    """
    found: Any
    if is_sparse(rows):
        found = read_sparse("X", rows, (dtype,))
    else:
        found = StreamedRows(ArrayRows(rows), np.dtype(dtype)).uncentered(0, len(rows))
    return unit_rows(found, first=first) if directions else found


class Shape(NamedTuple):
    """What is known of a block once it is loaded."""

    n_rows: int
    n_columns: int
    dtype: str
    sparse: bool
    rounded: (
        tuple[int, int, Any] | None
    )  # the first integer that float64 rounds: row, column, value


def shape_of(rows: Any) -> Shape:
    """Return the shape of a block, and what else is known of it."""
    sparse, rounding = is_sparse(rows), Rounding()
    if not sparse:
        rounding.look(0, rows)
    n_rows, n_columns = rows.shape
    return Shape(n_rows, n_columns, rows.dtype.str, sparse, rounding.found)


class SparseMeasures(NamedTuple):
    """What one look at a block of sparse rows tells: of its columns, rows and magnitudes."""

    sums: Floats
    squares: Floats
    sizes: NDArray[np.int64]
    most: float
    least: float


def measure_sparse(rows: SparseRows) -> SparseMeasures:
    """Return the sums of columns and their squares, how many values rows store, and magnitudes.

    The smallest magnitude leaves zeros aside, and is infinite where there is none.
    """
    rows = aligned(rows)
    sizes = np.abs(rows.stored()[0][rows.stored()[0] != 0])
    with np.errstate(all="ignore"):  # of values that are not finite
        sums, squares = rows.column_sums()
    least = float(sizes.min(initial=np.inf))
    return SparseMeasures(sums, squares, np.diff(rows.indptr), sparse_largest(rows), least)


def cut(rows: Any, which: slice | NDArray[np.intp]) -> Any:
    """Return some rows of a block; of sparse ones, sparse ones."""
    if isinstance(rows, SparseRows):
        return rows[which] if isinstance(which, slice) else rows.take(which)
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


def label(rows: Any, number: int, plan: Plan, which: int, centers: Array) -> Labels:
    """Return each row's nearest center.

    Parameters
    ----------
    number : int
        Of the block.
    which : int
        The number of these centers in the fit: labels of the same ones are found once.
    """
    known = _blocks.take(plan.fit, number)
    if known is not None and known.found is not None and known.found[0] == which:
        labels = known.found[1]
    elif known is not None:  # bounds say where most rows belong
        labels = known.labels.copy()
        plan.module().assign(known.prepared, read_only(aligned(centers)), labels)
        known.found = which, labels
    else:
        labels = plan.aligned().label(aligned(rows), read_only(aligned(centers)))
    if known is not None:
        _blocks.put(plan.fit, number, known)
    return labels


def inertia_parts(
    rows: Any,
    number: int,
    weights: Floats | None,
    labels: Labels | None,
    plan: Plan,
    which: int,
    centers: Array,
) -> Floats:
    """Return numbers whose exact sum is the inertia of a block; labels None: nearest centers."""
    mine = label(rows, number, plan, which, centers) if labels is None else aligned(labels)
    of = aligned(rows), read_only(aligned(centers)), mine, aligned(weights)
    return plan.aligned().inertia_parts(*of)


def step(
    blocks: list[Any],
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
    rows: Any,
    number: int,
    weights: Floats | None,
    plan: Plan,
    step: int,
    centers: Array,
    before: Array | None,
) -> Answer:
    rows, weights = aligned(rows), aligned(weights)
    known = _blocks.take(plan.fit, number)
    if known is not None and known.step == step and known.answer is not None:
        _blocks.put(plan.fit, number, known)
        return known.answer
    rescored = 0
    if known is None or known.step != step - 1 or before is None:
        prepared = plan.prepared(rows) if known is None else known.prepared
        labels = np.full(len(rows), -1, np.int32)
        known = _Block(prepared, labels, plan.start_sums(rows.dtype))
        if before is not None:
            rescored = _move(known, rows, weights, plan, before)[1]
    changed, near = _move(known, rows, weights, plan, centers)
    answer = Answer(known.sums.parts(), changed, rescored + near)
    known.step, known.answer, known.found = step, answer, None
    _blocks.put(plan.fit, number, known)
    return answer


def _move(
    known: _Block, rows: Any, weights: Floats | None, plan: Plan, centers: Array
) -> tuple[int, int]:
    """Assign rows, and move those whose labels change; return how many, and near-ties."""
    labels = known.labels.copy()
    seen = getattr(known.prepared, "rescored", 0)
    plan.module().assign(known.prepared, read_only(centers), labels)
    near = getattr(known.prepared, "rescored", 0) - seen
    changed = plan.move(known.sums, rows, weights, known.labels, labels)
    known.labels = labels
    return changed, near


def join(*answers: Answer) -> Answer:
    """Add answers up, in whatever order: they are whole numbers."""
    parts = reduce(np.add, [answer.parts for answer in answers])
    return Answer(parts, sum(it.changed for it in answers), sum(it.rescored for it in answers))


def forget(fit: str) -> None:
    """Forget the blocks of a fit."""
    _blocks.forget(fit)
