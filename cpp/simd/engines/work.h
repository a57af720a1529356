// State of the flagship kernel between calls, and the rare paths that need no vectors.
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
#include "simd/centers.h"
#include "simd/partial.h"
#include "simd/seeding/balls.h"
#include "simd/sums.h"

namespace lab {

constexpr Index kWidest = 128;        // rows of a tile at most
constexpr Index kTilesPerCheck = 16;  // between two checks whether a signal came
constexpr Index kMostChunks = 64;
constexpr Index kCut = 1024;  // chunks begin at multiples, the same for every instruction set
constexpr Index kManyRows = 1 << 21;  // beyond so many, a few bytes for each row are too much

// Some tiles that one thread takes at a time, and the sums of their rows.
struct Chunk : Partial {
    Index first_tile = 0, last_tile = 0;
    Index first_family = 0;
    ExactSum squares;    // Σ‖x‖² over the chunk
    double inertia = 0;  // of the last pass, where all centers were met and no sums kept
};

template <typename T>
struct Work {
    Index n = 0, d = 0, width = 0;
    Index columns = 0;        // that are added up: features and, with weights, the weight
    Aligned<T> tiles;         // (n_tiles, d, width); rows beyond n are zero
    Aligned<double> weights;  // (n_tiles · width): as the rows lie; empty: each counts as one
    std::vector<std::uint32_t> order;  // (n,): which row lies where; empty: as they were given
    std::vector<double> reach;         // (n_tiles,): the longest row of each tile, ‖x‖
    Aligned<std::int32_t> labels;      // (n_tiles · width): labels of the last pass
    // A family has up to `kids` groups and a group as many tiles, each in its own slot: the group
    // of family p and place i is p · kids + i. Families never cross chunks.
    Balls<T> tiles_in, groups_in;
    Centers<T> centers;
    Split split;                         // of the values, for sums
    std::int32_t* labels_out = nullptr;  // (n,): the caller's, where changes alone are written
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

    // Behind those of the chunk, as last_tile is.
    Index last_family(const Chunk& chunk) const {
        constexpr Index tiles = Balls<T>::kids * Balls<T>::kids;  // of a family
        return chunk.first_family + (chunk.last_tile - chunk.first_tile + tiles - 1) / tiles;
    }
};

}  // namespace lab
