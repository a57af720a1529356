// The inertia of given labels, by differences.

#pragma once

#include <algorithm>
#include <cstdint>

#include "common/compiler.h"
#include "common/types.h"
#include "simd/order.h"
#include "simd/sums.h"

namespace lab {

// From differences in double: the squares of a row are added feature by feature, none fused with
// an addition, and the rows exactly, so that neither their order nor the processor matters. Few
// features are counted when this is compiled.
template <Index fixed, typename T>
LAB_INLINE double direct_inertia(const Given<T>& rows, const T* centers, const std::int32_t* labels,
                                 Index n) {
    const Index d = fixed > 0 ? fixed : rows.d;
    ExactSum total;
    double distances[ExactSum::kTogether];
    for (Index first = 0; first < n; first += ExactSum::kTogether) {
        const Index end = std::min(first + ExactSum::kTogether, n);
        for (Index i = first; i < end; ++i) {
            const T* x = rows.rows + i * d;
            const T* center = centers + labels[i] * d;
            double distance = 0;
            for (Index f = 0; f < d; ++f) {
                const double diff = double(T(x[f] - rows.middle[f])) - double(center[f]);
                distance += rounded(diff * diff);
            }
            distances[i - first] = distance;
        }
        total.add(distances, end - first);
    }
    return total.value();
}

}  // namespace lab
