# One bound per row, included by cython.pxi: how much nearer its center is than any other (Hamerly,
# "Making k-means even faster", SDM 2010). Rows whose bound holds are only tested; the others are
# gathered, a tile at a time, and scored.
#
# A row's slack is the gap between its distances to the two nearest centers when it was scored, plus
# the drift of its center then. A center's drift grows by its own way and by the longest way of all
# others: the gap shrinks by no more. So the row keeps its center while slack > drift.

# Add the ways of the centers, which are about to be replaced, to their drifts. Rounded upwards: by
# `loss` for the squares, and by more than half a unit in the last place after each addition.
# Squares of differences below 2⁻⁵³⁷ vanish, wherefore 2⁻⁵⁰⁰ is added. What is not a number becomes
# infinite, and then no slack is enough.
cdef void _drift_on(Shared *w, const real[:, ::1] centers) noexcept nogil:
    cdef const real *old = <const real *> w.centers
    cdef real *need = <real *> w.need + 1
    cdef double most = 0.0, second = 0.0, square, diff
    cdef Py_ssize_t j, f, who = -1
    cdef bint moved
    for j in range(w.k):
        square = 0.0
        moved = False
        for f in range(w.d):
            diff = <double> centers[j, f] - <double> old[j * w.d + f]
            square += diff * diff
            moved |= diff != 0
        w.way[j] = sqrt(square) * (1 + w.loss) + 2.0 ** -500 if moved else 0.0
        if square != square:
            w.way[j] = INFINITY
        if w.way[j] > most:
            second = most
            most = w.way[j]
            who = j
        elif w.way[j] > second:
            second = w.way[j]
    for j in range(w.k):
        w.drift[j] += (w.way[j] + (second if j == who else most)) * (1 + w.loss)
        w.drift[j] *= 1 + 2.0 ** -50
        need[j] = <real> fmax(w.drift[j] * (1 + 4 * w.unit), w.tiny) if w.drift[j] > 0 else 0


# No row is in new sums, and none has a bound.
cdef void _forget(Shared *w, real *nearest) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(w.n):
        nearest[i] = -1
    if w.bounded:
        for i in range(w.n):
            (<real *> w.slack)[i] = -1


cdef void _read_gaps(Shared *w, double[::1] gaps, const real *sample) noexcept nogil:
    cdef Py_ssize_t i, own
    for i in range(w.n):
        gaps[i] = -1
        if not w.bounded:
            continue
        own = <Py_ssize_t> (<real *> w.nearest)[i]
        gaps[i] = <double> (<real *> w.slack)[i] - (w.drift[own] if own >= 0 else 0.0)


# List the rows of a tile that need a look, and return how many: all where bounds do not count.
cdef Py_ssize_t _list_failing(
    const Shared *w, Py_ssize_t t, bint bounded, Py_ssize_t *listed, const real *sample
) noexcept nogil:
    cdef const real *slack = <const real *> w.slack
    cdef const real *nearest = <const real *> w.nearest
    cdef const real *need = <const real *> w.need + 1
    cdef Py_ssize_t i, first = t * WIDTH, last = min((t + 1) * WIDTH, w.n), n = 0
    if not bounded:
        for i in range(first, last):
            listed[i - first] = i
        return last - first
    for i in range(first, last):
        listed[n] = i
        n += 1 - (slack[i] > need[<int32_t> nearest[i]])
    return n


# Transpose listed rows into a tile; the last one fills it up.
cdef void _gather(
    const Shared *w, const Py_ssize_t *listed, Py_ssize_t n, real *tile
) noexcept nogil:
    cdef const real *rows = <const real *> w.rows
    cdef Py_ssize_t at[WIDTH]
    cdef Py_ssize_t p, f
    for p in range(WIDTH):
        at[p] = listed[p if p < n else n - 1] * w.d
    for f in range(w.d):
        for p in range(WIDTH):
            tile[p] = rows[at[p] + f]
        tile += WIDTH


# How much nearer the best center is than the second, at least. Squared distances are score + ‖x‖²,
# off by no more than half the tolerance: (d + 4) roundings of the score, (d + 1) of ‖x‖² and two of
# the sums. With η = (d + 3) u64, the reference's sums of differences are off by η of each squared
# distance, and by δ = d 2⁻¹⁰⁷⁴ where squares vanish. With D to the own center and D + g to another,
# they give the same label if (1 − η) (D + g)² > (1 + η) D² + 2δ, for which g > 2.05 η D + 2⁻⁵⁰⁹ is
# enough. `loss` > 2.05 η + 8 u64 covers that, and what roots, products and differences lose here;
# ways of centers are lengthened by `loss`, too, so that it still does when D has grown by the ways
# of the own center. What is not a number stays none, and no bound; nor is a
# score that has overflowed.
cdef inline double _gap(
    const Shared *w, double best, double second, double square, double tolerance
) noexcept nogil:
    cdef double near = best + square + tolerance, far = second + square - tolerance
    near = 0.0 if near < 0 else near
    far = far if 0 < far < <double> INFINITY else 0.0
    return sqrt(far) * (1 - w.loss) - sqrt(near) * (1 + w.loss) - 2.0 ** -509


