// What the flagship kernel keeps between calls, and the rare paths that need no vectors.
//
// Rows lie in tiles: `width` rows transposed, so that one feature of all of them is contiguous.
// Neighbouring tiles form groups, groups form families, families belong to chunks; a chunk is
// summed by one thread, and sums are exact: the order in which chunks are added changes nothing.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/sums.h"

namespace lab {

constexpr Index kWidest = 128;         // rows of a tile at most
constexpr Index kMostPaired = 24;      // centers that a group's balls are tested against, in pairs
constexpr double kWorthwhile = 0.6;    // of all pairs looked at: more, and balls are not worth it
constexpr Index kTilesPerCheck = 16;   // between two checks whether a signal came
constexpr Index kMostCandidates = 32;  // of one round of the seeding
constexpr Index kMostChunks = 64;
constexpr Index kCut =
    1024;  // chunks begin at multiples, so that every instruction set has the same
constexpr Index kMostFiltered = 1024;  // clusters, with which balls are tested before rows
constexpr Index kManyRows = 1 << 21;   // beyond so many, a few bytes for each row are too much

// Centers as the routines read them. All values are −2c, so that a score ‖c‖² − 2x·c is a chain of
// multiply-adds that begins with `squares`; padding centers are at infinity.
template <typename T>
struct Centers {
    const T* given = nullptr;  // (n_clusters, n_features): c itself
    Index n_clusters = 0, padded = 0, panel = 0;
    Aligned<T> packed;   // (padded / panel, n_features, panel): every row meets every center
    Aligned<T> squares;  // (padded,): ‖c‖²
    Aligned<T> listed;   // (n_clusters + 1, n_features): rows meet a few; the last one is padding
    double longest = 0;  // max ‖c‖

    void set(const T* centers, Index k, Index d, Index panel_width) {
        given = centers;
        n_clusters = k;
        panel = panel_width;
        padded = k / panel * panel + panel;  // one padding center at least
        packed.resize(padded * d);
        squares.resize(padded);
        listed.resize((k + 1) * d);
        longest = 0;
        for (Index j = 0; j < padded; ++j) {
            T* to = packed.data() + (j / panel) * panel * d + j % panel;
            double square = 0;
            for (Index f = 0; f < d; ++f) {
                const T value = j < k ? centers[j * d + f] : T(0);
                to[f * panel] = T(-2) * value;
                if (j <= k) listed[j * d + f] = T(-2) * value;
                square += double(value) * double(value);
            }
            squares[j] = j < k ? T(square) : std::numeric_limits<T>::infinity();
            longest = std::fmax(longest, std::sqrt(square));
        }
        padded = (k + panel - 1) / panel * panel;
    }
};

// All centers as one ball meets them: feature by feature, so that lanes are centers.
template <typename T>
struct SpreadCenters {
    Index padded = 0;
    Aligned<T> across;   // (n_features, padded): −2c
    Aligned<T> squares;  // (padded,): ‖c‖²; infinite beyond n_clusters
    Aligned<T> apart;    // (n_clusters, padded): 4‖a − b‖², rounded upwards
};

// Balls that hold all rows of a tile, of a group of tiles, of a family of groups. The balls of one
// parent lie side by side, so that lanes are balls when they meet one center.
template <typename T>
struct Balls {
    static constexpr Index kids = 64 / sizeof(T);  // of one parent; the widest vector

    Aligned<T> middle;          // (n_parents, n_features, kids)
    Aligned<T> square;          // (n_parents, kids): squared radius
    std::vector<double> reach;  // (n_parents · kids,): the longest row in it; tiles: see Work
    // What passes leave behind: no memory is touched before forget.
    Aligned<std::int32_t> likely;  // (n_parents · kids,): the nearest center of last time
    Aligned<std::int32_t> owner;   // (n_parents · kids,): the cluster of all rows; −1: unknown

