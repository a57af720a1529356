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
        : RowEngine<T>(rows, k, n_threads, false) {
        state_.n = rows.n;
        state_.d = rows.d;
        state_.n_pairs = (rows.d + 1) / 2;
        state_.copy = routines_.copy;
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
        const double of_rows = sizeof(std::int32_t) * double(state_.n_pairs);
        const double others = 4 * sizeof(float);  // labels, lengths, scales, upper bounds
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

    void shade() {
        for (Aligned<float>* of_rows : {&state_.squares, &state_.scales, &state_.upper}) {
            of_rows->resize(work_.n + kMostWide);
            std::fill_n(of_rows->data() + work_.n, kMostWide, 0.0f);
        }
        state_.rows.resize(work_.n * state_.n_pairs + kMostWide);
        std::fill_n(state_.rows.data() + work_.n * state_.n_pairs, kMostWide, 0);
        this->each_part([&](const Part& part, int) { routines_.shade(work_, state_, part); });
        for (const CarriedPart& part : state_.parts) {
            state_.row_error = std::max(state_.row_error, part.error);
        }
    }

    static constexpr Index kSampled = 64;
    static constexpr Index kMostFeatures = Index(1) << 16;

    CarriedState<T> state_;
};

}  // namespace lab
