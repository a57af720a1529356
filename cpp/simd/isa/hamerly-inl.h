// Assignment of rows as they lie, those alone whose bound fails. Included once per instruction set,
// after rows-inl.h and row_moves-inl.h.

#ifndef LAB_ISA
#error "hamerly-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr Index kListed = 1024;  // rows that are tested together
// Rows that are tested together where float32 may turn out not to tell their centers apart: to
// decide each of them by itself takes several times as long as to score it in float64.
constexpr Index kListedInDoubt = 128;

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

// What was found for the rows of a tile, in whole vectors of floats: rows in double may fill a
// half.
template <int width>
struct Settled {
    static constexpr int size = width < Lanes<float>::lanes ? Lanes<float>::lanes : width;
    alignas(64) std::int32_t labels[size];
    alignas(64) float gaps[size];

    Settled() {
        std::fill(labels + width, labels + size, 0);
        std::fill(gaps + width, gaps + size, 0.0f);
    }
};

// Score rows, and say which are near-ties.
template <typename S, int vectors, int panel, int width, typename From, typename Read>
LAB_INLINE std::uint32_t score_listed(const Panels<S>& panels, const From* const* rows,
                                      const Read& read, S* tile, Settled<width>& to) {
    using Values = typename Lanes<S>::Values;
    constexpr int lanes = Lanes<S>::lanes;
    Values squares[vectors];
    spread_rows<S, vectors>(Pointed<From>{rows}, read, panels.d, tile, squares);
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
    return near_bits;
}

// Take the first rows of a list to their clusters, as many as a tile holds; the list goes on with
// twice as many places more. Values are read from `first_row` on, where the part begins.
template <typename S, int vectors, int panel, typename T, typename From, typename Read>
LAB_INLINE void settle_listed(RowWork<T>& work, HamerlyState<T>& state, const Panels<S>& panels,
                              Part& part, const std::int32_t* list, Index n, const From* first_row,
                              const Read& read, S* tile, RowMoves<T>& moves) {
    constexpr int lanes = Lanes<float>::lanes, width = vectors * Lanes<S>::lanes;
    const From* rows[width];
    for (int l = 0; l < width; ++l) rows[l] = first_row + list[l] * work.d;
    for (int l = width; l < 2 * width; ++l) fetch_row(first_row + list[l] * work.d, work.d);
    Settled<width> found;
    std::uint32_t near = score_listed<S, vectors, panel, width>(panels, rows, read, tile, found);
    moves.flush();  // of the tile before: their values have been fetched by now
    for (; near != 0; near &= near - 1) {
        const int l = LAB_LOWEST_BIT(near);
        if (l >= n) break;
        const T* row = work.given.rows + (part.first + list[l]) * work.d;
        found.labels[l] = nearest_directly(row, state.origin, state.rare->direct());
        ++part.rescored;
    }
    part.met += double(n * panels.n_clusters);
    using Values = typename Lanes<float>::Values;
    for (int v = 0; v < found.size; v += lanes) {
        auto& gaps = *reinterpret_cast<Values*>(found.gaps + v);
        gaps += gather(state.drift_low.data(), found.labels + v);
    }
    if (work.fresh) {  // the list leaves out no row
        const Index first = part.first + list[0];
        std::copy_n(found.labels, n, work.labels.data() + first);
        std::copy_n(found.gaps, n, state.slack.data() + first);
        part.changed += n;
        moves.join(first, n, found.labels);
        return;
    }
    alignas(64) std::int32_t before[found.size];
    for (int l = 0; l < width; ++l) before[l] = work.labels[part.first + list[l]];
    std::fill(before + width, before + found.size, 0);
    for (int v = 0; v < found.size; v += lanes) {
        using Integers = typename Lanes<float>::Integers;
        const auto was = *reinterpret_cast<const Integers*>(before + v);
        const auto is = *reinterpret_cast<const Integers*>(found.labels + v);
        for (std::uint32_t bits = bits_of<float>(was != is); bits != 0; bits &= bits - 1) {
            const int l = v + LAB_LOWEST_BIT(bits);
            if (l >= n) break;
            settle_row(work, part, part.first + list[l], found.labels[l], moves);
        }
    }
    for (Index l = 0; l < n; ++l) state.slack[part.first + list[l]] = found.gaps[l];
}

// Raise the slack of rows as the drift of their centers has been raised; rounded down, where it is
// above zero. Otherwise it covers no drift.
template <typename T>
LAB_INLINE void raise_slack(const RowWork<T>& work, HamerlyState<T>& state, Index first,
                            Index last) {
    using Values = typename Lanes<float>::Values;
    constexpr float down = 1 - std::numeric_limits<float>::epsilon();
    for (Index i = first; i < last; i += Lanes<float>::lanes) {
        Values slack;
        std::memcpy(&slack, state.slack.data() + i, sizeof slack);
        slack = (slack + gather(state.raised.data(), work.labels.data() + i)) * down;
        std::memcpy(state.slack.data() + i, &slack, sizeof slack);
    }
}

