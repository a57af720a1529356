// Tiles of the engine for few features: what is learnt of them in one look, and copies of their
// rows. Included once per instruction set, after cell_moves-inl.h.

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
    constexpr Index rows = CellTile<T>::rows, ahead = 64;
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
            const T* next = x + Index(order[std::min(l + ahead, last)]) * d;
            LAB_PREFETCH(next);
            if constexpr (d > 2) LAB_PREFETCH(next + d - 1);  // may lie in the next cache line
            copy(l, Index(order[l]));
        }
    }
    for (Index l = count; l < rows; ++l) {
        for (Index f = 0; f < d; ++f) values[f * rows + l] = values[f * rows + count - 1];
    }
}

// The same with their weights: those beyond the last row count nothing.
template <typename T, int d>
LAB_INLINE void gather_tile(const CellWork<T>& work, Index tile, const CellTile<T>& to) {
    gather_rows<T, d>(work, tile, to.values);
    for (Index l = 0; to.weights && l < CellTile<T>::rows; ++l) {
        const Index row = tile * CellTile<T>::rows + l;
        to.weights[l] = row < work.n ? work.weights[work.given_as(row)] : 0.0;
    }
}

// The copy of a tile's rows, made now if there is none.
template <typename T, int d>
CellTile<T> tile_with_rows(CellWork<T>& work, CellChunk& chunk, Index tile) {
    if (work.copies[tile]) return work.copy_of(tile);
    constexpr Index per_block = 32;  // of a page or more, so that few are half empty
    const Index bytes = work.tile_bytes();
    if (chunk.blocks.empty() || chunk.used == per_block * bytes) {
        auto block = std::make_unique<Aligned<char>>();
        block->resize(std::size_t(per_block * bytes));
        chunk.blocks.push_back(std::move(block));
        chunk.used = 0;
    }
    char* at = chunk.blocks.back()->data() + chunk.used;
    chunk.used += bytes;
    const CellTile<T> copy(at, d, work.weights != nullptr);
    gather_tile<T, d>(work, tile, copy);
    work.copies[tile] = at;
    return copy;
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
void add_rows_of_cells(const CellWork<T>& work, Partial& sums, const std::int32_t* labels) {
    Moves<FromGiven<T>> moves({work, work.columns}, work.split, sums);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[row]);
    moves.flush();
}

inline float above(double value) { return float(value * (1 + 0x1p-20) + 1e-37); }

// The least and the largest of a tile's values of one feature, times a scale; their squares are
// added to those of the rows.
template <typename T>
LAB_INLINE void measure_column(const T* values, double scale, double& low, double& high,
                               double* squares) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Values least = doubles_at<T>(values), most = least;
    LAB_UNROLL for (Index l = 0; l < CellTile<T>::rows; l += lanes) {
        const Values value = doubles_at<T>(values + l);
        least = value < least ? value : least;
        most = value > most ? value : most;
        *reinterpret_cast<Values*>(squares + l) += rounded_square(value);
    }
    low = double(lane(least, 0));
    high = double(lane(most, 0));
    for (int l = 1; l < lanes; ++l) {
        low = double(lane(least, l)) < low ? double(lane(least, l)) : low;
        high = double(lane(most, l)) > high ? double(lane(most, l)) : high;
    }
    low *= scale;
    high *= scale;
}

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
        const Index count = work.rows_of(first + i);
        if (work.copies[first + i]) {
            tile = work.copy_of(first + i);
        } else {
            tile.values = values;
            tile.weights = work.weights ? weights : nullptr;
            gather_tile<T, d>(work, first + i, tile);
        }
        const std::uint32_t valid = 0xffffffff >> (rows - count);
        sum_rows<T, d>(tile, valid, work.split,
                       work.tile_sums.data() + (first + i) * work.split.size());
        alignas(64) double square[rows] = {};
        for (Index f = 0; f < d; ++f) {
            measure_column(tile.values + f * rows, work.scale, low[i][f], high[i][f], square);
        }
        for (Index l = 0; l < count; ++l) {
            squares[n_squares++] = work.weights ? square[l] * tile.weights[l] : square[l];
        }
    }
    add_exactly(chunk.squares, squares, n_squares);
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
