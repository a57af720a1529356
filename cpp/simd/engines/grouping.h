// Centers put into groups of neighbours, all but the last of the same size.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "common/types.h"

namespace lab {

// Halves a set of points across its longest side until each part fits a group. The side is found by
// a few power iterations, which need not converge: any groups are right, close ones are better.
class Grouping {
public:
    // Points (n, d); the places of group g are g · size and the following ones.
    Grouping(const float* points, Index n, Index d, Index size)
        : points_(points), d_(d), size_(size), mean_(d), side_(d), next_(d), keys_(n), order_(n) {
        std::iota(order_.begin(), order_.end(), 0);
        halve(0, n);
    }

    const std::vector<std::int32_t>& order() const { return order_; }

private:
    static constexpr int kIterations = 4;
    static constexpr Index kAbreast = 8;  // sums side by side, which compilers make vectors of

    const float* point(Index i) const { return points_ + Index(order_[i]) * d_; }

    float along(const float* point) const {
        float sums[kAbreast] = {};
        Index f = 0;
        for (; f + kAbreast <= d_; f += kAbreast) {
            for (Index l = 0; l < kAbreast; ++l) {
                sums[l] += (point[f + l] - mean_[f + l]) * side_[f + l];
            }
        }
        for (; f < d_; ++f) sums[0] += (point[f] - mean_[f]) * side_[f];
        return std::accumulate(sums, sums + kAbreast, 0.0f);
    }

    void halve(Index first, Index last) {
        if (last - first <= size_) return;
        find_side(first, last);
        for (Index i = first; i < last; ++i) keys_[i] = {along(point(i)), order_[i]};
        const Index groups = (last - first + size_ - 1) / size_;
        const Index middle = first + (groups + 1) / 2 * size_;
        std::nth_element(keys_.begin() + first, keys_.begin() + middle, keys_.begin() + last);
        for (Index i = first; i < last; ++i) order_[i] = keys_[i].second;
        halve(first, middle);
        halve(middle, last);
    }

    // From the feature with the largest variance on.
    void find_side(Index first, Index last) {
        std::fill(mean_.begin(), mean_.end(), 0.0f);
        std::fill(next_.begin(), next_.end(), 0.0f);
        const float share = 1.0f / float(last - first);
        for (Index i = first; i < last; ++i) {
            for (Index f = 0; f < d_; ++f) mean_[f] += point(i)[f] * share;
        }
        for (Index i = first; i < last; ++i) {
            for (Index f = 0; f < d_; ++f) {
                const float off = point(i)[f] - mean_[f];
                next_[f] += off * off;
            }
        }
        const auto widest = std::max_element(next_.begin(), next_.end());
        std::fill(side_.begin(), side_.end(), 0.0f);
        side_[widest - next_.begin()] = 1;
        for (int round = 0; round < kIterations; ++round) {
            std::fill(next_.begin(), next_.end(), 0.0f);
            for (Index i = first; i < last; ++i) {
                const float* values = point(i);
                const float weight = along(values);
                for (Index f = 0; f < d_; ++f) next_[f] += weight * (values[f] - mean_[f]);
            }
            float largest = 0;
            for (const float value : next_) largest = std::max(largest, std::fabs(value));
            if (!(largest > 0 && std::isfinite(largest))) return;
            for (Index f = 0; f < d_; ++f) side_[f] = next_[f] / largest;
        }
    }

    const float* const points_;
    const Index d_, size_;
    std::vector<float> mean_, side_, next_;
    std::vector<std::pair<float, std::int32_t>> keys_;
    std::vector<std::int32_t> order_;
};

}  // namespace lab
