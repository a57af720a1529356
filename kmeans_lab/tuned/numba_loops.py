# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""Loops that Numba compiles for its tiled kernel: lanes are rows, and LLVM vectorises.

For each tile the scores ‖c‖² − 2x·c of four centers at a time run through a loop over the rows of
the tile, in which every row keeps its best, second best and label. The loop has no branch, and
everything it reads lies at constant offsets from three pointers, so LLVM turns it into the widest
vectors of the machine (512 bits where its model of the processor allows; ``NUMBA_CPU_NAME`` changes
the model). Offsets are constant because width and number of features are closure variables, frozen
when compiled: with arrays of two dimensions the vectoriser gives up ("too many memory checks") and
the same loop takes 760 µs instead of 101 (the loop alone, standard preset). Numba's cache works for
such closures.

Where the best two centers are closer than rounding explains, the row is decided by the plain
kernel's own arithmetic. ``fastmath`` allows fused multiply-add and nothing else.

Before its rows, the ball around a tile is tested against the centers. Center b is ruled out when,
for some center a, the whole ball lies on a's side of the plane between the two: score(b) − score(a)
> 2 · radius · ‖a − b‖. Mostly one center is left, or a few; the rows are scored against those
alone. Centers may move as they like, since no bound is carried from pass to pass.

All of it is one file, however long: Numba's cache is keyed by the file of the function that is
called, and would go on using old code of functions that it calls from another file.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from kmeans_lab.tuned.numba_jit import jit

_FAST = {"contract"}
PANEL = 4  # centers at a time
GROUP = 4  # features that move together
LONGEST_BLOCK, BLOCK = 16, 4  # features in one piece; features per piece beyond that
WIDEST = 128  # rows of a tile at most: fewer make a smaller ball
_RUN = 32  # rows that are looked through together for a new label
LANES = 16  # centers tested together against a ball: the widest vector
MOST_FILTERED, MOST_FEATURES = 1024, 64  # up to which balls are tested
APART = MOST_FILTERED + 8  # from a feature of all centers to the next: not always the same sets
WORTHWHILE = 0.6  # of all pairs met: more, and balls are not worth it
_TRIED = 4  # tiles of a chunk before its balls are judged
ENDED = 2**40  # as the next chunk: no pass will follow, and the one at hand stops
SPINS = 20_000  # longer than the driver's own work between two passes

# Columns of the arrays that describe a chunk and a pass.
SQUARES, INERTIA, MET, RESCORED = range(4)
# What threads write has a cache line of its own.
NEXT, _DONE, STAYING, _INSIDE, SHARE, SUMMING, _FILTERING = 0, 8, 16, 17, 24, 25, 26
_LONGEST, _STEPS, _UP, _LEAST = range(4)
_U64 = 2.0**-53


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
    for t in range(tiles.shape[0]):
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


