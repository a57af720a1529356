# The tiled kernel in Cython, included once per instruction set: see cython.py.
#
# WIDTH rows at a time are transposed into a tile, up to 16 features once for all passes. The scores
# ‖c‖² − 2x·c of four centers at a time go through loops over the rows of the tile that have no
# branch and write to local arrays only, so that gcc and clang vectorise them at -O3 without being
# allowed to reorder sums. Rows whose bound from an earlier pass still holds are not looked at:
# cython_bounds.pxi. Up to two features no bounds are kept: all pairs cost no more than a gap. Rows
# of float64 are scored in float32 first: cython_screen.pxi.

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, NAN, fabs, fmax, frexp, isfinite, ldexp, sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

cdef extern from "common/compiler.h":
    const char *LAB_BUILD
    int KMEANS_LAB_LEVEL
    int64_t lab_add "LAB_ADD"(int64_t *at, int64_t value) noexcept nogil
    void lab_store "LAB_STORE"(int64_t *at, int64_t value) noexcept nogil
    int64_t lab_load "LAB_LOAD"(int64_t *at) noexcept nogil
    void lab_pause "LAB_PAUSE"() noexcept nogil
    int lab_level "LAB_LEVEL"()

BUILD = LAB_BUILD.decode("ascii")
LEVEL = lab_level()  # of the processor: 0 baseline, 1 avx2, 2 avx512

ctypedef fused real:
    float
    double

cdef enum:
    WIDTH = 64  # rows of a tile
    PANEL = 4  # centers at a time
    MOST_COPIED = 16  # features of rows whose tiles are kept: to gather them would take too long
    UNBOUNDED = 2  # features, up to which all pairs take less time than bounds
    SPINS = 20000  # longer than the driver's own work between two passes

cdef int64_t ENDED = 1 << 40  # as the next chunk: the pass at hand stops

cdef double U64 = 2.0 ** -53

cdef struct Chunk:
    int64_t first, last  # tiles
    int64_t n_rows, rescored
    int64_t screened, doubtful  # rows of this pass: scored in float32, and what that left open
    int wide_left, wide_next  # passes in float64, where float32 decided too little
    double squares, inertia, met, left
    void *tile  # (d, WIDTH): the rows that are scored at the moment
    int64_t *sums  # (k, limbs, span)
    int64_t *counts
    unsigned char *touched  # clusters that a row has entered or left

cdef struct Centers:  # as _score reads them
    const void *packed
    const void *squares
    const void *names
    Py_ssize_t n, panels
    bint every  # all there are, of which bounds are made


cdef struct Shared:
    Py_ssize_t n, d, k, n_tiles, n_chunks, panels, padded
    const void *rows  # (n, d): the caller's
    void *tiles  # (n_tiles, d, WIDTH): transposed, or NULL
    double *lengths  # (n): ‖x‖², where rows are gathered; or else NULL
    void *slack  # (n): see cython_bounds.pxi
    double *way  # (k): how far centers went before this pass
    double *drift  # (k): how far centers have gone since they have this number
    void *need  # (k), and one in front for rows without a cluster: the drift, rounded upwards
    void *nearest  # (n_tiles · WIDTH): labels of the last pass, as numbers of the rows' type
    void *packed  # (panels, d, PANEL): −2c
    void *squares  # (padded): ‖c‖², a padding center's is infinite
    void *names  # (panels · PANEL): 0, 1, 2, …
    void *centers  # (k, d)
    double *reach  # (n_tiles): ‖x‖² of the longest row
    void *middle  # (n_tiles, d): of each tile's ball
    void *square  # (n_tiles): its squared radius
    int32_t *near  # (n_tiles): a center that was near last time
    int32_t *labels  # (n): the caller's, while a pass lasts
    int32_t *owner  # (n_tiles): the cluster of all its rows; −1: unknown
    void *across  # (d, padded): −2c
    void *apart  # (k, padded): 4‖a − b‖²
    double unit, tiny, least, rate, loss  # what rounding may do: see _tolerance and _gap
    bint screening  # rows are scored in float32 first: see cython_screen.pxi
    double scale, back  # of values there, and from scores there to those of the rows' type
    double farthest  # ‖x‖² of the longest row
    double screen_least, screen_rate  # as least and rate
    void *screen_packed  # as packed, squares and names, in float32; packed is NULL without
    void *screen_squares
    void *screen_names
    int64_t *highest  # (d): bits of the largest magnitude
    int64_t *lowest  # (d): of the smallest but zero, less 1
    int *top  # (d): the exponent of a limb's unit
    double *units  # (d): of the last limb; not a number where a column cannot be summed
    double *magic  # (limbs, span): 1.5 · 2⁵² units of each limb
    Py_ssize_t limbs, span  # features rounded up to groups that move together
    int bits  # of a limb
    double square_sum  # Σ‖x‖²
    Chunk *chunks
    int64_t *sums
    int64_t *counts
    unsigned char *touched
    int64_t *whole  # (limbs, span) of one cluster, and (limbs)
    double *total_sums  # of all chunks
    int64_t *total_counts
    bint keeps  # running sums: a fit comes back with other centers
    bint bounded  # a bound for each row
    bint filtering
    double worthwhile  # share of centers left, up to which balls take less time than what else
    int rest, pause  # passes without balls, where they ruled out too few centers
    double met  # share of all pairs of row and center that the last pass looked at
    # What threads write has cache lines of its own.
    int64_t before[8]
    int64_t next
    int64_t between[8]
    int64_t done
    int64_t after[8]
    int64_t inside  # threads that may be at a chunk


