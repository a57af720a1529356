// Rows that change cluster, and the exact sums that they leave and join. Included once per
// instruction set, after vectors-inl.h.

#ifndef LAB_ISA
#error "moves-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Widen the range of each column by the values of a tile, (columns, width).
template <typename T>
void measure_range(const T* values, Index columns, Index width, Range<T>& range) {
    using Values = typename Lanes<T>::Values;
    constexpr Index lanes = Lanes<T>::lanes, kept = Range<T>::lanes;
    const Values none = std::numeric_limits<T>::infinity() - Values{};
    for (Index f = 0; f < columns; ++f) {
        const T* x = values + f * width;
        T* most = range.most.data() + f * kept;
        T* least = range.least.data() + f * kept;
        Values high, low;
        std::memcpy(&high, most, sizeof high);
        std::memcpy(&low, least, sizeof low);
        for (Index l = 0; l < width; l += lanes) {
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

// Add up to ExactSum::kTogether values, which are lost.
LAB_INLINE void add_exactly(ExactSum& to, double* values, Index n) {
#if LAB_BYTES > 0
    to.add<Lanes<double>::Values>(values, n);
#else
    to.add(values, n);
#endif
}

constexpr Index kAtOnce = 64;  // values of a row that are split together

LAB_INLINE void count_moved(Partial& partial, std::int32_t before, std::int32_t label, Index n) {
    partial.counts[label] += n;
    partial.touched[label] = 1;
    if (before < 0) return;
    partial.counts[before] -= n;
    partial.touched[before] = 1;
}

// Split a vector of values by this unit, and add the limbs to one sum; `leaves` takes them from
// another one. Returns what is left of the values.
template <bool leaves>
LAB_INLINE Lanes<double>::Values move_limbs(const Lanes<double>::Values& value, const double* magic,
                                            std::int64_t* joined, std::int64_t* left) {
    Lanes<double>::Values unit;
    std::memcpy(&unit, magic, sizeof unit);
    const Lanes<double>::Values shifted = value + unit;
    Lanes<double>::Integers word, zero, sum;
    std::memcpy(&word, &shifted, sizeof word);
    std::memcpy(&zero, &unit, sizeof zero);
    std::memcpy(&sum, joined, sizeof sum);
    sum += word - zero;
    std::memcpy(joined, &sum, sizeof sum);
    if constexpr (leaves) {
        std::memcpy(&sum, left, sizeof sum);
        sum -= word - zero;
        std::memcpy(left, &sum, sizeof sum);
    }
    return value - (shifted - unit);
}

// All limbs of a vector of values. Two are what most data need.
template <bool leaves>
LAB_INLINE void move_vector(Lanes<double>::Values value, const Split& how, const double* magic,
                            std::int64_t* joined, std::int64_t* left) {
    const Index stride = how.stride;
    value = move_limbs<leaves>(value, magic, joined, left);
    if (how.count == 2) {
        move_limbs<leaves>(value, magic + stride, joined + stride, left + stride);
        return;
    }
    for (Index at = stride; at < how.size(); at += stride) {
        value = move_limbs<leaves>(value, magic + at, joined + at, left + at);
    }
}

// The same of values one after the other.
template <bool leaves>
LAB_INLINE void move_values(const double* values, Index n, const Split& how, const double* magic,
                            std::int64_t* joined, std::int64_t* left) {
    constexpr Index lanes = Lanes<double>::lanes;
    Index f = 0;
    for (; f + lanes <= n; f += lanes) {
        Lanes<double>::Values value;
        std::memcpy(&value, values + f, sizeof value);
        move_vector<leaves>(value, how, magic + f, joined + f, left + f);
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

// The values of rows in tiles, which lie `width` apart.
template <typename T>
struct FromTiles {
    const Work<T>& work;
    Index columns;  // of a row; with weights, one more than its features
    LAB_MEMBER void values(Index row, Index first, Index n, double* to) const {
        const T* x = work.row_at(row) + first * work.width;
        if (work.weights.empty()) {
            for (Index f = 0; f < n; ++f) to[f] = double(x[f * work.width]);
            return;
        }
        const double weight = work.weights[row];
        for (Index f = 0; f < n; ++f) {
            to[f] = first + f < work.d ? weight * double(x[f * work.width]) : weight;
        }
    }
};

// Rows that change cluster, some at a time: in tiles, a row's values lie far apart, and vectors
// that read what was just written value by value would wait for it.
template <typename From>
class Moves {
public:
    LAB_MEMBER Moves(const From& from, const Split& split, Partial& partial)
        : from_(from), split_(split), partial_(partial) {}

    LAB_MEMBER void add(Index row, std::int32_t before, std::int32_t label) {
        moves_[n_++] = {row, before, label};
        if (n_ == kRows) flush();
    }

    LAB_MEMBER void flush() {
        if (n_ == 0) return;
        if (partial_.locks.empty()) {
            carry_out(from_, split_, partial_, moves_, n_);
        } else {
            for (int i = 0; i < n_; ++i) {
                const Locked both(partial_.locks, moves_[i].before, moves_[i].label);
                carry_out(from_, split_, partial_, moves_ + i, 1);
            }
        }
        n_ = 0;
    }

private:
    static constexpr int kRows = 8;
    struct Move {
        Index row;
        std::int32_t before, label;  // −1: of no cluster
    };

    static void carry_out(const From& from, const Split& how, Partial& partial, const Move* moves,
                          int n_moves) {
        alignas(64) double values[kRows][kAtOnce];
        for (int i = 0; i < n_moves; ++i) count_moved(partial, moves[i].before, moves[i].label, 1);
        for (Index first = 0; first < from.columns; first += kAtOnce) {
            const Index n = std::min(kAtOnce, how.stride - first);
            const Index m = std::min(kAtOnce, from.columns - first);
            for (int i = 0; i < n_moves; ++i) {
                from.values(moves[i].row, first, m, values[i]);
                for (Index f = m; f < n; ++f) values[i][f] = 0;
            }
            const double* magic = how.magic.data() + first;
            std::int64_t* limbs = partial.limbs.data() + first;
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

    const From from_;
    const Split& split_;
    Partial& partial_;
    Move moves_[kRows];
    int n_ = 0;
};

// Rows of tiles, and the sums of their chunk.
template <typename T>
struct TileMoves : Moves<FromTiles<T>> {
    LAB_MEMBER TileMoves(const Work<T>& work, Chunk& chunk)
        : Moves<FromTiles<T>>({work, work.columns}, work.split, chunk) {}
};

// Add rows of tiles to the sums of a chunk, by labels of the rows as they were given.
template <typename T>
void add_rows(const Work<T>& work, Chunk& chunk, const std::int32_t* labels) {
    TileMoves<T> moves(work, chunk);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[work.given_as(row)]);
    moves.flush();
}

// Take a row whose label is new, or may be a near-tie, to its cluster.
template <typename T>
LAB_INLINE void settle(Work<T>& work, Chunk& chunk, Index row, std::int32_t label, bool near_tie,
                       TileMoves<T>& moves) {
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

}  // namespace LAB_ISA
}  // namespace lab
