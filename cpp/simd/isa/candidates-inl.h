// Candidates of the seeding: each row's squared distance to the nearest of the centers chosen so
// far and of one more. Included once per instruction set, after vectors-inl.h.
//
// By direct differences: a row's distance to itself is zero. Tiles that a candidate is too far from
// keep their sums.
//
// A distance has the same bits wherever it is computed: in double, each square rounded by itself,
// features in their order. Sums are of whole numbers, the steps of a Grid in each distance, so that
// they do not depend on the order of addition.

#ifndef LAB_ISA
#error "candidates-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Squared distances of a tile's rows, from `x` on, to `group` candidates; the smaller ones of that
// and `so_far` are added to `totals` in steps, lane by lane. `take` is called with them, too.
template <typename T, int vectors, int width, int group, typename Take>
LAB_INLINE void meet_rows(const T* x, const double* const* candidates, Index d,
                          const double* so_far, const Grid& grid, Lanes<double>::Integers* totals,
                          const Take& take) {
    using Doubles = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Doubles sums[group][vectors] = {};
    for (Index f = 0; f < d; ++f) {
        LAB_UNROLL for (int c = 0; c < group; ++c) {
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const Doubles rows = doubles_at<T>(x + f * width + v * lanes);
                sums[c][v] += rounded_square(rows - candidates[c][f]);
            }
        }
    }
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const auto before = *reinterpret_cast<const Doubles*>(so_far + v * lanes);
        LAB_UNROLL for (int c = 0; c < group; ++c) {
            const Doubles smaller = sums[c][v] < before ? sums[c][v] : before;
            totals[c] += steps_in(smaller, grid);
            take(v, smaller);
        }
    }
}

template <typename Vector>
LAB_INLINE std::int64_t sum_of(const Vector& steps) {
    std::int64_t sum = 0;
    for (int l = 0; l < int(sizeof(Vector) / 8); ++l) sum += lane(steps, l);
    return sum;
}

// Which of the first `count` balls of a parent may have a row that is nearer to the candidate than
// to its center: a bit for each. The sums of the others, which stay, are added to `kept`. Here
// lanes are balls.
template <typename T>
LAB_INLINE std::uint32_t near_balls(const Balls<T>& balls,
                                    const typename Distances<T>::Slots& slots, Index parent,
                                    Index count, Index d, const T* candidate,
                                    typename Lanes<T>::WideIntegers* kept) {
    using Values = typename Lanes<T>::Values;
    using WideIntegers = typename Lanes<T>::WideIntegers;
    constexpr int lanes = Lanes<T>::lanes;
    constexpr Index kids = Balls<T>::kids;
    const T* middle = balls.middle.data() + parent * kids * d;
    std::uint32_t bits = 0;
    for (Index i = 0; i < kids; i += lanes) {
        Values sum = {};
        for (Index f = 0; f < d; ++f) {
            const Values diff =
                *reinterpret_cast<const Values*>(middle + f * kids + i) - candidate[f];
            sum += diff * diff;
        }
        const Index slot = parent * kids + i;
        const Values limit = *reinterpret_cast<const Values*>(slots.limits.data() + slot);
        const auto far = (sum >= limit) & (limit <= std::numeric_limits<T>::max());
        *kept += convert<WideIntegers>(far)
                     ? *reinterpret_cast<const WideIntegers*>(slots.sums.data() + slot)
                     : WideIntegers{};
        bits |= bits_of<T>(opposite(far)) << i;  // near where a value is not a number
    }
    return bits & std::uint32_t((std::uint64_t(1) << count) - 1);
}

// The candidates of a round, with their sums so far.
template <typename T>
struct Round {
    using Steps = Lanes<double>::Integers;
    const Candidates<T>& candidates;
    Index d;
    Grid grid;
    typename Lanes<T>::WideIntegers kept[kMostCandidates] = {};  // of balls that stay as they are
    Steps sums[kMostCandidates] = {};                            // of rows

    // Test the listed candidates against the balls of a parent; return the bits of those that are
    // near to any.
    LAB_MEMBER std::uint32_t test(const Balls<T>& balls, const typename Distances<T>::Slots& slots,
                                  Index parent, Index count, const std::int32_t* list, Index n,
                                  std::uint32_t* near) {
        std::uint32_t any = 0;
        for (Index c = 0; c < n; ++c) {
            near[c] = near_balls<T>(balls, slots, parent, count, d, candidates.values(list[c]),
                                    &kept[list[c]]);
            any |= near[c];
        }
        return any;
    }

