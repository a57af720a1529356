// The search for centers that may be nearest to some row of a ball. Included once per instruction
// set, after vectors-inl.h.
//
// The idea is Pelleg and Moore's ("Accelerating exact k-means algorithms with geometric
// reasoning", KDD 1999) and Kanungo et al.'s (IEEE PAMI 24, 2002), over three levels of balls
// instead of a k-d tree. No bound is carried from pass to pass, so that centers may move as they
// like. Center b is ruled out when, for some center a, the whole ball lies on a's side of the plane
// between the two: score(b) − score(a) > 2 · radius · ‖a − b‖, with the score ‖c‖² − 2m·c of the
// ball's middle m.

#ifndef LAB_ISA
#error "balls-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// What the difference of two scores must exceed beyond that: twice the tolerance of rows, theirs
// and that of the middle. The floor covers squares that underflow: it is more than they may lose.
template <typename T>
T margin(const Work<T>& work, double reach) {
    const double floor = 4 * std::sqrt(double(std::numeric_limits<T>::min()));
    return T((2 * work.tolerance(reach) + floor) * 1.001);
}

template <typename T>
T rounded_up(double square, Index d) {
    const double up = 1 + double(2 * d + 16) * double(std::numeric_limits<T>::epsilon());
    return T(std::max(square * up, 64 * double(std::numeric_limits<T>::min())));
}

// Scores of `vectors` times `lanes` centers for one point. Here lanes are centers.
template <typename T, int vectors>
LAB_INLINE void score_point(const SpreadCenters<T>& centers, Index d, const T* middle, Index first,
                            T* scores) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    Values sums[vectors];
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        sums[v] = *reinterpret_cast<const Values*>(centers.squares.data() + first + v * lanes);
    }
    for (Index f = 0; f < d; ++f) {
        const Values x = middle[f * Balls<T>::kids] - Values{};
        const T* across = centers.across.data() + f * centers.padded + first;
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            sums[v] += x * *reinterpret_cast<const Values*>(across + v * lanes);
        }
    }
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        *reinterpret_cast<Values*>(scores + first + v * lanes) = sums[v];
    }
}

// The centers that a rules out are left out; the others are listed in order.
template <typename T>
LAB_INLINE Index survivors(const SpreadCenters<T>& centers, Index k, const T* scores, T square,
                           T margin, Index a, std::int32_t* found) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    const T base = scores[a] + margin;
    const T* apart = centers.apart.data() + a * centers.padded;
    Index n = 0;
    for (Index j = 0; j < centers.padded; j += lanes) {
        const Values above = *reinterpret_cast<const Values*>(scores + j) - base;
        const Values limit = *reinterpret_cast<const Values*>(apart + j) * square;
        const auto out = (above > Values{}) & (above * above > limit);
        n += list_bits<T>(bits_of<T>(opposite(out)), j, found + n);
    }
    while (n > 0 && found[n - 1] >= k) --n;  // padding
    return n;
}

// One ball, with rows no longer than reach, against all centers; the center that was near in the
// last pass is tried first, and then the nearest of those that it did not rule out.
template <typename T>
Index test_ball(const Work<T>& work, Balls<T>& balls, Index b, double reach, std::int32_t* found) {
    constexpr int lanes = Lanes<T>::lanes;
    alignas(64) T scores[kMostFiltered + 64];
    const SpreadCenters<T>& centers = work.spread;
    const T* middle = balls.middle_of(b, work.d);
    Index j = 0;
    for (; j + 4 * lanes <= centers.padded; j += 4 * lanes) {
        score_point<T, 4>(centers, work.d, middle, j, scores);
    }
    for (; j + 2 * lanes <= centers.padded; j += 2 * lanes) {
        score_point<T, 2>(centers, work.d, middle, j, scores);
    }
    if (j < centers.padded) score_point<T, 1>(centers, work.d, middle, j, scores);
    const Index k = work.centers.n_clusters;
    const T beyond = margin(work, reach);
    const Index likely = balls.likely[b] < k ? balls.likely[b] : 0;
    Index n = survivors(centers, k, scores, balls.square[b], beyond, likely, found);
    Index best = likely;
    for (Index i = 0; i < n; ++i) best = scores[found[i]] < scores[best] ? found[i] : best;
    if (best != likely) {
        n = survivors(centers, k, scores, balls.square[b], beyond, best, found);
        balls.likely[b] = std::int32_t(best);
    }
    return n;
}

