// The inertia of given labels, by differences.

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/types.h"
#include "simd/order.h"
#include "simd/sums.h"

namespace lab {

// From differences in double: the squares of a row are added feature by feature, none fused with
// an addition, and the rows exactly, so that neither their order nor the processor matters.
template <typename T>
double direct_inertia(const Given<T>& rows, const T* centers, const std::int32_t* labels, Index n) {
    const Index d = rows.d;
    ExactSum total;
    double distances[ExactSum::kTogether];
    for (Index first = 0; first < n; first += ExactSum::kTogether) {
        const Index end = std::min(first + ExactSum::kTogether, n);
        for (Index i = first; i < end; ++i) {
            double distance = 0;
            for (Index f = 0; f < d; ++f) {
                const double diff = double(rows.at(i, f)) - double(centers[labels[i] * d + f]);
                distance += rounded(diff * diff);
            }
            distances[i - first] = distance;
        }
        total.add(distances, end - first);
    }
    return total.value();
}

}  // namespace lab
