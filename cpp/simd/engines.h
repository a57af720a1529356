// The choice of an engine for a fit.

#pragma once

#include <memory>
#include <vector>

#include "common/types.h"
#include "simd/carried.h"
#include "simd/cells.h"
#include "simd/engine.h"
#include "simd/hamerly.h"
#include "simd/prepared.h"

namespace lab {

template <typename T>
std::vector<Index> seed_by_tiles(const RowsGiven<T>& rows, int n_threads, Index first,
                                 const double* draws, Index n_rounds, Index n_candidates) {
    Prepared<T> tiles(rows, n_rounds + 1, n_threads, Use::seeding);
    return tiles.greedy(rows.rows, first, draws, n_rounds, n_candidates);
}

template <typename T>
std::unique_ptr<Engine<T>> choose_engine(const RowsGiven<T>& rows, Index k, int n_threads,
                                         Use use) {
    if (use == Use::fit && rows.d <= kMostCellFeatures) {
        return std::make_unique<CellsEngine<T>>(rows, k, n_threads, seed_by_tiles<T>);
    }
    if (use == Use::fit && k * rows.d < 4000) {
        return std::make_unique<HamerlyEngine<T>>(rows, k, n_threads);
    }
    if (use == Use::fit && k > 1) {
        return std::make_unique<CarriedEngine<T>>(rows, k, n_threads);
    }
    return std::make_unique<Prepared<T>>(rows, k, n_threads, use);
}

}  // namespace lab
