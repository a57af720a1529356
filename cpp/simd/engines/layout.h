// Layout of the caller's rows: in tiles, the tiles in chunks, balls around them.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "common/aligned.h"
#include "common/compiler.h"
#include "common/types.h"
#include "simd/engines/engine.h"
#include "simd/engines/work.h"
#include "simd/order.h"
#include "simd/routines.h"
#include "simd/sums.h"

namespace lab {

// Chunks depend on the shape only. Enough for many threads to share, few enough for their sums to
// stay small. Tiles are twice as wide where features are few: 2048 rows fill a family of 8 × 8
// tiles there.
template <typename T>
std::vector<Chunk> cut_into_chunks(const Work<T>& work, Index n_tiles, Index n_clusters) {
    const Index slots = std::clamp(Index(1 << 21) / (n_clusters * work.d), Index(4), kMostChunks);
    const Index unit = work.d <= 4 ? 2 * kCut : kCut;
    const Index rows = std::max(Index(1), (work.n / slots + unit - 1) / unit) * unit;
    const Index tiles = rows / work.width;
    std::vector<Chunk> chunks;
    for (Index first = 0; first < n_tiles; first += tiles) {
        Chunk chunk;
        chunk.first_tile = first;
        chunk.last_tile = std::min(first + tiles, n_tiles);
        chunk.first_family = chunks.empty() ? 0 : work.last_family(chunks.back());
        chunk.n_rows = std::min(chunk.last_tile * work.width, work.n) - first * work.width;
        chunks.push_back(std::move(chunk));
    }
    return chunks;
}

// The ranges of columns that are added up: of the values, or of their products with weights.
template <typename T>
struct Ranges {
    Range<T> values;
    Range<double> products;

    void begin(const Work<T>& work) {
        work.weights.empty() ? values.begin(work.d) : products.begin(work.columns);
    }
    void join(const Ranges& other) {
        values.join(other.values);
        products.join(other.products);
    }
    void choose(Work<T>& work) const {
        if (work.weights.empty()) {
            work.split.choose(values, std::numeric_limits<T>::digits, work.n, work.columns);
        } else {
            work.split.choose(products, std::numeric_limits<double>::digits, work.n, work.columns);
        }
    }
    void measure(const Work<T>& work, const Routines<T>& routines, Index tile) {
        const Index width = work.width;
        const T* x = work.tiles.data() + tile * width * work.d;
        if (work.weights.empty()) {
            routines.measure_range(x, work.d, width, values);
            return;
        }
        const double* weights = work.weights.data() + tile * width;
        Aligned<double> of;
        of.resize(work.columns * width);
        for (Index i = 0; i < work.d * width; ++i) of[i] = weights[i % width] * double(x[i]);
        std::copy_n(weights, width, of.data() + work.d * width);
        routines.measure_products(of.data(), work.columns, width, products);
    }
};

// Fill the tiles of a chunk with rows, and measure them; the ranges of columns where they are
// wanted. False where a signal came.
template <typename T>
bool fill_tiles(Work<T>& work, const Routines<T>& routines, const RowsGiven<T>& rows,
                const Given<T>& given, Chunk& chunk, Ranges<T>* ranges) {
    constexpr Index kAhead = 32;  // rows that are fetched before they are needed
    const Index width = work.width, d = work.d, kids = Balls<T>::kids;
    double squares[ExactSum::kTogether];
    Index n_squares = 0;
    if (ranges) ranges->begin(work);
    for (Index t = chunk.first_tile; t < chunk.last_tile; ++t) {
        if (t % (kids * kids) == 0 && work.interrupt->came()) return false;
        T* tile = work.tiles.data() + t * width * d;
        double longest = 0;
        for (Index l = 0; l < width; ++l) {
            const Index i = t * width + l;
            const Index place = i < work.n ? work.given_as(i) : -1;
            LAB_PREFETCH(given.rows + work.given_as(std::min(i + kAhead, work.n - 1)) * d);
            double square = 0;
            for (Index f = 0; f < d; ++f) {
                const T value = place < 0 ? T(0) : given.at(place, f);
                tile[f * width + l] = value;
                square += rounded(double(value) * double(value));
            }
            longest = std::max(longest, square);
            if (rows.weights) {
                double& weight = work.weights[i];
                weight = place < 0 ? 0.0 : rows.weights[place];
                square *= weight;
            }
            squares[n_squares++] = square;
        }
        work.reach[t] = std::sqrt(longest);
        if (n_squares + width > ExactSum::kTogether || t + 1 == chunk.last_tile) {
            chunk.squares.add(squares, n_squares);
            n_squares = 0;
        }
        if (ranges) ranges->measure(work, routines, t);
    }
    return true;
}

// Put balls around the tiles of a chunk and around groups of them.
template <typename T>
void fit_balls(Work<T>& work, const Routines<T>& routines, const Chunk& chunk) {
    constexpr Index kids = Balls<T>::kids;
    const Index width = work.width, n_tiles = chunk.last_tile - chunk.first_tile;
    const Index first = chunk.first_family * kids * kids;  // the slot of its first tile
    for (Index i = 0; i < n_tiles; ++i) {
        routines.fit_ball(work, chunk.first_tile + i, std::min(width, chunk.n_rows - i * width),
                          work.tiles_in, first + i);
    }
    for (Index i = 0; i < n_tiles; i += kids) {
        const Index group = (first + i) / kids;
        routines.fit_parent(work.tiles_in, group, std::min(kids, n_tiles - i), work.d,
                            work.groups_in, group);
    }
}

}  // namespace lab
