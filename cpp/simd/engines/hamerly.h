// Rows as they lie, with one bound each: for few features or few clusters.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/types.h"
#include "simd/engines/row_engine.h"
#if defined(LAB_AUDIT)
#include "simd/engines/hamerly_audit.h"
#endif

namespace lab {

template <typename T>
class HamerlyEngine final : public RowEngine<T> {
public:
    // Rows that are seen once are not kept as they are scored.
    HamerlyEngine(const RowsGiven<T>& rows, Index k, int n_threads, bool once)
        : RowEngine<T>(rows, k, n_threads, true) {
        constexpr Index padding = RowEngine<T>::kPadding;
        this->starts_anew_ = true;
        state_.origin.at = work_.given.middle;
        state_.slack.resize(rows.n + padding);
        if (!once && sizeof(T) > sizeof(float)) state_.copies.resize(rows.n * rows.d);
        std::fill_n(state_.slack.data() + rows.n, padding, std::numeric_limits<float>::infinity());
    }

    const char* engine() const override { return kBoundPerRow; }

private:
    using RowEngine<T>::work_;
    using RowEngine<T>::routines_;

    void plan(const T* centers, bool carried) override {
        const Index k = this->n_clusters_, d = work_.d;
        state_.carried = choose_scale(centers, k * d) && carried;
        state_.narrow.set(centers, state_.origin, k, d, routines_.panel_narrow, state_.scale);
        if (state_.carried) {
            state_.move(old_.data(), centers, k, d, drifts_differ());
        } else {
            state_.rest(k);
        }
        old_.assign(centers, centers + k * d);
        state_.rare = std::make_unique<RareCenters<T>>(old_.data(), state_.origin, k, d,
                                                       routines_.panel_wide, state_.scale);
    }

    void assign(Part& part, Partial& sums) override {
        routines_.hamerly(work_, state_, part, sums);
#if defined(LAB_AUDIT)
        audit(work_, state_, old_.data(), part);
#endif
    }

    // Whether the drifts of centers have grown so far apart that many rows had to be tested by that
    // of their own center.
    bool drifts_differ() const {
        Index spared = 0;
        for (const Part& part : this->parts_) spared += part.spared;
        return spared > work_.n / kFewSpared;
    }

    // Make the longest row about as long as one, so that floats neither overflow nor vanish; or the
    // largest value of a center where that is far beyond all rows. False: the scale has changed.
    bool choose_scale(const T* centers, Index n_values) {
        double largest = 0;
        for (Index i = 0; i < n_values; ++i) {
            largest = std::fmax(largest, std::fabs(double(centers[i])));
        }
        const double longest = work_.longest;
        const double unit = largest > kFar * longest ? largest : longest;
        const double scale = Panels<float>::template scale_for<T>(unit);
        const bool same = scale == state_.scale;
        state_.scale = scale;
        return same;
    }

    static constexpr double kFar = 1 << 30;
    static constexpr Index kFewSpared = 4;  // a quarter of the rows; to level all takes as long

    HamerlyState<T> state_;
    std::vector<T> old_;  // (k, d): the centers of the last pass
};

}  // namespace lab
