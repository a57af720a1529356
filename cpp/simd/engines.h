// The choice of an engine for a fit.

#pragma once

#include <memory>

#include "common/types.h"
#include "simd/engine.h"
#include "simd/hamerly.h"
#include "simd/prepared.h"

namespace lab {

template <typename T>
std::unique_ptr<Engine<T>> choose_engine(const RowsGiven<T>& rows, Index k, int n_threads,
                                         Use use) {
    if (use == Use::fit && rows.d > 5 && k * rows.d < 4000) {
        return std::make_unique<HamerlyEngine<T>>(rows, k, n_threads);
    }
    return std::make_unique<Prepared<T>>(rows, k, n_threads, use);
}

}  // namespace lab
