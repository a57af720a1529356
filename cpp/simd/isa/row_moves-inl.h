// The way of rows as they lie into sums. Included once per instruction set, after moves-inl.h.

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
    RowMoves(const RowMoves&) = delete;
    RowMoves& operator=(const RowMoves&) = delete;
    // Labels of rows that wait are written: their sums follow even where memory runs out.
    ~RowMoves() { flush(); }

    // before < 0: it joins only. Its values are fetched, and used with those of other rows.
    LAB_MEMBER void add(Index row, std::int32_t before, std::int32_t label) {
        if (n_ == kWaiting) flush();
        moves_[n_++] = {row, before, label};
        fetch_row(work_.given.rows + row * work_.d, work_.d);
    }

    // Rows one after the other, no more than wait together, join their first clusters.
    LAB_MEMBER void join(Index first, Index n, const std::int32_t* labels) {
        const Index limbs = work_.split.count;
        if (sums_.locks.empty() && limbs <= 2 && first + n <= work_.first_last) {
            if (work_.weights) {
                limbs == 2 ? join_plainly<2, true>(first, n, labels)
                           : join_plainly<1, true>(first, n, labels);
            } else {
                limbs == 2 ? join_plainly<2, false>(first, n, labels)
                           : join_plainly<1, false>(first, n, labels);
            }
            return;
        }
        for (Index i = 0; i < n; ++i) add(first + i, -1, labels[i]);
    }

    void flush() {
        for (Index i = 0; i < n_; ++i) {
            if (sums_.locks.empty()) {
                carry_out(moves_[i]);
            } else {
                const Locked both(sums_.locks, moves_[i].before, moves_[i].label);
                carry_out(moves_[i]);
            }
        }
        n_ = 0;
    }

private:
    using Values = Lanes<double>::Values;
    static constexpr Index lanes = Lanes<double>::lanes;

    static constexpr Index kWaiting = 32;
    struct Move {
        Index row;
        std::int32_t before, label;
    };

    // A vector of features after the other, of all rows: units and middle stay in registers.
    template <int limbs, bool weighted>
    LAB_MEMBER void join_plainly(Index first, Index n, const std::int32_t* labels) {
        using Integers = Lanes<double>::Integers;
        const Split& how = work_.split;
        const Index d = work_.d, stride = how.stride;
        std::int64_t* joined[kWaiting];
        for (Index i = 0; i < n; ++i) {
            joined[i] = sums_.limbs.data() + labels[i] * how.size();
            count_moved(sums_, -1, labels[i], 1);
        }
        for (Index f = 0; f < work_.columns; f += lanes) {
            Values units[limbs], behind;
            Integers zeros[limbs], inside;
            LAB_UNROLL for (int q = 0; q < limbs; ++q) {
                std::memcpy(&units[q], how.magic.data() + q * how.stride + f, sizeof units[q]);
                std::memcpy(&zeros[q], &units[q], sizeof zeros[q]);
            }
            // Behind the last feature: one for the weight, and zeros. Nothing is read there.
            std::memcpy(&inside, work_.inside.data() + f, sizeof inside);
            std::memcpy(&behind, work_.behind.data() + f, sizeof behind);
            typename Lanes<T>::Few middle;
            std::memcpy(&middle, work_.given.middle + std::min(f, d), sizeof middle);
            const T* x = work_.given.rows + first * d + std::min(f, d);
            for (Index i = 0; i < n; ++i, x += d) {
                typename Lanes<T>::Few values;
                std::memcpy(&values, x, sizeof values);
                Values value = convert<Values>(typename Lanes<T>::Few(values - middle));
                value = inside ? value : behind;
                if (weighted) {
                    value *= work_.weights[first + i];
                    LAB_HIDE(value);  // the product is rounded before it is split
                }
                std::int64_t* to = joined[i] + f;
                LAB_UNROLL for (int q = 0; q < limbs; ++q, to += stride) {
                    const Values shifted = value + units[q];
                    Integers word, sum;
                    std::memcpy(&word, &shifted, sizeof word);
                    std::memcpy(&sum, to, sizeof sum);
                    sum += word - zeros[q];
                    std::memcpy(to, &sum, sizeof sum);
                    value -= shifted - units[q];
                }
            }
        }
    }

    LAB_MEMBER void carry_out(const Move& move) {
        const Index size = work_.split.size();
        std::int64_t* joined = sums_.limbs.data() + move.label * size;
        count_moved(sums_, move.before, move.label, 1);
        if (move.before < 0) {
            add_values<false>(move.row, joined, joined);
        } else {
            add_values<true>(move.row, joined, sums_.limbs.data() + move.before * size);
        }
    }

    template <bool leaves>
    LAB_MEMBER void add_values(Index row, std::int64_t* joined, std::int64_t* left) const {
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
    Move moves_[kWaiting];
    Index n_ = 0;
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

// Take rows of a part to other clusters; return how many move.
template <typename T>
Index move_given(const RowWork<T>& work, Index first, Index last, const std::int32_t* before,
                 const std::int32_t* after, Partial& sums) {
    RowMoves<T> moves(work, sums);
    Index moved = 0;
    for (Index row = first; row < last; ++row) {
        if (before[row] == after[row]) continue;
        moves.add(row, before[row], after[row]);
        ++moved;
    }
    moves.flush();
    return moved;
}

template <typename T>
void add_given(const RowWork<T>& work, Partial& sums, const std::int32_t* labels) {
    RowMoves<T> moves(work, sums);
    for (Index row = 0; row < work.n; ++row) moves.add(row, -1, labels[row]);
    moves.flush();
}

}  // namespace LAB_ISA
}  // namespace lab
