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
    typedef signed char Flags __attribute__((vector_size(LAB_BYTES / sizeof(T))));
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

// Whether a lane is a near-tie or differs from the label that is stored for it.
template <typename T>
LAB_INLINE bool any(const typename Lanes<T>::Integers& near_tie,
                    const typename Lanes<T>::Integers& index, const std::int32_t* stored) {
    using Integers = typename Lanes<T>::Integers;
#if LAB_BYTES > 0
    using Labels = typename Lanes<T>::Labels;
    using Flags = typename Lanes<T>::Flags;
    const Integers before =
        __builtin_convertvector(*reinterpret_cast<const Labels*>(stored), Integers);
    const Flags flags = __builtin_convertvector(near_tie | (index != before), Flags);
    std::uint64_t words[(sizeof(Flags) + 7) / 8] = {};
    std::memcpy(words, &flags, sizeof(Flags));
    std::uint64_t found = 0;
    for (const std::uint64_t word : words) found |= word;
    return found != 0;
#else
    return near_tie || index != Integers(*stored);
#endif
}

// A bit for each lane of a comparison of float32 that holds.
LAB_INLINE std::uint32_t bits_of(const Lanes<float>::Integers& mask) {
#if LAB_BYTES == 64 && defined(__x86_64__)
    return _mm512_movepi32_mask(reinterpret_cast<const __m512i&>(mask));
#elif LAB_BYTES == 32 && defined(__x86_64__)
    return std::uint32_t(_mm256_movemask_ps(reinterpret_cast<const __m256&>(mask)));
#elif LAB_BYTES == 16 && defined(__x86_64__)
    return std::uint32_t(_mm_movemask_ps(reinterpret_cast<const __m128&>(mask)));
#else
    std::uint32_t bits = 0;
    for (int l = 0; l < Lanes<float>::lanes; ++l) bits |= (lane(mask, l) != 0 ? 1u : 0u) << l;
    return bits;
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

// Bytes of one vector's comparison: 0xff where it holds.
template <typename T>
struct Found {
    static constexpr int lanes = Lanes<T>::lanes;
    std::uint64_t words[(lanes + 7) / 8] = {};

    LAB_MEMBER explicit Found(const typename Lanes<T>::Integers& mask) {
#if LAB_BYTES > 0
        const auto flags = __builtin_convertvector(mask, typename Lanes<T>::Flags);
        std::memcpy(words, &flags, sizeof(flags));
#else
        words[0] = mask ? 0xff : 0;
#endif
    }

    // A bit for each lane that holds.
    LAB_MEMBER std::uint32_t bits() const {
        constexpr std::uint64_t ones = 0x0101010101010101, gather = 0x0102040810204080;
        std::uint32_t found = 0;
        for (int w = 0; w < int(sizeof(words) / 8); ++w) {
            found |= std::uint32_t((words[w] & ones) * gather >> 56) << (8 * w);
        }
        return found;
    }

    // Write the lanes that hold, from `first` on; return how many.
    LAB_MEMBER Index list(Index first, std::int32_t* to) const {
        Index n = 0;
        for (int w = 0; w < int(sizeof(words) / 8); ++w) {
            if (words[w] == 0) continue;
            for (int l = 0; l < 8 && l < lanes; ++l) {  // no branch: one place more or less
                to[n] = std::int32_t(first + w * 8 + l);
                n += words[w] >> (8 * l) & 1;
            }
        }
        return n;
    }
};

}  // namespace LAB_ISA
}  // namespace lab
