// State of the engine for few features: rows put in order once, 32 to a tile and 16 tiles to a
// group, each in a box. Most boxes lie in one cluster; rows are copied from the caller's array only
// when the centers first meet them one by one.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/aligned.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/order.h"
#include "simd/sums.h"

namespace lab {

constexpr Index kMostCellFeatures = 5;

// Some groups that one thread takes at a time, and the copies of their rows.
struct CellChunk {
    Index first_group = 0, last_group = 0;
    Index changed = 0;   // labels, in the last pass
    Index rescored = 0;  // near-ties decided by direct differences so far
    double met = 0;      // rows times centers that they were scored against, last pass
    ExactSum squares;    // Σ‖x‖² over the chunk, times weights
    // Copies of tiles, side by side in blocks that stay where they are.
    std::vector<std::unique_ptr<Aligned<char>>> blocks;
    Index used = 0;  // bytes of the last block
};

// A tile whose rows have been copied: values, (d, rows), then weights where there are any, then
// labels; each begins at a cache line.
template <typename T>
struct CellTile {
    static constexpr Index rows = 32;
    T* values = nullptr;
    double* weights = nullptr;
    std::int32_t* labels = nullptr;

    static Index bytes(Index d, bool weighted) {
        return rows * (d * Index(sizeof(T)) + (weighted ? 8 : 0) + 4);
    }
    CellTile() = default;
    CellTile(char* at, Index d, bool weighted) : values(reinterpret_cast<T*>(at)) {
        at += rows * d * Index(sizeof(T));
        if (weighted) weights = reinterpret_cast<double*>(at);
        labels = reinterpret_cast<std::int32_t*>(at + (weighted ? rows * 8 : 0));
    }
};

// Boxes are float32, in units of 1 / scale: no row has a coordinate above 1 there. A group's lies
// around its middle, those of its tiles around middles relative to that one. Sides are rounded
// upwards; distances from one middle to another are what is rounded in scores.
struct CellBoxes {
    static constexpr Index kids = 16;  // tiles of a group
    Aligned<float> middle, half;       // (n_groups, d)
    Aligned<float> offset, sides;      // (n_groups, d, kids): of tiles, half as long as they are
    Aligned<float> reach;  // (n_groups, kids): the longest row of a tile, from its middle

    void resize(Index n_groups, Index d) {
        middle.resize(n_groups * d);
        half.resize(n_groups * d);
        offset.resize(n_groups * d * kids);
        sides.resize(n_groups * d * kids);
        reach.resize(n_groups * kids);
    }
    void release() {
        for (auto* some : {&middle, &half, &offset, &sides, &reach}) some->release();
    }
};

// Centers of a pass as boxes meet them: relative to some middle, feature by feature.
struct NearCenters {
    Index count = 0, stride = 0;
    double longest = 0;      // max ‖c‖
    Aligned<float> across;   // (d, stride): −2c
    Aligned<float> squares;  // (stride,): ‖c‖²; infinite beyond count

    void resize(Index n, Index d) {
        stride = (n + 31) / 16 * 16;  // whole vectors, and one place more
        across.resize(d * stride);
        squares.resize(stride);
    }
};

template <typename T>
struct CellWork {
    static constexpr Index kRows = CellTile<T>::rows, kTiles = CellBoxes::kids;
    static constexpr std::int32_t kUnknown = -1, kMixed = -2;

    Index n = 0, d = 0;
    Index columns = 0;                // that are added up: features and, with weights, the weight
    Given<T> given;                   // the caller's rows
    const double* weights = nullptr;  // (n,): of them; null: each counts as one
    Aligned<std::uint32_t> order;     // (n,): which row lies where; empty: as they were given
    Aligned<char> tiles;              // copies of all, side by side; empty: see copies
    double scale = 1;                 // a power of two
    Split split;                      // of the values, for sums
    CellBoxes boxes;
    std::vector<char*> copies;              // (n_tiles,): see CellTile; null: not yet
    std::vector<std::int32_t> owner;        // (n_tiles,): the cluster of all rows, or none
    std::vector<std::int32_t> group_owner;  // (n_groups,)
    Aligned<std::int64_t> tile_sums;        // (n_tiles, split.size())
    const T* centers = nullptr;             // (n_clusters, d): c itself
    Index n_clusters = 0;
    std::vector<double> scaled;          // (n_clusters, d): c · scale
    NearCenters all;                     // relative to the middle of all rows
    std::int32_t* labels_out = nullptr;  // (n,): the caller's, where changes alone are written
    Interrupt* interrupt = nullptr;

    Index n_tiles() const { return (n + kRows - 1) / kRows; }
    Index n_groups() const { return (n_tiles() + kTiles - 1) / kTiles; }
    Index given_as(Index row) const { return order.empty() ? row : Index(order[row]); }
    Index rows_of(Index tile) const { return std::min(kRows, n - tile * kRows); }
    CellTile<T> copy_of(Index tile) const { return {copies[tile], d, weights != nullptr}; }
    Index tile_bytes() const { return CellTile<T>::bytes(d, weights != nullptr); }

    // Whether copies of all rows, their order, the caller's labels and what is known of tiles stay
    // below half as much again as the rows take, and some 64 MB.
    bool may_copy_all() const {
        const double each = double(tile_bytes()) / double(kRows) + 4 + 4 + 2;
        return (each - 1.5 * double(d * Index(sizeof(T)))) * double(n) <= double(48 << 20);
    }

    // Differences of scores up to this are no proof that one center is nearer than another one.
    // With c and x the lengths of the longest center and point: twice the rounding of ‖c‖² − 2x·c
    // in float32, with both factors rounded (d + 6 steps), plus twice that of direct sums in
    // double; the last term is more than steps may lose that underflow.
    double tolerance(double c, double x) const {
        constexpr double u = 0x1p-24, u64 = 0x1p-53, tiny = 1e-30;
        const double steps = 2.0 * double(d + 6);
        return 1.02 * steps * (u * c * (c + 2 * x) + u64 * (x + c) * (x + c)) + tiny;
    }

    std::int32_t label_of(Index row) const {
        const std::int32_t all_rows = owner[row / kRows];
        return all_rows != kMixed ? all_rows : copy_of(row / kRows).labels[row % kRows];
    }
};

}  // namespace lab
