// The choice of an engine for a fit.

#pragma once

#include <memory>

#include "common/types.h"
#include "simd/engine.h"
#include "simd/prepared.h"

namespace lab {

template <typename T>
std::unique_ptr<Engine<T>> choose_engine(const RowsGiven<T>& rows, Index k, int n_threads,
                                         Use use) {
    return std::make_unique<Prepared<T>>(rows, k, n_threads, use);
}

}  // namespace lab
