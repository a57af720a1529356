// The routines for sparse rows that are compiled once per instruction set, as the engine calls
// them.

#pragma once

#include <cstdint>
#include <vector>

#include "common/types.h"
#include "simd/grid.h"
#include "simd/sparse/work.h"

namespace lab {

template <typename T>
struct SparseRoutines {
    // Label the rows of a part, or those whose bounds do not hold.
    void (*scan)(SparseWork<T>& work, SparsePart& part, SparseScratch& scratch);
    void (*scan_failing)(SparseWork<T>& work, SparsePart& part, SparseScratch& scratch);
    // Lay out some features: of centers that are given, or of the means of sums.
    void (*lay_given)(SparseWork<T>& work, Index first, Index last);
    void (*lay_sums)(SparseWork<T>& work, Index first, Index last, const T* instead,
                     double* squares, double* differences);
    // Add what joins and leaves a center.
    void (*move)(SparseWork<T>& work, Index j, bool shown, std::int64_t before,
                 SparseScratch& scratch);
    // Rows that share no feature with a candidate of the seeding: by how much it lowers the sum of
    // their distances, in steps; the second one makes it a center.
    std::int64_t (*try_apart)(const double* squares, double* nearest, Index n, double norm,
                              const Grid& grid);
    std::int64_t (*keep_apart)(const double* squares, double* nearest, Index n, double norm,
                               const Grid& grid);
    Index lanes;
    std::size_t cell;  // bytes: 2 float16, 4 float32
};

// Centers (k, n_features), column by column: as batches of rows meet them.
template <typename T>
struct CenterColumns {
    const T* values;        // (n_features, k)
    const double* squares;  // (k,) ‖c‖², added up in the order of the features
    Index k;
};

// What centers that lie so are the means of.
struct ColumnSums {
    const double* sums;     // (n_features, k)
    const double* mass;     // (k,): rows, or 0 where a center is to stay
    const double* lengths;  // (k,): what means are divided by, or null
};
// A center's squared length as ``metric._divide_by_lengths`` adds it up: so many sums side by side.
constexpr Index kSides = 8;

// Some rows as points: of each feature that one of them stores, what all of them have, side by
// side.
struct SparsePoints {
    Index n = 0, stride = 0;           // points, and places for them
    std::vector<std::int32_t> places;  // (n_features,): which values; 0: none but zeros
    std::vector<double> values;        // (places, stride)
    std::vector<double> squares;       // (stride,) ‖x‖²
};

template <typename T>
struct ColumnRoutines {
    void (*assign)(const SparseRows<T>& rows, Index first, Index last,
                   const CenterColumns<T>& centers, std::int32_t* labels, double& inertia);
    void (*add_squares)(const T* values, Index n_features, Index k, double* squares);
    void (*means)(const ColumnSums& of, Index first, Index last, Index k, T* values);
    void (*add_mean_squares)(const ColumnSums& of, Index first, Index last, Index k,
                             double* squares);
    void (*measure)(const SparseRows<T>& rows, const SparsePoints& points, double* out);
};

}  // namespace lab
