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

// Score rows against panels, and leave the least of the vectors of each panel. A panel's masks, at
// infinity where a row's own center is, leave it out. Not inlined: a caller with much at hand would
// leave no registers for the addresses of eight rows, which takes twice as long.
template <int rows, int panels, bool masked>
LAB_APART void meet(const float* const* x, const float* packed, const float* squares_low, Index d,
                    const float* const* masks, Floats (*to)[kSide]) {
    Floats sums[rows][panels][kParts];
    LAB_UNROLL for (int r = 0; r < rows; ++r) {
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                sums[r][p][q] = load(squares_low + p * kPanel + q * kSide);
            }
        }
    }
    const float* own[rows];
    LAB_UNROLL for (int r = 0; r < rows; ++r) own[r] = x[r];
    const Index step = d * kPanel;
    for (Index f = 0; f < d; ++f, packed += kPanel) {
        Floats values[panels][kParts];
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                values[p][q] = *reinterpret_cast<const Floats*>(packed + p * step + q * kSide);
            }
        }
        LAB_UNROLL for (int r = 0; r < rows; ++r) {
            const Floats value = all_of(own[r][f]);
            LAB_UNROLL for (int p = 0; p < panels; ++p) {
                LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                    sums[r][p][q] += value * values[p][q];
                }
            }
        }
    }
    LAB_UNROLL for (int r = 0; r < rows; ++r) {
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            Floats least;
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                Floats score = sums[r][p][q];
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
LAB_INLINE void least_scores(const float* const* x, const float* packed, const float* squares_low,
                             Index d, const float* const* masks, Floats* least) {
    Floats apart[panels][kSide];
    for (int r = 0; r < kSide; r += rows) {
        Floats some[panels][kSide];
        meet<rows, panels, masked>(x + r, packed, squares_low, d, masks + (masked ? r : 0), some);
        LAB_UNROLL for (int p = 0; p < panels; ++p) {
            LAB_UNROLL for (int i = 0; i < rows; ++i) apart[p][r + i] = some[p][i];
        }
    }
    LAB_UNROLL for (int p = 0; p < panels; ++p) least[p] = fold(apart[p], Least());
}

// All scores of one row against a panel. Four sums of each vector hide the latency of the
// additions.
LAB_INLINE void scores_of(const float* x, const float* packed, const float* squares_low, Index d,
                          float* to) {
    constexpr int chains = 4;
    Floats sums[chains][kParts] = {};
    LAB_UNROLL for (int q = 0; q < kParts; ++q) sums[0][q] = load(squares_low + q * kSide);
    Index f = 0;
    for (; f + chains <= d; f += chains) {
        LAB_UNROLL for (int c = 0; c < chains; ++c) {
            const Floats value = all_of(x[f + c]);
            LAB_UNROLL for (int q = 0; q < kParts; ++q) {
                sums[c][q] += value * load(packed + (f + c) * kPanel + q * kSide);
            }
        }
    }
    for (; f < d; ++f) {
        const Floats value = all_of(x[f]);
        LAB_UNROLL for (int q = 0; q < kParts; ++q) {
            sums[0][q] += value * load(packed + f * kPanel + q * kSide);
        }
    }
    LAB_UNROLL for (int q = 0; q < kParts; ++q) {
        store(to + q * kSide, (sums[0][q] + sums[1][q]) + (sums[2][q] + sums[3][q]));
    }
}

// The part of a row that whole vectors leave: where the last vector begins, and which of its lanes
// count. Rows shorter than a vector are followed by something that can be read.
struct Rest {
    Index first;
    Lanes<float>::Integers counts{};
    LAB_MEMBER explicit Rest(Index d) : first(d < kSide ? 0 : d - kSide) {
#if LAB_BYTES > 0
        for (int l = 0; l < kSide; ++l) {
            counts[l] = d < kSide ? (l < d ? -1 : 0) : (first + l >= d / kSide * kSide ? -1 : 0);
        }
#endif
    }
};

// Squared differences of a row and a center, lane by lane.
LAB_INLINE Floats differences(const float* x, const float* center, Index d, const Rest& rest) {
    Floats sum{};
    for (Index f = 0; f + kSide <= d; f += kSide) {
        const Floats diff = load(x + f) - load(center + f);
        sum += diff * diff;
    }
    if (d % kSide != 0) {
        Floats diff = load(x + rest.first) - load(center + rest.first);
        diff = rest.counts ? diff : Floats{};
        sum += diff * diff;
    }
    return sum;
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

// Rows relative to the middle, in float, and their squared lengths.
template <typename T>
void shade_rows(const RowWork<T>& work, CarriedState<T>& state, const Part& part) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const Index d = work.d;
    const T* middle = work.given.middle;
    for (Index i = part.first; i < part.last; ++i) {
        if (i % 1024 == 0 && work.interrupt->came()) return;
        float* to = state.shadow.empty() ? nullptr : state.shadow.data() + i * d;
        const T* x = work.given.rows + i * d;
        Values sums[2] = {};
        Index f = 0;
        for (; f + 2 * lanes <= d; f += 2 * lanes) {
            LAB_UNROLL for (int v = 0; v < 2; ++v) {
                alignas(64) T some[lanes];
                LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                    some[l] = T(x[f + v * lanes + l] - middle[f + v * lanes + l]);
                }
                const Values value = doubles_at(some) * state.scale;
                sums[v] += value * value;
                if (!to) continue;
                const auto few = convert<Lanes<float>::Few>(value);
                std::memcpy(to + f + v * lanes, &few, sizeof few);
            }
        }
        const Values sum = sums[0] + sums[1];
        double square = 0;
        for (int l = 0; l < lanes; ++l) square += lane(sum, l);
        for (; f < d; ++f) {
            const double value = double(work.given.at(i, f)) * state.scale;
            square += value * value;
            if (to) to[f] = float(value);
        }
        state.squares[i] = float(square);
    }
}

}  // namespace LAB_ISA
}  // namespace lab
