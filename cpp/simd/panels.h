// Centers laid out for rows that are scored as they lie, in float or double.

#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "common/aligned.h"
#include "common/types.h"

namespace lab {

// The point that rows are scored relative to: that keeps the digits of scores wherever the data
// lie.
template <typename T>
struct Origin {
    const T* at;  // (n_features,)
    // Rows mean T(x − at), and centers are relative to it, too. Otherwise both are as they are
    // given, and it serves the scores alone.
    bool given;

    double row(const T* x, Index f) const { return double(given ? T(x[f] - at[f]) : x[f]); }
    double center(T c, Index f) const { return given ? double(c) : double(c) - double(at[f]); }
};

// Panels of centers for scores ‖c‖² − 2x·c of type S. For floats, rows and centers are multiplied
// by a power of two, so that the largest value of a center is about one and no score overflows or
// vanishes that could decide anything.
template <typename S>
struct Panels {
    Index n_clusters = 0, d = 0, panel = 0, padded = 0;
    Aligned<S> packed;   // (padded / panel, n_features, panel): −2c
    Aligned<S> squares;  // (padded,): ‖c‖²; infinite beyond n_clusters
    double longest = 0;  // max ‖c‖
    double scale = 1;    // a power of two; packed, squares and longest are multiplied by it
    // A row of length ‖x‖, multiplied by scale, too: where the two best scores are no more than
    // least + rate · ‖x‖² apart, differences in double may name another center, and no farther.
    S least = 0, rate = 0;
    // A squared distance is off by no more than off_rate · (‖x‖ + C)² + off_least.
    S off_rate = 0, off_least = 0;

    template <typename T>
    void set(const T* centers, const Origin<T>& origin, Index k, Index n_features, Index width,
             double scaled = 0) {
        n_clusters = k;
        d = n_features;
        panel = width;
        padded = (k + panel - 1) / panel * panel;
        packed.resize(padded * d);
        squares.resize(padded);
        scaled > 0 ? take_scale(scaled) : choose_scale(centers, origin);
        double most = 0;
        for (Index j = 0; j < padded; ++j) {
            S* to = packed.data() + (j / panel) * panel * d + j % panel;
            double square = 0;
            for (Index f = 0; f < d; ++f) {
                const double value = j < k ? origin.center(centers[j * d + f], f) * scale : 0.0;
                to[f * panel] = S(-2 * value);
                square += value * value;
            }
            squares[j] = j < k ? S(square) : std::numeric_limits<S>::infinity();
            most = square <= most ? most : square;  // keeps what is not a number
        }
        longest = std::sqrt(most);
        choose_tolerance();
    }

    // The power of two that makes this value about one, as far as rows of type T can be moved.
    template <typename T>
    static double scale_for(double value) {
        constexpr int most = std::min(std::numeric_limits<T>::max_exponent - 2, kMostMoved);
        int exponent = 0;
        if (std::isfinite(value)) std::frexp(value, &exponent);
        return std::ldexp(1.0, std::clamp(-exponent, -most, most));
    }

private:
    // Squares of doubles that are larger or smaller than 2 to this power may overflow or vanish.
    static constexpr int kMostMoved = 400;

    bool in_reach_ = true;

    // A scale at the limit may stand for centers beyond it, whose differences overflow in the
    // reference's arithmetic though scores of scaled values do not.
    void take_scale(double scaled) {
        scale = scaled;
        in_reach_ = std::abs(std::ilogb(scale)) < kMostMoved;
    }

