# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Loops that Numba compiles for its tiled kernel: lanes are rows, and LLVM vectorises.

Rows are transposed into tiles. For each tile the scores ‖c‖² − 2x·c of four centers at a time run
through a loop over its rows, in which every row keeps its best, second best and label. The loop has
no branch, and everything it reads lies at constant offsets from three pointers, so LLVM turns it
into the widest vectors of the machine (512 bits where its model of the processor allows;
``NUMBA_CPU_NAME`` changes the model). Offsets are constant because width and number of features are
closure variables, frozen when compiled: with arrays of two dimensions the vectoriser gives up ("too
many memory checks") and the same loop takes 760 µs instead of 101 (the loop alone, standard
preset). Numba's cache works for such closures.

Rows of float64 are scored in float32 first, of which a vector holds twice as many; where float32
tells too little apart, a chunk goes on in float64 for a growing number of passes.

Where the best two centers are closer than rounding explains, the row is decided by the plain
kernel's own arithmetic. ``fastmath`` allows fused multiply-add and nothing else.

Rows whose bound of an earlier pass still holds are only tested (Hamerly, "Making k-means even
faster", SDM 2010); the others are gathered into tiles. A row's slack is the gap between its
distances to the two nearest centers when it was scored, plus the drift of its center then. A
center's drift grows by its own way and by the longest way of all others: the gap shrinks by no
more. So the row keeps its center while slack > drift.

Up to two features no bounds are kept: there all pairs cost no more than a gap. Up to sixteen,
tiles are transposed once and kept; those that a ball narrowed are scored where they lie.

Before that, the ball around neighbouring rows is tested against the centers. Center b is ruled out
when, for some center a, the whole ball lies on a's side of the plane between the two: score(b) −
score(a) > 2 · radius · ‖a − b‖. Mostly one center is left, or a few; the rows are scored against
those alone. Centers may move as they like.

What a tile calls is inlined by force, but for its scores: to pass dozens of arguments took an
eighth of a pass over two features.

All of it is one file, however long: Numba's cache is keyed by the file of the function that is
called, and would go on using old code of functions that it calls from another file. In this order:

- ``fit_balls`` to ``worthwhile``: balls, and the constants of rounding;
- ``drift_on`` to ``_lay_screen``: what a pass takes from its centers;
- ``_rescore`` to ``add_rows``: one row decided by differences, and rows on their way into sums;
- ``_keep`` to ``_settle_ball``: the scores of a tile, gaps, and what becomes of its rows;
- ``_list_near``, ``_pack``: the centers that a ball leaves;
- ``_give_up``: where float32 decides too little;
- ``compiled``: the pass over a chunk, which uses all of these;
- ``wait_for_turn`` to the end: how threads wait for each other.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.misc.special import literally
from numba.np.arrayobj import make_array

from kmeans_lab.tuned.numba_jit import jit

_FAST = {"contract"}
PANEL = 4  # centers at a time
GROUP = 4  # features that move together
LONGEST_BLOCK, BLOCK = 16, 4  # features in one piece; features per piece beyond that
WIDEST = 128  # rows of a tile at most: fewer make a smaller ball
_RUN = 32  # rows that are looked through together for a flag
LANES = 16  # centers tested together against a ball: the widest vector
MOST_FILTERED, MOST_FEATURES = 1024, 64  # up to which balls are tested
APART = MOST_FILTERED + 8  # from a feature of all centers to the next: not always the same sets
MOST_COPIED = 16  # features of rows whose tiles are kept: to gather them would take too long
UNBOUNDED = 2  # features, up to which all pairs take less time than bounds
_TRIED = 4  # tiles of a chunk before its balls are judged
ENDED = 2**40  # as the next chunk: no pass will follow, and the one at hand stops
SPINS = 20_000  # longer than the driver's own work between two passes

# Columns of the arrays that describe a chunk and a pass.
SQUARES, INERTIA, MET, LEFT, RESCORED, WIDE, _NEXT_WIDE, NOTES = range(8)
# What threads write has a cache line of its own.
NEXT, _DONE, STAYING, _INSIDE, SHARE, SUMMING, _FILTERING = 0, 8, 16, 17, 24, 25, 26
_UP, _LEAST, _FLAT, _RATE, _LOSS, FARTHEST, _SCREENING, _SCALE, _BACK = range(9)
SCREEN_FLAT, SCREEN_RATE, _SCALES = range(9, 12)
_U64 = 2.0**-53
_MOST_PAUSE = 64
MOST_NAMED = 2**24  # centers: float32 holds their numbers
MOST_SUMMED = 2**14  # features, whose roundings are as good as their first order


def _atomic(operation: str) -> Any:
    """Return a function (array, index, value) that changes an element; it returns the old one."""

    def change(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            view = make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]])
            return builder.atomic_rmw(operation, place, arguments[2], "seq_cst")

        return types.int64(array, types.int64, types.int64), generate

    return intrinsic(change)


