// Rows in 16-bit numbers, from which a squared distance to a candidate is bounded from below: the
// seeding measures only rows that the bound does not rule out.
//
// Of a row x, taken relative to an origin, the copy is s · q: whole numbers q, and a scale s such
// that ‖q‖ is some 32 000. No part of a product of two copies exceeds 32 bits, whatever the number
// of features, so that it is exact, and ‖x − s·q‖ is at most s/2 for each feature. Distances bound
// each other by these: ‖x − c‖ ≥ ‖s·q − t·p‖ − ‖x − s·q‖ − ‖c − t·p‖. This is the triangle
// inequality of Elkan (ICML 2003), with copies in place of centers.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/seeding/distances.h"

namespace lab {

// Everything is told in units in which usual rows are some 1 long: float32 holds squares between
// 2^-126 and 2^127.
constexpr double kLongest = 0x1p50;     // rows beyond are always measured
constexpr double kSlightest = 0x1p-55;  // more than what underflows may add to a distance
constexpr double kShortest = 0x1p-90;   // a scale; rows below are zero in their copy

// What the rounding of a few float32 operations may take from a bound, with room to spare: seven
// of 2^-24 each.
constexpr double kRounding = 0x1p-20;

struct Screen {
    static constexpr float kForgotten = std::numeric_limits<float>::max();

    Index n = 0, d = 0, width = 0;
    Index n_pairs = 0;            // of features; the last one is filled up with zero
    std::vector<double> origin;   // (n_features,)
    double unit = 1;              // a power of two, by which all values are multiplied
    double half = 0;              // error of a copy, in its scale
    Aligned<std::int32_t> tiles;  // (n_tiles, n_pairs, width): two features each, 16 bits
    Aligned<float> scale;         // s
    Aligned<float> square;        // ‖s·q‖², rounded down; kForgotten for rows that nothing changes
    Aligned<float> reach;         // beyond this distance of copies nothing changes, rounded up
    Aligned<double> nearest;      // (n,): squared distances to the nearest center so far
    Aligned<std::uint32_t> near;  // (n_tiles,): bits of the candidates near to a row, last round
    Grid grid;

    Screen(Index n_samples, Index n_features, Index tile_width)
        : n(n_samples),
          d(n_features),
          width(tile_width),
          n_pairs((d + 1) / 2),
          origin(d),
          half(0.5 * std::sqrt(double(2 * n_pairs)) * (1 + kRounding)) {
        const Index padded = (n + width - 1) / width * width;
        tiles.resize(padded * n_pairs);
        scale.resize(padded);
        square.resize(padded);
        reach.resize(padded);
        nearest.resize(n);
        near.resize(padded / width);
        std::fill_n(nearest.data(), n, std::numeric_limits<double>::infinity());
        std::fill_n(reach.data(), n, std::numeric_limits<float>::infinity());
        const Index last_tile = (n - 1) / width * width;
        std::fill(tiles.data() + last_tile * n_pairs, tiles.data() + padded * n_pairs, 0);
        for (Index i = n; i < padded; ++i) {
            scale[i] = 0;
            forget(i);
        }
    }

    // The length of q: far from 2^15, with room for half a step of each feature.
    double length() const { return 32000 - half; }

    // No candidate changes this row, or there is none.
    void forget(Index row) {
        square[row] = kForgotten;
        reach[row] = 0;
    }

    // Keep a new, smaller distance. Those computed for two points may be a little less and a little
    // more than the true ones; the last term under the root is more than squares may lose.
    void lower(Index row, double squared) {
        nearest[row] = squared;
        if (squared == 0) return forget(row);
        const double least = double(d + 1) * std::numeric_limits<double>::denorm_min();
        const double up = 1 + double(d + 8) * std::numeric_limits<double>::epsilon();
        const double distance = std::sqrt(squared + least) * up * unit;
        reach[row] = float((distance + error(row)) * (1 + kRounding));
    }

    // More than ‖x − s·q‖.
    double error(Index row) const { return double(scale[row]) * half + kSlightest; }

    // A squared distance in units.
    double in_units(double squared) const {
        const double root = std::sqrt(squared) * unit;
        return root * root;
    }

    // How wrong an estimated sum is where those that it adds up are as wrong as `error` together:
    // up to 512 are added up in float32, and two squares of a row are rounded to steps and may have
    // lost what underflows.
    double error_of_sums(double sum, double error) const {
        const double lost = 2 * double(d + 1) * std::numeric_limits<double>::denorm_min();
        return error + 32 * kRounding * (sum + error) +
               double(n) * (in_units(grid.step) + in_units(lost));
    }

    // A pair of features in one number, and the first or second of it.
    static std::int32_t pair(std::int32_t first, std::int32_t second) {
        return std::int32_t((std::uint32_t(first) & 0xffff) | std::uint32_t(second) << 16);
    }
    static std::int64_t first(std::int32_t pair) { return std::int16_t(pair & 0xffff); }
    static std::int64_t second(std::int32_t pair) { return std::int16_t(pair >> 16); }
};

// Candidates of one round: rows of the screen.
struct Screened {
    Index count = 0;
    std::uint32_t bits = 0;           // in Screen::near, of tiles that need a look; 0: all do
    std::vector<std::int32_t> pairs;  // (n_pairs, count)
    std::vector<double> values;       // (count, n_features)
    float square[kMostCandidates];    // as of rows, but never huge
    float twice[kMostCandidates];     // their scales
    float error[kMostCandidates];     // rounded up

    void set(const Screen& screen, const std::vector<Index>& rows) {
        count = Index(rows.size());
        bits = 0;
        pairs.resize(screen.n_pairs * count);
        for (Index c = 0; c < count; ++c) {
            const Index row = rows[c];
            const std::int32_t* q = screen.tiles.data() +
                                    row / screen.width * screen.width * screen.n_pairs +
                                    row % screen.width;
            std::int64_t sum = 0;
            for (Index p = 0; p < screen.n_pairs; ++p) {
                const std::int32_t pair = q[p * screen.width];
                pairs[p * count + c] = pair;
                sum += Screen::first(pair) * Screen::first(pair);
                sum += Screen::second(pair) * Screen::second(pair);
            }
            const double scale = double(screen.scale[row]);
            square[c] = float(scale * scale * double(sum) * (1 - kRounding));
            twice[c] = float(2 * scale);
            error[c] = float(screen.error(row) * (1 + kRounding));
        }
    }
};

}  // namespace lab
