// What is carried from pass to pass about each row: how much nearer its center is than any other.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/panels.h"

namespace lab {

// Centers as rows are scored against them, and the bounds of Hamerly ("Making k-means even faster",
// SDM 2010): one number per row, the gap between the distances to the nearest center and to the
// second nearest. Drifts are added up per center, so that a row that keeps its label is only read:
// it does as long as its slack, gap + drift then, is above the drift now. All lengths are
// multiplied by the scale of the panels.
template <typename T>
struct HamerlyState {
    Origin<T> origin{nullptr, true};
    Panels<float> narrow;
    std::unique_ptr<RareCenters<T>> rare;
    // (n, d): rows as they are scored, half as wide as those of the caller, where each row of a
    // part has been scored in float; empty where T is no wider.
    Aligned<float> copies;
    bool carried = false;                 // whether slack holds
    Aligned<float> slack;                 // (n,) and padding
    std::vector<float> drift, drift_low;  // (n_clusters,): rounded up and down
    float most_drift = 0;                 // of any center
    std::vector<float> raised;  // (n_clusters,): by how much in this pass; empty: not at all
    double scale = 1;

    // Centers have moved from `old` to `given`, (k, d): each drifts by its own way and by the
    // longest way of all others. `level`: all drifts become that of the center which has drifted
    // most, and each pass raises the slack of its rows alike.
    void move(const T* old, const T* given, Index k, Index d, bool level) {
        double most = 0, second = 0;
        Index who = -1;
        std::vector<double> way(k);
        for (Index j = 0; j < k; ++j) {
            double sum = 0;
            for (Index f = 0; f < d; ++f) {
                const double diff = (double(given[j * d + f]) - double(old[j * d + f])) * scale;
                sum += diff * diff;
            }
            way[j] = std::sqrt(sum) * (1 + 1e-9);
            if (!(sum == sum)) way[j] = std::numeric_limits<double>::infinity();
            if (way[j] > most) {
                second = most;
                most = way[j];
                who = j;
            } else if (way[j] > second) {
                second = way[j];
            }
        }
        for (Index j = 0; j < k; ++j) {
            const double others = j == who ? second : most;
            drift_[j] += (way[j] + others) * (1 + 1e-6);
        }
        raised.clear();
        if (level) raise();
        round_drifts();
    }

    void rest(Index k) {
        raised.clear();
        drift_.assign(k, 0.0);
        round_drifts();
    }

private:
    void raise() {
        constexpr double u = std::numeric_limits<float>::epsilon();
        const double most = *std::max_element(drift_.begin(), drift_.end());
        if (!(most < std::numeric_limits<double>::infinity())) return;
        for (double& drift : drift_) {
            const double by = most - drift;
            raised.push_back(by > std::numeric_limits<float>::min() ? float(by * (1 - 2 * u))
                                                                    : 0.0f);
            drift = most;
        }
    }

    // Rounded to float and added to another float, each stays on its side.
    void round_drifts() {
        constexpr double u = std::numeric_limits<float>::epsilon();
        constexpr float least = std::numeric_limits<float>::min();
        most_drift = 0;
        drift.resize(drift_.size());
        drift_low.resize(drift_.size());
        for (std::size_t j = 0; j < drift_.size(); ++j) {
            drift[j] = drift_[j] > 0 ? std::fmax(float(drift_[j] * (1 + 2 * u)), least) : 0.0f;
            drift_low[j] = drift_[j] > least ? float(drift_[j] * (1 - 2 * u)) : 0.0f;
            most_drift = std::fmax(most_drift, drift[j]);
        }
    }

    std::vector<double> drift_;  // (n_clusters,), since the start
};

}  // namespace lab
