// The routines for sparse rows of every instruction set that this compiler can build.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "common/compiler.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/instructions.h"
#include "simd/places.h"
#include "simd/sparse/movement.h"
#include "simd/sparse/routines.h"
#include "simd/sparse/work.h"

#define LAB_ISA baseline
#define LAB_BYTES LAB_BASELINE_BYTES
#include "simd/sparse/isa/sparse-inl.h"

#if defined(LAB_DISPATCHES)
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define LAB_ISA avx2
#define LAB_BYTES 32
#include "simd/sparse/isa/sparse-inl.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#define LAB_ISA avx512
#define LAB_BYTES 64
#include "simd/sparse/isa/sparse-inl.h"
#pragma GCC pop_options
#endif

namespace lab {

// Screening in float16 where the instruction set can and it is wanted.
template <typename T>
SparseRoutines<T> choose_sparse_routines(Isa isa, bool half) {
#if defined(LAB_DISPATCHES)
    // Every processor with AVX2 and FMA is known to have these; the one that has not gets float32.
    half = half && __builtin_cpu_supports("f16c");
    if (isa == Isa::avx512) return avx512::choose_sparse_routines<T>(half);
    if (isa == Isa::avx2) return avx2::choose_sparse_routines<T>(half);
#else
    static_cast<void>(isa);
#endif
    return baseline::choose_sparse_routines<T>(half);
}

template <typename T>
ColumnRoutines<T> choose_column_routines(Isa isa) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::column_routines<T>();
    if (isa == Isa::avx2) return avx2::column_routines<T>();
#else
    static_cast<void>(isa);
#endif
    return baseline::column_routines<T>();
}

}  // namespace lab
