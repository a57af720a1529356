// Tiles of the engine for few features: what is learnt of them in one look, copies of their rows,
// and their exact sums. Included once per instruction set, after moves-inl.h.

#ifndef LAB_ISA
#error "cell_tiles-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The range of each feature of rows as they lie, a vector of each `d` at a time.
template <typename T, int d>
void measure_features(const Given<T>& given, Index first, Index last, Range<T>& range) {
    using Values = typename Lanes<T>::Values;
    constexpr Index lanes = Lanes<T>::lanes, kept = Range<T>::lanes;
    alignas(64) T middle[d * lanes], most[d * lanes] = {}, least[d * lanes];
    const T infinite = std::numeric_limits<T>::infinity();
    for (Index i = 0; i < d * lanes; ++i) {
        middle[i] = given.middle[i % d];
        least[i] = infinite;
    }
    Values high[d], low[d], from[d];
    std::memcpy(high, most, sizeof high);
    std::memcpy(low, least, sizeof low);
    std::memcpy(from, middle, sizeof from);
    Index i = first;
    for (; i + lanes <= last; i += lanes) {
        LAB_UNROLL for (int v = 0; v < d; ++v) {
            Values value;
            std::memcpy(&value, given.rows + i * d + v * lanes, sizeof value);
            value -= from[v];
            const Values size = value < Values{} ? -value : value;
            const Values counted = size > Values{} ? size : infinite - Values{};
            high[v] = size > high[v] ? size : high[v];
            low[v] = counted < low[v] ? counted : low[v];
        }
    }
    std::memcpy(most, high, sizeof high);
    std::memcpy(least, low, sizeof low);
    const auto widen = [&](Index f, T more, T less) {
        range.most[f * kept] = std::max(range.most[f * kept], more);
        range.least[f * kept] = std::min(range.least[f * kept], less);
    };
    for (Index p = 0; p < d * lanes; ++p) widen(p % d, most[p], least[p]);
    for (; i < last; ++i) {
        for (Index f = 0; f < d; ++f) {
            const T size = std::abs(given.at(i, f));
            widen(f, size, size > 0 ? size : infinite);
        }
    }
}

// Copy the rows of a tile, feature by feature; places beyond the last row hold it once more.
template <typename T, int d>
LAB_INLINE void gather_rows(const CellWork<T>& work, Index tile, T* values) {
    constexpr Index rows = CellTile<T>::rows, ahead = 24;
    const Index first = tile * rows, count = work.rows_of(tile);
    const T* x = work.given.rows;
    const auto copy = [&](Index l, Index place) {
        LAB_UNROLL for (Index f = 0; f < d; ++f) {
            values[f * rows + l] = T(x[place * d + f] - work.given.middle[f]);
        }
    };
    if (work.order.empty()) {
        for (Index l = 0; l < count; ++l) copy(l, first + l);
    } else {
        const std::uint32_t* order = work.order.data() + first;
        const Index last = work.n - 1 - first;
        for (Index l = 0; l < count; ++l) {
            LAB_PREFETCH(x + Index(order[std::min(l + ahead, last)]) * d);
            copy(l, Index(order[l]));
        }
    }
    for (Index l = count; l < rows; ++l) {
        for (Index f = 0; f < d; ++f) values[f * rows + l] = values[f * rows + count - 1];
    }
}

// The copy of a tile's rows, made now if there is none.
template <typename T, int d>
CellTile<T> tile_with_rows(CellWork<T>& work, CellChunk& chunk, Index tile) {
    if (work.copies[tile]) return work.copy_of(tile);
    constexpr Index per_block = 32;  // of a page or more, so that few are half empty
    const Index bytes = CellTile<T>::bytes(d, work.weights != nullptr);
    if (chunk.blocks.empty() || chunk.used == per_block * bytes) {
        auto block = std::make_unique<Aligned<char>>();
        block->resize(std::size_t(per_block * bytes));
        chunk.blocks.push_back(std::move(block));
        chunk.used = 0;
    }
    char* at = chunk.blocks.back()->data() + chunk.used;
    chunk.used += bytes;
    const CellTile<T> copy(at, d, work.weights != nullptr);
    gather_rows<T, d>(work, tile, copy.values);
    for (Index l = 0; copy.weights && l < CellTile<T>::rows; ++l) {
        const Index row = tile * CellTile<T>::rows + l;
        copy.weights[l] = row < work.n ? work.weights[work.given_as(row)] : 0.0;
    }
    work.copies[tile] = at;
    return copy;
}

