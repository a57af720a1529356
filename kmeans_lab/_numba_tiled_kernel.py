# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""The best that Numba can do without leaving Python: lanes are rows, and LLVM vectorises.

``prepare`` transposes the rows once into tiles of ``width`` rows. For each tile the scores
‖c‖² − 2x·c of four centers at a time run through a loop over the rows of the tile, in which every
row keeps its best, second best and label. The loop has no branch, and everything it reads lies at
constant offsets from three pointers, so LLVM turns it into the widest vectors of the machine
(512 bits where its model of the processor allows; ``NUMBA_CPU_NAME`` changes the model). Offsets
are constant because width and number of features are closure variables, frozen when compiled: with
arrays of two dimensions the vectoriser gives up ("too many memory checks") and the same loop takes
760 µs instead of 101 (the loop alone, standard preset). ``cache=True`` works for such closures.

Where the best two centers are closer than rounding explains, the row is decided by the plain
kernel's own arithmetic. ``fastmath`` allows fused multiply-add and nothing else.

Before its rows, the ball around a tile meets the centers. Center b is out when the whole ball lies
on another one's side of the plane between them: score(b) − score(a) > 2 · radius · ‖a − b‖. Mostly
one center is left, or a few; the rows meet those alone. Centers may move as they like, since no
bound is carried from pass to pass. Where balls spare too little they rest for ever more passes.

