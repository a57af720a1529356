// Vectors of one instruction set, LAB_BYTES wide; 0: scalars. The first of the files that
// routines-inl.h includes once per instruction set.

#ifndef LAB_ISA
#error "vectors-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

template <typename T, typename Int>
struct Vectors {
    typedef Int Integer;
#if LAB_BYTES > 0
    typedef T Values __attribute__((vector_size(LAB_BYTES)));
    typedef Integer Integers __attribute__((vector_size(LAB_BYTES)));
    typedef std::int32_t Labels __attribute__((vector_size(LAB_BYTES / sizeof(T) * 4), aligned(4)));
    typedef double Wide __attribute__((vector_size(LAB_BYTES / sizeof(T) * 8)));
    // As many values as doubles fill a vector.
    typedef T Few __attribute__((vector_size(LAB_BYTES / 8 * sizeof(T))));
    typedef std::int64_t WideIntegers __attribute__((vector_size(LAB_BYTES / sizeof(T) * 8)));
    static constexpr int lanes = LAB_BYTES / sizeof(T);
#else
    typedef T Values;
    typedef Integer Integers;
    typedef double Wide;
    typedef std::int64_t WideIntegers;
    typedef T Few;
    static constexpr int lanes = 1;
#endif
};
template <typename T>
struct Lanes;
template <>
struct Lanes<double> : Vectors<double, std::int64_t> {};
template <>
struct Lanes<float> : Vectors<float, std::int32_t> {};

// One lane of a vector, or the scalar itself.
template <typename Vector>
LAB_INLINE auto lane(const Vector& vector, int l) {
#if LAB_BYTES > 0
    return vector[l];
#else
    static_cast<void>(l);
    return vector;
#endif
}

// The lanes of a vector, or of a mask, as numbers of another type.
template <typename To, typename From>
LAB_INLINE To convert(const From& lanes) {
#if LAB_BYTES > 0
    return __builtin_convertvector(lanes, To);
#else
    return To(lanes);
#endif
}

// Store lanes as numbers of another type.
template <typename To, typename Vector>
LAB_INLINE void store_as(const Vector& vector, To* to) {
#if LAB_BYTES > 0
    constexpr int lanes = sizeof(Vector) / sizeof(vector[0]);
    typedef To Others __attribute__((vector_size(lanes * sizeof(To))));
    const Others others = __builtin_convertvector(vector, Others);
    std::memcpy(to, &others, sizeof others);
#else
    *to = To(vector);
#endif
}

// The values that begin here, as a vector of doubles.
template <typename T>
LAB_INLINE Lanes<double>::Values doubles_at(const T* values) {
    const auto& few = *reinterpret_cast<const typename Lanes<T>::Few*>(values);
    return convert<Lanes<double>::Values>(few);
}

// Doubles squared, and rounded before they are added to anything: see `rounded` of one value.
LAB_INLINE Lanes<double>::Values rounded_square(const Lanes<double>::Values& values) {
    Lanes<double>::Values square = values * values;
    LAB_HIDE(square);
    return square;
}

// How many steps of a grid doubles are, rounded: Grid::steps of each lane.
LAB_INLINE Lanes<double>::Integers steps_in(const Lanes<double>::Values& values, const Grid& grid) {
    const Lanes<double>::Values shifted = values + grid.shift;
    Lanes<double>::Integers bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    return bits - grid.offset;
}

#if LAB_BYTES > 0 && defined(LAB_SHUFFLE)
#define LAB_TRANSPOSES 1
// Sixteen bytes of a vector: what instructions mix without crossing between parts.
template <typename T>
struct Block {
    static constexpr int size = 16 / int(sizeof(T));
    typedef T Values __attribute__((vector_size(16)));
};

