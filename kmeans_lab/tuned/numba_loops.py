# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""The pass over a chunk of rows, and how threads wait for each other: compiled by Numba.

Rows are transposed into tiles whose lanes are rows (``numba_tiles.py``). Rows of float64 are scored
in float32 first, of which a vector holds twice as many; where float32 tells too little apart, a
chunk goes on in float64 for a growing number of passes. Rows whose bound of an earlier pass still
holds (``numba_centers.py``) are only tested; the others are gathered into tiles. Before that, the
ball around neighbouring rows is tested against the centers (``numba_balls.py``).

Up to two features no bounds are kept: there all pairs cost no more than a gap. Up to sixteen,
tiles are transposed once and kept; those that a ball narrowed are scored where they lie.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from kmeans_lab.tuned.numba_balls import list_near, pack_centers, worthwhile
from kmeans_lab.tuned.numba_jit import jit
from kmeans_lab.tuned.numba_layout import (
    APART,
    BACK,
    DONE,
    ENDED,
    FAST,
    FILTERING,
    FLAT,
    GROUP,
    INERTIA,
    INSIDE,
    LEFT,
    LOSS,
    MET,
    NEXT,
    NEXT_WIDE,
    PANEL,
    RATE,
    SCALE,
    SCREEN_FLAT,
    SCREEN_RATE,
    SCREENING,
    SHARE,
    SPINS,
    SQUARES,
    STAYING,
    SUMMING,
    UNBOUNDED,
    WIDE,
    WIDEST,
    borrowed,
    exchange,
    fetch_add,
)
from kmeans_lab.tuned.numba_tiles import (
    add_scores,
    find_gaps,
    flag_rows,
    give_up,
    list_failing,
    score_tile,
    settle_ball,
    settle_listed,
    widen,
)

