# Sums that are exact until they are rounded, once, to a double; included by cython.pxi.
#
# Every value is cut into limbs, integers that count multiples of a power of two, and integers add
# up without rounding. So a sum does not depend on the order of the rows, nor on chunks and threads,
# and a row that leaves a cluster takes out exactly what it brought. A column's largest and smallest
# magnitudes say which powers of two it needs.

cdef extern from *:
    """
    #include <string.h>
    static inline int64_t lab_bits(double value) {
        int64_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    /* A product that the compiler cannot fuse with an addition. */
    static inline double lab_rounded(double value) {
        LAB_HIDE(value);
        return value;
    }
    /* Take four features of a row, `step` apart, to a running sum and, where there is one, out of
       another, limb by limb. A macro, so that it is compiled into each user; vectors are
       spelled out, because compilers leave loops over so few features as they are. */
    #if defined(__GNUC__)
    typedef double lab_four __attribute__((vector_size(32), aligned(8), may_alias));
    /* Lanes beyond the last feature may hold anything, and unsigned numbers may overflow. */
    typedef uint64_t lab_whole __attribute__((vector_size(32), aligned(8), may_alias));
    #define lab_move(x, step, magic, limbs, span, to, from) do { \\
        lab_four left_ = {(x)[0], (x)[step], (x)[2 * (step)], (x)[3 * (step)]}; \\
        Py_ssize_t q_, at_; \\
        for (q_ = at_ = 0; q_ < (limbs); ++q_, at_ += (span)) { \\
            const lab_four unit_ = *(const lab_four *) ((magic) + at_); \\
            const lab_four rounded_ = left_ + unit_; \\
            const lab_whole part_ = (lab_whole) rounded_ - (lab_whole) unit_; \\
            left_ -= rounded_ - unit_; \\
            *(lab_whole *) ((to) + at_) += part_; \\
            if (from) *(lab_whole *) ((from) + at_) -= part_; \\
        } \\
    } while (0)
    #else
    #define lab_move(x, step, magic, limbs, span, to, from) do { \\
        Py_ssize_t q_, at_, l_; \\
        for (l_ = 0; l_ < 4; ++l_) { \\
            double left_ = (x)[l_ * (step)]; \\
            for (q_ = 0, at_ = l_; q_ < (limbs); ++q_, at_ += (span)) { \\
                const double unit_ = (magic)[at_], rounded_ = left_ + unit_; \\
                const uint64_t part_ = \\
                    (uint64_t) lab_bits(rounded_) - (uint64_t) lab_bits(unit_); \\
                left_ -= rounded_ - unit_; \\
                ((uint64_t *) (to))[at_] += part_; \\
                if (from) ((uint64_t *) (from))[at_] -= part_; \\
            } \\
        } \\
    } while (0)
    #endif
    """
    int64_t lab_bits(double value) noexcept nogil
    double lab_rounded(double value) noexcept nogil
    void lab_move(
        const void *x, Py_ssize_t step, const double *magic, Py_ssize_t limbs, Py_ssize_t span,
        int64_t *to, int64_t *out,
    ) noexcept nogil

cdef enum:
    MOST_BITS = 40  # of a limb; fewer where so many rows could overflow an integer
    SMALLEST = -1074  # the exponent of the smallest double
    LARGEST = 971  # of a unit: beyond it the number that rounds to it is infinite
    GROUP = 4  # features that move together

cdef int64_t FRACTION = (1 << 52) - 1
cdef int64_t EXACT = 1 << 53  # integers up to here are doubles


