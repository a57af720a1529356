// All routines of one instruction set: LAB_ISA names the namespace, LAB_BYTES is the width of its
// vectors, 0 where there are none. dispatch.h defines both before it includes this file.

#if !defined(LAB_ISA) || !defined(LAB_BYTES)
#error "routines-inl.h is for dispatch.h to include, once per instruction set"
#endif

// clang-format off: each of them uses some of those above it
#include "simd/isa/vectors-inl.h"
#include "simd/isa/moves-inl.h"
#include "simd/isa/balls-inl.h"
#include "simd/isa/assign-inl.h"
#include "simd/isa/rows-inl.h"
#include "simd/isa/measure-inl.h"
#include "simd/isa/row_moves-inl.h"
#include "simd/isa/hamerly-inl.h"
#include "simd/isa/distances-inl.h"
#include "simd/isa/nearest-inl.h"
#include "simd/isa/cell_sort-inl.h"
#include "simd/isa/cell_moves-inl.h"
#include "simd/isa/cell_tiles-inl.h"
#include "simd/isa/cell_boxes-inl.h"
#include "simd/isa/cells_audit-inl.h"
#include "simd/isa/cells-inl.h"
#include "simd/isa/carried-inl.h"
#include "simd/isa/carried_copies-inl.h"
#include "simd/isa/carried_rows-inl.h"
#include "simd/isa/carried_pass-inl.h"
#include "simd/isa/candidates-inl.h"
#include "simd/isa/screening-inl.h"
#include "simd/isa/roofline-inl.h"
// clang-format on

namespace lab {
namespace LAB_ISA {

template <typename T, int vectors, int width, int panel>
Routines<T> make_routines() {
    return {assign_tiles<T, vectors, width, panel>,
            measure_range<T>,
            measure_range<double>,
            add_rows<T>,
            fit_ball<T>,
            fit_parent<T>,
            try_candidates<T, vectors, width>,
            keep_candidate<T, vectors, width>,
            sum_again<T, width>,
            width,
            panel};
}

// Tiles of as many rows as a block holds in registers rule out the most centers, and narrow vectors
// make small tiles. Each has a ball, so that many rows get tiles of the widest vectors.
template <typename T, int vectors, int panel>
Routines<T> make_routines(Index n) {
    if (n > kManyRows) return make_routines<T, vectors, vectors * Balls<T>::kids, panel>();
    return make_routines<T, vectors, vectors * Lanes<T>::lanes, panel>();
}

// How many vectors of rows and how many centers a block holds in registers. Few features leave
// little to do per score, so that more rows at a time hide the latency of the comparisons.
template <typename T>
Routines<T> choose_routines(Index n, Index d, Index k) {
    const bool fives = (k + 4) / 5 * 5 < (k + 3) / 4 * 4 || k % 5 == 0;
    if (d <= 4) return make_routines<T, 4, 2>(n);
    if (fives) return make_routines<T, 2, 5>(n);
    if (LAB_BYTES == 64 && d > 16 && (k + 7) / 8 * 8 == (k + 3) / 4 * 4) {
        return make_routines<T, 2, 8>(n);
    }
    return make_routines<T, 2, 4>(n);
}

template <typename T, int vectors, int panel>
RowRoutines<T> make_row_routines() {
    return {range_rows<T>,
            measure_rows<T>,
            add_given<T>,
            move_given<T>,
            assign_failing<T, vectors, panel>,
            shade_rows<T>,
            copy_short<T>,
            assign_carried<T, vectors, panel>,
            panel,
            panel,
            kSide,
            kPanel};
}

// As many vectors of rows and as many centers in registers as leave out few places. With twice as
// many registers, one vector of rows meets seven or eight centers: of short lists of rows, fewer
// lanes are left empty. Of few features, two vectors hide each other's latency.
template <typename T>
RowRoutines<T> choose_row_routines(Index d, Index k) {
    if constexpr (LAB_BYTES == 64) {
        const bool sevens = (k + 6) / 7 * 7 < (k + 7) / 8 * 8;
        if (d > kMostCellFeatures) {
            return sevens ? make_row_routines<T, 1, 7>() : make_row_routines<T, 1, 8>();
        }
    }
    const bool fives = (k + 4) / 5 * 5 <= (k + 3) / 4 * 4;
    return fives ? make_row_routines<T, 2, 5>() : make_row_routines<T, 2, 4>();
}

template <typename T, int d = 1>
CellRoutines<T> choose_cell_routines(Index n_features) {
    if constexpr (d < kMostCellFeatures) {
        if (n_features > d) return choose_cell_routines<T, d + 1>(n_features);
    }
    return {measure_features<T, d>, scatter_rows<T, d>, sort_bucket<T, d>,   lay_group<T, d>,
            lay_centers<d>,         assign_cells<T, d>, add_rows_of_cells<T>};
}

}  // namespace LAB_ISA
}  // namespace lab

#undef LAB_TRANSPOSES
#undef LAB_ISA
#undef LAB_BYTES
