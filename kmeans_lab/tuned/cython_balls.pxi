# Balls of rows, included by cython.pxi: centers that are too far from all rows of a tile are ruled
# out at once. The method is the flagship's (cpp/simd/isa/balls-inl.h), with one level of balls and
# the rows in their own order. Center b is ruled out when, for some center a, the whole ball lies on
# a's side of the plane between the two: score(b) − score(a) > 2 · radius · ‖a − b‖.

cdef enum:
    LANES = 16  # centers of the widest vector
    MOST_FILTERED = 1024  # clusters
    MOST_FEATURES = 64  # of rows with balls
    MOST_LISTED = 32  # centers that a tile is scored against by list


# The ball around the mean of a tile's rows. Rounded upwards; never so small that its square
# underflows.
cdef void _fit_ball(Shared *w, Py_ssize_t t, const real *tile) noexcept nogil:
    cdef real *middle = <real *> w.middle + t * w.d
    cdef Py_ssize_t p, f, rows = min(<Py_ssize_t> WIDTH, w.n - t * WIDTH)
    cdef double distances[WIDTH]
    cdef double total, diff, farthest = 0.0
    for p in range(WIDTH):
        distances[p] = 0.0
    for f in range(w.d):
        total = 0.0
        for p in range(rows):
            total += tile[f * WIDTH + p]
        middle[f] = <real> (total / rows)
        for p in range(WIDTH):
            diff = <double> tile[f * WIDTH + p] - <double> middle[f]
            distances[p] += diff * diff
    for p in range(rows):
        farthest = fmax(farthest, distances[p])
    (<real *> w.square)[t] = <real> fmax(
        farthest * (1 + (2 * w.d + 16) * 2 * w.unit), 64 * w.tiny
    )


# All centers feature by feature, and 4‖a − b‖² of each pair, rounded upwards.
cdef void _spread(Shared *w, const real *sample) noexcept nogil:
    cdef real *across = <real *> w.across
    cdef real *apart
    cdef const real *row
    cdef real up = <real> (1 + (2 * w.d + 16) * 2 * w.unit)
    cdef real least = <real> (64 * w.tiny)
    cdef real own
    cdef Py_ssize_t a, j, f
    for j in range(w.k):
        for f in range(w.d):
            across[f * w.padded + j] = -2 * (<real *> w.centers)[j * w.d + f]
    for a in range(w.k):
        apart = <real *> w.apart + a * w.padded
        for j in range(w.padded):
            apart[j] = 0
        for f in range(w.d):
            row = across + f * w.padded
            own = row[a]
            for j in range(w.padded):
                apart[j] = apart[j] + (row[j] - own) * (row[j] - own)
        for j in range(w.padded):
            apart[j] = apart[j] * up if apart[j] * up > least else least


cdef Py_ssize_t _list(
    const Shared *w, const real *scores, real square, real beyond, Py_ssize_t a, int32_t *found
) noexcept nogil:
    cdef const real *apart = <const real *> w.apart + a * w.padded
    cdef int32_t out[MOST_FILTERED]
    cdef real base = scores[a] + beyond
    cdef real above
    cdef Py_ssize_t j, n = 0
    for j in range(w.padded):  # what is not a number stays
        above = scores[j] - base
        out[j] = (above > 0) & (above * above > apart[j] * square)
    for j in range(w.k):
        found[n] = <int32_t> j
        n += 1 - out[j]
    return n


# The centers that may be nearest to a row of a tile, in order: `found` needs room for all. The
# center that was near in the last pass is tried first, and then the nearest of those that it did
# not rule out.
cdef Py_ssize_t _left_for(
    Shared *w, Py_ssize_t t, int32_t *found, const real *sample
) noexcept nogil:
    cdef const real *middle = <const real *> w.middle + t * w.d
    cdef const real *squares = <const real *> w.squares
    cdef const real *row
    cdef real scores[MOST_FILTERED]
    cdef real square = (<const real *> w.square)[t]
    cdef real m
    # Twice the rows' tolerance: theirs and the middle's. The floor is more than squares that
    # underflow may lose.
    cdef real beyond = <real> (2 * _tolerance(w, w.reach[t]) + 4 * sqrt(w.tiny))
    cdef Py_ssize_t j, f, i, n, best = w.near[t]
    for j in range(w.padded):
        scores[j] = squares[j]
    for f in range(w.d):
        m = middle[f]
        row = <const real *> w.across + f * w.padded
        for j in range(w.padded):
            scores[j] = scores[j] + m * row[j]
    n = _list(w, scores, square, beyond, best, found)
    for i in range(n):
        if scores[found[i]] < scores[best]:
            best = found[i]
    if best != w.near[t]:
        w.near[t] = <int32_t> best
        n = _list(w, scores, square, beyond, best, found)
    return n