# Say of each row what needs a look: 2 for a near-tie, 1 for another center than before.
cdef inline void _flag(
    const double *best, const double *second, const double *index, const double *before,
    const double *squares, double least, double rate, int32_t *flags,
) noexcept nogil:
    cdef Py_ssize_t p
    cdef int32_t clear
    for p in range(WIDTH):
        clear = second[p] - best[p] > least + rate * squares[p]
        flags[p] = 2 * (1 - clear) | (index[p] != before[p])


# Score rows against centers, no more than a tile holds; take those whose nearest center is another
# one to its cluster. They are all rows of tile t, which is kept, or any where t is negative.
cdef void _score_listed(
    Shared *w, Chunk *chunk, Py_ssize_t t, const Py_ssize_t *listed, Py_ssize_t n,
    const Centers *centers, const real *sample,
) noexcept nogil:
    cdef double best[WIDTH]
    cdef double second[WIDTH]
    cdef double index[WIDTH]
    cdef double before[WIDTH]
    cdef double squares[WIDTH]
    cdef double gaps[WIDTH]
    cdef int32_t flags[WIDTH]
    cdef real *tile = <real *> chunk.tile
    cdef double least = w.screen_least, rate = w.screen_rate, down
    cdef Py_ssize_t p, i
    cdef int32_t news = 0
    cdef bint screened = w.screening and centers.n == w.k and chunk.wide_left == 0
    if n == 0:
        return
    chunk.met += n * centers.n
    if t >= 0:
        for p in range(WIDTH):
            squares[p] = w.reach[t]
            before[p] = (<const real *> w.nearest)[t * WIDTH + p]
    else:
        for p in range(WIDTH):
            i = listed[p if p < n else n - 1]
            squares[p] = w.lengths[i]
            before[p] = (<const real *> w.nearest)[i]
    if screened:
        _screen(w, <float *> chunk.tile, t, listed, n, best, second, index, sample)
        _flag(best, second, index, before, squares, least, rate, flags)
        screened = _decided_enough(chunk, flags, n)
    if not screened:
        least, rate = w.least, w.rate
        if t >= 0:
            tile = <real *> w.tiles + t * WIDTH * w.d
        else:
            _gather(w, listed, n, tile)
        _score(
            tile, <const real *> centers.packed, <const real *> centers.squares,
            <const real *> centers.names, w.d, centers.panels, best, second, index,
        )
        _flag(best, second, index, before, squares, least, rate, flags)
    if w.bounded and centers.every:
        for p in range(WIDTH):
            gaps[p] = _gap(w, best[p], second[p], squares[p], least + rate * squares[p])
        down = 1 - 4 * w.unit
        for p in range(n):
            i = listed[p]
            (<real *> w.slack)[i] = <real> ((gaps[p] + w.drift[<int32_t> index[p]]) * down)
    for p in range(WIDTH):
        news |= flags[p]
    if news:
        for p in range(WIDTH):
            best[p] += least + rate * squares[p]
        _settle_listed(w, chunk, listed, n, centers.every, index, best, flags, sample)
    if not w.keeps:
        chunk.inertia += _total_of(best, n)


# Keep what was found for rows: 2 in their flags says near-tie, 1 another center. Scores above the
# limits are not the least.
cdef void _settle_listed(
    Shared *w, Chunk *chunk, const Py_ssize_t *listed, Py_ssize_t n, bint every,
    const double *index, const double *limits, const int32_t *flags, const real *sample,
) noexcept nogil:
    cdef real *nearest = <real *> w.nearest
    cdef const real *row
    cdef Py_ssize_t p, i, before, label
    for p in range(n):
        if not flags[p]:
            continue
        i = listed[p]
        row = <const real *> w.rows + i * w.d
        label = <Py_ssize_t> index[p]
        if flags[p] & 2:
            label = _rescore(w, row, limits[p])
            chunk.rescored += 1
        if w.bounded and (flags[p] & 2 or not every):
            (<real *> w.slack)[i] = -1
        before = <Py_ssize_t> nearest[i]
        if label != before:
            nearest[i] = <real> label
            if w.keeps:
                _move(w, row, 1, before, label, chunk.sums, chunk.counts, chunk.touched)


cdef double _total_of(const double *scores, Py_ssize_t n) noexcept nogil:
    cdef double a = 0.0, b = 0.0, c = 0.0, d = 0.0
    cdef Py_ssize_t p
    for p in range(0, n - 3, 4):  # four sums: one would wait for its additions
        a += scores[p]
        b += scores[p + 1]
        c += scores[p + 2]
        d += scores[p + 3]
    for p in range(n - n % 4, n):
        a += scores[p]
    return (a + b) + (c + d)
