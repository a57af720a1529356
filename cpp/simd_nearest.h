// Squared distances to the nearest of the centers chosen so far, for the seeding; included once per
// instruction set. By direct differences: a row's distance to itself is zero. Tiles that a
// candidate is too far from keep their sums.

namespace lab {
namespace LAB_ISA {

// Squared distances of a tile's rows to `group` candidates; the smaller ones of that and `nearest`
// are added up lane by lane. `take` sees them, too.
template <typename T, int vectors, int group, typename Take>
LAB_INLINE void meet_rows(const T* tile, const T* const* candidates, long d, const double* nearest,
                          typename Lanes<T>::Wide* totals, const Take& take) {
    using L = Lanes<T>;
    using Values = typename L::Values;
    constexpr int lanes = L::lanes, width = vectors * lanes;
    Values sums[group][vectors] = {};
    for (long f = 0; f < d; ++f) {
        LAB_UNROLL for (int c = 0; c < group; ++c) {
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const Values x = *reinterpret_cast<const Values*>(tile + f * width + v * lanes);
                const Values diff = x - candidates[c][f];
                sums[c][v] += diff * diff;
            }
        }
    }
    LAB_UNROLL for (int c = 0; c < group; ++c) totals[c] = typename L::Wide{};
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const auto before = *reinterpret_cast<const typename L::Wide*>(nearest + v * lanes);
        LAB_UNROLL for (int c = 0; c < group; ++c) {
            const auto distance = widen<T>(sums[c][v]);
            const typename L::Wide smaller = distance < before ? distance : before;
            totals[c] += smaller;
            take(v, smaller);
        }
    }
}

// Which balls of a parent may have a row that is nearer to the candidate than to its center: a bit
// for each. Here lanes are balls.
template <typename T>
LAB_INLINE std::uint32_t near_balls(const Balls<T>& balls, const typename Nearest<T>::Slots& slots,
                                    long parent, long d, const T* candidate) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    constexpr long kids = Balls<T>::kids;
    const T* middle = balls.middle.data() + parent * kids * d;
    std::uint32_t bits = 0;
    for (long i = 0; i < kids; i += lanes) {
        Values sum = {};
        for (long f = 0; f < d; ++f) {
            const Values diff =
                *reinterpret_cast<const Values*>(middle + f * kids + i) - candidate[f];
            sum += diff * diff;
        }
        const Values limit =
            *reinterpret_cast<const Values*>(slots.limits.data() + parent * kids + i);
        bits |= Found<T>(opposite(sum >= limit)).bits() << i;  // near where a value is not a number
    }
    return bits;
}

// The candidates of a round, with their sums so far.
template <typename T>
struct Round {
    using Wide = typename Lanes<T>::Wide;
    const T* candidates;
    long d;
    double totals[kMostCandidates] = {};  // of balls that keep their sums
    Wide sums[kMostCandidates] = {};      // of rows

    // Of the listed candidates, those that are near to ball i of a parent go on to its kids or
    // rows; to the others it adds its sum. `near` has the bits of each listed one.
    LAB_MEMBER long split(const std::int32_t* list, long n, const std::uint32_t* near, long i,
                          double sum, std::int32_t* found) {
        long m = 0;
        for (long c = 0; c < n; ++c) {
            const bool is_near = near[c] >> i & 1;
            totals[list[c]] += is_near ? 0.0 : sum;
            found[m] = list[c];
            m += is_near;
        }
        return m;
    }

    template <int vectors>
    LAB_MEMBER void meet_tile(const T* tile, const double* rows, const std::int32_t* found,
                              long n) {
        const auto ignore = [](int, const Wide&) {};
        const T* meeting[kMostCandidates];
        for (long i = 0; i < n; ++i) meeting[i] = candidates + found[i] * d;
        Wide sum[5];
        long i = 0;
        for (; i + 4 < n; i += 5) {
            meet_rows<T, vectors, 5>(tile, meeting + i, d, rows, sum, ignore);
            for (int c = 0; c < 5; ++c) sums[found[i + c]] += sum[c];
        }
        for (; i < n; ++i) {
            meet_rows<T, vectors, 1>(tile, meeting + i, d, rows, sum, ignore);
            sums[found[i]] += sum[0];
        }
    }
};

// Without balls, where they spare too little: every candidate meets every row.
template <typename T, int vectors>
LAB_INLINE void meet_all(const Work<T>& work, const Chunk& chunk, const Nearest<T>& nearest,
                         const std::int32_t* all, long count, Round<T>& round) {
    constexpr long width = vectors * Lanes<T>::lanes;
    for (long t = chunk.first_tile; t < chunk.last_tile; ++t) {
        round.template meet_tile<vectors>(work.tiles.data() + t * width * work.d,
                                          nearest.squares.data() + t * width, all, count);
    }
}