// Of every block of two vectors the lower or upper half, `unit` values of each in turn.
template <typename T, int unit, bool upper, int... place>
LAB_INLINE typename Lanes<T>::Values interleave(const typename Lanes<T>::Values& a,
                                                const typename Lanes<T>::Values& b,
                                                std::integer_sequence<int, place...>) {
    constexpr int size = Block<T>::size, half = upper ? size / 2 : 0;
    return LAB_SHUFFLE(a, b,
                       (place / size * size + half + place % size / unit / 2 * unit + place % unit +
                        place % size / unit % 2 * Lanes<T>::lanes)...);
}
template <typename T, int unit, bool upper>
LAB_INLINE typename Lanes<T>::Values interleave(const typename Lanes<T>::Values& a,
                                                const typename Lanes<T>::Values& b) {
    return interleave<T, unit, upper>(a, b, std::make_integer_sequence<int, Lanes<T>::lanes>());
}

// Blocks side by side: the first, and those that are `step` farther each.
template <typename T>
LAB_INLINE typename Lanes<T>::Values join(const typename Block<T>::Values* blocks, int step) {
#if LAB_BYTES == 16
    static_cast<void>(step);
    return blocks[0];
#else
    typedef T Pair __attribute__((vector_size(32)));
    const auto pair = [](const auto& a, const auto& b) -> Pair {
        if constexpr (sizeof(T) == 4) return LAB_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
        if constexpr (sizeof(T) == 8) return LAB_SHUFFLE(a, b, 0, 1, 2, 3);
    };
    const Pair low = pair(blocks[0], blocks[step]);
#if LAB_BYTES == 32
    return low;
#else
    const Pair high = pair(blocks[2 * step], blocks[3 * step]);
    if constexpr (sizeof(T) == 4) {
        return LAB_SHUFFLE(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    } else {
        return LAB_SHUFFLE(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
#endif
#endif
}

// A block of each row, for as many rows as there are lanes, becomes a vector of each place.
template <typename T>
LAB_INLINE void transpose(const typename Block<T>::Values* rows, typename Lanes<T>::Values* to) {
    if constexpr (sizeof(T) == 8) {
        const auto even = join<T>(rows, 2), odd = join<T>(rows + 1, 2);
        to[0] = interleave<T, 1, false>(even, odd);
        to[1] = interleave<T, 1, true>(even, odd);
    } else {
        const auto r0 = join<T>(rows, 4), r1 = join<T>(rows + 1, 4);
        const auto r2 = join<T>(rows + 2, 4), r3 = join<T>(rows + 3, 4);
        const auto a = interleave<T, 1, false>(r0, r1), b = interleave<T, 1, true>(r0, r1);
        const auto c = interleave<T, 1, false>(r2, r3), d = interleave<T, 1, true>(r2, r3);
        to[0] = interleave<T, 2, false>(a, c);
        to[1] = interleave<T, 2, true>(a, c);
        to[2] = interleave<T, 2, false>(b, d);
        to[3] = interleave<T, 2, true>(b, d);
    }
}
#endif

// The roots of numbers that are not negative.
template <typename T>
LAB_INLINE typename Lanes<T>::Values square_roots(const typename Lanes<T>::Values& of) {
#if defined(__x86_64__) && LAB_BYTES == 64
    if constexpr (sizeof(T) == 4) return _mm512_maskz_sqrt_ps(0xffff, of);
    if constexpr (sizeof(T) == 8) return _mm512_maskz_sqrt_pd(0xff, of);
#elif defined(__x86_64__) && LAB_BYTES == 32
    if constexpr (sizeof(T) == 4) return _mm256_sqrt_ps(of);
    if constexpr (sizeof(T) == 8) return _mm256_sqrt_pd(of);
#elif defined(__x86_64__) && LAB_BYTES == 16
    if constexpr (sizeof(T) == 4) return _mm_sqrt_ps(of);
    if constexpr (sizeof(T) == 8) return _mm_sqrt_pd(of);
#elif LAB_BYTES > 0
    typename Lanes<T>::Values roots;
    for (int l = 0; l < Lanes<T>::lanes; ++l) roots[l] = std::sqrt(of[l]);
    return roots;
#else
    return std::sqrt(of);
#endif
}

// The values at as many places as there are lanes.
LAB_INLINE Lanes<float>::Values gather(const float* from, const std::int32_t* places) {
#if defined(__x86_64__) && LAB_BYTES == 64
    // The masks take all lanes: gcc 12 warns of what the shorter forms leave undefined.
    const __m512i at = _mm512_loadu_si512(places);
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, at, from, 4);
#elif defined(__x86_64__) && LAB_BYTES == 32
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(places));
    return _mm256_i32gather_ps(from, at, 4);
#elif LAB_BYTES > 0
    Lanes<float>::Values values;
    for (int l = 0; l < Lanes<float>::lanes; ++l) values[l] = from[places[l]];
    return values;
#else
    return from[*places];
#endif
}

// Two vectors of doubles as one of float32.
LAB_INLINE Lanes<float>::Values narrow(const Lanes<double>::Values& low,
                                       const Lanes<double>::Values& high) {
#if LAB_BYTES == 64 && defined(__x86_64__)
    const __m512 first = _mm512_castps256_ps512(_mm512_maskz_cvtpd_ps(0xff, low));
    return _mm512_maskz_insertf32x8(0xffff, first, _mm512_maskz_cvtpd_ps(0xff, high), 1);
#elif LAB_BYTES == 32 && defined(__x86_64__)
    const __m256 first = _mm256_castps128_ps256(_mm256_cvtpd_ps(low));
    return _mm256_insertf128_ps(first, _mm256_cvtpd_ps(high), 1);
#elif LAB_BYTES == 16 && defined(__x86_64__)
    return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
#elif LAB_BYTES > 0
    typedef float Half __attribute__((vector_size(LAB_BYTES / 2)));
    const Half halves[2] = {convert<Half>(low), convert<Half>(high)};
    Lanes<float>::Values both;
    std::memcpy(&both, halves, sizeof both);
    return both;
#else
    static_cast<void>(high);
    return float(low);
#endif
}

// Float32, relative to a middle, of doubles or floats times a scale.
template <typename T>
LAB_INLINE Lanes<float>::Values relative(const T* values, double from, double scale) {
    constexpr int next = Lanes<float>::lanes - Lanes<double>::lanes;  // 0 for scalars
    const auto low = doubles_at<T>(values) * scale - from;
    return narrow(low, doubles_at<T>(values + next) * scale - from);
}

// The opposite of a comparison.
template <typename Mask>
LAB_INLINE Mask opposite(const Mask& mask) {
#if LAB_BYTES > 0
    return ~mask;
#else
    return !mask;
#endif
}

// Lanes hold two 16-bit numbers each; return the sums of the products of those in the same place.
LAB_INLINE Lanes<float>::Integers pair_products(const Lanes<float>::Integers& a,
                                                const Lanes<float>::Integers& b) {
#if LAB_BYTES == 64
    return Lanes<float>::Integers(_mm512_madd_epi16(__m512i(a), __m512i(b)));
#elif LAB_BYTES == 32
    return Lanes<float>::Integers(_mm256_madd_epi16(__m256i(a), __m256i(b)));
#elif LAB_BYTES == 16 && defined(__SSE2__)
    return Lanes<float>::Integers(_mm_madd_epi16(__m128i(a), __m128i(b)));
#elif LAB_BYTES > 0
    return (a >> 16) * (b >> 16) + (a << 16 >> 16) * (b << 16 >> 16);
#else
    return std::int16_t(a >> 16) * std::int16_t(b >> 16) +
           std::int16_t(a & 0xffff) * std::int16_t(b & 0xffff);
#endif
}

// Lane l of vector v and lane v of vector l change places, for all l and v.
template <int half = Lanes<double>::lanes / 2>
LAB_INLINE void turn(Lanes<double>::Values (&vectors)[Lanes<double>::lanes]) {
#if LAB_BYTES > 8
    using Doubles = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    LAB_UNROLL for (int v = 0; v < lanes; ++v) {
        if (v & half) continue;
        const Doubles a = vectors[v], b = vectors[v + half];
#if defined(__clang__)
        LAB_UNROLL for (int l = 0; l < lanes; ++l) {
            vectors[v][l] = l & half ? b[l - half] : a[l];
            vectors[v + half][l] = l & half ? b[l] : a[l + half];
        }
#else
        Lanes<double>::Integers upper = {}, lower = {};
        LAB_UNROLL for (int l = 0; l < lanes; ++l) {
            upper[l] = l & half ? lanes + l - half : l;
            lower[l] = l & half ? lanes + l : l + half;
        }
        vectors[v] = __builtin_shuffle(a, b, upper);
        vectors[v + half] = __builtin_shuffle(a, b, lower);
#endif
    }
    if constexpr (half > 1) turn<half / 2>(vectors);
#else
    static_cast<void>(vectors);
#endif
}

// A bit for each lane for which a comparison holds.
template <typename T>
LAB_INLINE std::uint32_t bits_of(const typename Lanes<T>::Integers& mask) {
#if defined(__x86_64__) && LAB_BYTES == 64
    if constexpr (sizeof(T) == 4) return std::uint32_t(_mm512_movepi32_mask((__m512i)mask));
    if constexpr (sizeof(T) == 8) return std::uint32_t(_mm512_movepi64_mask((__m512i)mask));
#elif defined(__x86_64__) && LAB_BYTES == 32
    if constexpr (sizeof(T) == 4) return std::uint32_t(_mm256_movemask_ps((__m256)mask));
    if constexpr (sizeof(T) == 8) return std::uint32_t(_mm256_movemask_pd((__m256d)mask));
#elif defined(__x86_64__) && LAB_BYTES == 16
    if constexpr (sizeof(T) == 4) return std::uint32_t(_mm_movemask_ps((__m128)mask));
    if constexpr (sizeof(T) == 8) return std::uint32_t(_mm_movemask_pd((__m128d)mask));
#elif LAB_BYTES > 0
    std::uint32_t bits = 0;
    for (int l = 0; l < Lanes<T>::lanes; ++l) bits |= std::uint32_t(mask[l] & 1) << l;
    return bits;
#else
    return mask ? 1 : 0;
#endif
}

// Write the places of the bits that are set, from `first` on; return how many. As many places more
// as a vector has lanes may be written, but no fewer than eight.
template <typename T>
LAB_INLINE Index list_bits(std::uint32_t bits, Index first, std::int32_t* to) {
    Index n = 0;
    for (int l = 0; l < Lanes<T>::lanes; l += 8, bits >>= 8) {
        const std::uint32_t some = bits & 0xff;
#if LAB_BYTES > 0
        typedef std::int32_t Eight __attribute__((vector_size(32), aligned(4)));
        *reinterpret_cast<Eight*>(to + n) =
            *reinterpret_cast<const Eight*>(kPlaces.of[some]) + std::int32_t(first + l);
#else
        to[n] = std::int32_t(first);
#endif
        n += kPlaces.count[some];
    }
    return n;
}

// Whether a lane is a near-tie or differs from the label that is stored for it.
template <typename T>
LAB_INLINE bool any(const typename Lanes<T>::Integers& near_tie,
                    const typename Lanes<T>::Integers& index, const std::int32_t* stored) {
    using Integers = typename Lanes<T>::Integers;
#if LAB_BYTES > 0
    using Labels = typename Lanes<T>::Labels;
    const Integers before =
        __builtin_convertvector(*reinterpret_cast<const Labels*>(stored), Integers);
    return bits_of<T>(near_tie | (index != before)) != 0;
#else
    return near_tie || index != Integers(*stored);
#endif
}

}  // namespace LAB_ISA
}  // namespace lab
