# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""The rows of one tile, on their way to their clusters: compiled by Numba, and vectorised by LLVM.

The scores ‖c‖² − 2x·c of four centers at a time run through a loop over the rows of a tile, in
which every row keeps its best, second best and label. The loop has no branch, and everything it
reads lies at constant offsets from three pointers, so LLVM turns it into the widest vectors of the
machine (512 bits where its model of the processor allows; ``NUMBA_CPU_NAME`` changes the model).
Offsets are constant because width and number of features are closure variables, frozen when
compiled: with arrays of two dimensions the vectoriser gives up ("too many memory checks") and the
same loop takes 760 µs instead of 101 (the loop alone, standard preset). Numba's cache works for
such closures.

Where the best two centers are closer than rounding explains, the row is decided by the plain
kernel's own arithmetic. ``fastmath`` allows fused multiply-add and nothing else. What a tile calls
is inlined by force, but for its scores: to pass dozens of arguments took an eighth of a pass over
two features.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.misc.special import literally
from numba.np.arrayobj import make_array

from kmeans_lab.tuned.numba_jit import jit
from kmeans_lab.tuned.numba_layout import (
    FAST,
    GROUP,
    NEXT_WIDE,
    PANEL,
    RESCORED,
    WIDE,
    rounded,
)

_RUN = 32  # rows that are looked through together for a flag
_MOST_PAUSE = 64


@jit(fastmath=FAST)
def _rescore(x: Any, limit: float, packed: Any, squares: Any, centers: Any) -> int:
    """Return the nearest center by the plain kernel's arithmetic, so that ties fall as there.

    Centers whose score is above the limit cannot be it: it is the least score that was found and
    the tolerance of that, which is at least twice what this score and the reference are off by.
    """
    best = np.inf
    nearest, k = 0, centers.shape[0]
    for q in range(packed.shape[0]):
        panel = packed[q]
        s0, s1, s2, s3 = squares[4 * q], squares[4 * q + 1], squares[4 * q + 2], squares[4 * q + 3]
        for f in range(centers.shape[1]):
            s0 += x[f] * panel[4 * f]
            s1 += x[f] * panel[4 * f + 1]
            s2 += x[f] * panel[4 * f + 2]
            s3 += x[f] * panel[4 * f + 3]
        if s0 > limit and s1 > limit and s2 > limit and s3 > limit:
            continue
        for j in range(4 * q, min(4 * q + 4, k)):
            distance = 0.0
            for f in range(centers.shape[1]):
                diff = np.float64(x[f]) - np.float64(centers[j, f])
                distance += rounded(diff * diff)  # type: ignore[call-arg]
            if distance < best:
                best = distance
                nearest = j
    return nearest


