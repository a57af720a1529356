// Steps whose sums and means stay with the rows: the caller is told labels and counts.
//
// Means are those that NumPy's division of the sums makes, to the last bit: the caller makes arrays
// of them only where somebody looks.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "common/steps.h"
#include "common/types.h"
#include "simd/engines/engine.h"

namespace lab {

inline constexpr char kFollows[] = "follow needs labels (n,) and counts (k,)";
inline constexpr char kTellsSums[] = "sums needs out (k, d)";

template <typename T>
class KeptMeans {
public:
    // The middle, (d,), that rows are taken relative to may be null.
    KeptMeans(Index d, const T* middle) : d_(d) {
        if (middle) middle_.assign(middle, middle + d);
    }

    // Assign the rows to the centers of an array, (k, d), or to the means of the last step, and add
    // them up. Overwrites labels, which hold the previous ones, and counts: whole numbers or, where
    // rows have weights, masses.
    template <typename Count>
    void follow(Engine<T>& rows, const T* centers, Index k, std::int32_t* labels, Count* counts) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!centers && !known_) throw std::invalid_argument(kNoMeans);
        if (!centers && k != k_) throw std::invalid_argument(kFollows);
        known_ = false;  // until the step is whole: memory may run out, or Ctrl-C come
        if (k != k_) resize(k);
        if (centers) {
            std::copy_n(centers, k * d_, centers_.data());
        } else {
            centers_.swap(means_);
        }
        sums_.swap(before_);
        std::fill(sums_.begin(), sums_.end(), 0.0);
        std::fill_n(counts, k, Count(0));
        PassArrays<T> arrays{centers_.data(), k, labels, sums_.data()};
        if constexpr (std::is_same_v<Count, double>) {
            arrays.masses = counts;
        } else {
            arrays.counts = counts;
        }
        arrays.inertia = false;
        rows.pass(arrays);
        if (std::find(counts, counts + k, Count(0)) != counts + k) return;
        for (Index j = 0; j < k; ++j) divide(j, double(counts[j]));
        known_ = true;
    }

    // Bounds of Σ(mean − center)², both 0 only where no mean differs from its center; of what is
    // not known or beyond any double, 0 and infinity.
    Shift shift() const {
        std::lock_guard<std::mutex> lock(mutex_);
        constexpr double infinity = std::numeric_limits<double>::infinity();
        if (!known_) return {0, infinity};
        constexpr Index lanes = 8;  // sums side by side, for which no addition waits
        double squares[lanes] = {};
        const Index size = k_ * d_;
        Index i = 0;
        for (; i + lanes <= size; i += lanes) {
            for (Index l = 0; l < lanes; ++l) squares[l] += square(i + l);
        }
        for (; i < size; ++i) squares[0] += square(i);
        double sum = 0;
        for (const double some : squares) sum += some;
        if (!std::isfinite(sum)) return {0, infinity};
        if (sum == 0 && means_ == centers_) return {0, 0};
        const double off = double(size + 16) * std::numeric_limits<double>::epsilon();
        const double lost = double(size) * std::numeric_limits<double>::denorm_min();
        return {std::max(sum * (1 - off) - lost, 0.0), sum * (1 + off) + lost};
    }

    // Overwrite (k, d) with the sums of the last step, or of the one before it.
    void sums(double* out, Index k, bool before) const {
        std::lock_guard<std::mutex> lock(mutex_);
        if (k != k_) throw std::invalid_argument(kTellsSums);
        const std::vector<double>& from = before ? before_ : sums_;
        std::copy_n(from.begin(), k * d_, out);
    }

private:
    void resize(Index k) {
        k_ = 0;
        const std::size_t size = std::size_t(k * d_);
        centers_.assign(size, T(0));
        means_.assign(size, T(0));
        sums_.assign(size, 0.0);
        before_.assign(size, 0.0);
        k_ = k;
    }

    // A mean is rounded to T and then, by way of the middle, to what T holds where the rows lie.
    void divide(Index j, double count) {
        const double* sums = sums_.data() + j * d_;
        T* means = means_.data() + j * d_;
        for (Index f = 0; f < d_; ++f) means[f] = T(sums[f] / count);
        if (middle_.empty()) return;
        const T* middle = middle_.data();
        for (Index f = 0; f < d_; ++f) means[f] = (means[f] + middle[f]) - middle[f];
    }

    double square(Index i) const {
        const double step = double(means_[i]) - double(centers_[i]);
        return step * step;
    }

    const Index d_;
    std::vector<T> middle_;  // empty: none
    Index k_ = 0;
    bool known_ = false;              // the means: the last step is whole, and no cluster is empty
    std::vector<T> centers_, means_;  // (k, d): of the last step, and what follows from it
    std::vector<double> sums_, before_;  // (k, d): of the last step, and of the one before it
    mutable std::mutex mutex_;
};

}  // namespace lab
