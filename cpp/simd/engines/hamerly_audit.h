// A check of every row's slack after a pass, for builds with LAB_AUDIT: against distances in
// double.

#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "common/types.h"
#include "simd/engines/hamerly_state.h"
#include "simd/engines/row_work.h"
#include "simd/sums.h"

namespace lab {

// Throws where a label is not that of the nearest center, by the reference's arithmetic, or where
// another center is nearer than the slack says.
template <typename T>
void audit(const RowWork<T>& work, const HamerlyState<T>& state, const T* centers,
           const Part& part) {
    const auto fail = [](const char* what, Index row) {
        throw std::logic_error(std::string("audit: ") + what + " of row " + std::to_string(row));
    };
    const Index k = state.narrow.n_clusters, d = work.d;
    for (Index i = part.first; i < part.last; ++i) {
        const Index own = work.labels[i];
        double least = std::numeric_limits<double>::infinity(), other = least, mine = 0;
        Index label = 0;
        for (Index j = 0; j < k; ++j) {
            double square = 0, scaled = 0;
            for (Index f = 0; f < d; ++f) {
                const double diff = double(work.given.at(i, f)) - double(centers[j * d + f]);
                square += rounded(diff * diff);
                scaled += diff * state.scale * (diff * state.scale);
            }
            if (square < least) {
                least = square;
                label = j;
            }
            if (j == own) mine = std::sqrt(scaled);
            if (j != own) other = std::fmin(other, std::sqrt(scaled));
        }
        if (own != label) fail("label", i);
        const double gap = double(state.slack[i]) - double(state.drift[own]);
        if (gap > 0 && !(other - mine >= gap)) fail("slack", i);
    }
}

}  // namespace lab
