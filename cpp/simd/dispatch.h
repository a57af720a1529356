// The routines of every instruction set that this compiler can build, and which one to use.
//
// The headers of the routines are included once per level, with the compiler's target set around
// them; the processor is asked at run time. Other compilers build the baseline alone.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include "common/compiler.h"
#include "common/types.h"
#include "simd/engines/row_routines.h"
#include "simd/instructions.h"
#include "simd/places.h"
#include "simd/routines.h"

#define LAB_ISA baseline
#define LAB_BYTES LAB_BASELINE_BYTES
#include "simd/isa/routines-inl.h"

#if defined(LAB_DISPATCHES)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LAB_ISA avx2
#define LAB_BYTES 32
#include "simd/isa/routines-inl.h"
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define LAB_ISA avx512
#define LAB_BYTES 64
#include "simd/isa/routines-inl.h"
#pragma GCC pop_options
#endif

namespace lab {

template <typename T>
Routines<T> choose_routines(Isa isa, Index n, Index d, Index k) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_routines<T>(n, d, k);
    if (isa == Isa::avx2) return avx2::choose_routines<T>(n, d, k);
#else
    (void)isa;
#endif
    return baseline::choose_routines<T>(n, d, k);
}

template <typename T>
RowRoutines<T> choose_row_routines(Isa isa, Index d, Index k) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_row_routines<T>(d, k);
    if (isa == Isa::avx2) return avx2::choose_row_routines<T>(d, k);
#else
    (void)isa;
#endif
    return baseline::choose_row_routines<T>(d, k);
}

template <typename T>
Calls<T> choose_calls(Isa isa, Index d, Index k) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_calls<T>(d, k);
    if (isa == Isa::avx2) return avx2::choose_calls<T>(d, k);
#else
    (void)isa;
#endif
    return baseline::choose_calls<T>(d, k);
}

template <typename T>
Screening<T> choose_screening(Isa isa) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::screening<T>();
    if (isa == Isa::avx2) return avx2::screening<T>();
#else
    (void)isa;
#endif
    return baseline::screening<T>();
}

template <typename T>
CellRoutines<T> choose_cell_routines(Isa isa, Index d) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_cell_routines<T>(d);
    if (isa == Isa::avx2) return avx2::choose_cell_routines<T>(d);
#else
    (void)isa;
#endif
    return baseline::choose_cell_routines<T>(d);
}

template <typename T>
Roofline<T> choose_roofline(Isa isa) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::roofline<T>();
    if (isa == Isa::avx2) return avx2::roofline<T>();
#else
    (void)isa;
#endif
    return baseline::roofline<T>();
}

}  // namespace lab