@intrinsic
def _move_group(
    typing_context: Any, tile: Any, width: Any, p: Any, f: Any, magic: Any, sums: Any, before: Any,
    label: Any,
) -> Any:  # fmt: skip
    """Take features f … f + 3 of row p from one running sum to another, limb by limb.

    ``before`` and ``label`` say where a cluster's limbs begin in ``sums``; a negative ``before``,
    that the row was in none. Vectors are spelled out, because LLVM's vectoriser leaves loops over
    so few features as they are.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double, whole, small = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
        lanes, integers = ir.VectorType(double, GROUP), ir.VectorType(whole, GROUP)
        tile, magic, sums = (
            make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 4, 5)
        )
        n_limbs, padded = cgutils.unpack_tuple(builder, magic.shape)
        _, width, p, f, _, _, before, label = arguments

        def place(array: Any, index: Any, kind: Any) -> Any:
            return builder.bitcast(builder.gep(array.data, [index]), kind.as_pointer())

        def change(operation: Any, index: Any, part: Any) -> None:
            at = place(sums, index, integers)
            builder.store(operation(builder.load(at, align=8), part), at, align=8)

        values = ir.Constant(lanes, ir.Undefined)
        for lane in range(GROUP):
            feature = builder.mul(builder.add(f, ir.Constant(whole, lane)), width)
            value = builder.load(builder.gep(tile.data, [builder.add(feature, p)]))
            if value.type != double:
                value = builder.fpext(value, double)
            values = builder.insert_element(values, value, ir.Constant(small, lane))
        left = cgutils.alloca_once_value(builder, values)
        leaves = builder.icmp_signed(">=", before, ir.Constant(whole, 0))
        with cgutils.for_range(builder, n_limbs) as limb:
            ahead = builder.add(f, builder.mul(limb.index, padded))
            unit = builder.load(place(magic, ahead, lanes), align=8)
            values = builder.load(left)
            rounded = builder.fadd(values, unit)
            part = builder.sub(builder.bitcast(rounded, integers), builder.bitcast(unit, integers))
            builder.store(builder.fsub(values, builder.fsub(rounded, unit)), left)
            change(builder.add, builder.add(label, ahead), part)
            with builder.if_then(leaves):
                change(builder.sub, builder.add(before, ahead), part)
        return context.get_dummy_value()

    place = types.int64
    return types.void(tile, place, place, place, magic, sums, place, place), generate


@jit(forceinline=True)  # or else each row passes dozens of arguments
def _move(
    tile: Any, width: int, p: int, before: Any, label: Any, magic: Any, sums: Any, counts: Any,
    touched: Any,
) -> None:  # fmt: skip
    """Take a row from the sum that it was in, if any, to another."""
    out, to = before * magic.size, label * magic.size
    for f in range(0, magic.shape[1], GROUP):
        _move_group(tile, width, p, f, magic, sums, out, to)  # type: ignore[call-arg]
    counts[label] += 1
    touched[label] = True
    if before >= 0:
        counts[before] -= 1
        touched[before] = True


@numba.njit(inline="always")
def _find_row(rows: Any, i: int, tile: Any, step: int, p: int) -> int:
    """Return where row i begins in its tile, where it is row p; or else put it there alone.

    Where ``step``, from a feature to the next, may be either, a row is read value by value: one
    vector would wait until the values that were just written have left for the cache.
    """
    if step > 1:
        return p
    for f in range(rows.shape[1]):
        tile[f] = rows[i, f]
    return 0


@jit()
def add_rows(rows: Any, labels: Any, magic: Any, sums: Any, counts: Any, touched: Any) -> bool:
    """Add rows to the sums of their labels; say whether every label names one."""
    x = np.zeros(magic.shape[1], rows.dtype)
    for i in range(rows.shape[0]):
        j = np.int64(labels[i])
        if j < 0 or j >= counts.shape[0]:
            return False
        for f in range(rows.shape[1]):
            x[f] = rows[i, f]
        _move(x, 1, 0, -1, j, magic, sums, counts, touched)
    return True


@numba.njit(inline="always")
def _keep(score: Any, j: Any, top: Any) -> Any:
    """Return best, second best and index after one more score."""
    best, second, index = top
    higher = score if score > best else best
    return (
        score if score < best else best,
        higher if higher < second else second,
        j if score < best else index,
    )


@numba.njit(inline="always")
def _dot(part: Any, weights: Any, p: int, width: int, block: int, s: Any) -> Any:
    """Add some features' part of the scores of four centers; the loop is unrolled."""
    s0, s1, s2, s3 = s
    for f in range(block):
        x = part[f * width + p]
        s0 += x * weights[f * 4]
        s1 += x * weights[f * 4 + 1]
        s2 += x * weights[f * 4 + 2]
        s3 += x * weights[f * 4 + 3]
    return s0, s1, s2, s3


