// What the routines of a single call on X need: rows as the caller gave them, and centers.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/panels.h"

namespace lab {

// How many centers a block of the routines holds in registers: for scores in float and in double.
struct PanelWidths {
    Index narrow, wide;
};

// A call for labels. Threads share it, and a range of rows is one thread's.
template <typename T>
class Query {
public:
    Query(const T* rows, Index n, const T* centers, Index k, Index d, const Origin<T>& origin,
          const PanelWidths& widths, std::int32_t* labels, Interrupt& interrupt)
        : rows(rows),
          n(n),
          d(d),
          centers(centers),
          origin(origin),
          labels(labels),
          interrupt(interrupt),
          n_clusters_(k),
          width_(widths.wide) {
        narrow.set(centers, origin, k, d, widths.narrow);
    }

    // Made when a thread first needs them: mostly never.
    const Panels<double>& wide() {
        std::call_once(wide_made_, [this] { wide_.set(centers, origin, n_clusters_, d, width_); });
        return wide_;
    }
    const DirectCenters& direct() {
        std::call_once(direct_made_, [this] { direct_.set(centers, n_clusters_, d); });
        return direct_;
    }

    const T* const rows;  // (n, d)
    const Index n, d;
    const T* const centers;  // (n_clusters, d)
    const Origin<T> origin;
    std::int32_t* const labels;  // (n,)
    Panels<float> narrow;
    Interrupt& interrupt;
    std::atomic<Index> rescored{0};  // rows decided by direct differences

private:
    const Index n_clusters_, width_;
    Panels<double> wide_;
    DirectCenters direct_;
    std::once_flag wide_made_, direct_made_;
};

}  // namespace lab
