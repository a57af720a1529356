// Rows as they lie, with bounds for groups of centers: for many features and clusters.

#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/types.h"
#include "simd/engines/row_engine.h"
#if defined(LAB_AUDIT)
#include "simd/engines/carried_audit.h"
#endif

namespace lab {

template <typename T>
class CarriedEngine final : public RowEngine<T> {
public:
    CarriedEngine(const RowsGiven<T>& rows, Index k, int n_threads)
        : RowEngine<T>(rows, k, n_threads) {
        state_.n = rows.n;
        state_.d = rows.d;
        state_.lanes = routines_.side;
        state_.width = routines_.group_panel;
        state_.origin.at = work_.given.middle;
        state_.parts.resize(std::size_t(rows.n / CarriedState<T>::kPartRows + 1));
        choose_scale();
        if (rows.n > 0) shade();
    }

    const char* engine() const override { return kBoundsPerGroup; }

private:
    using RowEngine<T>::work_;
    using RowEngine<T>::routines_;

    void plan(const T* centers, bool carried) override {
        const bool same = state_.k == this->n_clusters_;
        if (!same) state_.resize(this->n_clusters_, room());
        state_.set(centers, carried && same);
    }

    void assign(Part& part, Partial& sums) override {
        routines_.carried(work_, state_, part, sums);
#if defined(LAB_AUDIT)
        audit(work_, state_, part);
#endif
    }

    // For bounds, in bytes: with all else that is kept of rows at most 1.5 times X and half of the
    // 64 MB that a fit may take beyond that.
    double room() const {
        const double of_rows = state_.shadow.empty() ? 0 : sizeof(float) * double(work_.d);
        const double others = 4 * sizeof(float);  // labels, lengths, upper bounds
        const double all = 1.5 * sizeof(T) * double(work_.d);
        return double(work_.n) * std::max(all - of_rows - others, 0.0) + 32e6;
    }

    // Most rows are about as long as one, if they are not already within a million of it: so
    // squares of floats neither overflow nor vanish. Some rows tell which.
    void choose_scale() {
        std::vector<double> lengths;
        const Index step = std::max(Index(1), work_.n / kSampled);
        for (Index i = 0; i < work_.n; i += step) {
            double square = 0;
            for (Index f = 0; f < work_.d; ++f) {
                const double value = double(work_.given.at(i, f)) / work_.longest;
                square += value * value;
            }
            const double length = std::sqrt(square) * work_.longest;
            if (length > 0) lengths.push_back(length);  // ilogb(0) has no negative
        }
        if (lengths.empty()) return;
        const auto middle = lengths.begin() + std::ptrdiff_t(lengths.size() / 2);
        std::nth_element(lengths.begin(), middle, lengths.end());
        const int exponent = std::ilogb(*middle);
        if (std::abs(exponent) > 20) state_.scale = std::ldexp(1.0, -exponent);
        state_.in_reach = std::abs(exponent) <= 400 && work_.longest * state_.scale < 1e18 &&
                          work_.d <= kMostFeatures;
    }

    // The caller's own rows will do if they are floats, wide enough and as they are meant.
    void shade() {
        const T* middle = work_.given.middle;
        const bool plain = std::all_of(middle, middle + work_.d, [](T m) { return m == T(0); });
        state_.squares.resize(work_.n + kMostWide);
        state_.upper.resize(work_.n + kMostWide);
        std::fill_n(state_.squares.data() + work_.n, kMostWide, 0.0f);
        std::fill_n(state_.upper.data() + work_.n, kMostWide, 0.0f);
        if (sizeof(T) == sizeof(float) && plain && state_.scale == 1 && work_.d >= state_.lanes) {
            state_.rows = reinterpret_cast<const float*>(work_.given.rows);
        } else {
            state_.shadow.resize(work_.n * work_.d + kMostWide);
            std::fill_n(state_.shadow.data() + work_.n * work_.d, kMostWide, 0.0f);
            state_.rows = state_.shadow.data();
        }
        this->each_part([&](const Part& part, int) { routines_.shade(work_, state_, part); });
    }

    static constexpr Index kSampled = 64;
    static constexpr Index kMostFeatures = Index(1) << 16;

    CarriedState<T> state_;
};

}  // namespace lab
