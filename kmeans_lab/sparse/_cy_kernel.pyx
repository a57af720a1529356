# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True
"""Nested loops over sparse rows in Cython: typed memoryviews, GIL released.

The same loops as ``_py_kernel.py``, ``_numba_kernel.py`` and ``cpp/sparse/kmeans.cpp``, in the same
order and with the same names, so that the files can be compared line by line. Everything is
computed in double; float32 is a storage format here.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

from array import array as _array

ctypedef fused real:
    float
    double


cdef double _assign(
    const real[::1] data,         # IN  (n_values,)
    const int32_t[::1] indices,   # IN  (n_values,)
    const int64_t[::1] indptr,    # IN  (n_samples + 1,)
    const real[:, ::1] centers,   # IN  (n_clusters, n_features)
    double[::1] norms,            # OUT (n_clusters,)
    int32_t[::1] labels,          # OUT (n_samples,)
) noexcept nogil:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    cdef Py_ssize_t i, j, f, p
    cdef int32_t nearest
    cdef double best, dot, inertia, norm, score, square
    for j in range(centers.shape[0]):
        norm = 0.0
        for f in range(centers.shape[1]):
            norm += <double> centers[j, f] * <double> centers[j, f]
        norms[j] = norm
    inertia = 0.0
    for i in range(labels.shape[0]):
        best = INFINITY
        nearest = 0
        for j in range(centers.shape[0]):
            dot = 0.0
            for p in range(indptr[i], indptr[i + 1]):
                dot += <double> data[p] * <double> centers[j, indices[p]]
            score = norms[j] - 2.0 * dot
            if score < best:
                best = score
                nearest = <int32_t> j
        square = 0.0
        for p in range(indptr[i], indptr[i + 1]):
            square += <double> data[p] * <double> data[p]
        labels[i] = nearest
        if best + square > 0.0:
            inertia += best + square
    return inertia


cdef void _update(
    const real[::1] data,         # IN    (n_values,)
    const int32_t[::1] indices,   # IN    (n_values,)
    const int64_t[::1] indptr,    # IN    (n_samples + 1,)
    const int32_t[::1] labels,    # IN    (n_samples,), each in [0, n_clusters)
    double[:, ::1] sums,          # INOUT (n_clusters, n_features), added to
    int64_t[::1] counts,          # INOUT (n_clusters,), added to
) noexcept nogil:
    """Add each row to its cluster's sum, and one to its count."""
    cdef Py_ssize_t i, j, p
    for i in range(labels.shape[0]):
        j = labels[i]
        for p in range(indptr[i], indptr[i + 1]):
            sums[j, indices[p]] += data[p]
        counts[j] += 1


# ---------------------------------------------------------------------------------------
# What is called: arguments are checked first.

include "../tuned/labels.pxi"


cdef double _with_norms(
    const real[::1] data, const int32_t[::1] indices, const int64_t[::1] indptr,
    const real[:, ::1] centers, int32_t[::1] labels
) except? -1:
    cdef double[::1] norms = _array("d", bytes(8 * centers.shape[0]))
    with nogil:
        return _assign(data, indices, indptr, centers, norms, labels)


cdef int _checked_update(
    const real[::1] data, const int32_t[::1] indices, const int64_t[::1] indptr,
    const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts
) except -1:
    if not _in_range(labels, counts.shape[0]):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    with nogil:
        _update(data, indices, indptr, labels, sums, counts)
    return 0


def assign(rows, centers, labels):
    """Overwrite labels with each row's nearest center; return the inertia."""
    if len(labels) != len(rows) or centers.shape[1] != rows.n_features:
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if len(centers) == 0:
        raise ValueError("assign needs at least one center")
    if rows.data.itemsize == sizeof(double):
        return _with_norms[double](rows.data, rows.indices, rows.indptr, centers, labels)
    return _with_norms[float](rows.data, rows.indices, rows.indptr, centers, labels)


def update(rows, labels, sums, counts):
    """Add each row to its cluster's sum and count."""
    if len(labels) != len(rows) or sums.shape != (len(counts), rows.n_features):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    if rows.data.itemsize == sizeof(double):
        _checked_update[double](rows.data, rows.indices, rows.indptr, labels, sums, counts)
    else:
        _checked_update[float](rows.data, rows.indices, rows.indptr, labels, sums, counts)


cdef extern from "common/compiler.h":
    const char *LAB_BUILD

BUILD = LAB_BUILD.decode("ascii")
