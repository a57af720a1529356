// Rows meet all centers: lanes are centers, screened in float16 or float32.

#ifndef LAB_ISA
#error "scan-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

using Floats = Lanes<float>::Values;
constexpr Index kLanes = Lanes<float>::lanes;
// Vectors of scores that a row holds in registers: those of as many centers as there are lanes
// each.
constexpr int kMostTile = LAB_BYTES == 64 ? 14 : LAB_BYTES == 32 ? 13 : LAB_BYTES == 16 ? 12 : 4;

constexpr Index kAhead = 2;         // rows whose cells are on their way
constexpr Index kValuesAhead = 20;  // the same, where a row has few cells
constexpr int kFewVectors = 4;      // of cells
LAB_INLINE Floats load(const float* from) {
    Floats lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}
LAB_INLINE void store(const Floats& lanes, float* to) { std::memcpy(to, &lanes, sizeof lanes); }
LAB_INLINE Floats all(float value) { return Floats{} + value; }

#if defined(__x86_64__) && LAB_BYTES == 64
LAB_INLINE Floats smaller(const Floats& a, const Floats& b) {
    return _mm512_mask_min_ps(a, 0xffff, a, b);
}
LAB_INLINE Floats load(const Half* from) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_maskz_cvtph_ps(0xffff, halves);
}
#elif defined(__x86_64__) && LAB_BYTES == 32
LAB_INLINE Floats smaller(const Floats& a, const Floats& b) { return _mm256_min_ps(a, b); }
LAB_INLINE Floats load(const Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
#else
LAB_INLINE Floats smaller(const Floats& a, const Floats& b) { return a < b ? a : b; }
#endif

LAB_INLINE float least_of(const Floats& lanes) {
#if defined(__x86_64__) && LAB_BYTES >= 16
    __m128 parts[LAB_BYTES / 16];
    std::memcpy(parts, &lanes, sizeof parts);
    for (int half = LAB_BYTES / 32; half > 0; half /= 2) {
        for (int q = 0; q < half; ++q) parts[q] = _mm_min_ps(parts[q], parts[q + half]);
    }
    const __m128 two = _mm_min_ps(parts[0], _mm_movehl_ps(parts[0], parts[0]));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
    float least = lane(lanes, 0);
    for (int l = 1; l < kLanes; ++l) least = std::min(least, lane(lanes, l));
    return least;
#endif
}

// A bit for each lane that is no more than a limit.
LAB_INLINE std::uint32_t no_more(const Floats& lanes, const Floats& limits) {
#if defined(__x86_64__) && LAB_BYTES == 64
    return _mm512_cmp_ps_mask(lanes, limits, _CMP_LE_OQ);
#else
    return bits_of<float>(lanes <= limits);
#endif
}
LAB_INLINE int count_bits(std::uint32_t bits) {
#if defined(__GNUC__) && LAB_BYTES >= 32
    return __builtin_popcount(bits);
#else
    return kPlaces.count[bits];
#endif
}

// The scores of one row and some vectors of centers: lower bounds are written, and the least of the
// upper ones is returned. `ahead`: the cells of so many values later are on their way, if any.
template <typename Cell, int vectors>
LAB_INLINE Floats score(const Screen& screen, Index first, Index padded,
                        const std::int32_t* columns, const float* x, Index m, float more,
                        float less, float* lower, Floats least, Index ahead = 0) {
    Floats dots[vectors] = {};
    const Cell* table = reinterpret_cast<const Cell*>(screen.table.data()) + first;
    for (Index p = 0; p < m; ++p) {
        const Cell* cells = table + Index(columns[p]) * padded;
        if (ahead > 0) {
            const Cell* later = table + Index(columns[p + ahead]) * padded;
            constexpr Index line = 64 / sizeof(Cell);
            LAB_UNROLL for (Index j = 0; j < vectors * kLanes; j += line) LAB_PREFETCH(later + j);
        }
        const Floats value = all(x[p]);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) dots[v] += load(cells + v * kLanes) * value;
    }
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const Index at = first + v * kLanes;
        const Floats square = load(screen.squares.data() + at);
        const Floats off = load(screen.factors.data() + at) * dots[v];
        store(square - off * more, lower + at);
        least = smaller(least, square - off * less);
    }
    return least;
}
template <typename Cell, int vectors>
Floats score_tile(const Screen& screen, Index first, const std::int32_t* columns, const float* x,
                  Index m, float more, float less, float* lower, Floats least) {
    return score<Cell, vectors>(screen, first, screen.padded, columns, x, m, more, less, lower,
                                least);
}

template <typename Cell>
using ScoreTile = Floats (*)(const Screen&, Index, const std::int32_t*, const float*, Index, float,
                             float, float*, Floats);
template <typename Cell, int... v>
ScoreTile<Cell> choose_tile(int vectors, std::integer_sequence<int, v...>) {
    static constexpr ScoreTile<Cell> tiles[] = {score_tile<Cell, v + 1>...};
    return tiles[vectors - 1];
}

// How the centers are cut into tiles: `larger` of `vectors` each, then smaller ones by one less.
template <typename Cell>
struct Tiles {
    Index n, larger, vectors;
    ScoreTile<Cell> score, score_smaller;