_TRIED = 4  # tiles of a chunk before its balls are judged


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

    @jit(fastmath=FAST)
    def run(
        rows: Any, tiles: Any, lengths: Any, reach: Any, nearest: Any, slack: Any, drift: Any,
        need: Any, packed: Any, squares: Any, names: Any, centers: Any, magic: Any, sums: Any,
        counts: Any, touched: Any, notes: Any, control: Any, scale: Any, middle: Any, square: Any,
        across: Any, apart: Any, near: Any, owner: Any, screen: Any, screen_squares: Any,
        screen_names: Any, spins: int,
    ) -> None:  # fmt: skip
        rows, nearest = borrowed(rows), borrowed(nearest)  # type: ignore[call-arg]
        tiles = borrowed(tiles)
        flat = tiles.reshape(tiles.shape[0], tiles.shape[1] * tiles.shape[2])
        packed, squares, names = borrowed(packed), borrowed(squares), borrowed(names)
        centers, sums, counts = borrowed(centers), borrowed(sums), borrowed(counts)
        magic, touched = borrowed(magic), borrowed(touched)
        notes, control = borrowed(notes), borrowed(control)
        middle, across, apart = borrowed(middle), borrowed(across), borrowed(apart)
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
        screen, screen_squares = borrowed(screen), borrowed(screen_squares)
        screen_names = borrowed(screen_names)
        narrow_room = np.zeros(16 + (half + block) * width, np.float32)
        narrow = borrowed(narrow_room)[-narrow_room.ctypes.data % 64 // 4 :]
        narrow_scores = np.empty(16 + 8 * width, np.float32)
        narrow_own = borrowed(narrow_scores)[-narrow_scores.ctypes.data % 64 // 4 :]
        listed, at = borrowed(waiting_room), borrowed(at_room)
        flags, before = borrowed(flags_room)[:width], borrowed(flags_room)[width:]
        values = rows.reshape(rows.size)
        long, gaps = borrowed(lengths_room)[:width], borrowed(lengths_room)[width:]
        own = borrowed(room)[-room.ctypes.data % 64 // room.itemsize :]
        gathered = borrowed(tile_room)[-tile_room.ctypes.data % 64 // room.itemsize :]
        top = own if double else borrowed(top_room)
        rest_of_room = own[7 * width :]
        scores = rest_of_room[:padded]
        few_squares, few_names = rest_of_room[padded : 2 * padded], rest_of_room[2 * padded :]
        few = rest_of_room[3 * padded : 3 * padded + packed.size].reshape(packed.shape)
        out, found = borrowed(lists)[:padded], borrowed(lists)[padded:]
        one_room = np.zeros(half + block + GROUP, rows.dtype)
        one = borrowed(one_room)
        if spins > 0:
            fetch_add(control, STAYING, 1)
        fetch_add(control, INSIDE, 1)  # before the first look: see stop
        c = fetch_add(control, NEXT, 1)
        while c < notes.shape[0]:
            note = notes[c]
            stop = min((c + 1) * share, reach.shape[0])
            summing = control[SUMMING] != 0
            bounded = summing and rows.shape[1] > UNBOUNDED
            worth = worthwhile(rows.shape[1])
            filtering = testing = control[FILTERING] != 0
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
                        tolerance = scale[FLAT] + scale[RATE] * reach[t]
                        beyond = real(2 * tolerance + floor)
                        n_left = list_near(
                            scores, apart, near, t, square[t], beyond, out, found
                        )  # fmt: skip
                        met += k
                        if n_left == 1:
                            left += 1
                            j = np.int64(found[0])
                            if owner[t] != j:
                                owner[t] = j
                                tile, step = (one, 1) if many else (flat[t], width)
                                settle_ball(
                                    rows, first, last, tile, step, nearest, slack, j, magic,
                                    sums[c], counts[c], touched[c], bounded,
                                )  # fmt: skip
                            continue
                    if filtering and owner[t] >= 0:
                        owner[t] = -1  # neighbours are another thread's: written when it changes
                    left += n_left
                    # Where balls save most of the work, bounds are neither asked nor made.
                    trusted = bounded and not testing
                    more = list_failing(
                        first, last, slack, need, nearest, trusted, listed[waiting:]
                    )  # fmt: skip
                    narrowed = 4 * n_left <= 3 * k
                    whole = kept and more > 0 and (narrowed or not trusted)
                    if whole and trusted:  # in place, whether or not their bounds hold
                        more = list_failing(
                            first, last, slack, need, nearest, False, listed[waiting:]
                        )  # fmt: skip
                    if narrowed:
                        pack_centers(packed, squares, found, n_left, few, few_squares, few_names)
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
                screened = scale[SCREENING] != 0 and n_left == k and note[WIDE] == 0
                if double and screened:
                    factor = scale[SCALE]
                    if whole:
                        for p in range(width * rows.shape[1]):
                            narrow[p] = np.float32(tile[p] * factor)
                    else:
                        for f in range(rows.shape[1]):
                            y = narrow[f * width :]
                            for p in range(width):
                                y[p] = np.float32(values[at[p] + np.uint64(f)] * factor)
                    score_tile(
                        narrow, screen, screen_squares, screen_names, n_panels, narrow_own, width,
                        block, many,
                    )  # fmt: skip
                    widen(narrow_own, width, scale[BACK], top)
                    least, rate = scale[SCREEN_FLAT], scale[SCREEN_RATE]
                    news = flag_rows(top, width, n_now, long, least, rate, was, flags)
                    n_screened += n_now
                    doubtful += news
                    if n_screened >= WIDEST and 20 * doubtful > n_screened:
                        give_up(note)
                    screened = 20 * news <= width
                if not screened:
                    if not whole:
                        for f in range(rows.shape[1]):
                            x = tile[f * width :]
                            for p in range(width):
                                x[p] = values[at[p] + np.uint64(f)]
                    score_tile(tile, panels, weighed, named, n_panels, own, width, block, many)
                    if not double:
                        widen(own, width, 1.0, top)
                    least, rate = scale[FLAT], scale[RATE]
                    flag_rows(top, width, n_now, long, least, rate, was, flags)
                if keeping:
                    find_gaps(top, width, long, least, rate, scale[LOSS], gaps)
                tile, step = (tile, width) if whole else (one, 1)
                settle_listed(
                    listed[begin:], n_now, keeping, tile, step, top, top[2 * width :], long, least,
                    rate, gaps, flags, rows, packed, squares, centers, nearest, slack, drift, down,
                    note, magic, sums[c], counts[c], touched[c], summing, bounded,
                )  # fmt: skip
                if not summing:
                    inertia += add_scores(top, n_now)
                if every and not whole:
                    waiting -= n_now
                    for p in range(waiting):
                        listed[p] = listed[n_now + p]
            if control[NEXT] >= ENDED:  # rows may be left without a cluster
                break
            note[INERTIA], note[MET], note[LEFT] = inertia, met, left
            if note[WIDE] == 0 and 20 * doubtful > n_screened:
                give_up(note)
            elif note[WIDE] == 0 and n_screened > 0:
                note[NEXT_WIDE] = 0
            fetch_add(control, DONE, 1)
            c = fetch_add(control, NEXT, 1)
            if c >= notes.shape[0]:  # a helper stays for the next pass
                for _ in range(spins):
                    c = fetch_add(control, NEXT, 0)
                    if c < notes.shape[0]:
                        c = fetch_add(control, NEXT, 1)
                    if c < notes.shape[0] or c >= ENDED:
                        break
        fetch_add(control, INSIDE, -1)
        if spins > 0:
            fetch_add(control, STAYING, -1)
        room[0] = tile_room[0] = one_room[0] = lengths_room[0] = 0  # they live until here
        lists[0] = waiting_room[0] = flags_room[0] = top_room[0] = narrow_room[0] = at_room[0] = 0
        narrow_scores[0] = 0

    return run


@jit()
def wait_for_turn(turn: Any, seen: int) -> bool:
    """Wait a little for another pass; say whether it has come."""
    for _ in range(SPINS):  # noqa: SIM110 (compiled)
        if fetch_add(turn, 0, 0) != seen:
            return True
    return False


@jit()
def stop(control: Any) -> None:
    """End the pass at hand where it is; when this returns, no thread is in it any more."""
    exchange(control, NEXT, ENDED)
    while fetch_add(control, INSIDE, 0) > 0:  # as long as a tile takes
        pass


@jit()
def wait_for_chunks(control: Any, n_chunks: int) -> bool:
    """Wait a little for the others' chunks; say whether they are done."""
    for _ in range(SPINS):  # noqa: SIM110 (compiled)
        if fetch_add(control, DONE, 0) >= n_chunks:
            return True
    return False
