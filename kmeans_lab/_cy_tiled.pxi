# The tiled kernel in Cython, included once per instruction set: see _cy_tiled_kernel.py.
#
# Rows lie in tiles of WIDTH rows, transposed. The scores ‖c‖² − 2x·c of four centers at a time go
# through loops over the rows of a tile that have no branch and write to local arrays only, so that
# gcc and clang vectorise them at -O3 without being allowed to reorder sums.

from libc.math cimport INFINITY, fmax, sqrt
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef extern from *:
    """
    #if defined(__clang__)
    #define KMEANS_LAB_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define KMEANS_LAB_COMPILER "gcc " __VERSION__
    #else
    #define KMEANS_LAB_COMPILER "msvc"
    #endif
    static const char *kmeans_lab_build = KMEANS_LAB_COMPILER " " KMEANS_LAB_FLAGS;

    #if defined(_MSC_VER)
    #include <intrin.h>
    #define lab_add(at, value) _InterlockedExchangeAdd64(at, value)
    #define lab_store(at, value) _InterlockedExchange64(at, value)
    #else
    #define lab_add(at, value) __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST)
    #define lab_store(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)
    #endif
    #if defined(__GNUC__) && defined(__x86_64__)
    #define lab_pause() __builtin_ia32_pause()
    #define lab_level() (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ? 0 : \
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && \
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? 2 : 1)
    #else
    #define lab_pause()
    #define lab_level() 0
    #endif
    """
    const char *kmeans_lab_build
    int64_t lab_add(int64_t *at, int64_t value) noexcept nogil
    void lab_store(int64_t *at, int64_t value) noexcept nogil
    void lab_pause() noexcept nogil
    int lab_level()

BUILD = kmeans_lab_build.decode("ascii")
LEVEL = lab_level()  # of the processor: 0 baseline, 1 avx2, 2 avx512

ctypedef fused real:
    float
    double

cdef enum:
    WIDTH = 64  # rows of a tile
    PANEL = 4  # centers at a time
    SPINS = 20000  # longer than the driver's own work between two passes

cdef double U64 = 2.0 ** -53

cdef struct Chunk:
    int64_t first, last  # tiles
    int64_t n_rows, moved, rescored
    bint stale  # sum in full before the sums are used
    double squares, heavy, inertia, met
    double *sums
    int64_t *counts

cdef struct Shared:
    Py_ssize_t n, d, k, n_tiles, n_chunks, panels, padded
    void *tiles  # (n_tiles, d, WIDTH)
    void *nearest  # (n_tiles · WIDTH): labels of the last pass, as numbers of the rows' type
    void *packed  # (panels, d, PANEL): −2c
    void *squares  # (padded): ‖c‖², a padding center's is infinite
    void *names  # (panels · PANEL): 0, 1, 2, …
    void *centers  # (k, d)
    double *reach  # (n_tiles): the longest row
    void *middle  # (n_tiles, d): of each tile's ball
    void *square  # (n_tiles): its squared radius
    int32_t *near  # (n_tiles): a center that was near last time
    int32_t *labels  # (n): the caller's, while a pass lasts
    int32_t *owner  # (n_tiles): the cluster of all its rows; −1: unknown
    void *across  # (d, padded): −2c
    void *apart  # (k, padded): 4‖a − b‖²
    double longest, unit, tiny
    Chunk *chunks
    double *sums
    int64_t *counts
    double *total_sums  # of all chunks, in their order
    int64_t *total_counts
    bint keeps  # running sums: a fit comes back with other centers
    bint filtering
    int rest, pause  # passes without balls, where they spared too little
    double met  # share of all pairs of row and center that the last pass looked at
    # What threads write has cache lines of its own.
    int64_t before[8]
    int64_t next
    int64_t between[8]
    int64_t done
    int64_t after[8]


