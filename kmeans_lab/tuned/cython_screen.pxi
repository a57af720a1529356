# Screening, included by cython.pxi: rows of float64 are scored in float32 first, of which a vector
# holds twice as many. What float32 cannot tell apart is decided as near-ties are; where that is
# more than one row in twenty, float32 is given up for a growing number of passes.
#
# Rows and centers are scaled by a power of two that makes the longest of them about as long as one,
# so that no square overflows. Rounding the two factors of each product adds two steps to those of
# _tolerance, and what vanishes is less than its `tiny`.

cdef enum:
    MOST_NAMED = 1 << 24  # centers: a float32 holds their numbers
    MOST_SUMMED = 1 << 14  # features, whose roundings are as good as their first order
    MOST_DOUBTFUL = WIDTH // 20  # rows of a tile
    MOST_PAUSE = 64


# Centers as float32 rows meet them, and up to which gap two scores are no decision.
cdef void _prepare_screening(Shared *w, double longest, const real *sample) noexcept nogil:
    cdef float *packed = <float *> w.screen_packed
    cdef float *squares = <float *> w.screen_squares
    cdef float *names = <float *> w.screen_names
    cdef double unit = 2.0 ** -24, steps = 1.001 * 2 * (w.d + 6)
    cdef double square, most = fmax(w.farthest, longest)
    cdef Py_ssize_t i, j, f
    cdef int exponent
    w.screening = packed != NULL and 2.0 ** -800 < most < 2.0 ** 800
    if not w.screening:
        return
    frexp(sqrt(most), &exponent)
    w.scale = ldexp(1.0, -exponent)
    w.back = ldexp(1.0, 2 * exponent)
    w.screen_least = steps * (2 * (unit + U64) * longest + 2.0 ** -126 * w.back)
    w.screen_rate = steps * (unit + 2 * U64)
    for i in range(w.panels * w.d * PANEL):
        packed[i] = <float> ((<const real *> w.packed)[i] * w.scale)
    for j in range(w.panels * PANEL):
        square = (<const real *> w.squares)[j]
        squares[j] = <float> (square * w.scale * w.scale)
        names[j] = <float> j


# A chunk's pass begins.
cdef void _begin_screening(Chunk *chunk) noexcept nogil:
    chunk.screened = chunk.doubtful = 0
    if chunk.wide_left > 0:
        chunk.wide_left -= 1


# Where float32 has left too much open of more than `least` rows, go on in float64 for the rest of
# the pass and the next, then 2, 4 … further ones; none is `least` when a pass ends.
cdef void _end_screening(Chunk *chunk, Py_ssize_t least) noexcept nogil:
    if chunk.wide_left > 0 or chunk.screened <= least:
        return
    if 20 * chunk.doubtful > chunk.screened:
        chunk.wide_next = min(max(2 * chunk.wide_next, 1), MOST_PAUSE)
        chunk.wide_left = chunk.wide_next + 1
    elif least == 0:
        chunk.wide_next = 0


# Count what float32 left open of a tile; say whether the tile can be kept as it is.
cdef bint _decided_enough(Chunk *chunk, const int32_t *flags, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t p, doubtful = 0
    for p in range(n):
        doubtful += flags[p] >> 1
    chunk.screened += n
    chunk.doubtful += doubtful
    _end_screening(chunk, WIDTH)
    return doubtful <= MOST_DOUBTFUL


# As _score, but in float32: listed rows, or those of tile t, which is kept.
cdef void _screen(
    const Shared *w, float *tile, Py_ssize_t t, const Py_ssize_t *listed, Py_ssize_t n,
    double *best, double *second, double *index, const real *sample,
) noexcept nogil:
    cdef const real *kept
    cdef const real *rows = <const real *> w.rows
    cdef real scale = <real> w.scale
    cdef Py_ssize_t at[WIDTH]
    cdef Py_ssize_t p, f
    if t >= 0:
        kept = <const real *> w.tiles + t * WIDTH * w.d
        for p in range(WIDTH * w.d):
            tile[p] = <float> (kept[p] * scale)
    else:
        for p in range(WIDTH):
            at[p] = listed[p if p < n else n - 1] * w.d
        for f in range(w.d):
            for p in range(WIDTH):
                tile[f * WIDTH + p] = <float> (rows[at[p] + f] * scale)
    _score(
        tile, <const float *> w.screen_packed, <const float *> w.screen_squares,
        <const float *> w.screen_names, w.d, w.panels, best, second, index,
    )
    for p in range(WIDTH):
        best[p] *= w.back
        second[p] *= w.back
