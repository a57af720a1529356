// The routines for sparse rows of one instruction set; see simd/sparse/dispatch.h.

#if !defined(LAB_ISA) || !defined(LAB_BYTES)
#error "sparse-inl.h is for simd/sparse/dispatch.h to include, once per instruction set"
#endif

// clang-format off: each of them uses some of those above it
#include "simd/isa/vectors-inl.h"
#include "simd/sparse/isa/scan-inl.h"
#include "simd/sparse/isa/bounds-inl.h"
#include "simd/sparse/isa/table-inl.h"
#include "simd/sparse/isa/seeding-inl.h"
#include "simd/sparse/isa/columns-inl.h"
// clang-format on

namespace lab {
namespace LAB_ISA {

template <typename T, typename Cell>
SparseRoutines<T> make_sparse_routines() {
    return {scan_rows<T, Cell, false>,
            scan_rows<T, Cell, true>,
            lay_given<T, Cell>,
            lay_sums<T, Cell>,
            move_center<T, Cell>,
            try_apart,
            keep_apart,
            kLanes,
            sizeof(Cell)};
}

template <typename T>
SparseRoutines<T> choose_sparse_routines(bool half) {
#if defined(__x86_64__) && LAB_BYTES >= 32
    if (half) return make_sparse_routines<T, Half>();
#endif
    static_cast<void>(half);
    return make_sparse_routines<T, float>();
}

}  // namespace LAB_ISA
}  // namespace lab

#undef LAB_TRANSPOSES
#undef LAB_ISA
#undef LAB_BYTES