alignas(64) constexpr std::int64_t kBitOfRow[32] = {
    1ll << 0,  1ll << 1,  1ll << 2,  1ll << 3,  1ll << 4,  1ll << 5,  1ll << 6,  1ll << 7,
    1ll << 8,  1ll << 9,  1ll << 10, 1ll << 11, 1ll << 12, 1ll << 13, 1ll << 14, 1ll << 15,
    1ll << 16, 1ll << 17, 1ll << 18, 1ll << 19, 1ll << 20, 1ll << 21, 1ll << 22, 1ll << 23,
    1ll << 24, 1ll << 25, 1ll << 26, 1ll << 27, 1ll << 28, 1ll << 29, 1ll << 30, 1ll << 31};

// The limbs of a column's values over the rows whose bits are set.
LAB_INLINE void sum_column(const double* values, std::uint32_t rows, const Split& how, Index f,
                           std::int64_t* to) {
    using Values = typename Lanes<double>::Values;
    using Integers = typename Lanes<double>::Integers;
    constexpr int lanes = Lanes<double>::lanes, vectors = 32 / lanes;
    Values value[vectors];
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        std::memcpy(&value[v], values + v * lanes, sizeof value[v]);
    }
    if (rows != 0xffffffff) {  // a value of zero adds nothing
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Integers bits;
            std::memcpy(&bits, kBitOfRow + v * lanes, sizeof bits);
            value[v] = (bits & std::int64_t(rows)) != Integers{} ? value[v] : Values{};
        }
    }
    for (Index at = f; at < how.size(); at += how.stride) {
        const Values magic = how.magic[at] - Values{};
        Integers zero, sum{};
        std::memcpy(&zero, &magic, sizeof zero);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Values shifted = value[v] + magic;
            value[v] -= shifted - magic;
            Integers word;
            std::memcpy(&word, &shifted, sizeof word);
            sum += word - zero;
        }
        std::int64_t total = 0;
        for (int l = 0; l < lanes; ++l) total += lane(sum, l);
        to[at] = total;
    }
}

// The same for all columns of a tile.
template <typename T, int d>
LAB_INLINE void sum_rows(const CellTile<T>& tile, std::uint32_t rows, const Split& how,
                         std::int64_t* to) {
    constexpr Index n = CellTile<T>::rows;
    if constexpr (sizeof(T) == sizeof(double)) {
        if (!tile.weights) {
            for (Index f = 0; f < d; ++f) sum_column(tile.values + f * n, rows, how, f, to);
            return;
        }
    }
    for (Index f = 0; f < d + (tile.weights ? 1 : 0); ++f) {
        alignas(64) double values[n];
        for (Index l = 0; l < n; ++l) values[l] = f < d ? double(tile.values[f * n + l]) : 1.0;
        for (Index l = 0; tile.weights && l < n; ++l) values[l] *= tile.weights[l];
        sum_column(values, rows, how, f, to);
    }
}

// The values of rows in the caller's array, times their weights.
template <typename T>
struct FromGiven {
    const CellWork<T>& work;
    Index columns;  // of a row; with weights, one more than its features
    LAB_MEMBER void values(Index row, Index first, Index n, double* to) const {
        const double weight = work.weights ? work.weights[row] : 1.0;
        for (Index i = 0; i < n; ++i) {
            const Index f = first + i;
            to[i] = weight * (f < work.d ? double(work.given.at(row, f)) : 1.0);
        }
    }
};

// Add all rows to sums, by labels of the rows as they were given.
template <typename T>
void add_given(const CellWork<T>& work, Partial& sums, const std::int32_t* labels) {
    Moves<FromGiven<T>> moves({work, work.columns}, work.split, sums);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[row]);
    moves.flush();
}

// Bits of the first n rows of a tile.
LAB_INLINE std::uint32_t every(Index n) { return 0xffffffff >> (32 - n); }

LAB_INLINE int count_bits(std::uint32_t bits) {
    bits -= bits >> 1 & 0x55555555;
    bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f;
    return int(bits * 0x01010101 >> 24);
}

// Bits of the rows of a tile that have this label, or the same label in another array.
LAB_INLINE std::uint32_t equal(const std::int32_t* labels, std::int32_t label) {
    using Integers = Lanes<float>::Integers;
    std::uint32_t bits = 0;
    for (int l = 0; l < 32; l += Lanes<float>::lanes) {
        bits |= bits_of(*reinterpret_cast<const Integers*>(labels + l) == Integers{} + label) << l;
    }
    return bits;
}
LAB_INLINE std::uint32_t equal(const std::int32_t* labels, const std::int32_t* others) {
    using Integers = Lanes<float>::Integers;
    std::uint32_t bits = 0;
    for (int l = 0; l < 32; l += Lanes<float>::lanes) {
        bits |= bits_of(*reinterpret_cast<const Integers*>(labels + l) ==
                        *reinterpret_cast<const Integers*>(others + l))
                << l;
    }
    return bits;
}