cdef inline void _keep(real score, real j, real *best, real *second, real *index) noexcept nogil:
    cdef real higher = score if score > best[0] else best[0]
    second[0] = higher if higher < second[0] else second[0]
    index[0] = j if score < best[0] else index[0]
    best[0] = score if score < best[0] else best[0]


cdef void _score(
    const real *tile, const real *packed, const real *squares, const real *names, Py_ssize_t d,
    Py_ssize_t panels, real *best_out, real *second_out, real *index_out,
) noexcept nogil:
    cdef Py_ssize_t p, q, f
    cdef real best[WIDTH]
    cdef real second[WIDTH]
    cdef real index[WIDTH]
    cdef real s0[WIDTH]
    cdef real s1[WIDTH]
    cdef real s2[WIDTH]
    cdef real s3[WIDTH]
    cdef const real *c
    cdef const real *x
    cdef real x0, x1, x2, x3, b, e, i, j0, j1, j2, j3, q0, q1, q2, q3
    cdef real c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33
    for p in range(WIDTH):
        best[p] = second[p] = <real> INFINITY
        index[p] = 0
    for q in range(panels):
        q0, q1, q2, q3 = squares[4 * q], squares[4 * q + 1], squares[4 * q + 2], squares[4 * q + 3]
        for p in range(WIDTH):
            s0[p] = q0
            s1[p] = q1
            s2[p] = q2
            s3[p] = q3
        c = packed + q * d * PANEL
        f = 0
        while f + 4 <= d:
            x = tile + f * WIDTH
            c00, c01, c02, c03 = c[0], c[1], c[2], c[3]
            c10, c11, c12, c13 = c[4], c[5], c[6], c[7]
            c20, c21, c22, c23 = c[8], c[9], c[10], c[11]
            c30, c31, c32, c33 = c[12], c[13], c[14], c[15]
            for p in range(WIDTH):
                x0, x1, x2, x3 = x[p], x[WIDTH + p], x[2 * WIDTH + p], x[3 * WIDTH + p]
                s0[p] = s0[p] + x0 * c00 + x1 * c10 + x2 * c20 + x3 * c30
                s1[p] = s1[p] + x0 * c01 + x1 * c11 + x2 * c21 + x3 * c31
                s2[p] = s2[p] + x0 * c02 + x1 * c12 + x2 * c22 + x3 * c32
                s3[p] = s3[p] + x0 * c03 + x1 * c13 + x2 * c23 + x3 * c33
            c += 4 * PANEL
            f += 4
        if f + 2 <= d:
            x = tile + f * WIDTH
            c00, c01, c02, c03 = c[0], c[1], c[2], c[3]
            c10, c11, c12, c13 = c[4], c[5], c[6], c[7]
            for p in range(WIDTH):
                x0, x1 = x[p], x[WIDTH + p]
                s0[p] = s0[p] + x0 * c00 + x1 * c10
                s1[p] = s1[p] + x0 * c01 + x1 * c11
                s2[p] = s2[p] + x0 * c02 + x1 * c12
                s3[p] = s3[p] + x0 * c03 + x1 * c13
            c += 2 * PANEL
            f += 2
        if f < d:
            x = tile + f * WIDTH
            c00, c01, c02, c03 = c[0], c[1], c[2], c[3]
            for p in range(WIDTH):
                x0 = x[p]
                s0[p] = s0[p] + x0 * c00
                s1[p] = s1[p] + x0 * c01
                s2[p] = s2[p] + x0 * c02
                s3[p] = s3[p] + x0 * c03
        j0, j1, j2, j3 = names[4 * q], names[4 * q + 1], names[4 * q + 2], names[4 * q + 3]
        for p in range(WIDTH):
            b, e, i = best[p], second[p], index[p]
            _keep(s0[p], j0, &b, &e, &i)
            _keep(s1[p], j1, &b, &e, &i)
            _keep(s2[p], j2, &b, &e, &i)
            _keep(s3[p], j3, &b, &e, &i)
            best[p], second[p], index[p] = b, e, i
    for p in range(WIDTH):
        best_out[p] = best[p]
        second_out[p] = second[p]
        index_out[p] = index[p]


