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

}  // namespace lab