// Rows from one cluster to another: −1: from none.
inline void move_limbs(Partial& sums, const Split& how, const std::int64_t* limbs,
                       std::int32_t before, std::int32_t label, Index n, bool alone = false) {
    if (!alone && !sums.locks.empty()) {
        const Locked both(sums.locks, before, label);
        move_limbs(sums, how, limbs, before, label, n, true);
        return;
    }
    count_moved(sums, before, label, n);
    const Index size = how.size();
    std::int64_t* joined = sums.limbs.data() + label * size;
    for (Index i = 0; i < size; ++i) joined[i] += limbs[i];
    if (before < 0) return;
    std::int64_t* left = sums.limbs.data() + before * size;
    for (Index i = 0; i < size; ++i) left[i] -= limbs[i];
}

// A row from one cluster to another: faster than its limbs apart where few rows move.
template <typename T, int d>
LAB_INLINE void move_row(Partial& sums, const Split& how, const CellTile<T>& tile, Index l,
                         std::int32_t before, std::int32_t label) {
    const Index size = how.size();
    std::int64_t* joined = sums.limbs.data() + label * size;
    std::int64_t* left = sums.limbs.data() + std::max(before, 0) * size;
    const std::int64_t leaves = before < 0 ? 0 : -1;
    count_moved(sums, before, label, 1);
    for (Index f = 0; f < d + (tile.weights ? 1 : 0); ++f) {
        double value = f < d ? double(tile.values[f * CellTile<T>::rows + l]) : 1.0;
        if (tile.weights) value *= tile.weights[l];
        for (Index at = f; at < size; at += how.stride) {
            const std::int64_t limb = split(value, how.magic[at]);
            joined[at] += limb;
            left[at] -= limb & leaves;
        }
    }
}

inline float above(double value) { return float(value * (1 + 0x1p-20) + 1e-37); }

// Look at the tiles of a group: boxes, sums, squares.
template <typename T, int d>
void lay_group(CellWork<T>& work, CellChunk& chunk, Index group) {
    constexpr Index rows = CellTile<T>::rows, kids = CellBoxes::kids;
    const Index first = group * kids, n_tiles = std::min(kids, work.n_tiles() - first);
    double low[kids][d] = {}, high[kids][d] = {}, squares[kids * rows];
    alignas(64) T values[d * rows];
    alignas(64) double weights[rows];
    Index n_squares = 0;
    for (Index i = 0; i < n_tiles; ++i) {
        CellTile<T> tile;
        tile.values = values;
        gather_rows<T, d>(work, first + i, values);
        const Index count = work.rows_of(first + i);
        if (work.weights) {
            tile.weights = weights;
            for (Index l = 0; l < rows; ++l) {
                const Index row = (first + i) * rows + l;
                weights[l] = l < count ? work.weights[work.given_as(row)] : 0.0;
            }
        }
        const std::uint32_t valid = 0xffffffff >> (rows - count);
        sum_rows<T, d>(tile, valid, work.split,
                       work.tile_sums.data() + (first + i) * work.split.size());
        double square[rows] = {};
        for (Index f = 0; f < d; ++f) {
            T least = values[f * rows], most = least;
            for (Index l = 0; l < rows; ++l) {
                const T value = values[f * rows + l];
                least = value < least ? value : least;
                most = value > most ? value : most;
                double own = double(value) * double(value);
                LAB_HIDE(own);
                square[l] += own;
            }
            low[i][f] = double(least) * work.scale;
            high[i][f] = double(most) * work.scale;
        }
        for (Index l = 0; l < count; ++l) {
            squares[n_squares++] = work.weights ? square[l] * weights[l] : square[l];
        }
    }
    chunk.squares.add(squares, n_squares);
    for (Index f = 0; f < d; ++f) {
        double least = low[0][f], most = high[0][f];
        for (Index i = 1; i < n_tiles; ++i) {
            least = std::min(least, low[i][f]);
            most = std::max(most, high[i][f]);
        }
        float& middle = work.boxes.middle[group * d + f];
        middle = float(0.5 * (least + most));
        const double from = double(middle);
        work.boxes.half[group * d + f] = above(std::max(most - from, from - least) + 0x1p-50);
        for (Index i = 0; i < kids; ++i) {
            float& offset = work.boxes.offset[(group * d + f) * kids + i];
            float& side = work.boxes.sides[(group * d + f) * kids + i];
            offset = side = 0;
            if (i >= n_tiles) continue;
            offset = float(0.5 * (low[i][f] + high[i][f]) - from);
            const double at = from + double(offset);
            side = above(std::max(high[i][f] - at, at - low[i][f]) + 0x1p-50);
        }
    }
    for (Index i = 0; i < kids; ++i) {
        double square = 0;
        for (Index f = 0; f < d; ++f) {
            const double side = double(work.boxes.sides[(group * d + f) * kids + i]);
            square += side * side;
        }
        work.boxes.reach[first + i] = above(std::sqrt(square));
    }
}

}  // namespace LAB_ISA
}  // namespace lab
