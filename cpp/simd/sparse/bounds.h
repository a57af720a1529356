// Bounds that rule out all centers but a row's own, carried from pass to pass.
//
// Two numbers a row: its own center's score, from above, and the others', from below. When centers
// move, scores change by ‖c'‖² − ‖c‖² − 2 x · (c' − c), and of that product two bounds are known:
// the lengths of both (Cauchy), and, since a mean of sums S over n rows becomes (S + D) / n',
// (n / n' − 1) x · c + x · D / n', where D is zero in most columns. The centers that move most are
// loud: every row is scored by them again, and the bounds need only cover what the quiet ones do.
// All in one product with a narrow table: the sums of the loud centers, and the largest rise and
// fall of D / n' among the quiet ones in each column.
//
// Two bounds a row are Hamerly's ("Making k-means even faster", SDM 2010).

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/sparse/work.h"

// What tests make wrong, to see that the audit finds it.
#ifndef LAB_MUTANT_RISE
#define LAB_MUTANT_RISE 1.0
#endif
#ifndef LAB_MUTANT_FALL
#define LAB_MUTANT_FALL 1.0
#endif
#ifndef LAB_MUTANT_QUIET
#define LAB_MUTANT_QUIET 1.0f
#endif

namespace lab {

template <typename T>
class Bounding {
public:
    // Forget the table, which shows the sums of passes one after the other.
    void forget() {
        std::fill(std::begin(centers_), std::end(centers_), -1);
        laid_ = false;
        noted_.clear();
    }

    // What changes of scores the rows of this pass have to reckon with.
    void plan(SparseWork<T>& work) {
        const Index k = work.screen.n_clusters, d = work.rows.n_features;
        Bounds& bounds = work.bounds;
        if (!laid_) {
            bounds.table.resize(std::size_t(d * kLoudLanes));
            std::fill_n(bounds.table.data(), d * kLoudLanes, 0.0f);
            forget();
            laid_ = true;
        }
        const Movement& moved = work.movement;
        std::vector<double> fall(k);
        bounds.rise.resize(k);
        bounds.rise_apart.resize(k);
        for (Index j = 0; j < k; ++j) {
            const double reach = 2 * double(work.longest) * moved.shift[j];
            fall[j] = LAB_MUTANT_FALL * reach - moved.squares[j];
            const double scaled = 2.02 * double(work.longest) * moved.length[j];
            bounds.rise[j] = above(LAB_MUTANT_RISE * reach + moved.squares[j]);
            bounds.rise_apart[j] = above(moved.squares[j] + scaled * growth(work, j, -1));
        }
        choose(work, fall);
        double quiet = -1e30, apart = -1e30;
        for (Index j = 0; j < k; ++j) {
            if (bounds.place[j] >= 0) continue;
            const double scaled = 2.02 * double(work.longest) * moved.length[j];
            quiet = std::max(quiet, fall[j]);
            apart = std::max(apart, scaled * growth(work, j, 1) - moved.squares[j]);
        }
        bounds.fall = above(quiet);
        bounds.fall_apart = above(apart);
        note_quiet(work);
    }

private:
    static float above(double value) { return float(value + std::fabs(value) * 1e-6); }

    // By what share x · c may grow or, with sign −1, shrink.
    static double growth(const SparseWork<T>& work, Index j, int sign) {
        const double share = work.movement.growth[j];
        return work.screen.negative ? std::fabs(share) : std::max(0.0, sign * share);
    }

    // Give lanes to the centers whose scores may fall most; those that have one keep it.
    void choose(SparseWork<T>& work, const std::vector<double>& fall) {
        const Index k = work.screen.n_clusters;
        Bounds& bounds = work.bounds;
        std::vector<std::int32_t> order;
        for (Index j = 0; j < k; ++j) {
            if (work.movement.shift[j] > 0) order.push_back(std::int32_t(j));
        }
        const auto louder = [&](std::int32_t a, std::int32_t b) {
            return fall[a] > fall[b] || (fall[a] == fall[b] && a < b);
        };
        const Index n = std::min(kLoud, Index(order.size()));
        std::partial_sort(order.begin(), order.begin() + n, order.end(), louder);
        order.resize(std::size_t(n));
        bounds.place.assign(k, -1);
        for (std::int32_t& center : centers_) {
            if (center < 0) continue;
            const auto found = std::find(order.begin(), order.end(), center);
            if (found == order.end()) {
                center = -1;
                continue;
            }
            order.erase(found);
            lay(work, Index(&center - centers_), center, true);
        }
        for (Index z = 0; z < kLoud; ++z) {
            if (centers_[z] >= 0) continue;
            if (!order.empty()) {
                centers_[z] = order.back();
                order.pop_back();
                lay(work, z, centers_[z], false);
            } else {
                bounds.squares[z] = std::numeric_limits<float>::infinity();
                bounds.factors[z] = 0;
            }
        }
    }

    // Write the sums of a center in its lane; `again`: where they have changed since the last pass.
    void lay(SparseWork<T>& work, Index z, std::int32_t j, bool again) {
        Bounds& bounds = work.bounds;
        const Screen& screen = work.screen;
        const double times = std::ldexp(work.scale, -screen.exponents[j]);
        again = again && exponents_[z] == screen.exponents[j];
        exponents_[z] = screen.exponents[j];
        const auto write = [&](Index f) {
            const std::int64_t* limbs = work.sums.at(f, j);
            const double sum = work.sums.zero(limbs) ? 0.0 : work.sums.value(limbs);
            bounds.table[std::size_t(f * kLoudLanes + z)] = float(sum * times);
        };
        if (again) {
            for (const Change& change : work.changes[j]) write(change.feature);
        } else {
            for (Index f = 0; f < work.rows.n_features; ++f) write(f);
        }
        const double n = double(std::max<std::int64_t>(work.counts[j], 1));
        bounds.factors[z] = float(std::ldexp(2 / n, screen.exponents[j]));
        bounds.squares[z] = screen.squares[j];
        bounds.place[j] = std::int32_t(z);
    }

    // The largest rise and fall of the quiet centers in each column.
    void note_quiet(SparseWork<T>& work) {
        float* table = work.bounds.table.data();
        for (const std::int32_t f : noted_) {
            table[Index(f) * kLoudLanes + kLoud] = table[Index(f) * kLoudLanes + kLoud + 1] = 0;
        }
        noted_.clear();
        for (Index j = 0; j < work.screen.n_clusters; ++j) {
            if (work.bounds.place[j] >= 0) continue;
            for (const Change& change : work.changes[j]) {
                float* most = table + Index(change.feature) * kLoudLanes + kLoud;
                if (most[0] == 0 && most[1] == 0) noted_.push_back(change.feature);
                const float size = std::fabs(change.share) * 1.000001f * LAB_MUTANT_QUIET;
                const bool both = work.screen.negative;
                if (both || change.share > 0) most[0] = std::max(most[0], size);
                if (both || change.share < 0) most[1] = std::max(most[1], size);
            }
        }
    }

    bool laid_ = false;
    std::int32_t centers_[kLoud];  // of each lane; −1 none
    int exponents_[kLoud] = {};
    std::vector<std::int32_t> noted_;  // features with a quiet change
};

}  // namespace lab
