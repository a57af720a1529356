# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: freethreading_compatible=True
"""Nested loops in Cython: typed memoryviews, GIL released.

The same nested loops as ``_py_kernel.py``, ``_numba_kernel.py`` and ``cpp/kmeans.cpp``, in the
same order and with the same names, so that the files can be compared line by line. Distances
are computed in double for both dtypes; float32 is a storage format here.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

ctypedef fused real:
    float
    double


cdef double _assign(
    const real[:, ::1] rows,     # IN  (n_samples, n_features)
    const real[:, ::1] centers,  # IN  (n_clusters, n_features)
    int32_t[::1] labels,         # OUT (n_samples,)
) noexcept nogil:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    cdef Py_ssize_t i, j, f
    cdef int32_t nearest
    cdef double best, distance, diff, inertia
    inertia = 0.0
    for i in range(rows.shape[0]):
        best = INFINITY
        nearest = 0
        for j in range(centers.shape[0]):
            distance = 0.0
            for f in range(rows.shape[1]):
                diff = <double> rows[i, f] - <double> centers[j, f]
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = <int32_t> j
        labels[i] = nearest
        inertia += best
    return inertia


cdef void _update(
    const real[:, ::1] rows,    # IN    (n_samples, n_features)
    const int32_t[::1] labels,  # IN    (n_samples,), each in [0, n_clusters)
    double[:, ::1] sums,        # INOUT (n_clusters, n_features), added to
    int64_t[::1] counts,        # INOUT (n_clusters,), added to
) noexcept nogil:
    """Add each row to its cluster's sum, and one to its count."""
    cdef Py_ssize_t i, j, f
    for i in range(rows.shape[0]):
        j = labels[i]
        for f in range(rows.shape[1]):
            sums[j, f] += rows[i, f]
        counts[j] += 1


# ---------------------------------------------------------------------------------------
# What is called: arguments are checked first.

include "tuned/labels.pxi"


# The dtype is looked at once here: Cython's own dispatch over fused arguments inspects every
# buffer and costs several microseconds a call.

cdef double _checked_assign(
    const real[:, ::1] rows, const real[:, ::1] centers, int32_t[::1] labels
) except? -1:
    if rows.shape[1] != centers.shape[1] or rows.shape[0] != labels.shape[0]:
        raise ValueError("assign needs rows (n, d), centers (k, d) and labels (n,)")
    if centers.shape[0] == 0:
        raise ValueError("assign needs at least one center")
    with nogil:
        return _assign(rows, centers, labels)


cdef int _checked_update(
    const real[:, ::1] rows, const int32_t[::1] labels, double[:, ::1] sums, int64_t[::1] counts
) except -1:
    if (
        rows.shape[0] != labels.shape[0]
        or rows.shape[1] != sums.shape[1]
        or sums.shape[0] != counts.shape[0]
    ):
        raise ValueError("update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)")
    if not _in_range(labels, counts.shape[0]):
        raise ValueError(
            "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
            "assign writes such labels"
        )
    with nogil:
        _update(rows, labels, sums, counts)
    return 0


def assign(rows, centers, labels):
    """Overwrite labels with each row's nearest center; return the inertia."""
    if rows.itemsize == sizeof(double):
        return _checked_assign[double](rows, centers, labels)
    return _checked_assign[float](rows, centers, labels)


def update(rows, labels, sums, counts):
    """Add each row to its cluster's sum and count."""
    if rows.itemsize == sizeof(double):
        _checked_update[double](rows, labels, sums, counts)
    else:
        _checked_update[float](rows, labels, sums, counts)


cdef extern from "common/compiler.h":
    const char *LAB_BUILD

BUILD = LAB_BUILD.decode("ascii")