    template <int vectors, int width, int group>
    LAB_MEMBER void meet(const T* x, const double* rows, const std::int32_t* list) {
        const auto ignore = [](int, const Lanes<double>::Values&) {};
        const double* meeting[group];
        for (int c = 0; c < group; ++c) meeting[c] = candidates.doubles(list[c]);
        Steps sum[group] = {};
        meet_rows<T, vectors, width, group>(x, meeting, d, rows, grid, sum, ignore);
        for (int c = 0; c < group; ++c) sums[list[c]] += sum[c];
    }

    template <int vectors, int width>
    LAB_MEMBER void meet_tile(const T* tile, const double* rows, const std::int32_t* list,
                              Index n) {
        for (Index l = 0; l < width; l += vectors * Lanes<double>::lanes) {
            Index i = 0;
            for (; i + 4 < n; i += 5) meet<vectors, width, 5>(tile + l, rows + l, list + i);
            for (; i + 1 < n; i += 2) meet<vectors, width, 2>(tile + l, rows + l, list + i);
            if (i < n) meet<vectors, width, 1>(tile + l, rows + l, list + i);
        }
    }
};

// Those of the listed candidates that are near to ball i.
inline Index near_to(std::uint32_t i, const std::int32_t* list, Index n, const std::uint32_t* near,
                     std::int32_t* found) {
    Index m = 0;
    for (Index c = 0; c < n; ++c) {  // no branch: one place more or less
        found[m] = list[c];
        m += near[c] >> i & 1;
    }
    return m;
}

// The sums of nearest distances of one chunk with each of the candidates added to its centers.
template <typename T, int vectors, int width>
void try_candidates(const Work<T>& work, const Chunk& chunk, const Candidates<T>& candidates,
                    Index count, const Distances<T>& distances, std::int64_t* totals) {
    constexpr Index kids = Balls<T>::kids;
    const Index d = work.d;
    Round<T> round{candidates, d, distances.grid};
    std::int32_t all[kMostCandidates], of_group[kMostCandidates], of_tile[kMostCandidates];
    std::uint32_t near[kMostCandidates], near_tiles[kMostCandidates];
    for (Index c = 0; c < count; ++c) all[c] = std::int32_t(c);
    Index family = chunk.first_family;
    for (Index t = chunk.first_tile; t < chunk.last_tile; t += kids * kids, ++family) {
        const Index n_groups = std::min(kids, (chunk.last_tile - t + kids - 1) / kids);
        std::uint32_t groups =
            round.test(work.groups_in, distances.groups, family, n_groups, all, count, near);
        for (; groups != 0; groups &= groups - 1) {
            const Index i = LAB_LOWEST_BIT(groups), first = t + i * kids;
            const Index n = near_to(std::uint32_t(i), all, count, near, of_group);
            const Index n_tiles = std::min(kids, chunk.last_tile - first);
            std::uint32_t tiles = round.test(work.tiles_in, distances.tiles, family * kids + i,
                                             n_tiles, of_group, n, near_tiles);
            for (; tiles != 0; tiles &= tiles - 1) {
                const Index tile = LAB_LOWEST_BIT(tiles);
                const Index m = near_to(std::uint32_t(tile), of_group, n, near_tiles, of_tile);
                const Index row = (first + tile) * width;
                round.template meet_tile<vectors, width>(
                    work.tiles.data() + row * d, distances.squares.data() + row, of_tile, m);
            }
        }
    }
    for (Index c = 0; c < count; ++c) totals[c] = sum_of(round.kept[c]) + sum_of(round.sums[c]);
}

// No row of the ball changes for a candidate beyond its radius and its farthest row's distance. The
// last term is more than squares may lose that underflow.
template <typename T>
LAB_INLINE void set_limit(const Balls<T>& balls, typename Distances<T>::Slots& slots, Index slot,
                          double farthest, Index d) {
    const double limit = std::sqrt(double(balls.square[slot])) + farthest;
    const double up = 1 + double(2 * d + 16) * double(std::numeric_limits<T>::epsilon());
    const double tiny = double(d + 2) * double(std::numeric_limits<T>::denorm_min());
    slots.limits[slot] = T(limit * limit * up + tiny);
}

// That distance again, or a little more: nothing but the limit is kept of it.
template <typename T>
LAB_INLINE double farthest_in(const Balls<T>& balls, const typename Distances<T>::Slots& slots,
                              Index slot) {
    return std::sqrt(double(slots.limits[slot])) - std::sqrt(double(balls.square[slot]));
}