    explicit Tiles(Index padded) {
        const Index all = padded / kLanes;
        n = (all + kMostTile - 1) / kMostTile;
        vectors = (all + n - 1) / n;
        larger = all - n * (vectors - 1);
        constexpr auto sizes = std::make_integer_sequence<int, kMostTile>();
        score = choose_tile<Cell>(int(vectors), sizes);
        score_smaller = choose_tile<Cell>(int(std::max(Index(1), vectors - 1)), sizes);
    }
};

// What a row is screened with.
struct Slack {
    float more, less;  // factors of what is subtracted
    float fixed;       // of a bound

    Slack(const Screen& screen, Index m, float length) {
        const float share = screen.unit + screen.per_value * float(m);
        more = screen.negative ? 1.0f : 1 + share;
        less = screen.negative ? 1.0f : 1 - share;
        const float root = std::sqrt(float(m));
        fixed = screen.fixed + length * (screen.per_root * root + screen.per_length * share);
    }
};

// Find the nearest center of a row, whose values in float32 are x. Its bounds follow if wanted.
// `few`: vectors that a row's cells are, or 0 where tiles say it.
template <typename T, typename Cell, int few>
LAB_INLINE std::int32_t nearest_center(SparseWork<T>& work, const Tiles<Cell>& tiles, Index i,
                                       const float* x, SparseScratch& scratch, SparsePart& part,
                                       Index ahead) {
    const Screen& screen = work.screen;
    const Index m = work.rows.size(i), padded = few > 0 ? few * kLanes : screen.padded;
    const std::int32_t* columns = work.rows.indices + work.rows.first(i);
    const Slack slack(screen, m, work.lengths[i]);
    float* lower = scratch.lower.data();
    Floats upper = all(std::numeric_limits<float>::infinity());
    if (few > 0) {
        upper = score<Cell, std::max(few, 1)>(screen, 0, padded, columns, x, m, slack.more,
                                              slack.less, lower, upper, ahead);
    }
    for (Index t = 0, at = 0; few == 0 && t < tiles.n; ++t) {
        const bool large = t < tiles.larger;
        const auto score = large ? tiles.score : tiles.score_smaller;
        upper = score(screen, at, columns, x, m, slack.more, slack.less, lower, upper);
        at += (large ? tiles.vectors : tiles.vectors - 1) * kLanes;
    }
    const float least = least_of(upper), limit = least + 2 * slack.fixed;
    const Floats limits = all(limit);
    Index count = 0;
    std::int32_t label = 0;
    for (Index j = 0; j < padded; j += kLanes) {
        const std::uint32_t bits = no_more(load(lower + j), limits);
        count += count_bits(bits);
        if (bits != 0) label = std::int32_t(j) + LAB_LOWEST_BIT(bits);
    }
    float own = least + slack.fixed;
    if (count != 1) {
        auto found = work.reference.nearest_alone(work.rows, i, scratch.shared);
        if (found.label < 0) {
            scratch.candidates.clear();
            for (Index j = 0; j < screen.n_clusters; ++j) {
                if (!(lower[j] > limit)) scratch.candidates.push_back(std::int32_t(j));
            }
            found = work.reference.nearest(work.rows, i, scratch.candidates, scratch.products,
                                           scratch.shared);
        }
        label = found.label;
        part.rescored += found.tied;
        part.near += !found.tied;
        own = work.screened(found.score, found.off);
    }
    if (work.bounding) {
        lower[label] = std::numeric_limits<float>::infinity();
        Floats others = load(lower);
        for (Index j = kLanes; j < padded; j += kLanes) {
            others = smaller(others, load(lower + j));
        }
        work.own[i] = own;
        work.others[i] = least_of(others) - slack.fixed;
    }
    ++part.met;
    return label;
}

// Round the values of consecutive rows to float32, as many rows as fit; returns the row after them.
template <typename T>
LAB_INLINE Index shorten(const SparseWork<T>& work, Index first, Index last, float* to) {
    const SparseRows<T>& rows = work.rows;
    Index end = first + 1;
    while (end < last && rows.first(end + 1) - rows.first(first) <= kValuesTogether) ++end;
    const T* from = rows.data + rows.first(first);
    const Index n = rows.first(end) - rows.first(first);
    for (Index p = 0; p < n; ++p) to[p] = float(double(from[p]) * work.scale);
    return end;
}

// Have the cells that a row meets on their way: the table is larger than the nearest cache.
template <typename T, typename Cell>
LAB_INLINE void prefetch_cells(const SparseWork<T>& work, Index i) {
    constexpr Index line = 64 / sizeof(Cell);
    const Screen& screen = work.screen;
    const Cell* table = reinterpret_cast<const Cell*>(screen.table.data());
    for (Index p = work.rows.first(i), end = p + work.rows.size(i); p < end; ++p) {
        const Cell* cells = table + Index(work.rows.indices[p]) * screen.padded;
        for (Index j = 0; j < screen.padded; j += line) LAB_PREFETCH(cells + j);
    }
}

}  // namespace LAB_ISA
}  // namespace lab
