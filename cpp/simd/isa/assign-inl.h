// Assignment. Included once per instruction set, after moves-inl.h and balls-inl.h.
//
// Lanes are rows, not centers: no horizontal reduction, no remainder in k, and ties go to the
// lowest index for free.

#ifndef LAB_ISA
#error "assign-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The centers of one panel: packed side by side, or picked from all of them by a list.
template <typename T, int panel>
struct Packed {
    const T* values;   // (n_features, panel)
    const T* squares;  // (panel,)
    Index first;
    LAB_MEMBER T at(Index f, int c) const { return values[f * panel + c]; }
    LAB_MEMBER T square(int c) const { return squares[c]; }
    LAB_MEMBER Index index(int c) const { return first + c; }
};
template <typename T>
struct Listed {
    const T* values;   // (n_clusters, n_features)
    const T* squares;  // (n_clusters,)
    const std::int32_t* ids;
    Index d;
    LAB_MEMBER T at(Index f, int c) const { return values[ids[c] * d + f]; }
    LAB_MEMBER T square(int c) const { return squares[ids[c]]; }
    LAB_MEMBER Index index(int c) const { return ids[c]; }
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

// Score rows against the listed centers; three more places of the list are overwritten.
template <typename T, int vectors, int width>
LAB_INLINE void score_listed(const T* x, const Centers<T>& centers, Index d, std::int32_t* ids,
                             Index n, Best<T, vectors>& all) {
    ids[n] = ids[n + 1] = ids[n + 2] = std::int32_t(centers.n_clusters);  // at infinity
    Index i = 0;
    if constexpr (vectors == 2) {
        for (; i + 2 < n; i += 4) {
            const Listed<T> four{centers.listed.data(), centers.squares.data(), ids + i, d};
            score_panel<T, vectors, width, 4>(x, four, d, all);
        }
    }
    for (; i < n; i += 2) {
        const Listed<T> two{centers.listed.data(), centers.squares.data(), ids + i, d};
        score_panel<T, vectors, width, 2>(x, two, d, all);
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

// The same for a tile with a list of centers that are left.
template <typename T, int vectors, int width, int panel>
LAB_INLINE void assign_rows(Work<T>& work, Chunk& chunk, Index tile, std::int32_t* ids, Index n) {
    chunk.met += double(n * width);
    for (Index l = 0; l < width; l += vectors * Lanes<T>::lanes) {
        const T* x = work.tiles.data() + tile * width * work.d + l;
        Best<T, vectors> all;
        if (4 * n <= 3 * work.centers.n_clusters) {
            score_listed<T, vectors, width>(x, work.centers, work.d, ids, n, all);
        } else {  // panels of all of them cost less per center than a list
            score_all<T, vectors, width, panel>(x, work.centers, work.d, all);
        }
        settle_rows<T, vectors, width>(work, chunk, tile * width + l, all);
    }
}

// A group of tiles with more than one center left. Where they are too many for pairs, each tile is
// tested against all centers.
template <typename T, int vectors, int width, int panel>
LAB_INLINE void assign_group(Work<T>& work, Chunk& chunk, Index group, Index first_tile,
                             const std::int32_t* ids, Index n) {
    constexpr Index kids = Balls<T>::kids;
    const Index n_tiles = std::min(kids, chunk.last_tile - first_tile);
    const Index k = work.centers.n_clusters;
    const bool pairs = n <= kMostPaired;
    std::uint32_t left[kids];
    std::int32_t found[kMostFiltered + 64];
    if (pairs) {
        test_kids<T>(work, work.tiles_in, group, ids, n, margin(work, work.groups_in.reach[group]),
                     left);
    }
    chunk.met += double((pairs ? n : k) * n_tiles);
    for (Index i = 0; i < n_tiles; ++i) {
        const Index slot = group * kids + i, tile = first_tile + i;
        std::int32_t& owner = work.tiles_in.owner[slot];
        const Index n_found = pairs ? list_bits(left[i], ids, found)
                                    : test_ball(work, work.tiles_in, slot, work.reach[tile], found);
        if (n_found > 1) {
            owner = -1;
            assign_rows<T, vectors, width, panel>(work, chunk, tile, found, n_found);
        } else if (owner != found[0]) {
            owner = found[0];
            settle_tile(work, chunk, tile, owner);
        }
    }
}

// Like assign_tiles, but balls are tested first; gives up when that saves too little. Returns the
// first tile that was left out.
template <typename T, int vectors, int width, int panel>
Index assign_filtered(Work<T>& work, Chunk& chunk) {
    constexpr Index kids = Balls<T>::kids;
    const Index k = work.centers.n_clusters;
    std::int32_t of_family[kMostFiltered + 64], of_group[kMostFiltered + 64];
    std::uint32_t left[kids];
    Index p = chunk.first_family;
    for (Index t = chunk.first_tile; t < chunk.last_tile; ++p) {
        const Index n = test_ball(work, work.families, p, work.families.reach[p], of_family);
        chunk.met += double(k);
        const bool testing = n <= kMostPaired;
        if (testing && n > 1) {
            test_kids<T>(work, work.groups_in, p, of_family, n,
                         margin(work, work.families.reach[p]), left);
            chunk.met += double(n * kids);
        }
        for (Index g = p * kids; g < (p + 1) * kids && t < chunk.last_tile; ++g, t += kids) {
            Index m = 1;
            if (n == 1) {
                of_group[0] = of_family[0];
            } else if (testing) {
                m = list_bits(left[g - p * kids], of_family, of_group);
            } else {
                m = test_ball(work, work.groups_in, g, work.groups_in.reach[g], of_group);
                chunk.met += double(k);
            }
            std::int32_t& owner = work.groups_in.owner[g];
            if (m > 1) {
                owner = -1;
                assign_group<T, vectors, width, panel>(work, chunk, g, t, of_group, m);
            } else if (owner != of_group[0]) {
                owner = of_group[0];
                for (Index i = 0; i < kids && t + i < chunk.last_tile; ++i) {
                    work.tiles_in.owner[g * kids + i] = owner;
                    settle_tile(work, chunk, t + i, owner);
                }
            }
        }
        t = std::min(t, chunk.last_tile);
        const double rows = double((t - chunk.first_tile) * width);
        if (chunk.met > kWorthwhile * rows * double(k) || work.interrupt->came()) {
            work.forget_owners(chunk, p + 1);  // their rows change clusters without balls
            return t;
        }
    }
    return chunk.last_tile;
}

template <typename T, int vectors, int width, int panel>
void assign_tiles(Work<T>& work, Chunk& chunk) {
    chunk.met = 0;
    const Index tile =
        work.filtering ? assign_filtered<T, vectors, width, panel>(work, chunk) : chunk.first_tile;
    constexpr int lanes = Lanes<T>::lanes;
    constexpr Index step = vectors * lanes;
    const Index end = chunk.first_tile * width + chunk.n_rows;
    using Wide = typename Lanes<T>::Wide;
    Wide scores{};
    chunk.inertia = 0;
    for (Index first = tile * width; first < end; first += step) {
        if (first % (kTilesPerCheck * step) == 0 && work.interrupt->came()) return;
        const T* x = work.tiles.data() + first / width * width * work.d + first % width;
        Best<T, vectors> all;
        score_all<T, vectors, width, panel>(x, work.centers, work.d, all);
        chunk.met += double(step * work.centers.n_clusters);
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