    void resize(Index n_parents, Index d) {
        middle.resize(n_parents * d * kids);
        square.resize(n_parents * kids);
        std::fill_n(middle.data(), n_parents * d * kids, T(0));
        std::fill_n(square.data(), n_parents * kids, T(0));
        likely.resize(n_parents * kids);
        owner.resize(n_parents * kids);
    }
    void resize_with_reach(Index n_parents, Index d) {
        resize(n_parents, d);
        reach.assign(n_parents * kids, 0.0);
    }
    void forget(Index first, Index last) {
        if (first >= last) return;
        std::fill(likely.data() + first, likely.data() + last, 0);
        std::fill(owner.data() + first, owner.data() + last, -1);
    }
    T* middle_of(Index b, Index d) { return middle.data() + b / kids * kids * d + b % kids; }
    const T* middle_of(Index b, Index d) const {
        return middle.data() + b / kids * kids * d + b % kids;
    }
};

// Running sums of one chunk. A row that changes cluster leaves one and joins another, exactly.
struct Chunk {
    Index first_tile = 0, last_tile = 0;
    Index first_family = 0;
    Index n_rows = 0;
    ExactSum squares;    // Σ‖x‖² over the chunk
    bool begun = false;  // its rows have labels, or −1: none
    Index changed = 0;   // labels, in the last pass
    Index rescored = 0;  // near-ties decided by direct differences
    double inertia = 0;  // of the last pass, where all centers were met and no sums kept
    double met = 0;      // rows times centers that they were scored against, last pass
    std::vector<std::int64_t> limbs;    // (n_clusters, limbs, stride): see Split; empty: not kept
    std::vector<std::int64_t> counts;   // (n_clusters,)
    std::vector<std::uint8_t> touched;  // (n_clusters,): its sums have changed since they were read

    void begin(Index n_clusters, const Split& split) {
        limbs.assign(n_clusters * split.size(), 0);
        counts.assign(n_clusters, 0);
        touched.assign(n_clusters, 1);
    }
};

template <typename T>
struct Work {
    Index n = 0, d = 0, width = 0;
    Aligned<T> tiles;                  // (n_tiles, d, width); rows beyond n are zero
    std::vector<std::uint32_t> order;  // (n,): which row lies where; empty: as they were given
    std::vector<double> reach;         // (n_tiles,): the longest row of each tile, ‖x‖
    Aligned<std::int32_t> labels;      // (n_tiles · width): labels of the last pass
    // A family has up to `kids` groups and a group as many tiles, each in its own slot: the group
    // of family p and place i is p · kids + i. Families never cross chunks.
    Balls<T> tiles_in, groups_in, families;
    Centers<T> centers;
    SpreadCenters<T> spread;             // where balls are tested
    Split split;                         // of the values, for sums
    std::int32_t* labels_out = nullptr;  // (n,): the caller's, where changes alone are written
    bool filtering = false;              // balls are tested before rows
    Interrupt* interrupt = nullptr;

    // The features of a row lie `width` apart from here on.
    const T* row_at(Index row) const {
        return tiles.data() + row / width * width * d + row % width;
    }
    Index given_as(Index row) const { return order.empty() ? row : Index(order[row]); }

    // Top-two gaps up to this are decided by direct differences: twice the rounding of
    // ‖c‖² − 2x·c in T (d + 1 fused or unfused steps, and ‖c‖² itself), plus twice that of the
    // direct sum in double, so that a gap beyond it gives the label that direct sums would give.
    // The last term covers steps that underflow.
    double tolerance(double x) const {
        const double c = centers.longest, steps = 2.0 * double(d + 4);
        const double u = double(std::numeric_limits<T>::epsilon()) / 2;
        const double u64 = std::numeric_limits<double>::epsilon() / 2;
        const double tiny = double(std::numeric_limits<T>::min());
        return steps * (u * c * (c + 2 * x) + u64 * (x + c) * (x + c) + tiny);
    }

    // The reference kernel's arithmetic, so that ties fall as they do there.
    std::int32_t rescore(Index row) const {
        const T* x = row_at(row);
        double best = std::numeric_limits<double>::infinity();
        std::int32_t label = 0;
        for (Index j = 0; j < centers.n_clusters; ++j) {
            double distance = 0;
            for (Index f = 0; f < d; ++f) {
                const double diff = double(x[f * width]) - double(centers.given[j * d + f]);
                distance += rounded(diff * diff);
            }
            if (distance < best) {
                best = distance;
                label = std::int32_t(j);
            }
        }
        return label;
    }

