// Rows as they lie: the first look at them, and their way into sums. Included once per instruction
// set, after moves-inl.h.

#ifndef LAB_ISA
#error "row_moves-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The values of rows in the caller's array, times their weights.
template <typename T>
struct FromRows {
    const RowWork<T>& work;
    Index columns;  // of a row; with weights, one more than its features
    LAB_MEMBER void values(Index row, Index first, Index n, double* to) const {
        const T* x = work.given.rows + row * work.d + first;
        const T* middle = work.given.middle + first;
        const Index features = std::min(n, work.d - first);
        for (Index f = 0; f < features; ++f) to[f] = double(T(x[f] - middle[f]));
        if (!work.weights) return;
        const double weight = work.weights[row];
        for (Index f = 0; f < features; ++f) to[f] *= weight;
        if (features < n) to[features] = weight;
    }
};

template <typename T>
struct RowMoves : Moves<FromRows<T>> {
    LAB_MEMBER RowMoves(const RowWork<T>& work, Partial& sums)
        : Moves<FromRows<T>>({work, work.columns}, work.split, sums) {}
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
    moves.flush();
}

// Look at the rows of a part: the range of their columns, their lengths.
template <typename T>
void measure_rows(const RowWork<T>& work, const Part& part, Measured& to) {
    constexpr Index width = 8;  // one vector of doubles at most: the tile stays in the first cache
    Aligned<double> tile;
    tile.resize(work.columns * width);
    double squares[ExactSum::kTogether];
    Index n_squares = 0;
    for (Index first = part.first; first < part.last; first += width) {
        if (first % 1024 == 0 && work.interrupt->came()) return;
        for (Index l = 0; l < width; ++l) {
            double* values = tile.data() + l;
            if (first + l >= part.last) {
                for (Index f = 0; f < work.columns; ++f) values[f * width] = 0;
                continue;
            }
            double square = 0;
            for (Index f = 0; f < work.d; ++f) {
                const double value = double(work.given.at(first + l, f));
                values[f * width] = value;
                square += rounded(value * value);
            }
            to.longest = std::max(to.longest, square);
            if (work.weights) {
                const double weight = work.weights[first + l];
                for (Index f = 0; f < work.d; ++f) values[f * width] *= weight;
                values[work.d * width] = weight;
                square *= weight;
            }
            squares[n_squares++] = square;
        }
        measure_range<double>(tile.data(), work.columns, width, to.range);
        if (n_squares + width > ExactSum::kTogether || first + width >= part.last) {
            to.squares.add(squares, n_squares);
            n_squares = 0;
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
