// Batches of sparse rows, each seen once: labels, sums and means of centers that lie column by
// column. A batch looks at the columns that its rows store; all columns are walked through once,
// for means and their lengths.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/sparse/dispatch.h"
#include "simd/sums.h"
#include "sparse/rows.h"

namespace lab {

// Overwrite labels with each row's nearest center; return the inertia. The bits of the reference.
template <typename T>
double assign_batch(const SparseRows<T>& rows, const CenterColumns<T>& centers,
                    std::int32_t* labels) {
    constexpr Index together = 64;
    const ColumnRoutines<T> routines = choose_column_routines<T>(chosen_isa());
    const Index n = rows.n_samples;
    const double values = double(rows.n_values()) / double(std::max(n, Index(1)));
    Interrupt interrupt;
    interrupt.begin(double(together) * double(centers.k) * (values + 1));
    double inertia = 0;
    for (Index i = 0; i < n; i += together) {
        if (interrupt.came()) throw Interrupted();
        routines.assign(rows, i, std::min(i + together, n), centers, labels, inertia);
    }
    return inertia;
}

// Add each row to its cluster's sum: sums (n_features, k).
template <typename T>
void add_batch(const SparseRows<T>& rows, const std::int32_t* labels, Index k, double* sums) {
    for (Index i = 0; i < rows.n_samples; ++i) {
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            sums[rows.indices[p] * k + labels[i]] += double(rows.data[p]);
        }
    }
}

// Call `task` with a few columns at a time, which stay in the cache: the first and the last.
template <typename Task>
void each_columns(Index n_features, Index k, const Task& task) {
    constexpr Index cached = 4096;  // values
    const Index some = std::max(Index(1), cached / k);
    Interrupt interrupt;
    interrupt.begin(double(some * k));
    for (Index f = 0; f < n_features; f += some) {
        if (interrupt.came()) throw Interrupted();
        task(f, std::min(f + some, n_features));
    }
}

// Overwrite squares, (k,), with ‖c‖²; before that, where there are sums, overwrite the centers that
// have any mass with their means.
template <typename T>
void settle_columns(Index n_features, Index k, const ColumnSums& of, T* centers, double* squares) {
    const ColumnRoutines<T> routines = choose_column_routines<T>(chosen_isa());
    std::fill_n(squares, k, 0.0);
    each_columns(n_features, k, [&](Index first, Index last) {
        if (of.sums) routines.means(of, first, last, k, centers + first * k);
        routines.add_squares(centers + first * k, last - first, k, squares);
    });
}

// Overwrite squares, (k,), with those of means that are to be scaled.
inline void square_means(Index n_features, Index k, const ColumnSums& of, double* squares) {
    const ColumnRoutines<double> routines = choose_column_routines<double>(chosen_isa());
    std::vector<double> sides(std::size_t(kSides * k));
    each_columns(n_features, k, [&](Index first, Index last) {
        routines.add_mean_squares(of, first, last, k, sides.data());
    });
    for (Index half = kSides / 2; half > 0; half /= 2) {
        for (Index j = 0; j < half * k; ++j) {
            sides[std::size_t(j)] += sides[std::size_t(half * k + j)];
        }
    }
    std::copy_n(sides.begin(), k, squares);
}

// Write the squared distance of each row to its own center, (n_samples,).
template <typename T>
void measure_own(const SparseRows<T>& rows, const CenterColumns<T>& centers,
                 const std::int32_t* labels, double* out) {
    for (Index i = 0; i < rows.n_samples; ++i) {
        const T* center = centers.values + labels[i];
        double apart = 0, shared = 0;
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            const double theirs = double(center[rows.indices[p] * centers.k]);
            const double difference = double(rows.data[p]) - theirs;
            apart += rounded(difference * difference);
            shared += rounded(theirs * theirs);
        }
        out[i] = apart + std::max(centers.squares[labels[i]] - shared, 0.0);
    }
}

// Write the squared distance of each row to each point, (n_points, n_samples): points are
// (n_points, n_features). Sums are added up one after the other; a point that is one of the rows is
// at no distance from it.
template <typename T>
void measure_batch(const SparseRows<T>& rows, const T* points, Index n_points, double* out) {
    Interrupt interrupt;
    interrupt.begin(double(rows.n_values() + rows.n_features));
    for (Index q = 0; q < n_points; ++q) {
        if (interrupt.came()) throw Interrupted();
        const T* point = points + q * rows.n_features;
        double norm = 0;
        for (Index f = 0; f < rows.n_features; ++f) {
            const double value = double(point[f]);
            if (value != 0) norm += rounded(value * value);
        }
        for (Index i = 0; i < rows.n_samples; ++i) {
            double apart = 0, shared = 0;
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                const double theirs = double(point[rows.indices[p]]);
                const double difference = double(rows.data[p]) - theirs;
                apart += rounded(difference * difference);
                shared += rounded(theirs * theirs);
            }
            *out++ = apart + std::max(norm - shared, 0.0);
        }
    }
}

}  // namespace lab