cdef inline void _keep(real score, real j, real *best, real *second, real *index) noexcept nogil:
    cdef real higher = score if score > best[0] else best[0]
    second[0] = higher if higher < second[0] else second[0]
    index[0] = j if score < best[0] else index[0]
    best[0] = score if score < best[0] else best[0]


cdef void _score(
    const real *tile, const real *packed, const real *squares, const real *names, Py_ssize_t d,
    Py_ssize_t panels, double *best_out, double *second_out, double *index_out,
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


# Up to which gap two scores are decided by direct differences, for a row of this ‖x‖²: twice the
# rounding of ‖c‖² − 2x·c and of ‖c‖², plus twice that of the direct sum, so that a gap beyond it
# gives the label that direct sums would give. Where C is the longest center, that is
# 2 (d + 4) (u C (C + 2‖x‖) + u64 (‖x‖ + C)² + tiny), as steps may underflow, and 2C‖x‖ ≤ C² + ‖x‖².
cdef inline double _tolerance(const Shared *w, double square) noexcept nogil:
    return w.least + w.rate * square


cdef inline void _choose_tolerance(Shared *w, double longest) noexcept nogil:
    cdef double steps = 1.001 * 2 * (w.d + 4)
    w.least = steps * (2 * (w.unit + U64) * longest + w.tiny)
    w.rate = steps * (w.unit + 2 * U64)


# The nearest center by the plain kernel's arithmetic and rounding, so that ties fall as they do
# there. Centers whose score is above the limit cannot be it: it is the least score that was found
# and the tolerance of that, which is at least twice what this score and the reference are off by.
cdef Py_ssize_t _rescore(const Shared *w, const real *x, double limit) noexcept nogil:
    cdef const real *c = <const real *> w.packed
    cdef const real *squares = <const real *> w.squares
    cdef const real *center
    cdef Py_ssize_t j, q, f, nearest = 0
    cdef double best = INFINITY, distance, diff
    cdef volatile double square  # or else the compiler would fuse it with the addition
    cdef real scores[PANEL]
    cdef real s0, s1, s2, s3
    for q in range(w.panels):
        s0, s1, s2, s3 = squares[4 * q], squares[4 * q + 1], squares[4 * q + 2], squares[4 * q + 3]
        for f in range(w.d):
            s0 = s0 + x[f] * c[0]
            s1 = s1 + x[f] * c[1]
            s2 = s2 + x[f] * c[2]
            s3 = s3 + x[f] * c[3]
            c += PANEL
        scores[0], scores[1], scores[2], scores[3] = s0, s1, s2, s3
        for j in range(4 * q, min(4 * q + 4, w.k)):
            if scores[j - 4 * q] > limit:
                continue
            center = <const real *> w.centers + j * w.d
            distance = 0.0
            for f in range(w.d):
                diff = <double> x[f] - <double> center[f]
                square = diff * diff
                distance += square
            if distance < best:
                best = distance
                nearest = j
    return nearest


include "cython_sums.pxi"
include "cython_squares.pxi"


include "cython_screen.pxi"
include "cython_bounds.pxi"
include "cython_balls.pxi"


# Take the next free chunk until there is none; `sample` only says which type the rows have.
cdef void _run(Shared *w, const real *sample) noexcept nogil:
    cdef Py_ssize_t t, i
    cdef Chunk *chunk
    cdef int64_t c
    # Before the first look: when stop finds no thread inside, none will come later.
    lab_add(&w.inside, 1)
    c = lab_add(&w.next, 1)
    while c < w.n_chunks:
        chunk = w.chunks + c
        chunk.inertia = chunk.squares
        chunk.met = chunk.left = 0
        _begin_screening(chunk)
        _run_chunk(w, chunk, sample)
        _end_screening(chunk, 0)
        if lab_load(&w.next) >= ENDED:  # rows may be left without a cluster
            break
        for i in range(chunk.first * WIDTH, chunk.first * WIDTH + chunk.n_rows):
            w.labels[i] = <int32_t> (<const real *> w.nearest)[i]
        lab_add(&w.done, 1)
        c = lab_add(&w.next, 1)
    lab_add(&w.inside, -1)


include "cython_rows.pxi"