_fetch_add, _exchange = _atomic("add"), _atomic("xchg")


@intrinsic
def _rounded(typing_context: Any, value: Any) -> Any:
    """Return a float64 as it is, out of the optimiser's sight.

    ``fastmath`` reaches what is inlined as well; a product that went through here cannot be
    fused with an addition, so that rescoring rounds as the plain kernel does.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(64)
        kind = ir.FunctionType(bits, [bits])
        held = builder.asm(kind, "", "=r,0", [builder.bitcast(arguments[0], bits)], False)
        return builder.bitcast(held, ir.DoubleType())

    return types.float64(types.float64), generate


@intrinsic
def _borrowed(typing_context: Any, array: Any) -> Any:
    """Return a view that keeps nothing alive.

    A slice of any other array counts references, atomically: dozens of times for each tile, by
    all threads in the same places, which cost more than the tile itself.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


@jit(fastmath=_FAST | {"reassoc"})
def fit_balls(tiles: Any, n_samples: int, middle: Any, square: Any, scale: Any) -> None:
    """Put a ball around each tile's rows; rounded upwards, and no square underflows."""
    width = tiles.shape[2]
    distances = np.empty(width)
    for t in range(square.shape[0]):
        rows = min(width, n_samples - t * width)
        distances[:] = 0.0
        for f in range(tiles.shape[1]):
            x = tiles[t, f]
            total = 0.0
            for p in range(rows):
                total += np.float64(x[p])
            middle[t, f] = total / rows
            near = np.float64(middle[t, f])
            for p in range(rows):
                diff = np.float64(x[p]) - near
                distances[p] += diff * diff
        farthest = 0.0
        for p in range(rows):
            farthest = max(farthest, distances[p])
        square[t] = max(farthest * scale[_UP], scale[_LEAST])


@jit(fastmath=_FAST)
def _spread(centers: Any, across: Any, apart: Any, scale: Any) -> None:
    """Write −2c feature by feature, and 4‖a − b‖² of each pair, rounded upwards."""
    for j in range(centers.shape[0]):
        for f in range(centers.shape[1]):
            across[f, j] = -2 * centers[j, f]
    for a in range(apart.shape[0]):
        row = apart[a]
        row[:] = 0
        for f in range(centers.shape[1]):
            values = across[f]
            own = values[a]
            for j in range(row.shape[0]):
                row[j] += (values[j] - own) * (values[j] - own)
        for j in range(row.shape[0]):
            row[j] = max(row[j] * scale[_UP], scale[_LEAST])


def lay_scale(n_features: int, dtype: Any) -> Any:
    """Return the quantities on which rounding depends; each pass sets those of the tolerance."""
    kind = np.finfo(dtype)
    up, least = 1 + (2 * n_features + 16) * float(kind.eps), 64 * float(kind.tiny)
    scale = np.zeros(_SCALES)
    scale[[_UP, _LEAST, _LOSS]] = up, least, 1e-9 + 4 * (n_features + 8) * _U64
    return scale