# The double nearest to limbs, the first of which counts most; ties to even.
cdef double _round(int64_t *limbs, Py_ssize_t n, int bits, int exponent) noexcept nogil:
    cdef int64_t mask = (<int64_t> 1 << bits) - 1, held
    cdef int64_t rest = 0  # of bits below the first 62, only whether one is set matters
    cdef double sign = 1.0
    cdef Py_ssize_t q
    cdef int take, left
    for q in range(n - 1, 0, -1):
        limbs[q - 1] += limbs[q] >> bits
        limbs[q] &= mask
    if limbs[0] < 0:
        sign = -1.0
        for q in range(n):
            limbs[q] = -limbs[q]
        for q in range(n - 1, 0, -1):
            limbs[q - 1] += limbs[q] >> bits
            limbs[q] &= mask
    held = limbs[0]
    exponent += bits * (n - 1)
    for q in range(1, n):
        take = <int> (62 - ((lab_bits(<double> held) >> 52) - 1022))
        take = min(max(take, 0), bits)
        left = bits - take
        held = (held << take) | (limbs[q] >> left)
        rest |= limbs[q] & ((<int64_t> 1 << left) - 1)
        exponent -= take
    if rest:
        held |= 1
    return sign * ldexp(<double> held, exponent)


# Widen the range of each column's magnitudes; zeros have none.
cdef void _find_ends(Shared *w, const real *tile) noexcept nogil:
    cdef const real *x = tile
    cdef int64_t high, low, bits, mask = FRACTION | (<int64_t> 2047 << 52)
    cdef Py_ssize_t f, p
    for f in range(w.d):
        high = w.highest[f]
        low = w.lowest[f]
        for p in range(WIDTH):
            bits = lab_bits(<double> x[p]) & mask
            high = bits if bits > high else high
            bits = (bits - 1) & mask  # zero becomes the largest of all
            low = bits if bits < low else low
        w.highest[f] = high
        w.lowest[f] = low
        x += WIDTH


# The coarsest limbs that hold every bit of every column, and all sums of its rows.
cdef int _lay_grid(Shared *w, void **block) except -1:
    cdef Py_ssize_t f, n_limbs = 1, rows = w.n
    cdef int bits = 62, top, last, q
    cdef int lowest_of_type = SMALLEST if w.unit < 2.0 ** -50 else -149
    cdef int digits = 53 if w.unit < 2.0 ** -50 else 24
    cdef double high, low
    cdef int64_t pattern
    while rows:
        bits -= 1
        rows >>= 1
    w.bits = bits = min(bits, <int> MOST_BITS)
    for f in range(w.d):
        w.top[f] = 0
        memcpy(&high, &w.highest[f], sizeof(double))
        w.units[f] = 1.0 if isfinite(high) else NAN  # a column that cannot be summed
        if high == 0 or not isfinite(high):
            continue
        pattern = w.lowest[f] + 1
        memcpy(&low, &pattern, sizeof(double))
        frexp(high, &w.top[f])
        w.top[f] -= bits - 2
        frexp(low, &last)
        last = max(last - digits, lowest_of_type)
        n_limbs = max(n_limbs, 1 + _ceil(max(w.top[f] - last, 0), bits))
    w.limbs = n_limbs
    w.magic = <double *> _room(block, n_limbs * w.span * sizeof(double))
    for f in range(w.d):
        top = max(w.top[f], SMALLEST + bits * (<int> n_limbs - 1))
        if top > LARGEST:
            w.units[f] = NAN
            top = 0
        for q in range(<int> n_limbs):
            w.magic[q * w.span + f] = ldexp(1.5 * 2.0 ** 52, top - bits * q)
        w.top[f] = top - bits * (<int> n_limbs - 1)  # from here on that of the last limb
        w.units[f] *= ldexp(1.0, w.top[f])
    return 0


# Take a row from the sum that it was in, if any, to another.
cdef void _move(
    const Shared *w, const real *x, Py_ssize_t step, Py_ssize_t before, Py_ssize_t label,
    int64_t *sums, int64_t *counts, unsigned char *touched,
) noexcept nogil:
    cdef Py_ssize_t f, q, size = w.limbs * w.span
    cdef int64_t *to = sums + label * size
    cdef int64_t *out = sums + before * size if before >= 0 else NULL
    cdef const double *magic = w.magic
    cdef real rest[GROUP]
    for f in range(0, w.span, 4):
        if f + GROUP > w.d:  # what lies behind the last is not ours to read
            for q in range(GROUP):
                rest[q] = x[q * step] if f + q < w.d else 0
            x = rest
            step = 1
        lab_move(x, step, magic, w.limbs, w.span, to, out)
        x += GROUP * step
        magic += GROUP
        to += GROUP
        if out:
            out += GROUP
    counts[label] += 1
    touched[label] = 1
    if before >= 0:
        counts[before] -= 1
        touched[before] = 1


