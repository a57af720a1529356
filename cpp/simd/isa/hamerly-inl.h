// Assignment of rows as they lie, those alone whose bound fails. Included once per instruction set,
// after rows-inl.h and row_moves-inl.h.

#ifndef LAB_ISA
#error "hamerly-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr Index kListed = 1024;  // rows that are tested together

// How much nearer than all others a row's center is at least, in lengths: what rounding may have
// done to both squared distances is taken off, and a millionth of the lengths for the roots, for
// the sums that follow and so that no rounding of the reference's differences could decide
// otherwise.
template <typename S>
LAB_INLINE typename Lanes<S>::Values gap_of(const typename Lanes<S>::Values& best,
                                            const typename Lanes<S>::Values& second,
                                            const typename Lanes<S>::Values& squares,
                                            const Panels<S>& panels) {
    using Values = typename Lanes<S>::Values;
    const Values reach = square_roots<S>(squares) + S(panels.longest * 1.0001);
    const Values off = panels.off_rate * reach * reach + panels.off_least;
    const Values near = best + squares + off, far = second + squares - off;
    const Values from = square_roots<S>(near > Values{} ? near : Values{});
    const Values to = square_roots<S>(far > Values{} ? far : Values{});
    return to - from - S(1e-6) * reach;
}

// What was found for the rows of a tile.
template <int width>
struct Settled {
    alignas(64) std::int32_t labels[width];
    alignas(64) float gaps[width];
};

// Score rows, and decide near-ties.
template <typename S, int vectors, int panel, int width, typename T>
LAB_INLINE void score_listed(const HamerlyState<T>& state, const Panels<S>& panels,
                             const T* const* rows, Index n, Part& part, S* tile,
                             Settled<width>& to) {
    using Values = typename Lanes<S>::Values;
    constexpr int lanes = Lanes<S>::lanes;
    Values squares[vectors];
    spread_rows<S, vectors>(Pointed<T>{rows}, state.origin, panels.scale, panels.d, tile, squares);
    Best<S, vectors> all;
    score_rows<S, vectors, panel>(tile, panels, all);
    std::uint32_t near_bits = 0;
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const auto near = near_ties<S, vectors>(all, panels, squares[v], v);
        const Values gap = gap_of<S>(all.best[v], all.second[v], squares[v], panels);
        store_as<float>(near ? S(-1) - Values{} : gap, to.gaps + v * lanes);
        store_as<std::int32_t>(all.index[v], to.labels + v * lanes);
        near_bits |= bits_of<S>(near) << (v * lanes);
    }
    for (; near_bits != 0; near_bits &= near_bits - 1) {
        const int l = LAB_LOWEST_BIT(near_bits);
        if (l >= n) break;
        to.labels[l] = nearest_directly(rows[l], state.origin, state.rare->direct());
        ++part.rescored;
    }
}

// Rows of a list lie anywhere: without this, waiting for them takes as long as scoring them.
template <typename T>
LAB_INLINE void fetch_row(const T* row, Index d) {
    constexpr Index line = 64 / sizeof(T);
    for (Index f = 0; f + line < d; f += line) LAB_PREFETCH(row + f);
    LAB_PREFETCH(row + d - 1);
}