Threads are Python's own and not ``prange``: the portable threading layer of Numba ends the process
when two Python threads use it at once, and OpenMP hangs after a fork. A helper waits inside
compiled code for the next pass's chunks before it sleeps, because waking it costs 10 to 40 µs: it
then needs the interpreter's lock, which a pass that balls make short has hardly released. Threads
take the next free chunk; chunks have sums of their own, added in chunk order, so that results do
not depend on threads.
"""

from __future__ import annotations

import os
import threading
import weakref
from functools import cache, partial
from time import sleep
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

_FAST = {"contract"}
_PANEL = 4  # centers at a time
_LONGEST_BLOCK, _BLOCK = 16, 4  # features in one piece; features per piece beyond that
_WIDEST = 128  # rows of a tile at most: fewer make a smaller ball
_RUN = 32  # rows that are looked through together for a new label
_LANES = 16  # centers that a ball meets together: the widest vector
_MOST_FILTERED, _MOST_FEATURES = 1024, 64  # up to which balls are tested
_APART = _MOST_FILTERED + 8  # from a feature of all centers to the next: not always the same sets
_WORTHWHILE = 0.6  # of all pairs met: more, and balls are not worth it
_TRIED = 4  # tiles of a chunk before its balls are judged
_ENDED = 2**40  # no pass will follow
_SPINS = 20_000  # longer than the driver's own work between two passes

# Columns of the arrays that describe a chunk and a pass.
_SQUARES, _HEAVY, _INERTIA, _MET = range(4)
_MOVED, _STALE, _RESCORED, _N_ROWS = range(4)
# What threads write has a cache line of its own.
_NEXT, _DONE, _STAYING, _SHARE, _SUMMING, _FILTERING = 0, 8, 16, 24, 25, 26
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


@numba.njit(nogil=True, cache=True)
def _fill(X: Any, tiles: Any, reach: Any, chunk_tiles: int, notes: Any) -> None:
    """Transpose the rows; note how long they are."""
    n_samples, n_features = X.shape
    width = tiles.shape[2]
    for t in range(tiles.shape[0]):
        longest = 0.0
        for p in range(min(width, n_samples - t * width)):
            square = 0.0
            for f in range(n_features):
                value = X[t * width + p, f]
                tiles[t, f, p] = value
                square += np.float64(value) * np.float64(value)
            longest = max(longest, square)
            notes[t // chunk_tiles, _SQUARES] += square
        reach[t] = np.sqrt(longest)


@numba.njit(nogil=True, cache=True, fastmath=_FAST | {"reassoc"})
def _fit_balls(tiles: Any, n_samples: int, middle: Any, square: Any, scale: Any) -> None:
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


@numba.njit(nogil=True, cache=True, fastmath=_FAST)
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


@numba.njit(nogil=True, cache=True)
def _start(
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
            packed[j // _PANEL, f * _PANEL + j % _PANEL] = -2 * value
            square += np.float64(value) * np.float64(value)
        squares[j] = square
        longest = max(longest, square)
    scale[_LONGEST] = np.sqrt(longest)
    if filtering:
        _spread(centers, across, apart, scale)
    control[_FILTERING] = filtering
    _exchange(control, _DONE, 0)
    _exchange(control, _NEXT, 0)  # last: from here on a helper that is late may take a chunk


@numba.njit(nogil=True, cache=True)
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


@numba.njit(inline="always")
def _settle(
    tile: Any, p: int, before: Any, label: Any, note: Any, tally: Any, sums: Any, counts: Any
) -> None:
    """Move a row between running sums, or leave them to be summed in full.

    Each move rounds twice. After as many moves as rows, or when a row much longer than the
    others leaves a sum that its own rounding has spoilt, the chunk is summed anew.
    """
    tally[_MOVED] += 1
    square = 0.0
    for f in range(sums.shape[1]):
        square += np.float64(tile[f, p]) * np.float64(tile[f, p])
    if tally[_MOVED] > tally[_N_ROWS] or square > note[_HEAVY]:
        tally[_STALE] = 1
    else:
        for f in range(sums.shape[1]):
            value = np.float64(tile[f, p])
            sums[before, f] -= value
            sums[label, f] += value
        counts[before] -= 1
        counts[label] += 1


@numba.njit(nogil=True, cache=True)
def _add_rows(tiles: Any, labels: Any, sums: Any, counts: Any) -> None:
    """Add the rows of some tiles to the sums of their labels."""
    width = tiles.shape[2]
    for t in range(tiles.shape[0]):
        tile, own = tiles[t], labels[t * width : (t + 1) * width]
        for p in range(own.shape[0]):
            j = own[p]
            for f in range(sums.shape[1]):
                sums[j, f] += np.float64(tile[f, p])
            counts[j] += 1


@numba.njit(nogil=True, cache=True)
def _add_chunks(parts: Any, sizes: Any, notes: Any, centers: Any, sums: Any, counts: Any) -> float:
    """Overwrite sums and counts; return Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum), the inertia."""
    sums[:] = 0.0
    counts[:] = 0
    inertia = 0.0
    for c in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            for f in range(parts.shape[2]):
                sums[j, f] += parts[c, j, f]
            counts[j] += sizes[c, j]
        inertia += notes[c, _SQUARES]
    for j in range(parts.shape[1]):
        change = 0.0
        for f in range(parts.shape[2]):
            value = np.float64(centers[j, f])
            change += value * (counts[j] * value - 2 * sums[j, f])
        inertia += change
    return inertia


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
    note: Any, tally: Any, sums: Any, counts: Any, summing: bool,
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
                tally[_RESCORED] += 1
            before = np.int64(labels[p])
            if label == before:
                continue
            labels[p] = label
            if tally[_STALE] == 0:
                _settle(tile, p, before, label, note, tally, sums, counts)
    return inertia


@numba.njit(inline="always")
def _settle_tile(
    tile: Any, labels: Any, label: int, note: Any, tally: Any, sums: Any, counts: Any
) -> None:
    """Take all rows of a tile to one cluster."""
    for p in range(labels.shape[0]):
        before = np.int64(labels[p])
        if before != label:
            labels[p] = label
            if tally[_STALE] == 0:
                _settle(tile, p, before, label, note, tally, sums, counts)


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
def _compiled(block: int, many: bool, width: int, real: Any) -> Any:
    """Return the pass for tiles of ``block`` features, or ``many`` such blocks, by ``width`` rows.

    With many features the sums of a block of them go through memory between blocks: unrolled as
    a whole, the loop would be too long for LLVM to vectorise.
    """
    rest = 3 * width  # where these sums begin: after best, second best and index
    unit, tiny = float(np.finfo(real).eps) / 2, float(np.finfo(real).tiny)
    floor = 4 * tiny**0.5  # more than squares that underflow may lose

    @numba.njit(nogil=True, cache=True, fastmath=_FAST)
    def run(
        tiles: Any, reach: Any, nearest: Any, packed: Any, squares: Any, names: Any,
        centers: Any, sums: Any, counts: Any, notes: Any, tallies: Any, control: Any, scale: Any,
        middle: Any, square: Any, across: Any, apart: Any, near: Any, owner: Any, spins: int,
    ) -> None:  # fmt: skip
        tiles, nearest = _borrowed(tiles), _borrowed(nearest)  # type: ignore[call-arg]
        packed, squares, names = _borrowed(packed), _borrowed(squares), _borrowed(names)
        centers, sums, counts = _borrowed(centers), _borrowed(sums), _borrowed(counts)
        notes, tallies, control = _borrowed(notes), _borrowed(tallies), _borrowed(control)
        middle, across, apart = _borrowed(middle), _borrowed(across), _borrowed(apart)
        half = tiles.shape[1] - block if many else 0
        flat = tiles.reshape(tiles.shape[0], tiles.shape[1] * tiles.shape[2])
        spread = across.reshape(across.size)
        share = control[_SHARE]
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
            _fetch_add(control, _STAYING, 1)
        c = _fetch_add(control, _NEXT, 1)
        while c < notes.shape[0]:
            note, tally = notes[c], tallies[c]
            stop = min((c + 1) * share, tiles.shape[0])
            summing = control[_SUMMING] != 0
            filtering = testing = control[_FILTERING] != 0
            inertia = note[_SQUARES]
            met = 0.0
            for t in range(c * share, stop):
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
                            x, weights = point[g:], spread[g * _APART :]
                            for j in range(padded):
                                score = scores[j]
                                for f in range(block):
                                    score += x[f] * weights[f * _APART + j]
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
                                _settle_tile(tiles[t], rows, j, note, tally, sums[c], counts[c])
                            continue
                        if 4 * n_left <= 3 * k:
                            _pack(packed, squares, found, n_left, few, few_squares, few_names)
                            n_panels = (n_left + 3) // 4
                            panels, weighed, named = few, few_squares, few_names
                    if owner[t] >= 0:  # neighbours are another thread's: written when it changes
                        owner[t] = -1
                met += np.float64(n_left) * rows.shape[0]
                if testing and t + 1 - c * share >= _TRIED:
                    testing = met <= _WORTHWHILE * k * ((t + 1 - c * share) * width)
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
                    t, own, real(tolerance), tiles, nearest, centers, note, tally,
                    sums[c], counts[c], summing,
                )  # fmt: skip
            note[_INERTIA], note[_MET] = inertia, met
            if summing and tally[_STALE] != 0:
                sums[c] = 0.0
                counts[c] = 0
                rows = nearest[c * share * width : min(stop * width, nearest.shape[0])]
                _add_rows(tiles[c * share : stop], rows, sums[c], counts[c])
                tally[_MOVED] = tally[_STALE] = 0
            _fetch_add(control, _DONE, 1)
            c = _fetch_add(control, _NEXT, 1)
            if c >= notes.shape[0]:  # a helper stays for the next pass
                for _ in range(spins):
                    c = _fetch_add(control, _NEXT, 0)
                    if c < notes.shape[0]:
                        c = _fetch_add(control, _NEXT, 1)
                    if c < notes.shape[0] or c >= _ENDED:
                        break
        if spins > 0:
            _fetch_add(control, _STAYING, -1)
        room[0] = lists[0] = 0  # they live until here

    return run


@numba.njit(nogil=True, cache=True)
def _wait_for_turn(turn: Any, seen: int) -> bool:
    """Wait a little for another pass; say whether it has come."""
    for _ in range(_SPINS):  # noqa: SIM110 (compiled)
        if _fetch_add(turn, 0, 0) != seen:
            return True
    return False


@numba.njit(nogil=True, cache=True)
def _wait_for_chunks(control: Any, n_chunks: int) -> bool:
    """Wait a little for the others' chunks; say whether they are done."""
    for _ in range(_SPINS):  # noqa: SIM110 (compiled)
        if _fetch_add(control, _DONE, 0) >= n_chunks:
            return True
    return False


