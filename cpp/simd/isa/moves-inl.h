// Rows that change cluster, and the exact sums that they leave and join. Included once per
// instruction set, after vectors-inl.h.

#ifndef LAB_ISA
#error "moves-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Widen the range of each column by the values of a tile; rows beyond the last are zero.
template <typename T>
void measure_range(const Work<T>& work, Index tile, Range<T>& range) {
    using Values = typename Lanes<T>::Values;
    constexpr Index lanes = Lanes<T>::lanes, kept = Range<T>::lanes;
    const Values none = std::numeric_limits<T>::infinity() - Values{};
    for (Index f = 0; f < work.d; ++f) {
        const T* x = work.tiles.data() + (tile * work.d + f) * work.width;
        T* most = range.most.data() + f * kept;
        T* least = range.least.data() + f * kept;
        Values high, low;
        std::memcpy(&high, most, sizeof high);
        std::memcpy(&low, least, sizeof low);
        for (Index l = 0; l < work.width; l += lanes) {
            const Values value = *reinterpret_cast<const Values*>(x + l);
            const Values size = value < Values{} ? -value : value;
            const Values counted = size > Values{} ? size : none;
            high = size > high ? size : high;
            low = counted < low ? counted : low;
        }
        std::memcpy(most, &high, sizeof high);
        std::memcpy(least, &low, sizeof low);
    }
}

constexpr Index kAtOnce = 64;  // values of a row that are split together

LAB_INLINE void count_moved(Chunk& chunk, std::int32_t before, std::int32_t label, Index n) {
    chunk.counts[label] += n;
    chunk.touched[label] = 1;
    if (before < 0) return;
    chunk.counts[before] -= n;
    chunk.touched[before] = 1;
}

// Split values, and add the limbs to one sum; `leaves` takes them from another one.
template <bool leaves>
LAB_INLINE void move_values(const double* values, Index n, const Split& how, const double* magic,
                            std::int64_t* joined, std::int64_t* left) {
    using Values = typename Lanes<double>::Values;
    using Integers = typename Lanes<double>::Integers;
    constexpr Index lanes = Lanes<double>::lanes;
    Index f = 0;
    for (; f + lanes <= n; f += lanes) {
        Values value;
        std::memcpy(&value, values + f, sizeof value);
        for (Index at = f; at < how.size(); at += how.stride) {
            Values unit;
            std::memcpy(&unit, magic + at, sizeof unit);
            const Values shifted = value + unit;
            value -= shifted - unit;
            Integers word, zero, sum;
            std::memcpy(&word, &shifted, sizeof word);
            std::memcpy(&zero, &unit, sizeof zero);
            std::memcpy(&sum, joined + at, sizeof sum);
            sum += word - zero;
            std::memcpy(joined + at, &sum, sizeof sum);
            if constexpr (leaves) {
                std::memcpy(&sum, left + at, sizeof sum);
                sum -= word - zero;
                std::memcpy(left + at, &sum, sizeof sum);
            }
        }
    }
    for (; f < n; ++f) {
        double value = values[f];
        for (Index at = f; at < how.size(); at += how.stride) {
            const std::int64_t limb = split(value, magic[at]);
            joined[at] += limb;
            if constexpr (leaves) left[at] -= limb;
        }
    }
}

// Rows that change cluster, some at a time: a row's values lie far apart, and vectors that read
// what was just written value by value would wait for it.
template <typename T>
class Moves {
public:
    LAB_MEMBER Moves(const Work<T>& work, Chunk& chunk) : work_(work), chunk_(chunk) {}

    LAB_MEMBER void add(Index row, std::int32_t before, std::int32_t label) {
        moves_[n_++] = {row, before, label};
        if (n_ == kRows) flush();
    }

    LAB_MEMBER void flush() {
        if (n_ > 0) carry_out(work_, chunk_, moves_, n_);
        n_ = 0;
    }

private:
    static constexpr int kRows = 8;
    struct Move {
        Index row;
        std::int32_t before, label;  // −1: of no cluster
    };