@jit(fastmath=FAST)
def score_tile(
    tile: Any, panels: Any, squares: Any, names: Any, n_panels: int, own: Any, width: int,
    block: int, many: bool,
) -> None:  # fmt: skip
    """Write the least score of each row, the second least, and whose the least is.

    ``own`` has room for these, and then for the sums of a block of features.
    Sizes are literal types, each of which has a function of its own: inlined in the pass, once for
    either type of values, the loop would take compiling half as long again.
    """
    width, block, many = literally(width), literally(block), literally(many)
    rest = 3 * width  # where these sums begin
    half = panels.shape[1] // PANEL - block if many else 0
    for p in range(width):
        own[p] = own[width + p] = np.inf
        own[2 * width + p] = 0
    for q in range(n_panels):
        panel = panels[q]
        squared = squares[4 * q], squares[4 * q + 1], squares[4 * q + 2], squares[4 * q + 3]
        j0, j1, j2, j3 = names[4 * q], names[4 * q + 1], names[4 * q + 2], names[4 * q + 3]
        for g in range(0, half, block):
            part, weights = tile[g * width :], panel[g * 4 :]
            for p in range(width):
                s = squared
                if g > 0:
                    s = (
                        own[rest + p], own[rest + width + p],
                        own[rest + 2 * width + p], own[rest + 3 * width + p],
                    )  # fmt: skip
                s = _dot(part, weights, p, width, block, s)
                own[rest + p], own[rest + width + p] = s[0], s[1]
                own[rest + 2 * width + p], own[rest + 3 * width + p] = s[2], s[3]
        part, weights = tile[half * width :], panel[half * 4 :]
        for p in range(width):
            s = squared
            if many:
                s = (
                    own[rest + p], own[rest + width + p],
                    own[rest + 2 * width + p], own[rest + 3 * width + p],
                )  # fmt: skip
            s = _dot(part, weights, p, width, block, s)
            best = own[p], own[width + p], own[2 * width + p]
            best = _keep(s[0], j0, best)
            best = _keep(s[1], j1, best)
            best = _keep(s[2], j2, best)
            best = _keep(s[3], j3, best)
            own[p], own[width + p], own[2 * width + p] = best


@jit()
def widen(own: Any, width: int, unit: float, top: Any) -> None:
    """Write scores in ``unit``, and whose they are, as float64."""
    for p in range(2 * width):
        top[p] = np.float64(own[p]) * unit
    for p in range(2 * width, 3 * width):
        top[p] = np.float64(own[p])


@jit(fastmath=FAST, forceinline=True)
def flag_rows(
    top: Any, width: int, n: int, squares: Any, flat: float, rate: float, was: Any, flags: Any
) -> int:
    """Flag rows, 2 for a near-tie and 1 for another center than before; return the near-ties."""
    best, second, index = top[:width], top[width : 2 * width], top[2 * width : 3 * width]
    for p in range(n):
        tolerance = flat + rate * squares[p]
        flags[p] = 2 * (not second[p] - best[p] > tolerance) + (index[p] != was[p])
    doubtful = 0
    for p in range(n):
        doubtful += flags[p] >> 1
    return doubtful


@jit(fastmath=FAST)
def find_gaps(
    top: Any, width: int, squares: Any, flat: float, rate: float, loss: float, gaps: Any
) -> None:
    """Write how much nearer the best center is than the second, at least.

    Squared distances are score + ‖x‖², off by no more than half the tolerance: (d + 4) roundings of
    the score, (d + 1) of ‖x‖² and two of the sums. With e = (d + 3) u64, the reference's sums of
    differences are off by e of each squared distance, and by t = d 2⁻¹⁰⁷⁴ where squares vanish.
    With D to the own center and D + g to another, they give the same label if (1 − e) (D + g)² >
    (1 + e) D² + 2t, for which g > 2.05 e D + 2⁻⁵⁰⁹ is enough. ``loss`` > 2.05 e + 8 u64 covers
    that, and what roots, products and differences lose here; ways of centers are lengthened by
    ``loss``, too, so that it still does when D has grown by the ways of the own center. What is
    not a number stays none, and no bound; nor is a score that has overflowed.
    """
    best, second = top[:width], top[width : 2 * width]
    for p in range(width):
        tolerance = flat + rate * squares[p]
        near, far = best[p] + squares[p] + tolerance, second[p] + squares[p] - tolerance
        near, far = 0.0 if near < 0 else near, far if 0 < far < np.inf else 0.0
        gaps[p] = np.sqrt(far) * (1 - loss) - np.sqrt(near) * (1 + loss) - 2.0**-509


