// Rows as they lie: the first look at them, and their way into sums. Included once per instruction
// set, after moves-inl.h.

#ifndef LAB_ISA
#error "row_moves-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Rows that leave one sum and join another: their values, times their weights, go there from the
// caller's array a vector at a time.
template <typename T>
class RowMoves {
public:
    LAB_MEMBER RowMoves(const RowWork<T>& work, Partial& sums) : work_(work), sums_(sums) {}

    // before < 0: it joins only.
    LAB_MEMBER void add(Index row, std::int32_t before, std::int32_t label) {
        if (sums_.locks.empty()) {
            carry_out(row, before, label);
        } else {
            const Locked both(sums_.locks, before, label);
            carry_out(row, before, label);
        }
    }
    LAB_MEMBER void flush() {}  // none waits

private:
    using Values = Lanes<double>::Values;
    static constexpr Index lanes = Lanes<double>::lanes;

    LAB_MEMBER void carry_out(Index row, std::int32_t before, std::int32_t label) {
        count_moved(sums_, before, label, 1);
        std::int64_t* joined = sums_.limbs.data() + label * work_.split.size();
        if (before < 0) {
            move<false>(row, joined, joined);
        } else {
            move<true>(row, joined, sums_.limbs.data() + before * work_.split.size());
        }
    }

    template <bool leaves>
    LAB_MEMBER void move(Index row, std::int64_t* joined, std::int64_t* left) const {
        const T* x = work_.followed(row);
        const double weight = work_.weights ? work_.weights[row] : 1.0;
        for (Index f = 0; f < work_.columns; f += lanes) {
            Values value = values_at(x, f) * weight;
            LAB_HIDE(value);  // the product is rounded before it is split
            move_vector<leaves>(value, work_.split, work_.split.magic.data() + f, joined + f,
                                left + f);
        }
    }

    // Behind the last feature: one for the weight, and zeros.
    LAB_MEMBER Values values_at(const T* x, Index f) const {
        typename Lanes<T>::Few values, middle;
        std::memcpy(&values, x + f, sizeof values);
        std::memcpy(&middle, work_.given.middle + f, sizeof middle);
        const Values value = convert<Values>(values - middle);
        if (f + lanes <= work_.d) return value;
        Lanes<double>::Integers inside;
        Values behind;
        std::memcpy(&inside, work_.inside.data() + f, sizeof inside);
        std::memcpy(&behind, work_.behind.data() + f, sizeof behind);
        return inside ? value : behind;
    }

    const RowWork<T>& work_;
    Partial& sums_;
};

// Take a row to its cluster.
template <typename T>
LAB_INLINE void settle_row(RowWork<T>& work, Part& part, Index row, std::int32_t label,
                           RowMoves<T>& moves) {
    const std::int32_t before = work.labels[row];
    if (label == before) return;
    work.labels[row] = label;
    if (work.labels_out) work.labels_out[row] = label;
    ++part.changed;
    moves.add(row, before, label);
}

template <typename T>
void add_given(const RowWork<T>& work, Partial& sums, const std::int32_t* labels) {
    RowMoves<T> moves(work, sums);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[row]);
}

// Multiply the rows of a tile by their weights, which follow as one more column.
template <typename T>
LAB_INLINE void weigh(const RowWork<T>& work, Index first, Index n, Index width, double* tile) {
    for (Index l = 0; l < width; ++l) {
        const double weight = work.weights[first + std::min(l, n - 1)];
        for (Index f = 0; f < work.d; ++f) tile[f * width + l] *= weight;
        tile[work.d * width + l] = weight;
    }
}

// The squared lengths of the rows of a tile, as the reference adds them up.
template <int vectors>
LAB_INLINE void lengths_of(const double* tile, Index d, double* squares) {
    using Values = Lanes<double>::Values;
    constexpr Index lanes = Lanes<double>::lanes, width = vectors * lanes;
    Values sums[vectors] = {};
    for (Index f = 0; f < d; ++f) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Values values;
            std::memcpy(&values, tile + f * width + v * lanes, sizeof values);
            sums[v] += rounded_square(values);
        }
    }
    std::memcpy(squares, sums, sizeof sums);
}

// Look at the rows of a part: the range of their columns, their lengths.
template <typename T>
void measure_rows(const RowWork<T>& work, const Part& part, Measured& to) {
    constexpr Index width = 8;  // one vector of doubles at most: the tile stays in the first cache
    constexpr int vectors = width / Lanes<double>::lanes;
    const Origin<T> origin{work.given.middle, true};
    Aligned<double> tile;
    tile.resize(work.columns * width);
    double squares[ExactSum::kTogether];
    Index n_squares = 0;
    for (Index first = part.first; first < part.last; first += width) {
        if (first % 1024 == 0 && work.interrupt->came()) return;
        const Index n = std::min(width, part.last - first);
        const T* rows[width];
        for (Index l = 0; l < width; ++l) {
            rows[l] = work.given.rows + (first + std::min(l, n - 1)) * work.d;
        }
        Lanes<double>::Values fused[vectors];
        spread_rows<double, vectors>(Pointed<T>{rows}, origin, 1.0, work.d, tile.data(), fused);
        double lengths[width];
        lengths_of<vectors>(tile.data(), work.d, lengths);
        for (Index l = 0; l < n; ++l) {
            to.longest = std::max(to.longest, lengths[l]);
            const double weight = work.weights ? work.weights[first + l] : 1.0;
            squares[n_squares++] = lengths[l] * weight;
        }
        if (work.weights) weigh(work, first, n, width, tile.data());
        measure_range<double>(tile.data(), work.columns, width, to.range);
        if (n_squares + width > ExactSum::kTogether || first + width >= part.last) {
            to.squares.add(squares, n_squares);
            n_squares = 0;
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
