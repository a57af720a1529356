"""The check of labels before ``update`` writes where they say."""

from libc.stdint cimport int32_t, uint32_t


# A label below zero has the sign bit, and so has last - label beyond the last.
cdef bint _in_range(const int32_t[::1] labels, Py_ssize_t n_clusters) noexcept nogil:
    cdef uint32_t label, bits = 0, last = <uint32_t> n_clusters - 1
    cdef Py_ssize_t i
    for i in range(labels.shape[0]):
        label = <uint32_t> labels[i]
        bits |= label | (last - label)
    return bits >> 31 == 0
