// What the flagship kernel keeps between calls, and the rare paths that need no vectors.
//
// Rows lie in tiles: `width` rows transposed, so that one feature of all of them is contiguous.
// Tiles belong to chunks; a chunk is summed by one thread, and chunks are added in their order.

#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "simd_memory.h"

namespace lab {

constexpr long kCenterBytes = 24 * 1024;  // of packed centers at a time, beside one tile
constexpr long kGroup = 8;                // tiles that use them before the next block comes

// Centers as the block routine reads them: −2c, packed by panels of `panel` centers, feature by
// feature; a padding center is at infinity.
template <typename T>
struct Centers {
    const T* given = nullptr;  // (n_clusters, n_features)
    long n_clusters = 0, padded = 0, panel = 0;
    Aligned<T> packed;   // (padded / panel, n_features, panel)
    Aligned<T> squares;  // (padded,): ‖c‖²
    double longest = 0;  // max ‖c‖

    void set(const T* centers, long k, long d, long panel_width) {
        given = centers;
        n_clusters = k;
        panel = panel_width;
        padded = (k + panel - 1) / panel * panel;
        packed.resize(padded * d);
        squares.resize(padded);
        longest = 0;
        for (long j = 0; j < padded; ++j) {
            T* to = packed.data() + (j / panel) * panel * d + j % panel;
            double square = 0;
            for (long f = 0; f < d; ++f) {
                const T value = j < k ? centers[j * d + f] : T(0);
                to[f * panel] = T(-2) * value;
                square += double(value) * double(value);
            }
            squares[j] = j < k ? T(square) : std::numeric_limits<T>::infinity();
            longest = std::fmax(longest, std::sqrt(square));
        }
    }
};

// Running sums of one chunk. A row that changes cluster is subtracted here and added there.
struct Chunk {
    long first_tile = 0, last_tile = 0;
    long n_rows = 0;
    double squares = 0;        // Σ‖x‖² over the chunk
    double heavy = 0;          // a row longer than this never leaves a sum by subtraction
    double inertia = 0;        // of the last pass
    long moved = 0;            // rows that changed cluster since the chunk was last summed in full
    bool stale = true;         // sum in full before the sums are used
    long rescored = 0;         // near-ties decided by direct differences
    std::vector<double> sums;  // (n_clusters, n_features)
    std::vector<std::int64_t> counts;  // (n_clusters,)
};

template <typename T>
struct Work {
    long n = 0, d = 0, width = 0;
    Aligned<T> tiles;               // (n_tiles, d, width); rows beyond n are zero
    std::vector<double> reach;      // (n_tiles,): the longest row of each tile, ‖x‖
    Aligned<std::int32_t> nearest;  // (n_tiles · width): labels of the last pass
    Centers<T> centers;

    // The features of a row lie `width` apart from here on.
    const T* row_at(long row) const { return tiles.data() + row / width * width * d + row % width; }

    // Top-two gaps up to this are decided by direct differences: twice the rounding of
    // ‖c‖² − 2x·c in T (d + 1 fused or unfused steps, and ‖c‖² itself), plus twice that of the
    // direct sum in double, so that a gap beyond it gives the label that direct sums would give.
    double tolerance(long tile) const {
        const double x = reach[tile], c = centers.longest, steps = 2.0 * double(d + 4);
        const double u = double(std::numeric_limits<T>::epsilon()) / 2;
        const double u64 = std::numeric_limits<double>::epsilon() / 2;
        return steps * (u * c * (c + 2 * x) + u64 * (x + c) * (x + c));
    }

    // The reference kernel's arithmetic, so that ties fall as they do there.
    std::int32_t rescore(long row) const {
        const T* x = row_at(row);
        double best = std::numeric_limits<double>::infinity();
        std::int32_t label = 0;
        for (long j = 0; j < centers.n_clusters; ++j) {
            double distance = 0;
            for (long f = 0; f < d; ++f) {
                const double diff = double(x[f * width]) - double(centers.given[j * d + f]);
                distance += diff * diff;
            }
            if (distance < best) {
                best = distance;
                label = std::int32_t(j);
            }
        }
        return label;
    }

    void add(Chunk& chunk, long row, std::int32_t label, double sign) const {
        const T* x = row_at(row);
        double* sums = chunk.sums.data() + label * d;
        for (long f = 0; f < d; ++f) sums[f] += sign * double(x[f * width]);
        chunk.counts[label] += sign > 0 ? 1 : -1;
    }

    // Take a row whose label is new, or may be a near-tie, to its cluster.
    void settle(Chunk& chunk, long row, std::int32_t label, bool near, bool summing) {
        if (near) {
            label = rescore(row);
            ++chunk.rescored;
        }
        const std::int32_t before = nearest[row];
        if (label == before) return;
        nearest[row] = label;
        if (!summing || chunk.stale) {
            chunk.stale = true;
            return;
        }
        ++chunk.moved;
        const T* x = row_at(row);
        double square = 0;
        for (long f = 0; f < d; ++f) square += double(x[f * width]) * double(x[f * width]);
        // Each move rounds twice. After as many moves as rows, or when a heavy row leaves a sum
        // that its own rounding has spoilt, the chunk is summed anew: the sums are never further
        // off than three fresh summations would be.
        if (chunk.moved > chunk.n_rows || square > chunk.heavy) {
            chunk.stale = true;
            return;
        }
        add(chunk, row, before, -1.0);
        add(chunk, row, label, +1.0);
    }

    void sum_in_full(Chunk& chunk, long n_clusters) const {
        chunk.sums.assign(n_clusters * d, 0.0);
        chunk.counts.assign(n_clusters, 0);
        const long first = chunk.first_tile * width;
        for (long i = first; i < first + chunk.n_rows; ++i) add(chunk, i, nearest[i], +1.0);
        chunk.moved = 0;
        chunk.stale = false;
    }
};

// Assign tiles first … last of a chunk; the only routine compiled once per instruction set.
template <typename T>
using AssignTiles = void (*)(Work<T>& work, Chunk& chunk, bool summing);

// Measure one candidate center, or two at a time, for the seeding.
template <typename T>
using TryCandidates = void (*)(const Work<T>& work, const Chunk& chunk, const T* candidates,
                               double* nearest, double* totals, bool keep);

// The routines of one instruction set, with the tile width and panel they were made for.
template <typename T>
struct Block {
    AssignTiles<T> assign;
    TryCandidates<T> try_one, try_two;
    long width, panel;
};

// Measuring routines of one instruction set: what the kernel is held against.
template <typename T>
struct Limits {
    double (*multiply_add)(long rounds, T factor);
    double (*read_all)(const T* values, long n);
};

}  // namespace lab