    static void carry_out(const Work<T>& work, Chunk& chunk, const Move* moves, int n_moves) {
        const Split& how = work.split;
        alignas(64) double values[kRows][kAtOnce];
        for (int i = 0; i < n_moves; ++i) count_moved(chunk, moves[i].before, moves[i].label, 1);
        for (Index first = 0; first < work.d; first += kAtOnce) {
            const Index n = std::min(kAtOnce, how.stride - first);
            const Index m = std::min(kAtOnce, work.d - first);
            for (int i = 0; i < n_moves; ++i) {
                const T* x = work.row_at(moves[i].row) + first * work.width;
                for (Index f = 0; f < m; ++f) values[i][f] = double(x[f * work.width]);
                for (Index f = m; f < n; ++f) values[i][f] = 0;
            }
            const double* magic = how.magic.data() + first;
            std::int64_t* limbs = chunk.limbs.data() + first;
            for (int i = 0; i < n_moves; ++i) {
                std::int64_t* joined = limbs + moves[i].label * how.size();
                if (moves[i].before < 0) {
                    move_values<false>(values[i], n, how, magic, joined, joined);
                } else {
                    std::int64_t* left = limbs + moves[i].before * how.size();
                    move_values<true>(values[i], n, how, magic, joined, left);
                }
            }
        }
    }

    const Work<T>& work_;
    Chunk& chunk_;
    Move moves_[kRows];
    int n_ = 0;
};

// Add rows of tiles to the sums of a chunk, by labels of the rows as they were given.
template <typename T>
void add_rows(const Work<T>& work, Chunk& chunk, const std::int32_t* labels) {
    Moves<T> moves(work, chunk);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[work.given_as(row)]);
    moves.flush();
}

// The same for all rows of a tile; rows beyond the last are zero.
template <typename T>
void move_tile(const Work<T>& work, Chunk& chunk, Index tile, std::int32_t before,
               std::int32_t label) {
    const Split& how = work.split;
    std::int64_t* joined = chunk.limbs.data() + label * how.size();
    std::int64_t* left = chunk.limbs.data() + std::max(before, 0) * how.size();
    for (Index f = 0; f < work.d; ++f) {
        const T* x = work.tiles.data() + (tile * work.d + f) * work.width;
        alignas(64) double values[kWidest];
        for (Index l = 0; l < work.width; ++l) values[l] = double(x[l]);
        for (Index q = 0; q < how.count; ++q) {
            const double magic = how.magic[q * how.stride + f];
            std::int64_t sum = 0;
            for (Index l = 0; l < work.width; ++l) sum += split(values[l], magic);
            joined[q * how.stride + f] += sum;
            if (before >= 0) left[q * how.stride + f] -= sum;
        }
    }
}

// Take a row whose label is new, or may be a near-tie, to its cluster.
template <typename T>
LAB_INLINE void settle(Work<T>& work, Chunk& chunk, Index row, std::int32_t label, bool near_tie,
                       Moves<T>& moves) {
    if (near_tie) {
        label = work.rescore(row);
        ++chunk.rescored;
    }
    const std::int32_t before = work.labels[row];
    if (label == before) return;
    work.write_label(row, label);
    ++chunk.changed;
    if (!chunk.limbs.empty()) moves.add(row, before, label);
}

// The same for all rows of a tile, where one center is left. Mostly they change together.
template <typename T>
void settle_tile(Work<T>& work, Chunk& chunk, Index tile, std::int32_t label) {
    const Index first = tile * work.width;
    const Index end = std::min(first + work.width, chunk.first_tile * work.width + chunk.n_rows);
    const std::int32_t before = work.labels[first];
    bool together = before != label && !chunk.limbs.empty();
    for (Index row = first; row < end; ++row) together &= work.labels[row] == before;
    if (!together) {
        Moves<T> moves(work, chunk);
        for (Index row = first; row < end; ++row) settle(work, chunk, row, label, false, moves);
        moves.flush();
        return;
    }
    for (Index row = first; row < end; ++row) work.write_label(row, label);
    chunk.changed += end - first;
    move_tile(work, chunk, tile, before, label);
    count_moved(chunk, before, label, end - first);
}

}  // namespace LAB_ISA
}  // namespace lab
