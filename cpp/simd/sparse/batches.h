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

// Add each row to its cluster's sum, and one to its mass: sums (n_features, k), mass (k,). No
// signal is looked for, so that both are of the same rows.
template <typename T>
void add_batch(const SparseRows<T>& rows, const std::int32_t* labels, Index k, double* sums,
               double* mass) {
    for (Index i = 0; i < rows.n_samples; ++i) {
        mass[labels[i]] += 1;
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

// Some of the rows as points.
template <typename T>
SparsePoints points_of(const SparseRows<T>& rows, const Index* numbers, Index n) {
    constexpr Index together = 16;  // of the widest vectors, two
    SparsePoints points;
    points.n = n;
    points.stride = (n + together - 1) / together * together;
    points.places.assign(std::size_t(rows.n_features), 0);
    points.values.assign(std::size_t(points.stride), 0.0);
    points.squares.assign(std::size_t(points.stride), 0.0);
    std::int32_t used = 0;
    for (Index q = 0; q < n; ++q) {
        for (Index p = rows.first(numbers[q]), end = p + rows.size(numbers[q]); p < end; ++p) {
            std::int32_t& place = points.places[std::size_t(rows.indices[p])];
            if (place == 0) {
                place = ++used;
                points.values.resize(std::size_t((used + 1) * points.stride), 0.0);
            }
            const double value = double(rows.data[p]);
            points.values[std::size_t(place * points.stride + q)] = value;
            points.squares[std::size_t(q)] += rounded(value * value);
        }
    }
    return points;
}

// Write the squared distance of each row to each of some rows, (n, n_samples). Sums are added up
// one after the other: a row is at no distance from itself.
template <typename T>
void measure_batch(const SparseRows<T>& rows, const Index* numbers, Index n, double* out) {
    constexpr Index together = 256;
    const ColumnRoutines<T> routines = choose_column_routines<T>(chosen_isa());
    Interrupt interrupt;
    interrupt.begin(double(rows.n_values() + rows.n_features) * double(std::min(n, together)));
    for (Index q = 0; q < n; q += together) {
        if (interrupt.came()) throw Interrupted();
        const Index some = std::min(together, n - q);
        routines.measure(rows, points_of(rows, numbers + q, some), out + q * rows.n_samples);
    }
}

}  // namespace lab
