// Labels of rows as they lie, and their squared distances. Included once per instruction set, after
// rows-inl.h.

#ifndef LAB_ISA
#error "nearest-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr Index kTooFew = 4;  // near-ties tell nothing about other rows

// Label rows by scores of type S, until near-ties are so many that wider scores cost less than
// differences do. Returns the first row that has no label.
template <typename S, int vectors, int panel, typename T>
Index label_rows(Query<T>& query, const Panels<S>& panels, Index first, Index last) {
    using Values = typename Lanes<S>::Values;
    constexpr int lanes = Lanes<S>::lanes, width = vectors * lanes;
    Aligned<S> tile;
    tile.resize(width * query.d);
    Index seen = 0, decided = 0, i = first;
    for (; i < last && !query.interrupt.came(); i += width) {
        const Index rows = std::min(Index(width), last - i);
        const T* x = query.rows + i * query.d;
        Values squares[vectors];
        if (rows == width) {
            spread_rows<S, vectors>(Following<T>{x, query.d}, query.origin, panels.scale, query.d,
                                    tile.data(), squares);
        } else {
            const T* list[width];
            for (Index l = 0; l < width; ++l) list[l] = x + std::min(l, rows - 1) * query.d;
            spread_rows<S, vectors>(Pointed<T>{list}, query.origin, panels.scale, query.d,
                                    tile.data(), squares);
        }
        Best<S, vectors> all;
        score_rows<S, vectors, panel>(tile.data(), panels, all);
        std::int32_t found[width], near[width + 16];
        Index n_near = 0;
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            store_as(all.index[v], found + v * lanes);
            const auto doubtful = near_ties<S, vectors>(all, panels, squares[v], v);
            n_near += list_bits<S>(bits_of<S>(doubtful), v * lanes, near + n_near);
        }
        while (n_near > 0 && near[n_near - 1] >= rows) --n_near;  // the last row, repeated
        seen += rows;
        decided += n_near;
        if (sizeof(S) == 4 && double(decided - kTooFew) > kDoubtful * double(seen)) {
            decided -= n_near;
            break;
        }
        for (Index m = 0; m < n_near; ++m) {
            if (query.interrupt.came()) return last;
            found[near[m]] =
                nearest_directly(x + near[m] * query.d, query.origin, query.rare.direct());
        }
        std::memcpy(query.labels + i, found, rows * sizeof *found);
    }
    query.rescored += decided;
    return i;
}

// The bits of own_squares<0>, some vectors of rows at a time.
template <bool relative, typename T>
LAB_INLINE void own_squares_side_by_side(const LabelledRows<T>& of, Index first, Index n,
                                         double* squares) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes, vectors = 2, width = vectors * lanes;
    for (Index i = 0; i < n; i += width) {
        const Index last = n - 1 - i;
        const std::int32_t* labels = of.labels + first + i;
        const T* rows = of.rows + (first + i) * of.d;
        Values sums[vectors] = {};
        const auto add = [&](const auto& at) {
            const auto row = [&](int l) { return rows + at(l) * of.d; };
            const auto center = [&](int l) { return of.centers + Index(labels[at(l)]) * of.d; };
            const auto fetch = [&](Index f, Index size) {
                Following<T>{rows, of.d}.fetch(width, f, size);
            };
            add_squares<vectors, relative>(row, center, of.origin.at, of.d, fetch, sums);
        };
        if (last >= width) {
            add([](int l) { return Index(l); });
            std::memcpy(squares + i, sums, sizeof sums);
        } else {
            add([&](int l) { return std::min(Index(l), last); });
            double found[width];
            std::memcpy(found, sums, sizeof found);
            std::copy_n(found, std::min(Index(width), n - i), squares + i);
        }
    }
}

// Add the squared distances of a range of rows to their own centers, times their weights: exactly,
// so that the order of the rows does not matter.
template <typename T>
void add_inertia(const LabelledRows<T>& of, Index first, Index last, ExactSum& to) {
    constexpr Index few = 3;
    double squares[ExactSum::kTogether];
    for (Index i = first; i < last; i += ExactSum::kTogether) {
        const Index n = std::min(ExactSum::kTogether, last - i);
        if (of.d == 1) own_squares<1>(of, i, n, squares);
        if (of.d == 2) own_squares<2>(of, i, n, squares);
        if (of.d == few) own_squares<few>(of, i, n, squares);
        if (of.d > few) {
            of.origin.given ? own_squares_side_by_side<true>(of, i, n, squares)
                            : own_squares_side_by_side<false>(of, i, n, squares);
        }
        if (of.d == 0) std::fill_n(squares, n, 0.0);
        if (of.weights) {
            for (Index l = 0; l < n; ++l) squares[l] *= of.weights[i + l];
        }
        add_exactly(to, squares, n);
    }
}

// Label a range of rows; add their squared distances where those are wanted.
template <typename T, int vectors, int panel, int wide_panel>
void label_range(Query<T>& query, Index first, Index last, ExactSum* inertia) {
    Index done = label_rows<float, vectors, panel>(query, query.narrow, first, last);
    if (done < last && !query.interrupt.came()) {
        done = label_rows<double, 2, wide_panel>(query, query.rare.wide(), done, last);
    }
    if (!inertia || query.interrupt.came()) return;
    add_inertia<T>({query.rows, query.centers, query.labels, query.origin, query.d}, first, last,
                   *inertia);
}

// The routines of single calls: four vectors of rows where few features leave little to do.
template <typename T, int vectors, int panel>
Calls<T> make_calls() {
    constexpr int wide = 4, lanes = Lanes<double>::lanes;
    return {{panel, wide},        label_range<T, vectors, panel, wide>,
            measure_distances<T>, divide_by_lengths<T>,
            largest_of<T>,        add_moments<T>,
            add_inertia<T>,       lanes};
}
template <typename T>
Calls<T> choose_calls(Index d, Index k) {
    const bool fives = (k + 4) / 5 * 5 <= (k + 3) / 4 * 4;
    if (d <= 4) return make_calls<T, 4, 2>();
    if (fives) return make_calls<T, 2, 5>();
    return make_calls<T, 2, 4>();
}

}  // namespace LAB_ISA
}  // namespace lab