# Up to which gap two scores are decided by direct differences: twice the rounding of ‖c‖² − 2x·c
# and of ‖c‖², plus twice that of the direct sum, so that a gap beyond it gives the label that
# direct sums would give.
cdef inline double _tolerance(const Shared *w, Py_ssize_t t) noexcept nogil:
    cdef double x = w.reach[t], c = w.longest
    cdef double u = w.unit * c * (c + 2 * x) + U64 * (x + c) * (x + c)
    return 1.001 * 2 * (w.d + 4) * (u + w.tiny)  # steps may underflow


# The plain kernel's arithmetic and rounding, so that ties fall as they do there.
cdef Py_ssize_t _rescore(const Shared *w, const real *x, const real *centers) noexcept nogil:
    cdef Py_ssize_t j, f, nearest = 0
    cdef double best = INFINITY, distance, diff
    cdef volatile double square  # or else the compiler would fuse it with the addition
    for j in range(w.k):
        distance = 0.0
        for f in range(w.d):
            diff = <double> x[f * WIDTH] - <double> centers[j * w.d + f]
            square = diff * diff
            distance += square
        if distance < best:
            best = distance
            nearest = j
    return nearest


cdef inline void _add(
    const real *x, Py_ssize_t d, Py_ssize_t j, double sign, double *sums, int64_t *counts
) noexcept nogil:
    cdef Py_ssize_t f
    for f in range(d):
        sums[j * d + f] += sign * <double> x[f * WIDTH]
    counts[j] += 1 if sign > 0 else -1


# Move a row between running sums. Each move rounds twice: after as many moves as rows, or when a
# row much longer than the others leaves a sum that its own rounding has spoilt, the chunk is
# summed anew.
cdef void _settle(
    const Shared *w, Chunk *chunk, const real *x, Py_ssize_t before, Py_ssize_t label
) noexcept nogil:
    cdef double square = 0.0
    cdef Py_ssize_t f
    if chunk.stale:
        return
    chunk.moved += 1
    for f in range(w.d):
        square += <double> x[f * WIDTH] * <double> x[f * WIDTH]
    if chunk.moved > chunk.n_rows or square > chunk.heavy:
        chunk.stale = True
        return
    _add(x, w.d, before, -1.0, chunk.sums, chunk.counts)
    _add(x, w.d, label, 1.0, chunk.sums, chunk.counts)


cdef double _read(
    const Shared *w, Chunk *chunk, Py_ssize_t t, const real *best, const real *second,
    const real *index, const real *tile, real *nearest,
) noexcept nogil:
    cdef Py_ssize_t p, rows = min(<Py_ssize_t> WIDTH, w.n - t * WIDTH)
    cdef Py_ssize_t before, label
    cdef real tolerance = <real> _tolerance(w, t)
    cdef int32_t flags[WIDTH]
    cdef int32_t news = 0
    cdef double a = 0.0, b = 0.0, c = 0.0, d = 0.0
    for p in range(WIDTH):
        flags[p] = (second[p] - best[p] <= tolerance) | (index[p] != nearest[p])
    for p in range(WIDTH):
        news |= flags[p]
    if rows == WIDTH:
        for p in range(0, WIDTH, 4):  # four sums: one would wait for its additions
            a += best[p]
            b += best[p + 1]
            c += best[p + 2]
            d += best[p + 3]
    else:
        for p in range(rows):
            a += best[p]
    if news:
        for p in range(rows):
            if not flags[p]:
                continue
            label = <Py_ssize_t> index[p]
            if second[p] - best[p] <= tolerance:
                label = _rescore(w, tile + p, <const real *> w.centers)
                chunk.rescored += 1
            before = <Py_ssize_t> nearest[p]
            if label != before:
                nearest[p] = <real> label
                _settle(w, chunk, tile + p, before, label)
    return (a + b) + (c + d)


