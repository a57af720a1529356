// The routines for sparse rows that are compiled once per instruction set, as the engine calls
// them.

#pragma once

#include <cstdint>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/sparse/work.h"

namespace lab {

// Candidates of the seeding, side by side.
constexpr Index kSeedLanes = 8;
struct SeedCandidates {
    Aligned<double> values;  // (n_features, kSeedLanes)
    alignas(64) double norms[kSeedLanes] = {};
    std::vector<std::uint8_t> present;  // (n_features,): a bit for each lane whose value is stored
};

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
    // Measure candidates of the seeding, and make the first one a center.
    void (*try_candidates)(const SparseRows<T>& rows, const SeedCandidates& candidates, Index first,
                           Index last, const double* squares, const double* nearest,
                           const Grid& grid, std::int64_t* totals);
    void (*keep_candidate)(const SparseRows<T>& rows, const SeedCandidates& candidates, Index first,
                           Index last, const double* squares, double* nearest);
    Index lanes;
    std::size_t cell;  // bytes: 2 float16, 4 float32
};

}  // namespace lab