// List the rows from `first` on whose slack no longer covers the drift of their center. Most cover
// the drift of any center, which takes no look at their labels.
template <typename T>
LAB_INLINE Index list_failing(const RowWork<T>& work, HamerlyState<T>& state, Part& part,
                              Index first, Index last, std::int32_t* list) {
    using Values = typename Lanes<float>::Values;
    constexpr int lanes = Lanes<float>::lanes;
    const Index origin = part.first;
    Index n = 0;
    if (!state.carried) {
        for (; first + n < last; ++n) list[n] = std::int32_t(first + n - origin);
        return n;
    }
    if (!state.raised.empty()) raise_slack(work, state, first, last);
    const Values most = state.most_drift - Values{};
    for (Index i = first; i < last; i += lanes) {
        Values slack;
        std::memcpy(&slack, state.slack.data() + i, sizeof slack);
        const std::uint32_t bits = bits_of<float>(opposite(slack > most));
        n += list_bits<float>(bits, i - origin, list + n);  // no branch: one could not be foreseen
    }
    while (n > 0 && list[n - 1] >= last - origin) --n;
    const float* slack = state.slack.data() + origin;
    const std::int32_t* labels = work.labels.data() + origin;
    Index failing = 0;
    for (Index i = 0; i < n; ++i) {
        const std::int32_t row = list[i];
        list[failing] = row;
        failing += slack[row] > state.drift[labels[row]] ? 0 : 1;
    }
    part.spared += n - failing;
    return failing;
}

// The rows of a part whose slack is used up go to their clusters.
template <typename T, int vectors, int panel>
class Failing {
public:
    Failing(RowWork<T>& work, HamerlyState<T>& state, Part& part, Partial& sums)
        : work_(work), state_(state), part_(part), moves_(work, sums) {}

    void run() {
        if (!state_.carried) part_.copied = false;
        bool wide = part_.wide_left > 0, all_narrow = !wide;
        if (wide) --part_.wide_left;
        const Index before = part_.rescored;
        const bool in_doubt = !state_.carried || part_.wide_next > 1;
        Index scored = 0, first = part_.first;
        while (first < part_.last && !work_.interrupt->came()) {
            const bool few = in_doubt && !wide && scored < kListedInDoubt;
            const Index last = std::min(first + (few ? kListedInDoubt : kListed), part_.last);
            const Index n = list_failing(work_, state_, part_, first, last, list_);
            std::fill_n(list_ + n, 2 * width, n > 0 ? list_[n - 1] : 0);
            wide ? settle_wide(n) : settle_narrow(n);
            scored += n;
            const double decided = double(part_.rescored - before);
            if (!wide && scored >= kListedInDoubt / 2 && decided > kDoubtful * double(scored)) {
                wide = true;
                all_narrow = all_narrow && last == part_.last;
                part_.wide_left = part_.wide_next;
                part_.wide_next = std::min(2 * part_.wide_next, 64);
            }
            first = last;
        }
        moves_.flush();
        if (!state_.carried) part_.copied = all_narrow && first >= part_.last;
    }

private:
    static constexpr int width = vectors * Lanes<float>::lanes;

    template <typename S, typename From, typename Read>
    LAB_MEMBER void settle(Index n, const Panels<S>& panels, const From* rows, const Read& read) {
        constexpr Index step = vectors * Lanes<S>::lanes;
        if (n > 0) room_.resize(work_.d * width);
        S* tile = reinterpret_cast<S*>(room_.data());
        for (Index i = 0; i < n; i += step) {
            settle_listed<S, vectors, panel>(work_, state_, panels, part_, list_ + i,
                                             std::min(step, n - i), rows + part_.first * work_.d,
                                             read, tile, moves_);
        }
    }

    void settle_narrow(Index n) {
        const Panels<float>& panels = state_.narrow;
        const Moved<float, T> moved{state_.origin, T(panels.scale)};
        const T* rows = work_.given.rows;
        if (state_.copies.empty()) {
            settle(n, panels, rows, moved);
        } else if (part_.copied) {
            settle(n, panels, state_.copies.data(), Copies{});
        } else {
            settle(n, panels, rows, Copied<T>{moved, rows, state_.copies.data()});
        }
    }

    void settle_wide(Index n) {
        const Panels<double>& panels = state_.rare->wide();
        settle(n, panels, work_.given.rows, Moved<double, T>{state_.origin, T(panels.scale)});
    }

    RowWork<T>& work_;
    HamerlyState<T>& state_;
    Part& part_;
    RowMoves<T> moves_;
    Aligned<double> room_;  // for a tile of either type
    std::int32_t list_[kListed + 2 * width + 16];
};

template <typename T, int vectors, int panel>
void assign_failing(RowWork<T>& work, HamerlyState<T>& state, Part& part, Partial& sums) {
    Failing<T, vectors, panel>(work, state, part, sums).run();
}

}  // namespace LAB_ISA
}  // namespace lab