    void write_label(Index row, std::int32_t label) {
        labels[row] = label;
        if (labels_out) labels_out[given_as(row)] = label;
    }

    // From a family of the chunk on, nobody knows whose the balls are.
    void forget_owners(const Chunk& chunk, Index family) {
        constexpr Index kids = Balls<T>::kids;
        const Index n_tiles = chunk.last_tile - chunk.first_tile;
        const Index end = chunk.first_family + (n_tiles + kids * kids - 1) / (kids * kids);
        families.forget(family, end);
        groups_in.forget(family * kids, end * kids);
        tiles_in.forget(family * kids * kids, end * kids * kids);
    }
};

// Assign the tiles of a chunk; the routine that is compiled once per instruction set.
template <typename T>
using AssignTiles = void (*)(Work<T>& work, Chunk& chunk);

// Lay the centers out for the balls.
template <typename T>
using Spread = void (*)(const Centers<T>& centers, Index d, SpreadCenters<T>& to);

// Widen the range of each column by the values of a tile.
template <typename T>
using MeasureRange = void (*)(const Work<T>& work, Index tile, Range<T>& range);

// Add all rows to the sums of a chunk, by labels of the rows as they were given.
template <typename T>
using AddRows = void (*)(const Work<T>& work, Chunk& chunk, const std::int32_t* labels);

// Put a ball around the first rows of a tile, or around the first balls of a parent.
template <typename T>
using FitBall = void (*)(const Work<T>& work, Index tile, Index count, Balls<T>& balls, Index b);
template <typename T>
using FitParent = void (*)(const Balls<T>& of, Index parent, Index count, Index d, Balls<T>& balls,
                           Index b);

// What the seeding keeps: squared distances to the nearest center so far.
template <typename T>
struct Distances {
    // Of balls, in their slots.
    struct Slots {
        Aligned<std::int64_t> sums;  // of their rows' distances, in steps of the grid
        Aligned<T> limits;           // a candidate as far from the middle, squared, changes nothing

        void resize(Index n) {
            sums.resize(n);
            limits.resize(n);
            std::fill_n(sums.data(), n, 0);
            std::fill_n(limits.data(), n, std::numeric_limits<T>::infinity());
        }
    };
    Aligned<double> squares;   // (n_tiles · width,): of each row; zero beyond n
    Aligned<double> as_given;  // (n,): the same where rows were put in order, unless too many
    Slots tiles, groups;
    Grid grid;

    void resize(Index n, Index padded, Index n_tiles, Index n_groups, bool copies) {
        if (copies) as_given.resize(n);
        squares.resize(padded);
        std::fill_n(squares.data(), padded, 0.0);
        std::fill_n(squares.data(), n, std::numeric_limits<double>::infinity());
        tiles.resize(n_tiles);
        groups.resize(n_groups);
    }
};

// Measure up to kMostCandidates candidates for the seeding, and keep the first. Sums are in steps.
template <typename T>
using TryCandidates = void (*)(const Work<T>& work, const Chunk& chunk,
                               const Candidates<T>& candidates, Index count,
                               const Distances<T>& distances, std::int64_t* totals);
template <typename T>
using KeepCandidate = std::int64_t (*)(const Work<T>& work, const Chunk& chunk,
                                       const Candidates<T>& candidates, Distances<T>& distances);
template <typename T>
using SumAgain = std::int64_t (*)(const Chunk& chunk, Distances<T>& distances);

// The routines of one instruction set, with the tile width and panel they were made for.
template <typename T>
struct Routines {
    AssignTiles<T> assign;
    Spread<T> spread;
    MeasureRange<T> measure_range;
    AddRows<T> add_rows;
    FitBall<T> fit_ball;
    FitParent<T> fit_parent;
    TryCandidates<T> try_candidates;
    KeepCandidate<T> keep_candidate;
    SumAgain<T> sum_again;
    Index width, panel;
};

// What one instruction set can do at most, measured: the kernel is compared with it.
template <typename T>
struct Roofline {
    double (*multiply_add)(Index rounds, T factor);
    double (*read_all)(const T* values, Index n);
};

}  // namespace lab