// Take the first rows of a list to their clusters, as many as a tile holds; the list goes on with
// twice as many places more.
template <typename S, int vectors, int panel, typename T>
LAB_INLINE void settle_listed(RowWork<T>& work, HamerlyState<T>& state, const Panels<S>& panels,
                              Part& part, const std::int32_t* list, Index n, S* tile,
                              RowMoves<T>& moves) {
    constexpr int lanes = Lanes<float>::lanes, width = vectors * Lanes<S>::lanes;
    const T* rows[width];
    alignas(64) std::int32_t before[width];
    const T* given = work.given.rows + part.first * work.d;
    for (int l = 0; l < width; ++l) {
        rows[l] = given + list[l] * work.d;
        before[l] = work.labels[part.first + list[l]];
    }
    for (int l = width; l < 2 * width; ++l) fetch_row(given + list[l] * work.d, work.d);
    Settled<width> found;
    score_listed<S, vectors, panel, width>(state, panels, rows, n, part, tile, found);
    for (int v = 0; v < width; v += lanes) {
        using Values = typename Lanes<float>::Values;
        using Integers = typename Lanes<float>::Integers;
        const auto was = *reinterpret_cast<const Integers*>(before + v);
        const auto is = *reinterpret_cast<const Integers*>(found.labels + v);
        for (std::uint32_t bits = bits_of<float>(was != is); bits != 0; bits &= bits - 1) {
            const int l = v + LAB_LOWEST_BIT(bits);
            if (l >= n) break;
            settle_row(work, part, part.first + list[l], found.labels[l], moves);
        }
        auto& gaps = *reinterpret_cast<Values*>(found.gaps + v);
        gaps += gather(state.drift_low.data(), found.labels + v);
    }
    for (Index l = 0; l < n; ++l) state.slack[part.first + list[l]] = found.gaps[l];
    part.met += double(n * panels.n_clusters);
}

// List the rows from `first` on whose slack no longer covers the drift of their center.
template <typename T>
LAB_INLINE Index list_failing(const RowWork<T>& work, const HamerlyState<T>& state, Index first,
                              Index last, Index origin, std::int32_t* list) {
    using Values = typename Lanes<float>::Values;
    constexpr int lanes = Lanes<float>::lanes;
    Index n = 0;
    if (!state.carried) {
        for (; first + n < last; ++n) list[n] = std::int32_t(first + n - origin);
        return n;
    }
    for (Index i = first; i < last; i += lanes) {
        const Values drift = gather(state.drift.data(), work.labels.data() + i);
        Values slack;
        std::memcpy(&slack, state.slack.data() + i, sizeof slack);
        const std::uint32_t bits = bits_of<float>(opposite(slack > drift));
        n += list_bits<float>(bits, i - origin, list + n);  // no branch: one could not be foreseen
    }
    while (n > 0 && list[n - 1] >= last - origin) --n;
    return n;
}

template <typename T, int vectors, int panel>
void assign_failing(RowWork<T>& work, HamerlyState<T>& state, Part& part, Partial& sums) {
    constexpr int width = vectors * Lanes<float>::lanes;
    Aligned<double> room;  // for a tile of either type
    room.resize(work.d * width);
    float* narrow = reinterpret_cast<float*>(room.data());
    RowMoves<T> moves(work, sums);
    std::int32_t list[kListed + 2 * width + 16];
    const Index before = part.rescored;
    Index scored = 0;
    bool wide = part.wide_left > 0;
    if (wide) --part.wide_left;
    for (Index first = part.first; first < part.last; first += kListed) {
        if (work.interrupt->came()) break;
        const Index last = std::min(first + kListed, part.last);
        const Index n = list_failing(work, state, first, last, part.first, list);
        std::fill_n(list + n, 2 * width, n > 0 ? list[n - 1] : 0);
        for (Index i = 0; i < n;) {
            if (wide) {
                constexpr Index rows = vectors * Lanes<double>::lanes;
                settle_listed<double, vectors, panel>(work, state, state.rare->wide(), part,
                                                      list + i, std::min(rows, n - i), room.data(),
                                                      moves);
                i += rows;
            } else {
                settle_listed<float, vectors, panel>(work, state, state.narrow, part, list + i,
                                                     std::min(Index(width), n - i), narrow, moves);
                i += width;
            }
        }
        scored += n;
        if (!wide && scored >= 256 && double(part.rescored - before) > kDoubtful * double(scored)) {
            wide = true;
            part.wide_left = part.wide_next;
            part.wide_next = std::min(2 * part.wide_next, 64);
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