# Overwrite sums, (d,): what the limbs, (limbs, span), say, rounded once.
cdef void _round_cluster(
    const Shared *w, const int64_t *limbs, int64_t *room, double *sums
) noexcept nogil:
    cdef int64_t mask = (<int64_t> 1 << w.bits) - 1, high, low
    cdef double up = ldexp(1.0, w.bits)
    cdef Py_ssize_t f, q
    for f in range(w.d):
        if w.limbs == 1:
            sums[f] = <double> limbs[f] * w.units[f]
            continue
        if w.limbs == 2:
            high = limbs[f] + (limbs[w.span + f] >> w.bits)
            low = limbs[w.span + f] & mask
            if -EXACT < high < EXACT:
                sums[f] = (<double> high * up + <double> low) * w.units[f]
                continue
        for q in range(w.limbs):
            room[q] = limbs[q * w.span + f]
        sums[f] = _round(room, w.limbs, w.bits, w.top[f]) if w.units[f] == w.units[f] else NAN


# Add up what chunks hold of the clusters that a row has entered or left since the last pass.
# Unsigned, because lanes beyond the last feature may overflow.
cdef void _join(Shared *w, const real *sample) noexcept nogil:
    cdef uint64_t *whole = <uint64_t *> w.whole
    cdef const uint64_t *part
    cdef Py_ssize_t c, j, i, size = w.limbs * w.span
    cdef bint news
    for j in range(w.k):
        news = False
        for c in range(w.n_chunks):
            news = news or w.chunks[c].touched[j]
            w.chunks[c].touched[j] = 0
        if not news:
            continue
        memset(w.whole, 0, size * sizeof(int64_t))
        w.total_counts[j] = 0
        for c in range(w.n_chunks):
            part = <const uint64_t *> w.chunks[c].sums + j * size
            for i in range(size):
                whole[i] += part[i]
            w.total_counts[j] += w.chunks[c].counts[j]
        _round_cluster(w, w.whole, w.whole + size, w.total_sums + j * w.d)


# Σ‖x − c‖² = Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum), in this order and without fused operations, so
# that the bits are those of every other kernel that sums exactly.
cdef double _inertia_from_sums(Shared *w, const real *sample) noexcept nogil:
    cdef const real *centers = <const real *> w.centers
    cdef Py_ssize_t j, i
    cdef double center, change, inertia = w.square_sum
    for j in range(w.k):
        change = 0.0
        for i in range(j * w.d, (j + 1) * w.d):
            center = centers[i]
            change += lab_rounded(
                center * (lab_rounded(w.total_counts[j] * center) - 2 * w.total_sums[i])
            )
        inertia += change
    return 0.0 if inertia < 0.0 else inertia


# Add the sums of rows by labels to the caller's; or say that a label names none, and add nothing.
# `room` takes the limbs of all clusters, their counts, and the limbs of a sum.
cdef bint _update(
    const Shared *w, const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts,
    int64_t *room, double *rounded, unsigned char *touched, const real *sample,
) noexcept nogil:
    cdef const real *rows = <const real *> w.rows
    cdef Py_ssize_t i, j, f, k = counts.shape[0], size = w.limbs * w.span
    cdef int64_t *own = room + k * size
    for i in range(w.n):
        if not 0 <= labels[i] < k:
            return False
        _move(w, rows + i * w.d, 1, -1, labels[i], room, own, touched)
    for j in range(k):
        _round_cluster(w, room + j * size, own + k, rounded)
        for f in range(w.d):
            sums[j, f] += rounded[f]
        counts[j] += own[j]
    return True


def _wrong_labels(needed, names):
    return ValueError(
        f"{needed} needs labels from 0 to n_clusters - 1, each of which names a row of {names}; "
        "assign writes such labels"
    )