// The sums of nearest distances of one chunk with each of the candidates added to its centers.
// Returns the share of pairs of tile and candidate that met.
template <typename T, int vectors>
double try_candidates(const Work<T>& work, const Chunk& chunk, const T* candidates, long count,
                      const Nearest<T>& nearest, bool testing, double* totals) {
    constexpr long kids = Balls<T>::kids, width = vectors * Lanes<T>::lanes;
    const long d = work.d;
    Round<T> round{candidates, d};
    std::int32_t all[kMostCandidates], of_group[kMostCandidates], of_tile[kMostCandidates];
    std::uint32_t near[kMostCandidates], near_tiles[kMostCandidates];
    for (long c = 0; c < count; ++c) all[c] = std::int32_t(c);
    const auto test = [&](const Balls<T>& balls, const typename Nearest<T>::Slots& slots,
                          long parent, const std::int32_t* list, long n, std::uint32_t* bits) {
        for (long c = 0; c < n; ++c) {
            bits[c] = near_balls<T>(balls, slots, parent, d, candidates + list[c] * d);
        }
    };
    long t = chunk.first_tile, met = 0;
    if (!testing) meet_all<T, vectors>(work, chunk, nearest, all, count, round);
    for (long family = chunk.first_family; testing && t < chunk.last_tile; ++family) {
        test(work.groups_in, nearest.groups, family, all, count, near);
        for (long g = family * kids; g < (family + 1) * kids && t < chunk.last_tile; ++g) {
            const long n =
                round.split(all, count, near, g - family * kids, nearest.groups.sums[g], of_group);
            const long last = std::min(t + kids, chunk.last_tile);
            if (n > 0) test(work.tiles_in, nearest.tiles, g, of_group, n, near_tiles);
            for (long i = 0; n > 0 && t + i < last; ++i) {
                const long m = round.split(of_group, n, near_tiles, i,
                                           nearest.tiles.sums[g * kids + i], of_tile);
                round.template meet_tile<vectors>(work.tiles.data() + (t + i) * width * d,
                                                  nearest.squares.data() + (t + i) * width, of_tile,
                                                  m);
            }
            t = last;
        }
    }
    for (long c = 0; c < count; ++c) {
        totals[c] = round.totals[c];
        for (int l = 0; l < Lanes<T>::lanes; ++l) totals[c] += lane(round.sums[c], l);
    }
    return testing ? double(met) / double((chunk.last_tile - chunk.first_tile) * count) : 1.0;
}

// No row of the ball changes for a candidate beyond its radius and its farthest row's distance.
template <typename T>
LAB_INLINE void set_limit(const Balls<T>& balls, typename Nearest<T>::Slots& slots, long slot,
                          long d) {
    const double limit = std::sqrt(double(balls.square[slot])) + std::sqrt(slots.most[slot]);
    const double up = 1 + double(2 * d + 16) * double(std::numeric_limits<T>::epsilon());
    slots.limits[slot] = T(limit * limit * up);
}

// Add one candidate to the centers for good; return the chunk's sum of nearest distances.
template <typename T, int vectors>
double keep_candidate(const Work<T>& work, const Chunk& chunk, const T* candidate,
                      Nearest<T>& nearest) {
    using Wide = typename Lanes<T>::Wide;
    constexpr int lanes = Lanes<T>::lanes;
    constexpr long kids = Balls<T>::kids, width = vectors * lanes;
    const long d = work.d;
    auto& groups = nearest.groups;
    auto& tiles = nearest.tiles;
    double total = 0;
    long t = chunk.first_tile;
    for (long family = chunk.first_family; t < chunk.last_tile; ++family) {
        const std::uint32_t near = near_balls<T>(work.groups_in, groups, family, d, candidate);
        for (long g = family * kids; g < (family + 1) * kids && t < chunk.last_tile; ++g) {
            const long first = t, last = std::min(t + kids, chunk.last_tile);
            t = last;
            if (near >> (g - family * kids) & 1) {
                const std::uint32_t near_tiles =
                    near_balls<T>(work.tiles_in, tiles, g, d, candidate);
                groups.sums[g] = groups.most[g] = 0;
                for (long i = 0; i < last - first; ++i) {
                    const long slot = g * kids + i;
                    if (near_tiles >> i & 1) {
                        double* rows = nearest.squares.data() + (first + i) * width;
                        Wide sum, most = Wide{};
                        const auto keep = [&](int v, const Wide& smaller) {
                            *reinterpret_cast<Wide*>(rows + v * lanes) = smaller;
                            most = most > smaller ? most : smaller;
                        };
                        meet_rows<T, vectors, 1>(work.tiles.data() + (first + i) * width * d,
                                                 &candidate, d, rows, &sum, keep);
                        tiles.sums[slot] = tiles.most[slot] = 0;
                        for (int l = 0; l < lanes; ++l) {
                            tiles.sums[slot] += lane(sum, l);
                            tiles.most[slot] = std::max(tiles.most[slot], double(lane(most, l)));
                        }
                        set_limit<T>(work.tiles_in, tiles, slot, d);
                        if (!work.order.empty()) {
                            const long row = (first + i) * width;
                            for (long l = 0; l < width && row + l < work.n; ++l) {
                                nearest.as_given[work.order[row + l]] = rows[l];
                            }
                        }
                    }
                    groups.sums[g] += tiles.sums[slot];
                    groups.most[g] = std::max(groups.most[g], tiles.most[slot]);
                }
                set_limit<T>(work.groups_in, groups, g, d);
            }
            total += groups.sums[g];
        }
    }
    return total;
}

}  // namespace LAB_ISA
}  // namespace lab
