// Scores of a few rows against groups of centers, in float. Included once per instruction set,
// after rows-inl.h and row_moves-inl.h.
//
// Rows are read by their pointers, value by value, and lanes are centers: nothing is transposed but
// the minima of a group.

#ifndef LAB_ISA
#error "carried-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

using Floats = Lanes<float>::Values;
constexpr int kSide = Lanes<float>::lanes;     // rows that are tested together
constexpr int kPanel = kSide < 8 ? 8 : kSide;  // centers that are scored together
constexpr int kParts = kPanel / kSide;         // vectors of those
constexpr float kInfinite = std::numeric_limits<float>::infinity();

LAB_INLINE Floats load(const float* from) {
    Floats values;
    std::memcpy(&values, from, sizeof values);
    return values;
}
LAB_INLINE void store(float* to, const Floats& values) { std::memcpy(to, &values, sizeof values); }
LAB_INLINE Floats all_of(float value) { return value - Floats{}; }

struct Least {
    LAB_MEMBER Floats operator()(const Floats& a, const Floats& b) const { return a < b ? a : b; }
};
struct Added {
    LAB_MEMBER Floats operator()(const Floats& a, const Floats& b) const { return a + b; }
};
LAB_INLINE Floats larger(const Floats& a, const Floats& b) { return a > b ? a : b; }

#if defined(LAB_TRANSPOSES)
// Every other block of one vector, then of another.
template <bool odd, int... place>
LAB_INLINE Floats every_other(const Floats& a, const Floats& b,
                              std::integer_sequence<int, place...>) {
    constexpr int blocks = kSide / 4, half = blocks / 2;
    return LAB_SHUFFLE(a, b,
                       (place / 4 / (half > 0 ? half : 1) * kSide +
                        (place / 4 % (half > 0 ? half : 1) * 2 + int(odd)) * 4 + place % 4)...);
}
#endif

// Lane l becomes what all lanes of vector l are together.
template <typename Both>
LAB_INLINE Floats fold(Floats* rows, const Both& both) {
#if defined(LAB_TRANSPOSES)
    LAB_UNROLL for (int i = 0; i < kSide / 2; ++i) {
        const Floats a = rows[2 * i], b = rows[2 * i + 1];
        rows[i] = both(interleave<float, 1, false>(a, b), interleave<float, 1, true>(a, b));
    }
    LAB_UNROLL for (int i = 0; i < kSide / 4; ++i) {
        const Floats a = rows[2 * i], b = rows[2 * i + 1];
        rows[i] = both(interleave<float, 2, false>(a, b), interleave<float, 2, true>(a, b));
    }
    if constexpr (kSide > 4) {
        constexpr auto places = std::make_integer_sequence<int, kSide>();
        for (int n = kSide / 4; n > 1; n /= 2) {
            LAB_UNROLL for (int i = 0; i < n / 2; ++i) {
                const Floats a = rows[2 * i], b = rows[2 * i + 1];
                rows[i] = both(every_other<false>(a, b, places), every_other<true>(a, b, places));
            }
        }
    }
    return rows[0];
#elif LAB_BYTES > 0
    Floats folded;
    for (int l = 0; l < kSide; ++l) {
        Floats sum = rows[l][0] - Floats{};
        for (int q = 1; q < kSide; ++q) sum = both(sum, rows[l][q] - Floats{});
        folded[l] = sum[0];
    }
    return folded;
#else
    static_cast<void>(both);
    return rows[0];
#endif
}

// Panels of centers, the first of those that are scored.
struct PanelsAt {
    const std::int32_t* pairs;
    const float *twice, *squares_low;
};

// Some rows: where their copies lie, and the scales of these.
struct RowsAt {
    const std::int32_t* const* pairs;
    const float* scales;
};

// Score rows against panels, and leave the least of the vectors of each panel. A panel's masks, at
// infinity where a row's own center is, leave it out. Not inlined: a caller with much at hand would
// leave no registers for the addresses of eight rows, which takes twice as long.
template <int rows, int panels, bool masked>
LAB_APART void meet(const RowsAt& x, const PanelsAt& at, Index n_pairs, const float* const* masks,
                    Floats (*to)[kSide]) {
    using Integers = Lanes<float>::Integers;
    Integers sums[rows][panels][kParts] = {};
    const std::int32_t* own[rows];
    LAB_UNROLL for (int r = 0; r < rows; ++r) own[r] = x.pairs[r];
    const Index step = n_pairs * kPanel;
    const std::int32_t* packed = at.pairs;
    for (Index f = 0; f < n_pairs; ++f, packed += kPanel) {
        Integers values[panels][kParts];
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                values[p][q] = *reinterpret_cast<const Integers*>(packed + p * step + q * kSide);
            }
        }
        LAB_UNROLL for (int r = 0; r < rows; ++r) {
            const Integers value = own[r][f] - Integers{};
            LAB_UNROLL for (int p = 0; p < panels; ++p) {
                LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                    sums[r][p][q] += pair_products(value, values[p][q]);
                }
            }
        }
    }
    LAB_UNROLL for (int p = 0; p < panels; ++p) {
        LAB_UNROLL for (int r = 0; r < rows; ++r) {
            Floats least;
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                const int place = p * kPanel + q * kSide;
                Floats score = load(at.squares_low + place) + x.scales[r] * load(at.twice + place) *
                                                                  convert<Floats>(sums[r][p][q]);
                if constexpr (masked) score = larger(score, load(masks[r] + q * kSide));
                least = q == 0 ? score : Least()(least, score);
            }
            to[p][r] = least;
        }
    }
}