def _aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return zeros that begin at a cache line, so that no vector lies across two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    skip = -raw.ctypes.data % 64
    return raw[skip : skip + size].view(dtype).reshape(shape)


class _Team:
    """Helpers that run a task beside the thread that asks for it."""

    def __init__(self, n_helpers: int) -> None:
        self.owner = os.getpid()
        self.turn = _aligned((8,), np.int64)
        self.wake = threading.Condition()
        self.task: Any = None
        self.control: Any = None
        self.threads = [
            threading.Thread(target=self._serve, name="kmeans_lab", daemon=True)
            for _ in range(n_helpers)
        ]
        for thread in self.threads:
            thread.start()

    def post(self, task: Any, control: Any) -> None:
        """Let every helper run the task, which ``control`` can end; ``None`` ends them."""
        with self.wake:
            self.task, self.control = task, control
            self.turn[0] += 1
            self.wake.notify_all()

    def _serve(self) -> None:
        seen = 0
        while True:
            if not _wait_for_turn(self.turn, seen):
                with self.wake:
                    while self.turn[0] == seen:
                        self.wake.wait()
            seen, task = int(self.turn[0]), self.task
            if task is None:
                return
            task()
            del task

    def close(self) -> None:
        """End the helpers; a forked child has none."""
        if self.owner == os.getpid():
            if self.control is not None:
                self.control[_NEXT] = _ENDED
            self.post(None, None)
            for thread in self.threads:
                if thread is not threading.current_thread():
                    thread.join()


