// Sums, squares and ends of each column, from one look at X.

#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"

namespace lab {

// Of the values of each column, less its pivot: short rows side by side, in so many places that
// whole vectors fill them.
struct Moments {
    Index places = 0;
    std::vector<double> pivot, low, high, sum, square;  // (places,)

    // `lanes` of a vector; the pivot is (n_features,).
    void begin(const std::vector<double>& from, Index lanes) {
        const Index d = Index(from.size());
        places = d < kLong ? d * (lanes / std::gcd(d, lanes)) : d;
        pivot.resize(places);
        for (Index i = 0; i < places; ++i) pivot[i] = from[i % d];
        low.assign(places, std::numeric_limits<double>::infinity());
        high.assign(places, -std::numeric_limits<double>::infinity());
        sum.assign(places, 0.0);
        square.assign(places, 0.0);
    }

    // Add up what belongs to the same column in the first places.
    void fold(Index d) {
        for (Index i = d; i < places; ++i) join(i % d, *this, i);
    }
    void join(Index to, const Moments& other, Index from) {
        low[to] = std::min(low[to], other.low[from]);
        high[to] = std::max(high[to], other.high[from]);
        sum[to] += other.sum[from];
        square[to] += other.square[from];
    }

private:
    static constexpr Index kLong = 256;  // features: a few beside whole vectors cost little
};

// Means of a few rows, near which squares are small and lose little.
template <typename T>
std::vector<double> pivot_of(const T* X, Index n, Index d) {
    constexpr Index few = 16;
    const Index rows = std::min(n, few);
    std::vector<double> pivot(d);
    for (Index r = 0; r < rows; ++r) {
        const T* x = X + r * (n / rows) * d;
        for (Index f = 0; f < d; ++f) pivot[f] += double(x[f]) / double(rows);
    }
    return pivot;
}

}  // namespace lab