// Add a candidate to the centers of one tile's rows for good.
template <typename T, int vectors, int width>
LAB_INLINE void keep_in_tile(const Work<T>& work, Index tile, Index slot, const double* candidate,
                             Distances<T>& distances) {
    using Doubles = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const Index d = work.d, row = tile * width;
    double* rows = distances.squares.data() + row;
    Lanes<double>::Integers sum = {};
    Doubles most = {};
    for (Index l = 0; l < width; l += vectors * lanes) {
        const auto keep = [&](int v, const Doubles& smaller) {
            *reinterpret_cast<Doubles*>(rows + l + v * lanes) = smaller;
            most = most > smaller ? most : smaller;
        };
        meet_rows<T, vectors, width, 1>(work.tiles.data() + row * d + l, &candidate, d, rows + l,
                                        distances.grid, &sum, keep);
    }
    double largest = 0;
    for (int l = 0; l < lanes; ++l) largest = std::max(largest, double(lane(most, l)));
    distances.tiles.sums[slot] = sum_of(sum);
    largest += double(d) * std::numeric_limits<double>::denorm_min();  // for squares that underflow
    set_limit<T>(work.tiles_in, distances.tiles, slot, std::sqrt(largest), d);
    if (distances.as_given.empty()) return;
    for (Index l = 0; l < width && row + l < work.n; ++l) {
        distances.as_given[work.order[row + l]] = rows[l];
    }
}

// The same for a chunk; return its sum of nearest distances.
template <typename T, int vectors, int width>
std::int64_t keep_candidate(const Work<T>& work, const Chunk& chunk, const Candidates<T>& kept_one,
                            Distances<T>& distances) {
    using Steps = typename Lanes<T>::WideIntegers;
    constexpr Index kids = Balls<T>::kids;
    const T* candidate = kept_one.values(0);
    auto& groups = distances.groups;
    auto& tiles = distances.tiles;
    std::int64_t total = 0;
    Index family = chunk.first_family;
    for (Index t = chunk.first_tile; t < chunk.last_tile; t += kids * kids, ++family) {
        const Index n_groups = std::min(kids, (chunk.last_tile - t + kids - 1) / kids);
        Steps kept = {};
        std::uint32_t near =
            near_balls<T>(work.groups_in, groups, family, n_groups, work.d, candidate, &kept);
        total += sum_of(kept);
        for (; near != 0; near &= near - 1) {
            const Index i = LAB_LOWEST_BIT(near), g = family * kids + i, first = t + i * kids;
            const Index n_tiles = std::min(kids, chunk.last_tile - first);
            Steps rest = {};
            std::uint32_t bits =
                near_balls<T>(work.tiles_in, tiles, g, n_tiles, work.d, candidate, &rest);
            for (; bits != 0; bits &= bits - 1) {
                const Index tile = LAB_LOWEST_BIT(bits);
                keep_in_tile<T, vectors, width>(work, first + tile, g * kids + tile,
                                                kept_one.doubles(0), distances);
            }
            double farthest = 0;
            groups.sums[g] = 0;
            for (Index slot = g * kids; slot < g * kids + n_tiles; ++slot) {
                groups.sums[g] += tiles.sums[slot];
                farthest = std::max(farthest, farthest_in<T>(work.tiles_in, tiles, slot));
            }
            set_limit<T>(work.groups_in, groups, g, farthest, work.d);
            total += groups.sums[g];
        }
    }
    return total;
}

// Add a chunk's distances up again, in steps of another grid; return their sum.
template <typename T, int width>
std::int64_t sum_again(const Chunk& chunk, Distances<T>& distances) {
    using Doubles = Lanes<double>::Values;
    constexpr Index kids = Balls<T>::kids;
    constexpr int lanes = Lanes<double>::lanes;
    const Grid grid = distances.grid;
    std::int64_t total = 0;
    Index g = chunk.first_family * kids;  // of families, only the last one has fewer groups
    for (Index t = chunk.first_tile; t < chunk.last_tile; t += kids, ++g) {
        distances.groups.sums[g] = 0;
        const Index n_tiles = std::min(kids, chunk.last_tile - t);
        for (Index i = 0; i < n_tiles; ++i) {
            const double* rows = distances.squares.data() + (t + i) * width;
            Lanes<double>::Integers sum = {};
            for (Index l = 0; l < width; l += lanes) {
                sum += steps_in(*reinterpret_cast<const Doubles*>(rows + l), grid);
            }
            const std::int64_t steps = sum_of(sum);
            distances.tiles.sums[g * kids + i] = steps;
            distances.groups.sums[g] += steps;
        }
        total += distances.groups.sums[g];
    }
    return total;
}

}  // namespace LAB_ISA
}  // namespace lab