constexpr int kRowsListed = kSide < 8 ? kSide : 8;  // of a list, in registers
constexpr int kRowsFull = kSide < 4 ? 1 : kSide == 4 ? 2 : kSide == 8 ? 4 : 8;
constexpr int kPanelsFull = 3;

// The least scores of as many rows as there are lanes, for each of some panels.
template <int rows, int panels, bool masked>
LAB_INLINE void least_scores(const RowsAt& x, const PanelsAt& at, Index n_pairs,
                             const float* const* masks, Floats* least) {
    Floats apart[panels][kSide];
    for (int r = 0; r < kSide; r += rows) {
        Floats some[panels][kSide];
        meet<rows, panels, masked>({x.pairs + r, x.scales + r}, at, n_pairs,
                                   masks + (masked ? r : 0), some);
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            LAB_UNROLL for (int i = 0; i < rows; ++i) apart[p][r + i] = some[p][i];
        }
    }
    LAB_UNROLL for (int p = 0; p < panels; ++p) least[p] = fold(apart[p], Least());
}

// All scores of one row against a panel.
LAB_INLINE void scores_of(const std::int32_t* x, float scale, const PanelsAt& at, Index n_pairs,
                          float* to) {
    Lanes<float>::Integers sums[kParts] = {};
    for (Index f = 0; f < n_pairs; ++f) {
        const Lanes<float>::Integers value = x[f] - Lanes<float>::Integers{};
        LAB_UNROLL for (int q = 0; q < kParts; ++q) {
            const auto* pairs = at.pairs + f * kPanel + q * kSide;
            sums[q] +=
                pair_products(value, *reinterpret_cast<const Lanes<float>::Integers*>(pairs));
        }
    }
    LAB_UNROLL for (int q = 0; q < kParts; ++q) {
        store(to + q * kSide, load(at.squares_low + q * kSide) +
                                  scale * load(at.twice + q * kSide) * convert<Floats>(sums[q]));
    }
}

// The part of a copy that whole vectors leave: where the last vector begins, and which of its lanes
// count. Copies shorter than a vector are followed by something that can be read.
struct Rest {
    Index first;
    Lanes<float>::Integers counts{};
    LAB_MEMBER explicit Rest(Index n) : first(n < kSide ? 0 : n - kSide) {
#if LAB_BYTES > 0
        for (int l = 0; l < kSide; ++l) {
            counts[l] = n < kSide ? (l < n ? -1 : 0) : (first + l >= n / kSide * kSide ? -1 : 0);
        }
#endif
    }
};

LAB_INLINE Lanes<float>::Integers load_pairs(const std::int32_t* from) {
    Lanes<float>::Integers pairs;
    std::memcpy(&pairs, from, sizeof pairs);
    return pairs;
}

// Products of the copies of a row and a center, lane by lane.
LAB_INLINE Floats products(const std::int32_t* x, const std::int32_t* center, Index n_pairs,
                           const Rest& rest) {
    Lanes<float>::Integers sum{};
    for (Index f = 0; f + kSide <= n_pairs; f += kSide) {
        sum += pair_products(load_pairs(x + f), load_pairs(center + f));
    }
    if (n_pairs % kSide != 0) {
        sum += pair_products(load_pairs(x + rest.first), load_pairs(center + rest.first)) &
               rest.counts;
    }
    return convert<Floats>(sum);
}

// Write the places of set bits, counted from `first`; return how many. Up to a vector is written.
LAB_INLINE Index append(std::uint32_t bits, Index first, std::uint16_t* to) {
#if LAB_BYTES == 64 && defined(__x86_64__)
    const __m512i all = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    using Integers = Lanes<float>::Integers;
    const Integers places = Integers(_mm512_maskz_compress_epi32(__mmask16(bits), all));
    store_as(places + std::int32_t(first), to);
    return __builtin_popcount(bits);
#elif LAB_BYTES > 0
    typedef std::int32_t Eight __attribute__((vector_size(32), aligned(4)));
    const Eight places = *reinterpret_cast<const Eight*>(kPlaces.of[bits]) + std::int32_t(first);
    store_as(places, to);
    return kPlaces.count[bits];
#else
    *to = std::uint16_t(first);
    return Index(bits);
#endif
}

// Where a row's own center is in a panel: infinite there. The last one leaves out no center.
struct Masks {
    alignas(64) float values[(kPanel + 1) * kPanel] = {};
    constexpr Masks() {
        for (int c = 0; c <= kPanel; ++c) {
            for (int l = 0; l < kPanel; ++l) {
                values[c * kPanel + l] = c == l ? kInfinite : -kInfinite;
            }
        }
    }
    LAB_MEMBER const float* without(Index place) const {
        return values + (place >= 0 && place < kPanel ? place : kPanel) * kPanel;
    }
};
constexpr Masks kMasks;

}  // namespace LAB_ISA
}  // namespace lab