// All balls of one parent against the centers that are left for it, each pair of them. Here lanes
// are balls. Writes a bit for each of the n ≤ kMostPaired centers that stays.
template <typename T>
void test_kids(const Work<T>& work, const Balls<T>& balls, Index parent, const std::int32_t* ids,
               Index n, T margin, std::uint32_t* left) {
    using Values = typename Lanes<T>::Values;
    using Integers = typename Lanes<T>::Integers;
    using Integer = typename Lanes<T>::Integer;
    constexpr int lanes = Lanes<T>::lanes;
    constexpr Index kids = Balls<T>::kids;
    const Index d = work.d;
    const T* centers = work.centers.listed.data();
    for (Index i = 0; i < kids; i += lanes) {
        const T* middle = balls.middle.data() + parent * kids * d + i;
        const Values square =
            *reinterpret_cast<const Values*>(balls.square.data() + parent * kids + i);
        Values scores[kMostPaired];
        for (Index c = 0; c < n; ++c) {
            Values sum = work.centers.squares[ids[c]] - Values{};
            const T* center = centers + ids[c] * d;
            for (Index f = 0; f < d; ++f) {
                sum += *reinterpret_cast<const Values*>(middle + f * kids) * center[f];
            }
            scores[c] = sum;
        }
        Integers out = Integers{};
        for (Index a = 0; a + 1 < n; ++a) {
            const T* apart = work.spread.apart.data() + ids[a] * work.spread.padded;
            const Integers bit_a = Integers{} + (Integer(1) << a);
            for (Index b = a + 1; b < n; ++b) {
                const Values above = scores[b] - scores[a];
                const Values size = (above > Values{} ? above : -above) - margin;
                const Integers apart_enough =
                    (size > Values{}) & (size * size > square * apart[ids[b]]);
                const Integers bit_b = Integers{} + (Integer(1) << b);
                out |= apart_enough ? (above > Values{} ? bit_b : bit_a) : Integers{};
            }
        }
        const std::uint32_t all = std::uint32_t((std::uint64_t(1) << n) - 1);
        for (int l = 0; l < lanes; ++l) left[i + l] = ~std::uint32_t(lane(out, l)) & all;
    }
}

// The centers whose bits are set.
inline Index list_bits(std::uint32_t bits, const std::int32_t* ids, std::int32_t* found) {
    Index n = 0;
    for (; bits != 0; bits &= bits - 1) found[n++] = ids[LAB_LOWEST_BIT(bits)];
    return n;
}

// Put a middle at the mean of the first `count` of `width` points, which lie feature by feature,
// and add each point's squared distance to it.
template <typename T>
LAB_INLINE void fit_middle(const T* points, Index d, Index width, Index count, T* middle,
                           double* distances) {
    for (Index f = 0; f < d; ++f) {
        const T* x = points + f * width;
        double sum = 0;
        for (Index i = 0; i < count; ++i) sum += double(x[i]);
        T& mean = middle[f * Balls<T>::kids];
        mean = T(sum / double(count));
        const double from = double(mean);
        for (Index i = 0; i < width; ++i) {
            const double diff = double(x[i]) - from;
            distances[i] += diff * diff;
        }
    }
}

// The ball around the mean of a tile's first `count` rows. Rounded upwards; never so small that its
// square underflows.
template <typename T>
void fit_ball(const Work<T>& work, Index tile, Index count, Balls<T>& balls, Index b) {
    const Index d = work.d, width = work.width;
    double farthest = 0, distances[kWidest] = {};
    fit_middle(work.tiles.data() + tile * d * width, d, width, count, balls.middle_of(b, d),
               distances);
    for (Index l = 0; l < count; ++l) farthest = std::max(farthest, distances[l]);
    balls.square[b] = rounded_up<T>(farthest, d);
}

// The ball around the first `count` balls of a parent.
template <typename T>
void fit_parent(const Balls<T>& of, Index parent, Index count, Index d, Balls<T>& balls, Index b) {
    constexpr Index kids = Balls<T>::kids;
    double radius = 0, distances[kids] = {};
    fit_middle(of.middle.data() + parent * d * kids, d, kids, count, balls.middle_of(b, d),
               distances);
    for (Index i = 0; i < count; ++i) {
        const double own = std::sqrt(double(of.square[parent * kids + i]));
        radius = std::max(radius, std::sqrt(distances[i]) + own);
    }
    balls.square[b] = rounded_up<T>(radius * radius, d);
}

// All centers, laid out for the balls.
template <typename T>
void spread_centers(const Centers<T>& centers, Index d, SpreadCenters<T>& to) {
    constexpr int lanes = Lanes<T>::lanes;
    const Index k = centers.n_clusters, padded = (k + lanes - 1) / lanes * lanes;
    to.padded = padded;
    to.across.resize(d * padded);
    to.squares.resize(padded);
    to.apart.resize(k * padded);
    for (Index j = 0; j < padded; ++j) {
        to.squares[j] = j < k ? centers.squares[j] : std::numeric_limits<T>::infinity();
        for (Index f = 0; f < d; ++f) {
            to.across[f * padded + j] = j < k ? centers.listed[j * d + f] : T(0);
        }
    }
    const T up = T(1) + T(2 * d + 16) * std::numeric_limits<T>::epsilon();
    const T least = T(64) * std::numeric_limits<T>::min();
    for (Index a = 0; a < k; ++a) {
        T* apart = to.apart.data() + a * padded;
        std::fill_n(apart, padded, T(0));
        for (Index f = 0; f < d; ++f) {
            const T* across = to.across.data() + f * padded;
            const T from = across[a];
            for (Index j = 0; j < padded; ++j) {
                apart[j] += (across[j] - from) * (across[j] - from);
            }
        }
        for (Index j = 0; j < padded; ++j) apart[j] = std::max(apart[j] * up, least);
    }
}

}  // namespace LAB_ISA
}  // namespace lab
