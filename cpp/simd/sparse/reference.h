// The reference's arithmetic: what decides in the end.
//
// As cpp/sparse/kmeans.cpp: a squared length is added up in the order of the features, a product
// x · c in the order of the row's values, a score is ‖c‖² − 2 x · c, and the first of equals wins.

#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "common/types.h"
#include "simd/sparse/cell_sums.h"
#include "sparse/rows.h"

// What tests make wrong, to see that the audit finds it.
#ifndef LAB_MUTANT_OFF
#define LAB_MUTANT_OFF 1.0
#endif

namespace lab {

// The centers of a pass: given as an array, or the means of sums that are kept.
template <typename T>
class SparseReference {
public:
    void take(const T* centers, Index d, Index k) {
        given_ = centers;
        sums_ = nullptr;
        shortest_ = -1;
        resize(d, k);
        words_ = (k + 63) / 64;
        present_.assign(std::size_t(d * words_), 0);
    }
    // Note that a coordinate of a center that is given is not zero.
    void note(Index f, Index j) {
        present_[std::size_t(f * words_ + j / 64)] |= std::uint64_t(1) << j % 64;
    }
    void follow(const CellSums& sums, const std::vector<std::int64_t>& counts, Index d, Index k) {
        given_ = nullptr;
        sums_ = &sums;
        shortest_ = -1;
        counts_ = counts.data();
        resize(d, k);
    }

    const T* given() const { return given_; }
    Index n_clusters() const { return k_; }

    // As the driver makes it of sums and counts.
    double coordinate(Index f, Index j) const {
        if (given_ != nullptr) return double(given_[j * d_ + f]);
        return double(T(sums_->value(f, j) / double(counts_[j])));
    }

    double product(const SparseRows<T>& rows, Index i, Index j) const {
        double dot = 0;
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            dot += rounded(double(rows.data[p]) * coordinate(rows.indices[p], j));
        }
        return dot;
    }

    // ‖c‖², added up when it is first asked for; by several threads at once, which find the same.
    double square(Index j) {
        const double known = exact_[j].load(std::memory_order_relaxed);
        if (known >= 0) return known;
        double square = 0;
        for (Index f = 0; f < d_; ++f) {
            const double value = coordinate(f, j);
            square += rounded(value * value);
        }
        exact_[j].store(square, std::memory_order_relaxed);
        return square;
    }
    void set_square(Index j, double square) { exact_[j].store(square, std::memory_order_relaxed); }
    void forget(Index j) { exact_[j].store(-1, std::memory_order_relaxed); }

    // ‖c‖² of each center within an error of what `square` finds.
    std::vector<double> estimate, off;

    // The nearest of some centers, which ascend, and its score; `tied`: ‖c‖² was asked for.
    //
    // Centers that begin at rows share no feature with most rows, which tie for many of them: of
    // those no product is taken.
    struct Nearest {
        std::int32_t label;
        double score, off;
        bool tied;
    };
    Nearest nearest(const SparseRows<T>& rows, Index i, const std::vector<std::int32_t>& of,
                    std::vector<double>& dots, std::vector<std::uint64_t>& shared) {
        const bool alone = given_ != nullptr && !share(rows, i, shared);
        const Nearest found = nearest_of(rows, i, of, dots, shared);
        if (alone) shortest_.store(found.label, std::memory_order_relaxed);
        return found;
    }

    // The nearest of all centers to a row that shares no feature with any, once it is known: the
    // shortest of them, the same for all such rows. Its label is negative for other rows.
    Nearest nearest_alone(const SparseRows<T>& rows, Index i, std::vector<std::uint64_t>& shared) {
        const std::int32_t label = shortest_.load(std::memory_order_relaxed);
        if (label < 0 || share(rows, i, shared)) return {-1, 0, 0, false};
        constexpr double unit = std::numeric_limits<double>::epsilon();
        return {label, square(label), error(label, 0, unit), true};
    }

private:
    // Whether a row shares a feature with any of the centers, which are given, and with which.
    bool share(const SparseRows<T>& rows, Index i, std::vector<std::uint64_t>& shared) const {
        shared.assign(std::size_t(words_), 0);
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            const std::uint64_t* some = &present_[std::size_t(rows.indices[p] * words_)];
            for (Index w = 0; w < words_; ++w) shared[std::size_t(w)] |= some[w];
        }
        return std::any_of(shared.begin(), shared.end(), [](auto word) { return word != 0; });
    }

    Nearest nearest_of(const SparseRows<T>& rows, Index i, const std::vector<std::int32_t>& of,
                       std::vector<double>& dots, const std::vector<std::uint64_t>& shared) {
        constexpr double unit = std::numeric_limits<double>::epsilon();
        dots.resize(of.size());
        double most = std::numeric_limits<double>::infinity();
        std::size_t best = 0;
        for (std::size_t c = 0; c < of.size(); ++c) {
            const Index j = of[c];
            const bool apart =
                given_ != nullptr && (shared[std::size_t(j / 64)] >> j % 64 & 1) == 0;
            dots[c] = apart ? 0.0 : 2 * product(rows, i, j);
            const double above = estimate[j] - dots[c] + error(j, dots[c], unit);
            if (above < most) {
                most = above;
                best = c;
            }
        }
        bool tied = false;
        for (std::size_t c = 0; c < of.size(); ++c) {
            const Index j = of[c];
            // Not "less": what is not a number is decided below, too.
            if (c != best && !(estimate[j] - dots[c] - error(j, dots[c], unit) > most)) tied = true;
        }
        if (!tied) {
            const Index j = of[best];
            return {of[best], estimate[j] - dots[best], error(j, dots[best], unit), false};
        }
        Nearest found{0, std::numeric_limits<double>::infinity(), 0, true};
        for (std::size_t c = 0; c < of.size(); ++c) {
            const Index j = of[c];
            if (estimate[j] - dots[c] - error(j, dots[c], unit) > most) continue;
            const double score = square(j) - dots[c];
            if (score < found.score) found = {of[c], score, error(j, dots[c], unit), true};
        }
        return found;
    }

    // Of the estimate of a score, and of the reference's own, which is rounded, too.
    double error(Index j, double dot, double unit) const {
        return LAB_MUTANT_OFF * off[j] + unit * (estimate[j] + std::fabs(dot));
    }

    void resize(Index d, Index k) {
        d_ = d;
        if (k == k_) return;
        exact_.reset(new std::atomic<double>[std::size_t(k)]);
        for (Index j = 0; j < k; ++j) forget(j);
        estimate.assign(k, 0.0);
        off.assign(k, 0.0);
        k_ = k;
    }

    const T* given_ = nullptr;
    Index words_ = 0;
    std::vector<std::uint64_t> present_;      // (n_features, words): a bit for each center given
    std::atomic<std::int32_t> shortest_{-1};  // of the centers that are given, once it is known
    const CellSums* sums_ = nullptr;
    const std::int64_t* counts_ = nullptr;
    Index d_ = 0, k_ = 0;
    std::unique_ptr<std::atomic<double>[]> exact_;  // (n_clusters,): less than zero where not known
};

}  // namespace lab
