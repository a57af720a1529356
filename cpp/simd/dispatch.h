// The routines of every instruction set that this compiler can build, and which one to use.
//
// The headers of the routines are included once per level, with the compiler's target set around
// them; the processor is asked at run time. Other compilers build the baseline alone.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "simd/work.h"

#if defined(__clang__)
#define LAB_UNROLL _Pragma("unroll")
#define LAB_MEMBER inline __attribute__((always_inline))
#elif defined(__GNUC__)
#define LAB_UNROLL _Pragma("GCC unroll 16")
#define LAB_MEMBER inline __attribute__((always_inline))
#else
#define LAB_UNROLL
#define LAB_MEMBER inline
#endif
#define LAB_INLINE static LAB_MEMBER
#if defined(__GNUC__)
#define LAB_LOWEST_BIT(word) __builtin_ctzll(word)
#define LAB_PREFETCH(address) __builtin_prefetch(address)
#else
#define LAB_LOWEST_BIT(word) lab::lowest_bit(word)
#define LAB_PREFETCH(address) static_cast<void>(address)
#endif
// Keeps running values out of registers while a large panel is summed. gcc 12 would otherwise put
// the rows on the stack, across cache lines: 64 % of the peak for 64 features.
#if defined(__GNUC__)
#define LAB_TO_MEMORY(a, b, c) __asm__ volatile("" : : "r"(a), "r"(b), "r"(c) : "memory")
#else
#define LAB_TO_MEMORY(a, b, c)
#endif

// LAB_PORTABLE: the build found that this compiler does not take vectors as they are written here.
#define LAB_ISA baseline
#if defined(__GNUC__) && !defined(LAB_PORTABLE)
#define LAB_BYTES 16
#else
#define LAB_BYTES 0
#endif
#include "simd/isa/routines-inl.h"
#undef LAB_ISA
#undef LAB_BYTES

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(LAB_PORTABLE)
#define LAB_DISPATCHES 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LAB_ISA avx2
#define LAB_BYTES 32
#include "simd/isa/routines-inl.h"
#undef LAB_ISA
#undef LAB_BYTES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define LAB_ISA avx512
#define LAB_BYTES 64
#include "simd/isa/routines-inl.h"
#undef LAB_ISA
#undef LAB_BYTES
#pragma GCC pop_options
#endif

namespace lab {

enum class Isa { baseline, avx2, avx512 };
inline constexpr const char* const kIsaNames[] = {"baseline", "avx2", "avx512"};

inline Isa best_isa() {
#if defined(LAB_DISPATCHES)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return Isa::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
    return Isa::baseline;
}

// The best one of this machine, or the one that KMEANS_LAB_ISA names.
inline Isa chosen_isa() {
    const char* forced = std::getenv("KMEANS_LAB_ISA");
    const Isa best = best_isa();
    if (forced == nullptr || *forced == '\0') return best;
    for (int i = 0; i < 3; ++i) {
        if (std::strcmp(forced, kIsaNames[i]) != 0) continue;
        if (Isa(i) <= best) return Isa(i);
        throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                    " is not supported here; the most that this machine and build "
                                    "run is " +
                                    kIsaNames[int(best)] + ": unset the variable or name that");
    }
    throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                " is not known; choose one of baseline, avx2, avx512");
}

template <typename T>
Block<T> choose_block(Isa isa, long n, long d, long k) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_block<T>(n, d, k);
    if (isa == Isa::avx2) return avx2::choose_block<T>(n, d, k);
#else
    (void)isa;
#endif
    return baseline::choose_block<T>(n, d, k);
}

template <typename T>
Limits<T> choose_limits(Isa isa) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::limits<T>();
    if (isa == Isa::avx2) return avx2::limits<T>();
#else
    (void)isa;
#endif
    return baseline::limits<T>();
}

}  // namespace lab