@jit(fastmath=FAST, forceinline=True)
def settle_listed(
    listed: Any, n: int, keeping: bool, tile: Any, step: int, best: Any, index: Any, squares: Any,
    flat: float, rate: float, gaps: Any, flags: Any, rows: Any, packed: Any, squared: Any,
    centers: Any, nearest: Any, slack: Any, drift: Any, down: float, note: Any, magic: Any,
    sums: Any, counts: Any, touched: Any, summing: bool, bounded: bool,
) -> None:  # fmt: skip
    """Take rows whose nearest center is another one to its cluster; keep their slack."""
    if keeping:
        for p in range(n):
            slack[listed[p]] = (gaps[p] + drift[np.int64(index[p])]) * down
    for first in range(0, n, _RUN):
        last = min(first + _RUN, n)
        news, some = 0, flags[first:]  # a slice, or else LLVM does not vectorise
        for p in range(last - first):
            news |= some[p]
        if news == 0:
            continue
        for p in range(first, last):
            if flags[p] == 0:
                continue
            i = listed[p]
            label: Any = np.int64(index[p])
            if flags[p] >= 2:
                limit = best[p] + (flat + rate * squares[p])
                label = _rescore(rows[i], limit, packed, squared, centers)
                note[RESCORED] += 1
            before = np.int64(nearest[i])
            if bounded and (flags[p] >= 2 or not keeping):
                slack[i] = -1.0
            if label == before:
                continue
            nearest[i] = label
            if summing:
                at = _find_row(rows, i, tile, step, p)
                _move(tile, step, at, before, label, magic, sums, counts, touched)


@numba.njit(inline="always")
def add_scores(scores: Any, n: int) -> float:
    """Return the sum of the first scores."""
    a = b = c = d = 0.0  # four sums: one would wait for its own additions
    for p in range(0, n - 3, 4):
        a += scores[p]
        b += scores[p + 1]
        c += scores[p + 2]
        d += scores[p + 3]
    for p in range(n - n % 4, n):
        a += scores[p]
    return (a + b) + (c + d)


@numba.njit(inline="always")
def list_failing(
    first: int, last: int, slack: Any, need: Any, nearest: Any, bounded: bool, listed: Any
) -> int:
    """List the rows that need a look, and return how many: all where no bounds are kept."""
    if not bounded:
        for p in range(last - first):
            listed[p] = first + p
        return last - first
    n = 0
    for i in range(first, last):
        listed[n] = i
        n += 1 - (slack[i] > need[np.uint64(np.int64(nearest[i]) + 1)])
    return n


@jit(fastmath=FAST, forceinline=True)
def settle_ball(
    rows: Any, first: int, last: int, tile: Any, step: int, nearest: Any, slack: Any, label: int,
    magic: Any, sums: Any, counts: Any, touched: Any, bounded: bool,
) -> None:  # fmt: skip
    """Take all rows of a ball to one cluster. How far the others are from a row is not known."""
    for i in range(first, last):
        before = np.int64(nearest[i])
        if before == label:
            continue
        nearest[i] = label
        if bounded:
            slack[i] = -1.0
        at = _find_row(rows, i, tile, step, i - first)
        _move(tile, step, at, before, label, magic, sums, counts, touched)


@numba.njit(inline="always")
def give_up(note: Any) -> None:
    """Score the rest of a chunk in float64, and 1, 2, 4 … further passes."""
    note[NEXT_WIDE] = min(max(2 * note[NEXT_WIDE], 1), _MOST_PAUSE)
    note[WIDE] = note[NEXT_WIDE] + 1
