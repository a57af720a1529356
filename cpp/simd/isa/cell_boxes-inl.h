// Boxes of rows against centers, to rule centers out for all rows of a box at once. Included once
// per instruction set, after cell_tiles-inl.h.
//
// The idea is Pelleg and Moore's ("Accelerating exact k-means algorithms with geometric
// reasoning", KDD 1999), over two levels of boxes instead of a k-d tree. No bound is carried from
// pass to pass. Center b is ruled out when, for the center a that is nearest to the middle of a
// box, the whole box lies on a's side of the plane between the two: score(b) − score(a) >
// Σ half side · 2|b − a|, with the score ‖c‖² − 2m·c of the middle m.

#ifndef LAB_ISA
#error "cell_boxes-inl.h is for routines-inl.h to include, once per instruction set"
#endif

// What an audit finds fault with: mutants of bounds, for its own test.
#ifndef LAB_MUTANT_SIDES
#define LAB_MUTANT_SIDES 1.0f
#endif
#ifndef LAB_MUTANT_PLANES
#define LAB_MUTANT_PLANES 1.0f
#endif
#ifndef LAB_MUTANT_TOLERANCE
#define LAB_MUTANT_TOLERANCE 1.0
#endif

namespace lab {
namespace LAB_ISA {

constexpr Index kMostTogether = 32;  // centers that all tiles of a group are tested against at once

LAB_INLINE float lowest_lane(const Lanes<float>::Values& values) {
    float lowest = lane(values, 0);
    for (int l = 1; l < Lanes<float>::lanes; ++l) {
        lowest = lane(values, l) < lowest ? lane(values, l) : lowest;
    }
    return lowest;
}

LAB_INLINE Lanes<float>::Values size_of(const Lanes<float>::Values& value) {
    return value < Lanes<float>::Values{} ? -value : value;
}

// Centers relative to a middle, and how long the longest is then: those of a list, or all.
template <int d>
LAB_INLINE void come_near(const double* scaled, const std::int32_t* ids, Index n,
                          const double* middle, NearCenters& to) {
    double longest = 0;
    for (Index i = 0; i < n; ++i) {
        const double* center = scaled + (ids ? Index(ids[i]) : i) * d;
        double square = 0;
        LAB_UNROLL for (Index f = 0; f < d; ++f) {
            const double value = center[f] - middle[f];
            to.across[f * to.stride + i] = float(-2 * value);
            square += value * value;
        }
        to.squares[i] = float(square);
        longest = square <= longest ? longest : square;  // keeps what is not a number
    }
    const Index end = (n + 15) / 16 * 16;
    for (Index i = n; i < end; ++i) {
        for (Index f = 0; f < d; ++f) to.across[f * to.stride + i] = 0;
        to.squares[i] = std::numeric_limits<float>::infinity();
    }
    to.count = n;
    to.longest = std::sqrt(longest);
}

// One box against centers; those that are left are listed in order, by their places. Here lanes are
// centers. `step`: from a feature of the box to the next.
template <int d>
LAB_INLINE Index test_box(const NearCenters& centers, const float* middle, const float* half,
                          Index step, float margin, float* scores, std::int32_t* found) {
    using Values = Lanes<float>::Values;
    constexpr int lanes = Lanes<float>::lanes;
    const float* across = centers.across.data();
    const Index count = centers.count, stride = centers.stride;
    Values lowest = std::numeric_limits<float>::infinity() - Values{};
    for (Index j = 0; j < count; j += lanes) {
        Values sum = *reinterpret_cast<const Values*>(centers.squares.data() + j);
        LAB_UNROLL for (Index f = 0; f < d; ++f) {
            sum += *reinterpret_cast<const Values*>(across + f * stride + j) * middle[f * step];
        }
        *reinterpret_cast<Values*>(scores + j) = sum;
        lowest = sum < lowest ? sum : lowest;
    }
    const float least = lowest_lane(lowest);
    Index a = 0;
    for (Index j = 0; j < count; j += lanes) {
        const auto same = *reinterpret_cast<const Values*>(scores + j) == least - Values{};
        const std::uint32_t bits = bits_of<float>(same);
        if (bits == 0) continue;
        a = j + LAB_LOWEST_BIT(bits);
        break;
    }
    const Values base = (scores[a] + margin) - Values{};
    Index n = 0;
    for (Index j = 0; j < count; j += lanes) {
        Values limit{};
        LAB_UNROLL for (Index f = 0; f < d; ++f) {
            const Values apart =
                *reinterpret_cast<const Values*>(across + f * stride + j) - across[f * stride + a];
            limit += size_of(apart) * (half[f * step] * LAB_MUTANT_SIDES);
        }
        limit *= LAB_MUTANT_PLANES;
        const auto out = *reinterpret_cast<const Values*>(scores + j) - base > limit;
        for (std::uint32_t bits = bits_of<float>(opposite(out)); bits != 0; bits &= bits - 1) {
            found[n++] = std::int32_t(j + LAB_LOWEST_BIT(bits));
        }
    }
    while (n > 1 && found[n - 1] >= count) --n;  // padding
    return n;
}

// All tiles of a group against few centers, relative to its middle. Here lanes are tiles. Writes a
// bit for each center that stays.
template <int d>
LAB_INLINE void test_tiles(const CellBoxes& boxes, Index group, const NearCenters& centers,
                           float margin, std::uint32_t* left) {
    using Values = Lanes<float>::Values;
    using Integers = Lanes<float>::Integers;
    constexpr int lanes = Lanes<float>::lanes;
    constexpr Index kids = CellBoxes::kids;
    const Index n = centers.count;
    const float* across = centers.across.data();
    const Index stride = centers.stride;
    for (Index h = 0; h < kids; h += lanes) {
        Values scores[kMostTogether], offset[d], half[d], near[d] = {};
        LAB_UNROLL for (Index f = 0; f < d; ++f) {
            const Index at = (group * d + f) * kids + h;
            offset[f] = *reinterpret_cast<const Values*>(boxes.offset.data() + at);
            half[f] = *reinterpret_cast<const Values*>(boxes.sides.data() + at) * LAB_MUTANT_SIDES;
        }
        Values lowest = std::numeric_limits<float>::infinity() - Values{};
        for (Index i = 0; i < n; ++i) {
            Values sum = centers.squares[i] - Values{};
            LAB_UNROLL for (Index f = 0; f < d; ++f) sum += offset[f] * across[f * stride + i];
            scores[i] = sum;
            const Integers less = sum < lowest;
            lowest = less ? sum : lowest;
            LAB_UNROLL for (Index f = 0; f < d; ++f) {
                near[f] = less ? across[f * stride + i] - Values{} : near[f];
            }
        }
        const Values base = lowest + margin;
        Integers stay{};
        for (Index i = 0; i < n; ++i) {
            Values limit{};
            LAB_UNROLL for (Index f = 0; f < d; ++f) {
                limit += size_of(across[f * stride + i] - near[f]) * half[f];
            }
            limit *= LAB_MUTANT_PLANES;
            const Integers out = scores[i] - base > limit;
            const Integers bit = Integers{} + std::int32_t(std::uint32_t(1) << i);
            stay |= out ? Integers{} : bit;
        }
        for (int l = 0; l < lanes; ++l) left[h + l] = std::uint32_t(lane(stay, l));
    }
}

}  // namespace LAB_ISA
}  // namespace lab
