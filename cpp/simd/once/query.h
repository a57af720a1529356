// What the routines of a single call on X need: rows as the caller gave them, and centers.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

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
          rare(centers, origin, k, d, widths.wide) {
        narrow.set(centers, origin, k, d, widths.narrow);
    }

    const T* const rows;  // (n, d)
    const Index n, d;
    const T* const centers;  // (n_clusters, d)
    const Origin<T> origin;
    std::int32_t* const labels;  // (n,)
    Panels<float> narrow;
    Interrupt& interrupt;
    RareCenters<T> rare;
    std::atomic<Index> rescored{0};  // rows decided by direct differences
};

}  // namespace lab