@jit()
def worthwhile(n_features: int) -> float:
    """Return up to which share of centers left balls take less time than what else there is."""
    return 0.4 if n_features > UNBOUNDED else 0.6


@jit()
def drift_on(given: Any, old: Any, way: Any, drift: Any, need: Any, scale: Any) -> None:
    """Add the ways of the centers to their drifts; ``need`` is what a row's slack must exceed.

    Rounded upwards: by ``loss`` for the squares, and by more than half a unit in the last place
    after each addition. Squares of differences below 2⁻⁵³⁷ vanish, wherefore 2⁻⁵⁰⁰ is added. What
    is not a number becomes infinite, and then no slack is enough. ``need[0]`` is for rows without
    a cluster.
    """
    most = second = 0.0
    who, k = -1, given.shape[0]
    kind = np.finfo(need.dtype)
    for j in range(k):
        square, moved = 0.0, False
        for f in range(given.shape[1]):
            diff = np.float64(given[j, f]) - np.float64(old[j, f])
            square += diff * diff
            moved |= diff != 0
        way[j] = np.sqrt(square) * (1 + scale[_LOSS]) + 2.0**-500 if moved else 0.0
        if np.isnan(square):
            way[j] = np.inf
        if way[j] > most:
            second, most, who = most, way[j], j
        elif way[j] > second:
            second = way[j]
    for j in range(k):
        drift[j] += (way[j] + (second if j == who else most)) * (1 + scale[_LOSS])
        drift[j] *= 1 + 2.0**-50
        up = max(drift[j] * (1 + 2 * np.float64(kind.eps)), np.float64(kind.tiny))
        need[j + 1] = up if drift[j] > 0 else 0.0


