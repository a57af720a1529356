// A check of carried bounds after a pass, for builds with LAB_AUDIT: against distances in double.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/types.h"
#include "simd/engines/carried_state.h"
#include "simd/engines/row_work.h"
#include "simd/sums.h"

namespace lab {

// Throws where a label of a part is not that of the nearest center, by the reference's arithmetic,
// or where a bound is on the wrong side of a distance.
template <typename T>
void audit(const RowWork<T>& work, CarriedState<T>& state, const Part& part) {
    constexpr double slack = 1 + 1e-13;  // of the distances here
    const bool bounded = state.parts[part.first / CarriedState<T>::kPartRows].bounded;
    std::vector<double> distances(state.k), nearest(state.n_groups);
    const auto fail = [](const char* what, Index row, double bound, double distance) {
        throw std::logic_error(std::string("audit: ") + what + " of row " + std::to_string(row) +
                               ": " + std::to_string(bound) + " against " +
                               std::to_string(distance));
    };
    for (Index i = part.first; i < part.last; ++i) {
        Index label = 0;
        double least = std::numeric_limits<double>::infinity();
        for (Index j = 0; j < state.k; ++j) {
            double square = 0, scaled = 0;
            for (Index f = 0; f < state.d; ++f) {
                const double diff =
                    double(work.given.at(i, f)) - double(state.given[j * state.d + f]);
                square += rounded(diff * diff);
                scaled += diff * state.scale * (diff * state.scale);
            }
            if (square < least) {
                least = square;
                label = j;
            }
            distances[j] = std::sqrt(scaled);
        }
        const Index own = work.labels[i];
        if (own != label) fail("label", i, double(own), double(label));
        if (!bounded) continue;
        const double upper = double(state.upper[i]) + state.drift(own);
        if (!(upper * slack >= distances[own])) fail("upper bound", i, upper, distances[own]);
        std::fill(nearest.begin(), nearest.end(), std::numeric_limits<double>::infinity());
        for (Index j = 0; j < state.k; ++j) {
            double& of = nearest[state.slot[j] / (state.width * state.span)];
            if (j != own) of = std::min(of, distances[j]);
        }
        for (Index g = 0; g < state.n_groups; ++g) {
            const double lower = double(state.lower_at(i, g)) - state.group_drift(g);
            if (!(lower <= nearest[g] * slack)) fail("lower bound", i, lower, nearest[g]);
        }
    }
}

}  // namespace lab