@jit()
def start(
    given: Any, centers: Any, packed: Any, squares: Any, scale: Any, control: Any,
    across: Any, apart: Any, filtering: bool,
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
    scale[_LONGEST] = np.sqrt(longest)
    if filtering:
        _spread(centers, across, apart, scale)
    control[_FILTERING] = filtering
    _exchange(control, _DONE, 0)
    _exchange(control, NEXT, 0)  # last: from here on a helper that is late may take a chunk


@jit()
def _rescore(tile: Any, p: int, centers: Any) -> int:
    """Return the nearest center by the plain kernel's arithmetic, so that ties fall as there."""
    best = np.inf
    nearest = 0
    for j in range(centers.shape[0]):
        distance = 0.0
        for f in range(centers.shape[1]):
            diff = np.float64(tile[f, p]) - np.float64(centers[j, f])
            distance += _rounded(diff * diff)  # type: ignore[call-arg]
        if distance < best:
            best = distance
            nearest = j
    return nearest


@numba.njit(inline="always")
def _tolerance(x: float, c: float, steps: float, unit: float, tiny: float) -> float:
    """Return up to which gap two scores are decided by direct differences.

    Twice the rounding of ‖c‖² − 2x·c and of ‖c‖², plus twice that of the direct sum, so that a
    gap beyond it gives the label that direct sums would give. The last term covers steps that
    underflow.
    """
    return 1.001 * steps * (unit * c * (c + 2 * x) + _U64 * (x + c) * (x + c) + tiny)


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


@jit()
def add_rows(tiles: Any, labels: Any, magic: Any, sums: Any, counts: Any, touched: Any) -> bool:
    """Add rows to the sums of their labels; say whether every label names one."""
    flat = tiles.reshape(tiles.shape[0], tiles.shape[1] * tiles.shape[2])
    width = tiles.shape[2]
    for t in range(flat.shape[0]):
        own = labels[t * width : (t + 1) * width]  # fewer in the last tile
        for p in range(own.shape[0]):
            j = np.int64(own[p])
            if j < 0 or j >= counts.shape[0]:
                return False
            _move(flat[t], width, p, -1, j, magic, sums, counts, touched)
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


@numba.njit(inline="always")
def _read_tile(
    t: int, own: Any, tolerance: Any, tiles: Any, nearest: Any, centers: Any,
    note: Any, flat: Any, magic: Any, sums: Any, counts: Any, touched: Any, summing: bool,
) -> float:  # fmt: skip
    """Take the new labels of a tile from ``own``; return the sum of scores, where none is kept."""
    tile = tiles[t]
    width = tile.shape[1]
    labels = nearest[t * width : (t + 1) * width]  # fewer in the last tile
    best, second, index = own[:width], own[width : 2 * width], own[2 * width : 3 * width]
    inertia = 0.0
    for first in range(0, labels.shape[0], _RUN):
        last = min(first + _RUN, labels.shape[0])
        # Slices, so that indices are known not to be negative; or else LLVM does not vectorise.
        b1, b2, i, stored = best[first:], second[first:], index[first:], labels[first:]
        news = 0
        for p in range(last - first):
            news += (b2[p] - b1[p] <= tolerance) | (i[p] != stored[p])
        if not summing:
            a = b = c = d = 0.0  # four sums: one would wait for its own additions
            for p in range(first, last - 3, 4):
                a += best[p]
                b += best[p + 1]
                c += best[p + 2]
                d += best[p + 3]
            for p in range(last - (last - first) % 4, last):
                a += best[p]
            inertia += (a + b) + (c + d)
        if news == 0:
            continue
        for p in range(first, last):
            label: Any = np.int64(index[p])
            if second[p] - best[p] <= tolerance:
                label = _rescore(tile, p, centers)
                note[RESCORED] += 1
            before = np.int64(labels[p])
            if label == before:
                continue
            labels[p] = label
            if summing:
                _move(flat[t], width, p, before, label, magic, sums, counts, touched)
    return inertia


@numba.njit(inline="always")
def _settle_tile(
    tile: Any, width: int, labels: Any, label: int, magic: Any, sums: Any, counts: Any, touched: Any
) -> None:
    """Take all rows of a tile to one cluster."""
    for p in range(labels.shape[0]):
        before = np.int64(labels[p])
        if before != label:
            labels[p] = label
            _move(tile, width, p, before, label, magic, sums, counts, touched)


@numba.njit(inline="always")
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


@numba.njit(inline="always")
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


@cache
def compiled(block: int, many: bool, width: int, real: Any) -> Any:
    """Return the pass for tiles of ``block`` features, or ``many`` such blocks, by ``width`` rows.

    With many features the sums of a block of them go through memory between blocks: unrolled as
    a whole, the loop would be too long for LLVM to vectorise.
    """
    rest = 3 * width  # where these sums begin: after best, second best and index
    unit, tiny = float(np.finfo(real).eps) / 2, float(np.finfo(real).tiny)
    floor = 4 * tiny**0.5  # more than squares that underflow may lose

    @jit(fastmath=_FAST)
    def run(
        tiles: Any, reach: Any, nearest: Any, packed: Any, squares: Any, names: Any,
        centers: Any, magic: Any, sums: Any, counts: Any, touched: Any, notes: Any, control: Any,
        scale: Any, middle: Any, square: Any, across: Any, apart: Any, near: Any, owner: Any,
        spins: int,
    ) -> None:  # fmt: skip
        tiles, nearest = _borrowed(tiles), _borrowed(nearest)  # type: ignore[call-arg]
        packed, squares, names = _borrowed(packed), _borrowed(squares), _borrowed(names)
        centers, sums, counts = _borrowed(centers), _borrowed(sums), _borrowed(counts)
        magic, touched = _borrowed(magic), _borrowed(touched)
        notes, control = _borrowed(notes), _borrowed(control)
        middle, across, apart = _borrowed(middle), _borrowed(across), _borrowed(apart)
        half = tiles.shape[1] - block if many else 0
        flat = tiles.reshape(tiles.shape[0], tiles.shape[1] * tiles.shape[2])
        spread = across.reshape(across.size)
        share = control[SHARE]
        k, padded = centers.shape[0], squares.shape[0]
        # Room of this thread: for the rows of a tile, for a ball, and for listed centers.
        room = np.empty(16 + 7 * width + padded * 3 + packed.size, tiles.dtype)
        lists = np.empty(2 * padded + 1, np.int32)
        own = _borrowed(room)[-room.ctypes.data % 64 // room.itemsize :]
        rest_of_room = own[7 * width :]
        scores = rest_of_room[:padded]
        few_squares, few_names = rest_of_room[padded : 2 * padded], rest_of_room[2 * padded :]
        few = rest_of_room[3 * padded : 3 * padded + packed.size].reshape(packed.shape)
        out, found = _borrowed(lists)[:padded], _borrowed(lists)[padded:]
        if spins > 0:
            _fetch_add(control, STAYING, 1)
        _fetch_add(control, _INSIDE, 1)  # before the first look: see stop
        c = _fetch_add(control, NEXT, 1)
        while c < notes.shape[0]:
            note = notes[c]
            stop = min((c + 1) * share, tiles.shape[0])
            summing = control[SUMMING] != 0
            filtering = testing = control[_FILTERING] != 0
            inertia = note[SQUARES]
            met = 0.0
            for t in range(c * share, stop):
                if control[NEXT] >= ENDED:
                    break
                tolerance = _tolerance(reach[t], scale[_LONGEST], scale[_STEPS], unit, tiny)
                rows = nearest[t * width : (t + 1) * width]  # fewer in the last tile
                n_left, n_panels = k, packed.shape[0]
                panels, weighed, named = packed, squares, names
                if filtering:
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
                        beyond = real(2 * tolerance + floor)
                        n_left = _list_near(
                            scores, apart, near, t, square[t], beyond, out, found
                        )  # fmt: skip
                        met += k
                        if n_left == 1:
                            j = np.int64(found[0])
                            if owner[t] != j:
                                owner[t] = j
                                _settle_tile(
                                    flat[t], width, rows, j, magic, sums[c], counts[c], touched[c]
                                )
                            continue
                        if 4 * n_left <= 3 * k:
                            _pack(packed, squares, found, n_left, few, few_squares, few_names)
                            n_panels = (n_left + 3) // 4
                            panels, weighed, named = few, few_squares, few_names
                    if owner[t] >= 0:  # neighbours are another thread's: written when it changes
                        owner[t] = -1
                met += np.float64(n_left) * rows.shape[0]
                if testing and t + 1 - c * share >= _TRIED:
                    testing = met <= WORTHWHILE * k * ((t + 1 - c * share) * width)
                tile = flat[t]
                for p in range(width):
                    own[p] = own[width + p] = np.inf
                    own[2 * width + p] = 0
                for q in range(n_panels):
                    panel = panels[q]
                    squared = (
                        weighed[4 * q], weighed[4 * q + 1], weighed[4 * q + 2], weighed[4 * q + 3]
                    )  # fmt: skip
                    j0, j1, j2, j3 = (
                        named[4 * q], named[4 * q + 1], named[4 * q + 2], named[4 * q + 3]
                    )  # fmt: skip
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
                        top = own[p], own[width + p], own[2 * width + p]
                        top = _keep(s[0], j0, top)
                        top = _keep(s[1], j1, top)
                        top = _keep(s[2], j2, top)
                        top = _keep(s[3], j3, top)
                        own[p], own[width + p], own[2 * width + p] = top
                inertia += _read_tile(
                    t, own, real(tolerance), tiles, nearest, centers, note, flat, magic,
                    sums[c], counts[c], touched[c], summing,
                )  # fmt: skip
            if control[NEXT] >= ENDED:  # rows may be left without a cluster
                break
            note[INERTIA], note[MET] = inertia, met
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
        room[0] = lists[0] = 0  # they live until here

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