@jit()
def start(
    given: Any, centers: Any, packed: Any, squares: Any, scale: Any, control: Any,
    across: Any, apart: Any, filtering: bool, screen: Any, screen_squares: Any,
) -> None:  # fmt: skip
    """Write −2c by panels, feature by feature, and ‖c‖²; free the chunks for taking."""
    longest = 0.0
    for j in range(given.shape[0]):
        square = 0.0
        for f in range(given.shape[1]):
            value = given[j, f]
            centers[j, f] = value
            packed[j // PANEL, f * PANEL + j % PANEL] = -2 * value
            square += np.float64(value) * np.float64(value)
        squares[j] = square
        longest = max(longest, square)
    _choose_tolerance(longest, given.shape[1], np.finfo(given.dtype), scale)
    _lay_screen(packed, squares, longest, given.shape[1], scale, screen, screen_squares)
    if filtering:
        _spread(centers, across, apart, scale)
    control[_FILTERING] = filtering
    _exchange(control, _DONE, 0)
    _exchange(control, NEXT, 0)  # last: from here on a helper that is late may take a chunk


@numba.njit(inline="always")
def _choose_tolerance(square: float, n_features: int, kind: Any, scale: Any) -> None:
    """Set up to which gap two scores are decided by direct differences.

    That is flat + rate · ‖x‖²: twice the rounding of ‖c‖² − 2x·c and of ‖c‖², plus twice that of
    the direct sum, so that a gap beyond it gives the label that direct sums would give. Where C is
    the longest center, 2 (d + 4) (u C (C + 2‖x‖) + u64 (‖x‖ + C)² + tiny), as steps may underflow,
    and 2C‖x‖ ≤ C² + ‖x‖².
    """
    unit, steps = np.float64(kind.eps) / 2, 1.001 * 2 * (n_features + 4)
    scale[_FLAT] = steps * (2 * (unit + _U64) * square + np.float64(kind.tiny))
    scale[_RATE] = steps * (unit + 2 * _U64)


@numba.njit(inline="always")
def _lay_screen(
    packed: Any, squares: Any, longest: float, n_features: int, scale: Any, screen: Any,
    screen_squares: Any,
) -> None:  # fmt: skip
    """Write the centers as rows of float64 are scored against them in float32, where they can be.

    Rows and centers are scaled by a power of two that makes the longest of them about as long as
    one, so that no square overflows. Rounding the two factors of each product adds two steps to
    those of the tolerance, and what vanishes is less than ``tiny``.
    """
    most = max(scale[FARTHEST], longest)
    scale[_SCREENING] = screen.shape[0] > 0 and 2.0**-800 < most < 2.0**800
    if scale[_SCREENING] == 0:
        return
    exponent = math.frexp(np.sqrt(most))[1]
    back, unit, steps = math.ldexp(1.0, 2 * exponent), 2.0**-24, 1.001 * 2 * (n_features + 6)
    scale[_SCALE], scale[_BACK] = math.ldexp(1.0, -exponent), back
    scale[SCREEN_FLAT] = steps * (2 * (unit + _U64) * longest + 2.0**-126 * back)
    scale[SCREEN_RATE] = steps * (unit + 2 * _U64)
    for q in range(screen.shape[0]):
        for i in range(screen.shape[1]):
            screen[q, i] = packed[q, i] * scale[_SCALE]
    for j in range(screen_squares.shape[0]):
        screen_squares[j] = squares[j] * scale[_SCALE] * scale[_SCALE]


@jit(fastmath=_FAST)
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
                distance += _rounded(diff * diff)  # type: ignore[call-arg]
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


@jit(fastmath=_FAST)
def _score(
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
def _widen(own: Any, width: int, unit: float, top: Any) -> None:
    """Write scores in ``unit``, and whose they are, as float64."""
    for p in range(2 * width):
        top[p] = np.float64(own[p]) * unit
    for p in range(2 * width, 3 * width):
        top[p] = np.float64(own[p])


@jit(fastmath=_FAST, forceinline=True)
def _flag(
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


@jit(fastmath=_FAST)
def _find_gaps(
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


@jit(fastmath=_FAST, forceinline=True)
def _settle_listed(
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
def _total(scores: Any, n: int) -> float:
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
def _list_failing(
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


@jit(fastmath=_FAST, forceinline=True)
def _settle_ball(
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


@jit(fastmath=_FAST, forceinline=True)
def _list_near(
    scores: Any, apart: Any, near: Any, t: int, square: Any, beyond: Any, out: Any, found: Any
) -> int:
    """List the centers that may be nearest to a row of a ball, in order; return how many.

    The center that was near last time rules others out first, then the nearest of all.
    """
    a: Any = np.int64(near[t])
    while True:
        base, far = scores[a] + beyond, apart[a]
        for j in range(far.shape[0]):  # what is not a number stays
            above = scores[j] - base
            out[j] = (above > 0) & (above * above > far[j] * square)
        n = 0
        for j in range(apart.shape[0]):
            found[n] = j
            n += 1 - out[j]
        best = a
        for i in range(n):
            if scores[found[i]] < scores[best]:
                best = np.int64(found[i])
        if best == a:
            return n
        a = best
        near[t] = a


@jit(fastmath=_FAST, forceinline=True)
def _pack(
    packed: Any, squares: Any, found: Any, n: int, few: Any, few_squares: Any, few_names: Any
) -> None:
    """Put listed centers side by side."""
    for i in range((n + 3) // 4 * 4):
        j = np.int64(found[min(i, n - 1)])
        own, to = packed[j // 4], few[i // 4]
        few_names[i] = j
        few_squares[i] = squares[j] if i < n else np.inf
        for f in range(packed.shape[1] // 4):
            to[f * 4 + i % 4] = own[f * 4 + j % 4]


@numba.njit(inline="always")
def _give_up(note: Any) -> None:
    """Score the rest of a chunk in float64, and 1, 2, 4 … further passes."""
    note[_NEXT_WIDE] = min(max(2 * note[_NEXT_WIDE], 1), _MOST_PAUSE)
    note[WIDE] = note[_NEXT_WIDE] + 1


@cache
def compiled(block: int, many: bool, width: int, real: Any) -> Any:
    """Return the pass for tiles of ``block`` features, or ``many`` such blocks, by ``width`` rows.

    With many features the sums of a block of them go through memory between blocks: unrolled as
    a whole, the loop would be too long for LLVM to vectorise.
    """
    tiny = float(np.finfo(real).tiny)
    floor = 4 * tiny**0.5  # more than squares that underflow may lose
    down = 1 - 2 * float(np.finfo(real).eps)
    # Scores of float64 stay where they are, others are never screened: what only one of the two
    # needs is not compiled for the other.
    double = real is np.float64

    @jit(fastmath=_FAST)
    def run(
        rows: Any, tiles: Any, lengths: Any, reach: Any, nearest: Any, slack: Any, drift: Any,
        need: Any, packed: Any, squares: Any, names: Any, centers: Any, magic: Any, sums: Any,
        counts: Any, touched: Any, notes: Any, control: Any, scale: Any, middle: Any, square: Any,
        across: Any, apart: Any, near: Any, owner: Any, screen: Any, screen_squares: Any,
        screen_names: Any, spins: int,
    ) -> None:  # fmt: skip
        rows, nearest = _borrowed(rows), _borrowed(nearest)  # type: ignore[call-arg]
        tiles = _borrowed(tiles)
        flat = tiles.reshape(tiles.shape[0], tiles.shape[1] * tiles.shape[2])
        packed, squares, names = _borrowed(packed), _borrowed(squares), _borrowed(names)
        centers, sums, counts = _borrowed(centers), _borrowed(sums), _borrowed(counts)
        magic, touched = _borrowed(magic), _borrowed(touched)
        notes, control = _borrowed(notes), _borrowed(control)
        middle, across, apart = _borrowed(middle), _borrowed(across), _borrowed(apart)
        half = packed.shape[1] // PANEL - block if many else 0
        spread = across.reshape(across.size)
        share, kept = control[SHARE], not many and tiles.shape[0] > 0
        n, k, padded = nearest.shape[0], centers.shape[0], squares.shape[0]
        # Room of this thread: for a tile, where a group of features may reach beyond the last, for
        # the scores of its rows, for a ball, and for listed centers.
        tile_room = np.zeros(16 + (half + block + GROUP) * width, rows.dtype)
        room = np.empty(16 + 7 * width + padded * 3 + packed.size, rows.dtype)
        lists = np.empty(2 * padded + 1, np.int32)
        waiting_room, lengths_room = np.empty(2 * width, np.int64), np.empty(2 * width)
        at_room = np.empty(width, np.uint64)  # or else every index is asked whether it is negative
        flags_room, top_room = np.empty(2 * width, np.int32), np.empty(3 * width)
        screen, screen_squares = _borrowed(screen), _borrowed(screen_squares)
        screen_names = _borrowed(screen_names)
        narrow_room = np.zeros(16 + (half + block) * width, np.float32)
        narrow = _borrowed(narrow_room)[-narrow_room.ctypes.data % 64 // 4 :]
        narrow_scores = np.empty(16 + 8 * width, np.float32)
        narrow_own = _borrowed(narrow_scores)[-narrow_scores.ctypes.data % 64 // 4 :]
        listed, at = _borrowed(waiting_room), _borrowed(at_room)
        flags, before = _borrowed(flags_room)[:width], _borrowed(flags_room)[width:]
        values = rows.reshape(rows.size)
        long, gaps = _borrowed(lengths_room)[:width], _borrowed(lengths_room)[width:]
        own = _borrowed(room)[-room.ctypes.data % 64 // room.itemsize :]
        gathered = _borrowed(tile_room)[-tile_room.ctypes.data % 64 // room.itemsize :]
        top = own if double else _borrowed(top_room)
        rest_of_room = own[7 * width :]
        scores = rest_of_room[:padded]
        few_squares, few_names = rest_of_room[padded : 2 * padded], rest_of_room[2 * padded :]
        few = rest_of_room[3 * padded : 3 * padded + packed.size].reshape(packed.shape)
        out, found = _borrowed(lists)[:padded], _borrowed(lists)[padded:]
        one_room = np.zeros(half + block + GROUP, rows.dtype)
        one = _borrowed(one_room)
        if spins > 0:
            _fetch_add(control, STAYING, 1)
        _fetch_add(control, _INSIDE, 1)  # before the first look: see stop
        c = _fetch_add(control, NEXT, 1)
        while c < notes.shape[0]:
            note = notes[c]
            stop = min((c + 1) * share, reach.shape[0])
            summing = control[SUMMING] != 0
            bounded = summing and rows.shape[1] > UNBOUNDED
            worth = worthwhile(rows.shape[1])
            filtering = testing = control[_FILTERING] != 0
            inertia = note[SQUARES]
            met = left = 0.0
            waiting = 0  # rows in the list
            n_screened = doubtful = 0
            note[WIDE] = max(note[WIDE] - 1, 0)
            for t in range(c * share, stop + 1):
                if control[NEXT] >= ENDED:
                    break
                begin, n_now, every = 0, waiting, True  # of the list, what is scored now
                panels, weighed, named, n_panels = packed, squares, names, packed.shape[0]
                n_left, whole = k, False
                if t < stop:
                    first, last = t * width, min((t + 1) * width, n)
                    if testing:
                        point = middle[t]
                        for j in range(padded):
                            scores[j] = squares[j]
                        for g in range(0, half + block, block):
                            x, weights = point[g:], spread[g * APART :]
                            for j in range(padded):
                                score = scores[j]
                                for f in range(block):
                                    score += x[f] * weights[f * APART + j]
                                scores[j] = score
                        tolerance = scale[_FLAT] + scale[_RATE] * reach[t]
                        beyond = real(2 * tolerance + floor)
                        n_left = _list_near(
                            scores, apart, near, t, square[t], beyond, out, found
                        )  # fmt: skip
                        met += k
                        if n_left == 1:
                            left += 1
                            j = np.int64(found[0])
                            if owner[t] != j:
                                owner[t] = j
                                tile, step = (one, 1) if many else (flat[t], width)
                                _settle_ball(
                                    rows, first, last, tile, step, nearest, slack, j, magic,
                                    sums[c], counts[c], touched[c], bounded,
                                )  # fmt: skip
                            continue
                    if filtering and owner[t] >= 0:
                        owner[t] = -1  # neighbours are another thread's: written when it changes
                    left += n_left
                    # Where balls save most of the work, bounds are neither asked nor made.
                    trusted = bounded and not testing
                    more = _list_failing(
                        first, last, slack, need, nearest, trusted, listed[waiting:]
                    )  # fmt: skip
                    narrowed = 4 * n_left <= 3 * k
                    whole = kept and more > 0 and (narrowed or not trusted)
                    if whole and trusted:  # in place, whether or not their bounds hold
                        more = _list_failing(
                            first, last, slack, need, nearest, False, listed[waiting:]
                        )  # fmt: skip
                    if narrowed:
                        _pack(packed, squares, found, n_left, few, few_squares, few_names)
                        n_panels, every = (n_left + 3) // 4, False
                        panels, weighed, named = few, few_squares, few_names
                    if narrowed or whole:
                        begin, n_now = waiting, more
                    else:
                        waiting += more
                        n_now = width if waiting >= width else 0
                    if testing and t + 1 - c * share >= _TRIED:
                        testing = left <= worth * k * (t + 1 - c * share)
                if n_now == 0:
                    continue
                met += np.float64(n_left) * n_now
                keeping = bounded and every and not testing
                tile, was = gathered, before
                if whole:
                    tile, was = flat[t], nearest[first:last]
                    for p in range(width):
                        long[p] = reach[t]
                else:
                    for p in range(width):
                        i = listed[begin + min(p, n_now - 1)]
                        at[p] = np.uint64(i * rows.shape[1])
                        long[p], before[p] = lengths[i], nearest[i]
                screened = scale[_SCREENING] != 0 and n_left == k and note[WIDE] == 0
                if double and screened:
                    factor = scale[_SCALE]
                    if whole:
                        for p in range(width * rows.shape[1]):
                            narrow[p] = np.float32(tile[p] * factor)
                    else:
                        for f in range(rows.shape[1]):
                            y = narrow[f * width :]
                            for p in range(width):
                                y[p] = np.float32(values[at[p] + np.uint64(f)] * factor)
                    _score(
                        narrow, screen, screen_squares, screen_names, n_panels, narrow_own, width,
                        block, many,
                    )  # fmt: skip
                    _widen(narrow_own, width, scale[_BACK], top)
                    least, rate = scale[SCREEN_FLAT], scale[SCREEN_RATE]
                    news = _flag(top, width, n_now, long, least, rate, was, flags)
                    n_screened += n_now
                    doubtful += news
                    if n_screened >= WIDEST and 20 * doubtful > n_screened:
                        _give_up(note)
                    screened = 20 * news <= width
                if not screened:
                    if not whole:
                        for f in range(rows.shape[1]):
                            x = tile[f * width :]
                            for p in range(width):
                                x[p] = values[at[p] + np.uint64(f)]
                    _score(tile, panels, weighed, named, n_panels, own, width, block, many)
                    if not double:
                        _widen(own, width, 1.0, top)
                    least, rate = scale[_FLAT], scale[_RATE]
                    _flag(top, width, n_now, long, least, rate, was, flags)
                if keeping:
                    _find_gaps(top, width, long, least, rate, scale[_LOSS], gaps)
                tile, step = (tile, width) if whole else (one, 1)
                _settle_listed(
                    listed[begin:], n_now, keeping, tile, step, top, top[2 * width :], long, least,
                    rate, gaps, flags, rows, packed, squares, centers, nearest, slack, drift, down,
                    note, magic, sums[c], counts[c], touched[c], summing, bounded,
                )  # fmt: skip
                if not summing:
                    inertia += _total(top, n_now)
                if every and not whole:
                    waiting -= n_now
                    for p in range(waiting):
                        listed[p] = listed[n_now + p]
            if control[NEXT] >= ENDED:  # rows may be left without a cluster
                break
            note[INERTIA], note[MET], note[LEFT] = inertia, met, left
            if note[WIDE] == 0 and 20 * doubtful > n_screened:
                _give_up(note)
            elif note[WIDE] == 0 and n_screened > 0:
                note[_NEXT_WIDE] = 0
            _fetch_add(control, _DONE, 1)
            c = _fetch_add(control, NEXT, 1)
            if c >= notes.shape[0]:  # a helper stays for the next pass
                for _ in range(spins):
                    c = _fetch_add(control, NEXT, 0)
                    if c < notes.shape[0]:
                        c = _fetch_add(control, NEXT, 1)
                    if c < notes.shape[0] or c >= ENDED:
                        break
        _fetch_add(control, _INSIDE, -1)
        if spins > 0:
            _fetch_add(control, STAYING, -1)
        room[0] = tile_room[0] = one_room[0] = lengths_room[0] = 0  # they live until here
        lists[0] = waiting_room[0] = flags_room[0] = top_room[0] = narrow_room[0] = at_room[0] = 0
        narrow_scores[0] = 0

    return run


@jit()
def wait_for_turn(turn: Any, seen: int) -> bool:
    """Wait a little for another pass; say whether it has come."""
    for _ in range(SPINS):  # noqa: SIM110 (compiled)
        if _fetch_add(turn, 0, 0) != seen:
            return True
    return False


@jit()
def stop(control: Any) -> None:
    """End the pass at hand where it is; when this returns, no thread is in it any more."""
    _exchange(control, NEXT, ENDED)
    while _fetch_add(control, _INSIDE, 0) > 0:  # as long as a tile takes
        pass


@jit()
def wait_for_chunks(control: Any, n_chunks: int) -> bool:
    """Wait a little for the others' chunks; say whether they are done."""
    for _ in range(SPINS):  # noqa: SIM110 (compiled)
        if _fetch_add(control, _DONE, 0) >= n_chunks:
            return True
    return False