cdef void _sum_in_full(const Shared *w, Chunk *chunk, const real *sample) noexcept nogil:
    cdef const real *tiles = <const real *> w.tiles
    cdef const real *nearest = <const real *> w.nearest
    cdef Py_ssize_t i, first = chunk.first * WIDTH
    memset(chunk.sums, 0, w.k * w.d * sizeof(double))
    memset(chunk.counts, 0, w.k * sizeof(int64_t))
    for i in range(first, first + chunk.n_rows):
        _add(
            tiles + i // WIDTH * WIDTH * w.d + i % WIDTH, w.d, <Py_ssize_t> nearest[i], 1.0,
            chunk.sums, chunk.counts,
        )
    chunk.moved = 0
    chunk.stale = False


cdef void _assign_tile(
    Shared *w, Chunk *chunk, Py_ssize_t t, const real *packed, const real *squares,
    const real *names, Py_ssize_t panels,
) noexcept nogil:
    cdef real best[WIDTH]
    cdef real second[WIDTH]
    cdef real index[WIDTH]
    cdef const real *tile = <const real *> w.tiles + t * WIDTH * w.d
    _score(tile, packed, squares, names, w.d, panels, best, second, index)
    chunk.inertia += _read(
        w, chunk, t, best, second, index, tile, <real *> w.nearest + t * WIDTH
    )


include "_cy_tiled_balls.pxi"


# Take the next free chunk until there is none; `sample` only says which type the rows have.
cdef void _run(Shared *w, const real *sample) noexcept nogil:
    cdef Py_ssize_t t, i
    cdef Chunk *chunk
    cdef int64_t c = lab_add(&w.next, 1)
    while c < w.n_chunks:
        chunk = w.chunks + c
        chunk.inertia = chunk.squares
        chunk.met = 0
        if w.filtering:
            _run_filtered(w, chunk, sample)
        else:
            for t in range(chunk.first, chunk.last):
                _assign_tile(
                    w, chunk, t, <const real *> w.packed, <const real *> w.squares,
                    <const real *> w.names, w.panels,
                )
        if w.keeps and chunk.stale:
            _sum_in_full(w, chunk, sample)
        for i in range(chunk.first * WIDTH, chunk.first * WIDTH + chunk.n_rows):
            w.labels[i] = <int32_t> (<const real *> w.nearest)[i]
        lab_add(&w.done, 1)
        c = lab_add(&w.next, 1)


cdef void _fill(Shared *w, const real[:, ::1] X) noexcept nogil:
    cdef real *tiles = <real *> w.tiles
    cdef Py_ssize_t c, t, p, f, i
    cdef double square, longest
    cdef Chunk *chunk
    for c in range(w.n_chunks):
        chunk = w.chunks + c
        for t in range(chunk.first, chunk.last):
            longest = 0.0
            for p in range(min(<Py_ssize_t> WIDTH, w.n - t * WIDTH)):
                square = 0.0
                i = t * WIDTH + p
                for f in range(w.d):
                    tiles[(t * w.d + f) * WIDTH + p] = X[i, f]
                    square += <double> X[i, f] * <double> X[i, f]
                longest = fmax(longest, square)
                chunk.squares += square
            w.reach[t] = sqrt(longest)
            if w.keeps:
                _fit_ball(w, t, <const real *> w.tiles)
        chunk.heavy = 64 * chunk.squares / chunk.n_rows
    for i in range(w.n_tiles * WIDTH):
        (<real *> w.nearest)[i] = -1


