# Exact sums of squares, included by cython.pxi.
#
# Squared lengths and distances are doubles, rounded as they are in every kernel. They add up in 70
# integers that cover whatever a double can hold, so that their sum depends on no order.

cdef enum:
    DIGITS = 68  # to the base 2³²
    INFINITE = 68  # how many values were infinite
    NONE = 69  # or no number
    BINS = 70

cdef int64_t LOW = (1 << 32) - 1


# Add what is not negative to an accumulator.
cdef inline void _deposit(double value, int64_t *bins) noexcept nogil:
    cdef int64_t bits = lab_bits(fabs(value)), field = bits >> 52, fraction = bits & FRACTION
    cdef int64_t low, high, shift
    if field == 2047:
        bins[INFINITE if fraction == 0 else NONE] += 1
        return
    if field > 0:
        fraction |= FRACTION + 1
        field -= 1
    bins += field >> 5
    shift = field & 31
    low = (fraction & LOW) << shift
    high = (fraction >> 32) << shift
    bins[0] += low & LOW
    bins[1] += (low >> 32) + (high & LOW)
    bins[2] += high >> 32


# Make room: then 2²⁹ more values can be added without an overflow.
cdef void _carry(int64_t *bins) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(DIGITS - 1):
        bins[i + 1] += bins[i] >> 32
        bins[i] &= LOW


# The sum of all that was added to an accumulator, rounded once.
cdef double _total(int64_t *bins) noexcept nogil:
    cdef int64_t limbs[DIGITS]
    cdef Py_ssize_t i
    if bins[NONE]:
        return NAN
    if bins[INFINITE]:
        return INFINITY
    for i in range(DIGITS):
        limbs[i] = bins[DIGITS - 1 - i]
    return _round(limbs, DIGITS, 32, SMALLEST)


# Add the rows' squared distances to an accumulator; four rows hide the wait for additions.
cdef void _add_distances(
    const real[:, ::1] X, const real[:, ::1] centers, const int32_t[::1] labels, Py_ssize_t first,
    Py_ssize_t last, int64_t *bins,
) noexcept nogil:
    cdef Py_ssize_t i, f, r, d = X.shape[1]
    cdef const real *x
    cdef const real *c0
    cdef const real *c1
    cdef const real *c2
    cdef const real *c3
    cdef double s0, s1, s2, s3, d0, d1, d2, d3
    for i in range(first, last - 3, 4):
        x = &X[i, 0]
        c0 = &centers[labels[i], 0]
        c1 = &centers[labels[i + 1], 0]
        c2 = &centers[labels[i + 2], 0]
        c3 = &centers[labels[i + 3], 0]
        s0 = s1 = s2 = s3 = 0.0
        for f in range(d):
            d0 = <double> x[f] - <double> c0[f]
            d1 = <double> x[d + f] - <double> c1[f]
            d2 = <double> x[2 * d + f] - <double> c2[f]
            d3 = <double> x[3 * d + f] - <double> c3[f]
            s0 += lab_rounded(d0 * d0)
            s1 += lab_rounded(d1 * d1)
            s2 += lab_rounded(d2 * d2)
            s3 += lab_rounded(d3 * d3)
        _deposit(s0, bins)
        _deposit(s1, bins)
        _deposit(s2, bins)
        _deposit(s3, bins)
    for i in range(last - (last - first) % 4, last):
        s0 = 0.0
        for f in range(d):
            d0 = <double> X[i, f] - <double> centers[labels[i], f]
            s0 += lab_rounded(d0 * d0)
        _deposit(s0, bins)
    _carry(bins)


cdef bint _in_range(const int32_t[::1] labels, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef int32_t low = 0, high = 0
    for i in range(labels.shape[0]):
        low = labels[i] if labels[i] < low else low
        high = labels[i] if labels[i] > high else high
    return labels.shape[0] == 0 or low >= 0 and high < k


def inertia(X, centers, const int32_t[::1] labels):
    """Return the sum of squared distances to the chosen centers, exact until it is rounded."""
    cdef const double[:, ::1] X64
    cdef const double[:, ::1] c64
    cdef const float[:, ::1] X32
    cdef const float[:, ::1] c32
    cdef int64_t bins[BINS]
    cdef Py_ssize_t first, last, n = labels.shape[0], step = max(1, 10**7 // max(1, X.shape[1]))
    cdef bint wide = X.itemsize == 8
    if not _in_range(labels, len(centers)):
        raise _wrong_labels("inertia", "centers")
    memset(bins, 0, BINS * sizeof(int64_t))
    if wide:
        X64, c64 = X, centers
    else:
        X32, c32 = X, centers
    for first in range(0, n, step):
        last = min(first + step, n)
        with nogil:
            if wide:
                _add_distances(X64, c64, labels, first, last, bins)
            else:
                _add_distances(X32, c32, labels, first, last, bins)
        PyErr_CheckSignals()
    return _total(bins)