    // Doubles are only kept from overflowing later than the reference's differences do.
    template <typename T>
    void choose_scale(const T* centers, const Origin<T>& origin) {
        scale = 4;
        if constexpr (sizeof(S) == 8) return;
        constexpr int most_moved = std::min(std::numeric_limits<T>::max_exponent - 2, kMostMoved);
        double most = 0;
        for (Index j = 0; j < n_clusters; ++j) {
            for (Index f = 0; f < d; ++f) {
                most = std::fmax(most, std::fabs(origin.center(centers[j * d + f], f)));
            }
        }
        int exponent = 0;
        if (std::isfinite(most)) std::frexp(most, &exponent);
        in_reach_ = std::abs(exponent) <= kMostMoved;
        scale = std::ldexp(1.0, std::clamp(-exponent, -most_moved, most_moved));
    }

    // Let u be half the epsilon of S, C the longest center and r the length of a row. Values reach
    // S with a relative error of 1.01 u (a subtraction in T or a conversion), and a chain of d
    // products and additions, fused or not, adds d + 1 roundings: a score is off by
    // (d + 4) u C (C + 2r), and so are two of them in opposite directions; 2rC ≤ r² + C². Sums in
    // double, of differences and of ‖c‖², are off by (d + 2) u64 (r + C)² ≤ 2 (d + 2) u64 (r² + C²)
    // each. The sum of squares that stands for r² is itself off by (d + 2) u, which `slack` covers
    // together with products of errors; the last term is for what underflows.
    void choose_tolerance() {
        const double u = double(std::numeric_limits<S>::epsilon()) / 2;
        const double u64 = std::numeric_limits<double>::epsilon() / 2;
        const double steps = 2.0 * double(d + 6), slack = 1.001 + 4 * double(d + 6) * u;
        const double square = longest * longest, tiny = double(std::numeric_limits<S>::min());
        const bool proven = double(d) * u < 1.0 / 16 && in_reach_;
        const double infinite = std::numeric_limits<double>::infinity();
        rate = S(proven ? slack * steps * (u + 4 * u64) : infinite);
        off_rate = S(proven ? slack * steps * (u + u64) : infinite);
        off_least = S(proven ? slack * steps * tiny : infinite);
        least = S(proven ? slack * steps * ((2 * u + 4 * u64) * square + tiny) : infinite);
    }
};

// Centers for the reference's arithmetic: lanes are centers, side by side in groups.
struct DirectCenters {
    static constexpr Index kGroup = 16;
    Index n_clusters = 0, d = 0, padded = 0;
    Aligned<double> packed;  // (padded / kGroup, n_features, kGroup); beyond n_clusters: NaN

    template <typename T>
    void set(const T* centers, Index k, Index n_features) {
        n_clusters = k;
        d = n_features;
        padded = (k + kGroup - 1) / kGroup * kGroup;
        packed.resize(padded * d);
        for (Index j = 0; j < padded; ++j) {
            double* to = packed.data() + (j / kGroup) * kGroup * d + j % kGroup;
            for (Index f = 0; f < d; ++f) {
                to[f * kGroup] =
                    j < k ? double(centers[j * d + f]) : std::numeric_limits<double>::quiet_NaN();
            }
        }
    }
};

// Centers for rows about which scores in float decide nothing. Each kind is made when a thread
// first needs it: mostly never. Threads share them; the centers are the caller's to keep.
template <typename T>
class RareCenters {
public:
    // `width`: of a panel of doubles.
    RareCenters(const T* centers, const Origin<T>& origin, Index k, Index d, Index width,
                double scale = 0)
        : centers_(centers), origin_(origin), k_(k), d_(d), width_(width), scale_(scale) {}

    const Panels<double>& wide() {
        std::call_once(wide_made_,
                       [this] { wide_.set(centers_, origin_, k_, d_, width_, scale_); });
        return wide_;
    }
    const DirectCenters& direct() {
        std::call_once(direct_made_, [this] { direct_.set(centers_, k_, d_); });
        return direct_;
    }

private:
    const T* const centers_;  // (k, d)
    const Origin<T> origin_;
    const Index k_, d_, width_;
    const double scale_;
    Panels<double> wide_;
    DirectCenters direct_;
    std::once_flag wide_made_, direct_made_;
};

}  // namespace lab
