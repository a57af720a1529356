/* Differences between compilers, for C and C++: the Cython modules include this file, too. */

#pragma once

/* Which compiler built a module, and with which flags: its BUILD. */
#if defined(__clang__)
#define LAB_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define LAB_COMPILER "gcc " __VERSION__
#else
#define LAB_COMPILER "msvc"
#endif
#define LAB_BUILD LAB_COMPILER " " KMEANS_LAB_FLAGS

#if defined(__clang__)
#define LAB_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define LAB_UNROLL _Pragma("GCC unroll 16")
#else
#define LAB_UNROLL
#endif
#if defined(__GNUC__)
#define LAB_MEMBER inline __attribute__((always_inline))
#define LAB_LOWEST_BIT(word) __builtin_ctzll(word)
#define LAB_PREFETCH(address) __builtin_prefetch(address)
#define LAB_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#else
#define LAB_MEMBER inline
#define LAB_LOWEST_BIT(word) lab::lowest_bit(word)
#define LAB_PREFETCH(address) ((void)(address))
#define LAB_PREFETCH_TO_WRITE(address) ((void)(address))
#endif
#define LAB_INLINE static LAB_MEMBER
/* A function of its own: where it would be inlined, its caller's variables take its registers. */
#if defined(__GNUC__)
#define LAB_APART static __attribute__((noinline))
#else
#define LAB_APART static
#endif
#if defined(__cplusplus) && !defined(__GNUC__)
namespace lab {
inline int lowest_bit(unsigned long long word) {
    int bit = 0;
    while (!(word >> bit & 1)) ++bit;
    return bit;
}
}  // namespace lab
#endif

/* Hides how a variable, a double or a vector of them, came about: a product that goes through here
   is not fused with an addition, in whatever routine for whatever processor. */
#if defined(__GNUC__) && defined(__x86_64__)
#define LAB_HIDE(value) __asm__("" : "+v"(value))
#elif defined(__GNUC__) && defined(__aarch64__)
#define LAB_HIDE(value) __asm__("" : "+w"(value))
#elif defined(__GNUC__)
#define LAB_HIDE(value) __asm__("" : "+m"(value))
#else
#define LAB_HIDE(value) ((value) = *(volatile double*)&(value))
#endif

/* Keeps running values out of registers while a large panel is summed. gcc 12 would otherwise put
   the rows on the stack, across cache lines: 64 % of the peak for 64 features. */
#if defined(__GNUC__)
#define LAB_TO_MEMORY(a, b, c) __asm__ volatile("" : : "r"(a), "r"(b), "r"(c) : "memory")
#else
#define LAB_TO_MEMORY(a, b, c)
#endif

/* Whether vectors can be put together from any places of two others: LAB_SHUFFLE(a, b, places). */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define LAB_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif

/* What a thread does between two looks at a variable that another one writes. */
#if defined(__GNUC__) && defined(__x86_64__)
#define LAB_PAUSE() __builtin_ia32_pause()
#else
#define LAB_PAUSE() ((void)0)
#endif

/* Of the processor at hand: 2 has AVX-512 as the wide routines use it, 1 AVX2, 0 neither. */
#if defined(__GNUC__) && defined(__x86_64__)
#define LAB_LEVEL()                                                                   \
    (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ? 0            \
     : __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&     \
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") \
         ? 2                                                                          \
         : 1)
#else
#define LAB_LEVEL() 0
#endif

/* C++ routines for several instruction sets in one file need gcc's pragmas, and its vectors.
   LAB_PORTABLE: the build found that this compiler does not take vectors as they are written.
   LAB_BASELINE: code for any processor alone, which compiles sooner. */
#if defined(__GNUC__) && !defined(LAB_PORTABLE)
#define LAB_BASELINE_BYTES 16
#if !defined(__clang__) && defined(__x86_64__) && !defined(LAB_BASELINE)
#define LAB_DISPATCHES 1
#endif
#else
#define LAB_BASELINE_BYTES 0
#endif

/* Numbers that threads of a C module share. */
#if defined(_MSC_VER)
#include <intrin.h>
#define LAB_ADD(at, value) _InterlockedExchangeAdd64(at, value)
#define LAB_STORE(at, value) _InterlockedExchange64(at, value)
#define LAB_LOAD(at) (*(volatile __int64*)(at))
#elif defined(__GNUC__)
#define LAB_ADD(at, value) __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST)
#define LAB_STORE(at, value) __atomic_store_n(at, value, __ATOMIC_SEQ_CST)
#define LAB_LOAD(at) __atomic_load_n(at, __ATOMIC_RELAXED)
#endif
