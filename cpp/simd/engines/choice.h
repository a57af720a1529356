// The choice of an engine for a fit.

#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/types.h"
#include "simd/engines/carried.h"
#include "simd/engines/cells.h"
#include "simd/engines/engine.h"
#include "simd/engines/hamerly.h"
#include "simd/engines/tiled_rows.h"

namespace lab {

template <typename T>
std::vector<Index> seed_by_tiles(const RowsGiven<T>& rows, int n_threads, Index first,
                                 const double* draws, Index n_rounds, Index n_candidates) {
    TiledRows<T> tiles(rows, n_rounds + 1, n_threads, Use::seeding);
    return tiles.greedy(rows.rows, first, draws, n_rounds, n_candidates);
}

// Bounds for groups of centers pay from so many centers on, or from so many of their values where
// features are more than a few. One bound for each row costs 8 bytes and a short test, and leaves a
// row that fails all centers to meet. Measured with 10⁴ and 10⁵ rows and AVX2: both engines take as
// long at k = 1000 with 6 to 12 features, 700 with 16, 170 with 24, 100 with 32, 45 with 64.
constexpr Index kManyCenters = 1000, kManyValues = 4000, kFewFeatures = 16;
// With four and five features one bound is as fast up to three times as many centers, and with
// three it always is (5 000 to 150 000 rows, k from 1000 to 5000).
constexpr Index kManyCentersOfFew = 3000;

constexpr bool groups_pay(Index d, Index k) {
    if (d <= 3) return false;
    if (d <= kMostCellFeatures) return k >= kManyCentersOfFew;
    return k >= kManyCenters || (d > kFewFeatures && k * d >= kManyValues);
}

// Boxes of rows cost a sort, and pay where most of them lie within one cluster: with few features,
// rows that lie close together, and many centers that a box rules out at once. Measured with 3 000
// to 640 000 rows and AVX2: with three features both engines take as long at 10 000 rows; with four
// at n·k = 3·10⁷ and with five at 10⁸, a fit of ten iterations.
constexpr Index kRowsOfThree = 10000;
constexpr double kPairsOfFour = 3e7, kPairsOfFive = 1e8;

constexpr bool boxes_pay(Index n, Index d, Index k) {
    static_assert(kMostCellFeatures == 5, "a threshold for each number of features");
    if (d <= 2) return true;
    if (d == 3) return n >= kRowsOfThree;
    return d <= 5 && double(n) * double(k) >= (d == 4 ? kPairsOfFour : kPairsOfFive);
}

// Boxes of rows where they pay, bounds that are carried from pass to pass elsewhere. Rows that are
// seen once are screened in float32 where they lie, or where they are short, turned.
inline std::string engine_of(Index n, Index d, Index k, Use use) {
    if (use == Use::once) return d <= kMostCellFeatures ? kAllPairs : kBoundPerRow;
    if (use == Use::seeding) return kAllPairs;
    if (boxes_pay(n, d, k)) return kCells;
    return groups_pay(d, k) ? kBoundsPerGroup : kBoundPerRow;
}

// The engine that is named, or the one that should be fastest.
template <typename T>
std::unique_ptr<Engine<T>> choose_engine(const RowsGiven<T>& rows, Index k, int n_threads, Use use,
                                         const std::string& named = "") {
    const std::string name = named.empty() ? engine_of(rows.n, rows.d, k, use) : named;
    if (name == kAllPairs) return std::make_unique<TiledRows<T>>(rows, k, n_threads, use);
    if (name == kBoundPerRow) {
        return std::make_unique<HamerlyEngine<T>>(rows, k, n_threads, use == Use::once);
    }
    if (name == kBoundsPerGroup) return std::make_unique<CarriedEngine<T>>(rows, k, n_threads);
    if (name == kCells && rows.d <= kMostCellFeatures) {
        return std::make_unique<CellsEngine<T>>(rows, k, n_threads, seed_by_tiles<T>);
    }
    throw std::invalid_argument("engine='" + name + "' must be '" + kAllPairs + "', '" +
                                kBoundPerRow + "', '" + kBoundsPerGroup + "' or, with at most " +
                                std::to_string(kMostCellFeatures) + " features, '" + kCells + "'");
}

}  // namespace lab
