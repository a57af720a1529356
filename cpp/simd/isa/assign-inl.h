// Assignment. Included once per instruction set, after moves-inl.h.
//
// Lanes are rows, not centers: no horizontal reduction, no remainder in k, and ties go to the
// lowest index for free.

#ifndef LAB_ISA
#error "assign-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The centers of one panel, packed side by side.
template <typename T, int panel>
struct Packed {
    const T* values;   // (n_features, panel)
    const T* squares;  // (panel,)
    Index first;
    LAB_MEMBER T at(Index f, int c) const { return values[f * panel + c]; }
    LAB_MEMBER T square(int c) const { return squares[c]; }
    LAB_MEMBER Index index(int c) const { return first + c; }
};
// The best and second best score so far of each row of a tile, and the center of the best one.
template <typename T, int vectors>
struct Best {
    typename Lanes<T>::Values best[vectors], second[vectors];
    typename Lanes<T>::Integers index[vectors];

    LAB_MEMBER Best() {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            best[v] = second[v] = std::numeric_limits<T>::infinity() - typename Lanes<T>::Values{};
            index[v] = typename Lanes<T>::Integers{};
        }
    }
};

// Scores ‖c‖² − 2x·c of some rows of a tile, from `x` on, against one panel, then the running best,
// second and index. The sums of all centers of the panel are independent, which hides the latency
// of the additions.
template <typename T, int vectors, int width, int panel, typename From>
LAB_INLINE void score_panel(const T* x, const From& centers, Index d, Best<T, vectors>& all) {
    using Values = typename Lanes<T>::Values;
    using Integers = typename Lanes<T>::Integers;
    constexpr int lanes = Lanes<T>::lanes;
    if constexpr (panel == 8) LAB_TO_MEMORY(all.best, all.second, all.index);
    Values sums[vectors][panel];
    LAB_UNROLL for (int c = 0; c < panel; ++c) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[v][c] = centers.square(c) - Values{};
    }
    for (Index f = 0; f < d; ++f) {
        Values rows[vectors];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            rows[v] = *reinterpret_cast<const Values*>(x + f * width + v * lanes);
        }
        LAB_UNROLL for (int c = 0; c < panel; ++c) {
            const Values center = centers.at(f, c) - Values{};
            LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[v][c] += rows[v] * center;
        }
    }
    LAB_UNROLL for (int c = 0; c < panel; ++c) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Values score = sums[v][c];
            const Integers less = score < all.best[v];
            const Values higher = score > all.best[v] ? score : all.best[v];
            all.second[v] = higher < all.second[v] ? higher : all.second[v];
            all.best[v] = less ? score : all.best[v];
            all.index[v] =
                less ? Integers{} + typename Lanes<T>::Integer(centers.index(c)) : all.index[v];
        }
    }
}

template <typename T, int vectors, int width, int panel>
LAB_INLINE void score_all(const T* x, const Centers<T>& centers, Index d, Best<T, vectors>& all) {
    for (Index j = 0; j < centers.padded; j += panel) {
        const Packed<T, panel> from{centers.packed.data() + j * d, centers.squares.data() + j, j};
        score_panel<T, vectors, width, panel>(x, from, d, all);
    }
}

// Take rows of a tile, from `first` on, to their clusters.
template <typename T, int vectors, int width>
LAB_INLINE void settle_rows(Work<T>& work, Chunk& chunk, Index first, const Best<T, vectors>& all) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    const Index end = chunk.first_tile * width + chunk.n_rows;
    const bool whole = first + vectors * lanes <= end;
    // Still above the tolerance when rounded to T.
    const T tolerance = T(work.tolerance(work.reach[first / width]) * 1.001);
    TileMoves<T> moves(work, chunk);
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const Index row = first + v * lanes;
        const auto near_tie = all.second[v] - all.best[v] <= tolerance - Values{};
        if (whole && !any<T>(near_tie, all.index[v], work.labels.data() + row)) continue;
        for (int l = 0; l < lanes && row + l < end; ++l) {
            settle(work, chunk, row + l, std::int32_t(lane(all.index[v], l)),
                   lane(near_tie, l) != 0, moves);
        }
    }
    moves.flush();
}

template <typename T, int vectors, int width, int panel>
void assign_tiles(Work<T>& work, Chunk& chunk) {
    constexpr int lanes = Lanes<T>::lanes;
    constexpr Index step = vectors * lanes;
    const Index end = chunk.first_tile * width + chunk.n_rows;
    using Wide = typename Lanes<T>::Wide;
    Wide scores{};
    chunk.inertia = 0;
    for (Index first = chunk.first_tile * width; first < end; first += step) {
        if (first % (kTilesPerCheck * step) == 0 && work.interrupt->came()) return;
        const T* x = work.tiles.data() + first / width * width * work.d + first % width;
        Best<T, vectors> all;
        score_all<T, vectors, width, panel>(x, work.centers, work.d, all);
        settle_rows<T, vectors, width>(work, chunk, first, all);
        if (first + step <= end) {
            LAB_UNROLL for (int v = 0; v < vectors; ++v) scores += convert<Wide>(all.best[v]);
        } else {
            for (Index l = 0; l < end - first; ++l) {
                chunk.inertia += double(lane(all.best[l / lanes], int(l % lanes)));
            }
        }
    }
    for (int l = 0; l < lanes; ++l) chunk.inertia += lane(scores, l);
}

}  // namespace LAB_ISA
}  // namespace lab