# Listed centers side by side, as _score reads them.
cdef Py_ssize_t _pack(
    const Shared *w, const int32_t *found, Py_ssize_t n, real *packed, real *squares, real *names
) noexcept nogil:
    cdef const real *centers = <const real *> w.centers
    cdef Py_ssize_t i, f, panels = (n + PANEL - 1) // PANEL
    cdef real *to
    for i in range(panels * PANEL):
        to = packed + i // PANEL * w.d * PANEL + i % PANEL
        names[i] = <real> found[i if i < n else 0]
        squares[i] = (<const real *> w.squares)[found[i]] if i < n else <real> INFINITY
        for f in range(w.d):
            to[f * PANEL] = -2 * centers[found[i] * w.d + f] if i < n else 0
    return panels


# Take all rows of a tile to one cluster. How far the others are from a row is not known then.
cdef void _settle_tile(
    Shared *w, Chunk *chunk, Py_ssize_t t, Py_ssize_t label, const real *sample
) noexcept nogil:
    cdef real *nearest = <real *> w.nearest
    cdef Py_ssize_t i, before
    w.owner[t] = <int32_t> label
    for i in range(t * WIDTH, min((t + 1) * WIDTH, w.n)):
        before = <Py_ssize_t> nearest[i]
        if before != label:
            nearest[i] = <real> label
            if w.bounded:
                (<real *> w.slack)[i] = -1
            _move(
                w, <const real *> w.rows + i * w.d, 1, before, label, chunk.sums, chunk.counts,
                chunk.touched,
            )


# The tiles of a chunk; balls are given up for the rest of it when they rule out too few centers.
cdef void _run_chunk(Shared *w, Chunk *chunk, const real *sample) noexcept nogil:
    cdef int32_t found[MOST_FILTERED]
    cdef real packed[MOST_LISTED * MOST_FEATURES]
    cdef real squares[MOST_LISTED]
    cdef real names[MOST_LISTED]
    cdef Py_ssize_t listed[2 * WIDTH]  # rows that wait to be scored
    cdef Py_ssize_t t, left, more, waiting = 0
    cdef bint testing = w.filtering, narrowed, trusted
    cdef Centers all, few
    all.packed, all.squares, all.names = w.packed, w.squares, w.names
    all.n, all.panels, all.every = w.k, w.panels, True
    few.packed, few.squares, few.names, few.every = packed, squares, names, False
    for t in range(chunk.first, chunk.last):
        if lab_load(&w.next) >= ENDED:
            return
        left = w.k
        if testing:
            left = _left_for(w, t, found, sample)
            chunk.met += w.k
            if left == 1:
                chunk.left += 1
                if w.owner[t] != found[0]:
                    _settle_tile(w, chunk, t, found[0], sample)
                continue
        if w.filtering:
            w.owner[t] = -1
        chunk.left += left
        # Where balls save most of the work, bounds are neither asked nor made.
        trusted = w.bounded and not testing
        all.every = not testing
        more = _list_failing(w, t, trusted, listed + waiting, sample)
        narrowed = left <= MOST_LISTED and 4 * left <= 3 * w.k
        if narrowed:
            few.n = left
            few.panels = _pack(w, found, left, packed, squares, names)
        if w.tiles != NULL and more > 0 and (narrowed or not trusted):
            # In place, whether or not their bounds hold.
            if trusted:
                more = _list_failing(w, t, False, listed + waiting, sample)
            _score_listed(
                w, chunk, t, listed + waiting, more, &few if narrowed else &all, sample
            )
        elif narrowed:
            _score_listed(w, chunk, -1, listed + waiting, more, &few, sample)
        else:
            waiting += more
        if waiting >= WIDTH:
            _score_listed(w, chunk, -1, listed, WIDTH, &all, sample)
            waiting -= WIDTH
            memcpy(listed, listed + WIDTH, waiting * sizeof(Py_ssize_t))
        if t - chunk.first == 3:
            testing = testing and chunk.left <= w.worthwhile * 4 * w.k
    _score_listed(w, chunk, -1, listed, waiting, &all, sample)
