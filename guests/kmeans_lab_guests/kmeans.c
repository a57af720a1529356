/* The nested loops in C: c-ctypes and c-cffi are two ways to call them.
 *
 * The same loops as kmeans_lab/_py_kernel.py and cpp/kmeans.cpp, in the same order and with the
 * same names, so that the files can be compared line by line. C has no templates: the file
 * includes itself once for each dtype of rows. Distances are computed in double for both. */

#ifndef REAL

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC
#endif

#define REAL double
#define NAMED(verb) verb##_float64
#include "kmeans.c"
#undef REAL
#undef NAMED
#define REAL float
#define NAMED(verb) verb##_float32
#include "kmeans.c"

#else

/* Overwrite labels with each row's nearest center, the first of equals; return the inertia. */
PUBLIC double NAMED(assign)(const REAL* rows,    /* IN  (n_samples, n_features) */
                            const REAL* centers, /* IN  (n_clusters, n_features) */
                            int32_t* labels,     /* OUT (n_samples,) */
                            ptrdiff_t n_samples, ptrdiff_t n_features, ptrdiff_t n_clusters) {
    double inertia = 0.0;
    for (ptrdiff_t i = 0; i < n_samples; ++i) {
        double best = INFINITY;
        int32_t nearest = 0;
        for (ptrdiff_t j = 0; j < n_clusters; ++j) {
            double distance = 0.0;
            for (ptrdiff_t f = 0; f < n_features; ++f) {
                const double diff =
                    (double)rows[i * n_features + f] - (double)centers[j * n_features + f];
                distance += diff * diff;
            }
            if (distance < best) {
                best = distance;
                nearest = (int32_t)j;
            }
        }
        labels[i] = nearest;
        inertia += best;
    }
    return inertia;
}

/* Add each row to its cluster's sum, and one to its count. Returns 0, and adds nothing, where a
 * label is outside 0 ... n_clusters - 1: it would be written out of bounds. */
PUBLIC int NAMED(update)(const REAL* rows,      /* IN    (n_samples, n_features) */
                         const int32_t* labels, /* IN    (n_samples,) */
                         double* sums,          /* INOUT (n_clusters, n_features), added to */
                         int64_t* counts,       /* INOUT (n_clusters,), added to */
                         ptrdiff_t n_samples, ptrdiff_t n_features, ptrdiff_t n_clusters) {
    for (ptrdiff_t i = 0; i < n_samples; ++i) {
        if (labels[i] < 0 || labels[i] >= n_clusters) return 0;
    }
    for (ptrdiff_t i = 0; i < n_samples; ++i) {
        const ptrdiff_t j = labels[i];
        for (ptrdiff_t f = 0; f < n_features; ++f) {
            sums[j * n_features + f] += (double)rows[i * n_features + f];
        }
        counts[j] += 1;
    }
    return 1;
}

#endif
