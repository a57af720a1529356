// The inertia of given labels, by differences.

#pragma once

#include <cstdint>

#include "common/types.h"
#include "simd/panels.h"
#include "simd/sums.h"

namespace lab {

// Rows as they lie, and the centers that their labels name.
template <typename T>
struct LabelledRows {
    const T* rows;     // (n, d)
    const T* centers;  // (n_clusters, d)
    const std::int32_t* labels;
    Origin<T> origin;
    Index d;
    const double* weights = nullptr;  // null: each row counts as one
};

// Squared distances of rows to their own centers, from differences in double: the squares of a row
// are added feature by feature, none fused with an addition, so that the processor does not matter.
// Few features are counted when this is compiled.
template <Index fixed, typename T>
LAB_INLINE void own_squares(const LabelledRows<T>& of, Index first, Index n, double* squares) {
    const Index d = fixed > 0 ? fixed : of.d;
    for (Index i = 0; i < n; ++i) {
        const T* x = of.rows + (first + i) * d;
        const T* center = of.centers + Index(of.labels[first + i]) * d;
        double square = 0;
        for (Index f = 0; f < d; ++f) {
            const double diff = of.origin.row(x, f) - double(center[f]);
            square += rounded(diff * diff);
        }
        squares[i] = square;
    }
}

}  // namespace lab