cdef int _start(Shared *w, const real[:, ::1] centers) noexcept nogil:
    cdef real *packed = <real *> w.packed
    cdef Py_ssize_t j, f
    cdef double square, longest = 0.0
    for j in range(w.k):
        square = 0.0
        for f in range(w.d):
            (<real *> w.centers)[j * w.d + f] = centers[j, f]
            packed[(j // PANEL * w.d + f) * PANEL + j % PANEL] = -2 * centers[j, f]
            square += <double> centers[j, f] * <double> centers[j, f]
        (<real *> w.squares)[j] = <real> square
        longest = fmax(longest, square)
    for j in range(w.k, w.padded):
        (<real *> w.squares)[j] = <real> INFINITY
    for j in range(w.panels * PANEL):
        (<real *> w.names)[j] = <real> j
    w.longest = sqrt(longest)
    _begin_filtering(w)
    if w.filtering:
        _spread(w, <const real *> w.tiles)
    lab_store(&w.done, 0)
    lab_store(&w.next, 0)  # last: from here on a helper that is late may take a chunk
    return 0


# Testing balls pays where it spares most of the rows; where it did not, it rests for ever longer.
# It decides about time alone: labels are the same either way.
cdef void _begin_filtering(Shared *w) noexcept nogil:
    cdef bint possible = w.keeps and 4 <= w.k <= MOST_FILTERED and w.d <= 64 and w.n >= 8 * w.k
    cdef bint before = w.filtering
    cdef Py_ssize_t t
    w.filtering = possible and w.rest == 0
    if possible and w.rest > 0:
        w.rest -= 1
    if w.filtering and not before:
        for t in range(w.n_tiles):
            w.owner[t] = -1


cdef void _end_filtering(Shared *w) noexcept nogil:
    cdef Py_ssize_t c
    cdef double met = 0.0
    w.met = 1.0
    if w.filtering:
        for c in range(w.n_chunks):
            met += w.chunks[c].met
        w.met = met / (<double> w.n * w.k)
        w.pause = min(2 * w.pause + 1, 63) if w.met > WORTHWHILE else 0
        w.rest = w.pause


# Add the chunks up, in their order; Σ‖x − c‖² = Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum).
cdef double _inertia_from_sums(Shared *w, const real *sample) noexcept nogil:
    cdef const real *centers = <const real *> w.centers
    cdef Py_ssize_t c, j, i
    cdef double center, change, inertia = 0.0
    memset(w.total_sums, 0, w.k * w.d * sizeof(double))
    memset(w.total_counts, 0, w.k * sizeof(int64_t))
    for c in range(w.n_chunks):
        for i in range(w.k * w.d):
            w.total_sums[i] += w.chunks[c].sums[i]
        for j in range(w.k):
            w.total_counts[j] += w.chunks[c].counts[j]
        inertia += w.chunks[c].squares
    for j in range(w.k):
        change = 0.0
        for i in range(j * w.d, (j + 1) * w.d):
            center = centers[i]
            change += center * (w.total_counts[j] * center - 2 * w.total_sums[i])
        inertia += change
    return inertia


cdef double _finish(Shared *w, const real *sample) noexcept nogil:
    cdef double inertia = 0.0
    cdef Py_ssize_t c
    _end_filtering(w)
    if w.keeps:
        inertia = _inertia_from_sums(w, sample)
    else:
        for c in range(w.n_chunks):
            inertia += w.chunks[c].inertia
    return fmax(inertia, 0.0)


cdef void _update(
    const Shared *w, const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts,
    const real *sample,
) noexcept nogil:
    cdef const real *tiles = <const real *> w.tiles
    cdef Py_ssize_t i
    for i in range(w.n):
        _add(
            tiles + i // WIDTH * WIDTH * w.d + i % WIDTH, w.d, labels[i], 1.0,
            &sums[0, 0], &counts[0],
        )


cdef class Bell:
    """Tells waiting threads that there is another pass."""

    cdef int64_t turn

    def ring(self):
        """Begin the next turn."""
        lab_add(&self.turn, 1)

    def now(self):
        """Return the turn."""
        return lab_add(&self.turn, 0)

    def wait(self, int64_t seen):
        """Wait a little for another turn than this; say whether it has come."""
        cdef Py_ssize_t spins
        cdef bint rung = False
        with nogil:
            for spins in range(SPINS):
                if lab_add(&self.turn, 0) != seen:
                    rung = True
                    break
                lab_pause()
        return rung


cdef class Tiles:
    """Rows in tiles and what a pass over them needs; ``_cy_tiled_kernel.py`` runs it."""

    cdef Shared w
    cdef list memory
    cdef bint wide
    cdef Py_ssize_t itemsize
    cdef int64_t forgotten
    cdef void *fixed[8]
    cdef void *varying[10]

    def __cinit__(self, X, Py_ssize_t n_clusters, bint keeps):
        cdef const double[:, ::1] X64
        cdef const float[:, ::1] X32
        self.wide = X.itemsize == 8
        self.itemsize = 8 if self.wide else 4
        self.w.keeps = keeps
        self.w.met = 1.0
        if self.wide:
            X64 = X
            self._cut(X64.shape[0], X64.shape[1], n_clusters)
            with nogil:
                _fill(&self.w, X64)
        else:
            X32 = X
            self._cut(X32.shape[0], X32.shape[1], n_clusters)
            with nogil:
                _fill(&self.w, X32)
        self._use(n_clusters)

    def __dealloc__(self):
        cdef void *block
        for block in self.fixed:
            free(block)
        for block in self.varying:
            free(block)

    # Chunks depend on the shape only; many enough for threads to share, few enough for their sums
    # to stay small.
    cdef int _cut(self, Py_ssize_t n, Py_ssize_t d, Py_ssize_t k) except -1:
        cdef Shared *w = &self.w
        cdef Py_ssize_t c, slots = min(max(2**21 // (k * d), 4), 32)
        cdef Py_ssize_t share = max(_ceil(n, slots * WIDTH), 1024 // WIDTH)
        cdef Chunk *chunk
        w.n, w.d, w.n_tiles = n, d, _ceil(n, WIDTH)
        w.n_chunks = _ceil(w.n_tiles, share)
        w.next = w.n_chunks
        w.unit = 2.0 ** (-53 if self.wide else -24)
        w.tiny = 2.0 ** (-1022 if self.wide else -126)
        w.tiles = _room(&self.fixed[0], w.n_tiles * WIDTH * d * self.itemsize)
        w.nearest = _room(&self.fixed[1], w.n_tiles * WIDTH * self.itemsize)
        w.reach = <double *> _room(&self.fixed[2], w.n_tiles * sizeof(double))
        w.chunks = <Chunk *> _room(&self.fixed[3], w.n_chunks * sizeof(Chunk))
        if w.keeps:
            w.middle = _room(&self.fixed[4], w.n_tiles * d * self.itemsize)
            w.square = _room(&self.fixed[5], w.n_tiles * self.itemsize)
            w.near = <int32_t *> _room(&self.fixed[6], w.n_tiles * sizeof(int32_t))
            w.owner = <int32_t *> _room(&self.fixed[7], w.n_tiles * sizeof(int32_t))
        for c in range(w.n_chunks):
            chunk = w.chunks + c
            chunk.first = c * share
            chunk.last = min((c + 1) * share, w.n_tiles)
            chunk.n_rows = min(chunk.last * WIDTH, n) - chunk.first * WIDTH
        return 0

    cdef int _use(self, Py_ssize_t k) except -1:
        cdef Shared *w = &self.w
        cdef Py_ssize_t c, t
        w.k = 0
        w.panels = _ceil(k, PANEL)
        w.padded = _ceil(k, LANES) * LANES
        w.packed = _room(&self.varying[0], w.panels * PANEL * w.d * self.itemsize)
        w.squares = _room(&self.varying[1], w.padded * self.itemsize)
        w.centers = _room(&self.varying[2], k * w.d * self.itemsize)
        w.sums = <double *> _room(&self.varying[3], w.n_chunks * k * w.d * sizeof(double))
        w.counts = <int64_t *> _room(&self.varying[4], w.n_chunks * k * sizeof(int64_t))
        w.names = _room(&self.varying[5], w.panels * PANEL * self.itemsize)
        w.total_sums = <double *> _room(&self.varying[6], k * w.d * sizeof(double))
        w.total_counts = <int64_t *> _room(&self.varying[7], k * sizeof(int64_t))
        if w.keeps and k <= MOST_FILTERED and w.d <= 64:
            w.across = _room(&self.varying[8], w.d * w.padded * self.itemsize)
            w.apart = _room(&self.varying[9], k * w.padded * self.itemsize)
            for t in range(w.n_tiles):  # they name centers
                w.near[t] = 0
        w.filtering = False
        for c in range(w.n_chunks):
            w.chunks[c].sums = w.sums + c * k * w.d
            w.chunks[c].counts = w.counts + c * k
            w.chunks[c].stale = True
        w.k = k
        return 0

    @property
    def rescored(self):
        """Near-ties decided by direct differences so far."""
        cdef Py_ssize_t c
        return sum([self.w.chunks[c].rescored for c in range(self.w.n_chunks)])

    @property
    def met(self):
        """Share of all pairs of row and center that the last pass looked at."""
        return self.w.met

    def start(self, centers, int32_t[::1] labels):
        """Take new centers, and labels to overwrite; free the chunks for taking."""
        self.w.labels = &labels[0]
        cdef const double[:, ::1] c64
        cdef const float[:, ::1] c32
        if self.wide:
            c64 = centers
            if c64.shape[0] != self.w.k:
                self._use(c64.shape[0])
            _start(&self.w, c64)
        else:
            c32 = centers
            if c32.shape[0] != self.w.k:
                self._use(c32.shape[0])
            _start(&self.w, c32)

    def run(self):
        """Compute chunks until none is left."""
        with nogil:
            if self.wide:
                _run(&self.w, <double *> NULL)
            else:
                _run(&self.w, <float *> NULL)

    def wait(self):
        """Wait a little for the chunks of others; say whether all are done."""
        cdef Py_ssize_t spins
        cdef bint done = False
        with nogil:
            for spins in range(SPINS):
                if lab_add(&self.w.done, 0) >= self.w.n_chunks:
                    done = True
                    break
                lab_pause()
        return done

    def finish(self):
        """Return the inertia when all chunks are done."""
        cdef double inertia
        with nogil:
            if self.wide:
                inertia = _finish(&self.w, <double *> NULL)
            else:
                inertia = _finish(&self.w, <float *> NULL)
        return inertia

    def add_sums(self, double[:, ::1] sums, int64_t[::1] counts):
        """Add what the chunks have summed, in their order."""
        cdef Py_ssize_t j, f
        with nogil:
            for j in range(self.w.k):
                for f in range(self.w.d):
                    sums[j, f] += self.w.total_sums[j * self.w.d + f]
                counts[j] += self.w.total_counts[j]

    def update(self, const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts):
        """Add every row to the sum of its label."""
        with nogil:
            if self.wide:
                _update(&self.w, labels, sums, counts, <double *> NULL)
            else:
                _update(&self.w, labels, sums, counts, <float *> NULL)


cdef inline Py_ssize_t _ceil(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


# Zeros that begin at a cache line, so that no vector lies across two.
cdef void *_room(void **block, Py_ssize_t size) except NULL:
    free(block[0])
    block[0] = calloc(size + 64, 1)
    if block[0] == NULL:
        raise MemoryError(f"prepare needs {size} bytes more")
    return <void *> ((<uintptr_t> block[0] + 63) & ~<uintptr_t> 63)
