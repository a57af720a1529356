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

// The lanes of an index, as labels.
template <typename T>
LAB_INLINE void copy_labels(const typename Lanes<T>::Integers& index, std::int32_t* to) {
#if LAB_BYTES > 0
    *reinterpret_cast<typename Lanes<T>::Labels*>(to) = convert<typename Lanes<T>::Labels>(index);
#else
    *to = std::int32_t(index);
#endif
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

LAB_INLINE Lanes<double>::Values square_root(const Lanes<double>::Values& values) {
#if LAB_BYTES == 64 && defined(__x86_64__)
    return _mm512_maskz_sqrt_pd(0xff, values);  // gcc 12 warns of the plain one
#elif LAB_BYTES == 32 && defined(__x86_64__)
    return _mm256_sqrt_pd(values);
#elif LAB_BYTES == 16 && defined(__x86_64__)
    return _mm_sqrt_pd(values);
#elif LAB_BYTES > 0
    Lanes<double>::Values roots;
    for (int l = 0; l < Lanes<double>::lanes; ++l) roots[l] = std::sqrt(values[l]);
    return roots;
#else
    return std::sqrt(values);
#endif
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