class _Plan:
    """What a pass over the tiles reads and writes; it belongs to one number of clusters."""

    def __init__(self, rows: TiledRows, n_clusters: int) -> None:
        n_tiles, padded, width = rows.tiles.shape
        n_samples, n_features = rows.shape
        n_panels, n_chunks = -(-n_clusters // _PANEL), -(-n_tiles // rows.share)
        dtype = rows.tiles.dtype
        self.centers = np.empty((n_clusters, n_features), dtype)
        self.packed = _aligned((n_panels, padded * _PANEL), dtype)
        lanes = -(-n_clusters // _LANES) * _LANES
        self.squares = np.full(lanes, np.inf, dtype)  # a padding center is far away
        self.names = np.arange(lanes, dtype=dtype)
        self.scale = _scale(n_features, dtype)
        self.sums = np.zeros((n_chunks, n_clusters, n_features))
        self.counts = np.zeros((n_chunks, n_clusters), np.int64)
        self.tallies = np.zeros((n_chunks, 4), np.int64)
        self.tallies[:, _STALE] = 1
        edges = np.minimum(np.arange(n_chunks + 1) * rows.share * width, n_samples)
        self.tallies[:, _N_ROWS] = np.diff(edges)
        self.control = _aligned((32,), np.int64)
        self.control[_NEXT], self.control[_SHARE] = n_chunks, rows.share
        self.control[_SUMMING] = rows.again
        # What balls need; next to nothing where they are never tested.
        self.possible = (
            rows.again
            and 4 <= n_clusters <= _MOST_FILTERED
            and n_features <= _MOST_FEATURES
            and n_samples >= 8 * n_clusters
        )
        self.across = _aligned((padded, _APART) if self.possible else (1, 1), dtype)
        self.apart = _aligned((n_clusters, lanes) if self.possible else (1, 1), dtype)
        self.near = np.zeros(n_tiles, np.int32)  # a center that was near last time
        self.owner = np.full(n_tiles, -1, np.int32)  # the cluster of all rows; −1: unknown
        self.filtering = False
        self.rest = self.pause = 0
        self.total = np.empty((n_clusters, n_features)), np.empty(n_clusters, np.int64)
        arrays = (
            rows.tiles, rows.reach, rows.nearest, self.packed, self.squares, self.names,
            self.centers, self.sums, self.counts, rows.notes, self.tallies, self.control,
            self.scale, rows.middle, rows.square, self.across, self.apart, self.near, self.owner,
        )  # fmt: skip
        self.task = partial(rows.run, *arrays, 0)
        self.help = partial(rows.run, *arrays, _SPINS)

    def begin(self, centers: Rows) -> None:
        """Take new centers; decide whether balls are tested, on which labels do not depend."""
        before = self.filtering
        self.filtering = self.possible and self.rest == 0
        self.rest = max(self.rest - 1, 0)
        if self.filtering and not before:
            self.owner[:] = -1
        _start(
            centers, self.centers, self.packed, self.squares, self.scale, self.control,
            self.across, self.apart, self.filtering,
        )  # fmt: skip

    def end(self, met: float) -> None:
        """Let balls rest where they spared too little, ever longer."""
        if self.filtering:
            self.pause = min(2 * self.pause + 1, 63) if met > _WORTHWHILE else 0
            self.rest = self.pause


class TiledRows:
    """Rows transposed into tiles, with their running sums: what ``prepare`` returns.

    ``again`` says that other centers will follow; or else neither sums nor balls are kept.
    """

    _plan: _Plan

    def __init__(self, X: Rows, n_clusters: int, n_threads: int, again: bool) -> None:
        n_samples, n_features = self.shape = X.shape
        self.again = again
        many = n_features > _LONGEST_BLOCK
        block = _BLOCK if many else n_features
        padded = -(-n_features // block) * block
        width = _width(padded * X.itemsize)
        n_tiles = -(-n_samples // width)
        slots = min(max(2**21 // (n_clusters * n_features), 4), 32)
        self.share = max(-(-n_samples // (slots * width)), -(-512 // width))
        real: Any = X.dtype.type
        self.run = _compiled(block, many, width, real)
        self.tiles = _aligned((n_tiles, padded, width), X.dtype)
        self.reach = np.zeros(n_tiles)
        self.notes = np.zeros((-(-n_tiles // self.share), 4))
        self.nearest = np.full(n_samples, -1, np.int32)
        _fill(X, self.tiles, self.reach, self.share, self.notes)
        self.middle = np.zeros((n_tiles if again else 1, padded), X.dtype)
        self.square = np.zeros(n_tiles if again else 1, X.dtype)
        if again and n_features <= _MOST_FEATURES:
            _fit_balls(self.tiles, n_samples, self.middle, self.square, _scale(n_features, X.dtype))
        self._met = 1.0
        # A row this much longer than the others never leaves a sum by subtraction.
        self.notes[:, _HEAVY] = 64 / (self.share * width) * self.notes[:, _SQUARES]
        self.n_threads = n_threads
        self._team: _Team | None = None
        self._rescored = 0
        self._renew()
        self._use(n_clusters)

    @property
    def rescored(self) -> int:
        """Near-ties decided by direct differences so far."""
        return self._rescored + int(self._plan.tallies[:, _RESCORED].sum())

    @property
    def met(self) -> float:
        """Of all pairs of a row and a center, the share that the last pass looked at."""
        return self._met

    def step(self, centers: Rows, labels: Labels, sums: Sums | None, counts: Any) -> float:
        """Assign, and update where sums are given; return the inertia."""
        if self._owner != os.getpid():
            self._renew()
        with self._lock:
            if len(centers) != len(self._plan.centers):
                self._use(len(centers))
            plan = self._plan
            plan.begin(centers)
            self._run(plan)
            self._met = 1.0
            if plan.filtering:
                self._met = float(self.notes[:, _MET].sum()) / (len(self.nearest) * len(centers))
            plan.end(self._met)
            labels[:] = self.nearest
            if not self.again:
                return max(float(self.notes[:, _INERTIA].sum()), 0.0)
            inertia = _add_chunks(plan.sums, plan.counts, self.notes, plan.centers, *plan.total)
            if sums is not None:
                sums += plan.total[0]
                counts += plan.total[1]
            return max(inertia, 0.0)

    def _run(self, plan: _Plan) -> None:
        if self.n_threads == 1:
            plan.task()
            return
        if self._team is None:
            self._team = _Team(self.n_threads - 1)
            weakref.finalize(self, self._team.close)
        if plan.control[_STAYING] < self.n_threads - 1:  # the others see it themselves
            self._team.post(plan.help, plan.control)
        try:
            plan.task()
        finally:
            while not _wait_for_chunks(plan.control, len(self.notes)):
                sleep(0)  # a helper's processor is doing something else

    def _use(self, n_clusters: int) -> None:
        if hasattr(self, "_plan"):
            self._rescored = self.rescored
            self._plan.control[_NEXT] = _ENDED
        self._plan = _Plan(self, n_clusters)

    def _renew(self) -> None:
        """Start without helpers: a forked child has none of its parent's."""
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._team = None
        if hasattr(self, "_plan"):
            self._plan.control[_STAYING] = 0


def _scale(n_features: int, dtype: Any) -> Any:
    """Return what rounding depends on; the longest center comes with every pass."""
    kind = np.finfo(dtype)
    up, least = 1 + (2 * n_features + 16) * float(kind.eps), 64 * float(kind.tiny)
    return np.array([0.0, 2.0 * (n_features + 4), up, least])


def _width(row_bytes: int) -> int:
    """Return how many rows make a tile that stays in the first-level cache."""
    width = _WIDEST
    while width > 32 and width * row_bytes > 2**15:
        width //= 2
    return width


def prepare(X: Rows, n_clusters: int, n_threads: int) -> TiledRows:
    """Transpose X into tiles; helpers start with the first pass that needs them."""
    return _lay_out(X, n_clusters, n_threads, again=True)


def _lay_out(X: Rows, n_clusters: int, n_threads: int, *, again: bool) -> TiledRows:
    if X.ndim != 2 or X.dtype.name not in ("float32", "float64"):
        raise ValueError("prepare needs X (n, d) of float32 or float64")
    if n_clusters < 1 or n_threads < 1:
        raise ValueError("n_clusters and n_threads must be at least 1")
    return TiledRows(X, n_clusters, n_threads, again)


def assign(rows: TiledRows | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if isinstance(rows, np.ndarray):
        rows = _lay_out(rows, len(centers), 1, again=False)
    _check(rows, centers, labels)
    return rows.step(centers, labels, None, None)


def assign_update(
    rows: TiledRows, centers: Rows, labels: Labels, sums: Sums, counts: Counts
) -> float:
    """Both steps in one pass; return the inertia."""
    _check(rows, centers, labels)
    if sums.shape != centers.shape or counts.shape != centers.shape[:1]:
        raise ValueError("assign_update needs sums (k, d) and counts (k,)")
    return rows.step(centers, labels, sums, counts)


def update(rows: TiledRows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum and count."""
    if (
        labels.shape != rows.shape[:1]
        or sums.shape[1:] != rows.shape[1:]
        or sums.shape[:1] != counts.shape
    ):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    _add_rows(rows.tiles, labels, sums, counts)


def _check(rows: TiledRows, centers: Rows, labels: Labels) -> None:
    if (
        centers.ndim != 2
        or centers.shape[1] != rows.shape[1]
        or centers.dtype != rows.tiles.dtype
        or labels.shape != rows.shape[:1]
    ):
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")


# What Numba's own functions have: the sign that a kernel compiles when it is first called.
setattr(assign, "py_func", assign)  # noqa: B010
