// The inertia of sparse rows from differences, by sums that do not lose digits.
//
// ‖x − c‖² = Σ (x_f − c_f)² over the features that the row stores + ‖c‖² − Σ c_f² over these. The
// last two are pairs of doubles: where a row has all that its center has, they cancel.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/sums.h"
#include "sparse/rows.h"

namespace lab {

// A sum of squares as two doubles: the product by Dekker's method (1971), the sum by Knuth's.
struct SquareSum {
    double high = 0, low = 0;

    void add(double value) {
        const double square = rounded(value * value);
        const double shifted = rounded(value * 134217729.0);  // 2^27 + 1
        const double top = rounded(shifted - rounded(shifted - value)), rest = value - top;
        const double lost =
            rounded(rounded(rounded(top * top) - square) + rounded(2 * top * rest)) +
            rounded(rest * rest);
        const double sum = rounded(high + square), part = rounded(sum - high);
        low += rounded(rounded(high - rounded(sum - part)) + rounded(square - part)) + lost;
        high = sum;
    }
};

template <typename T>
ExactSum sparse_inertia(const SparseRows<T>& rows, const T* centers, const std::int32_t* labels,
                        Index k) {
    Interrupt interrupt;
    interrupt.begin(double(rows.n_features));
    std::vector<SquareSum> norms(k);
    for (Index j = 0; j < k; ++j) {
        if (interrupt.came()) throw Interrupted();
        for (Index f = 0; f < rows.n_features; ++f) {
            const double value = double(centers[j * rows.n_features + f]);
            if (value != 0) norms[j].add(value);
        }
    }
    ExactSum total;
    for (Index i = 0; i < rows.n_samples; ++i) {
        if (i % 4096 == 0 && interrupt.came()) throw Interrupted();
        const T* center = centers + Index(labels[i]) * rows.n_features;
        const SquareSum& norm = norms[labels[i]];
        SquareSum stored;
        double apart = 0;
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            const double theirs = double(center[rows.indices[p]]);
            const double difference = double(rows.data[p]) - theirs;
            apart += rounded(difference * difference);
            stored.add(theirs);
        }
        const double elsewhere = (norm.high - stored.high) + (norm.low - stored.low);
        total.add(apart + std::max(elsewhere, 0.0));
    }
    return total;
}

}  // namespace lab
