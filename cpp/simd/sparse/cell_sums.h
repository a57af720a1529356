// Exact sums of every center and feature: those of one center lie together, in the nearest cache
// while rows join and leave it.
//
// As in simd/sums.h, but with one split for all values: columns of sparse rows are too many to be
// looked up, and too alike.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "common/aligned.h"
#include "common/compiler.h"
#include "common/types.h"
#include "simd/sums.h"

namespace lab {

// Limbs of 40 bits, as many as hold each value to its last digit: two for texts in float64, one in
// float32. Four hold values that differ by 10^31. Where a column has smaller ones beside its
// largest, these count in multiples of 2^-157 of the largest, in whatever order they come.
class Limbs {
public:
    // `most`, `least`: magnitudes of the values, zeros aside; `digits`: binary ones of a value.
    void choose(double most, double least, int digits, Index n) {
        int rows = 1;
        while (n >> rows != 0) ++rows;
        bits_ = std::min(40, 62 - rows);
        count_ = 1;
        int top = 0;
        if (most > 0) {
            int above, below;  // most < 2^above, 2^(below − 1) ≤ least
            std::frexp(most, &above);
            std::frexp(least, &below);
            top = above - (bits_ - 2);
            const int more = std::max(0, top - (below - digits));
            count_ = std::min(kMostLimbs, 1 + Index(more + bits_ - 1) / bits_);
        }
        top = std::max(top, kSmallest + bits_ * int(count_ - 1));
        for (Index q = 0; q < count_; ++q) {
            magic_[q] = std::ldexp(kRoundsToUnit, top - int(q) * bits_);
        }
        lowest_ = top - int(count_ - 1) * bits_;
        unit_ = std::ldexp(1.0, lowest_);
        up_ = double(std::int64_t(1) << bits_);
    }

    // Add a value, or take it out again: sign 1 or −1.
    LAB_MEMBER void add(std::int64_t* limbs, double value, std::int64_t sign) const {
        limbs[0] += sign * split(value, magic_[0]);
        for (Index q = 1; q < count_; ++q) limbs[q] += sign * split(value, magic_[q]);
    }

    // The sum, rounded once.
    LAB_MEMBER double value(const std::int64_t* limbs) const {
        constexpr std::int64_t whole = std::int64_t(1) << 53;  // up to here integers are doubles
        if (count_ == 1) return double(limbs[0]) * unit_;
        if (count_ == 2 && std::max(std::abs(limbs[0]), std::abs(limbs[1])) < whole) {
            return (double(limbs[0]) * up_ + double(limbs[1])) * unit_;
        }
        return round_limbs(limbs, 1, count_, bits_, lowest_);
    }

    // The sums of n features, each rounded once.
    LAB_MEMBER void values(const std::int64_t* limbs, Index n, double* sums) const {
        if (count_ == 2) {
            std::uint64_t most = 0;  // no smaller than any magnitude
            for (Index f = 0; f < 2 * n; ++f) {
                most |= std::uint64_t(limbs[f] < 0 ? ~limbs[f] : limbs[f]);
            }
            if (most >> 53 == 0) {
                for (Index f = 0; f < n; ++f) {
                    sums[f] = (double(limbs[2 * f]) * up_ + double(limbs[2 * f + 1])) * unit_;
                }
                return;
            }
        }
        for (Index f = 0; f < n; ++f) sums[f] = value(limbs + f * count_);
    }

    Index count() const { return count_; }

    // Whether a sum is zero; most of a table are.
    LAB_MEMBER bool zero(const std::int64_t* limbs) const {
        std::int64_t any = limbs[0];
        for (Index q = 1; q < count_; ++q) any |= limbs[q];
        return any == 0;
    }

    static constexpr Index kMostLimbs = 4;

private:
    int bits_ = 40, lowest_ = 0;
    Index count_ = 1;
    double magic_[kMostLimbs] = {}, unit_ = 1, up_ = 1;
};

// The limbs of every feature and center.
class CellSums : public Limbs {
public:
    // Empty sums of d features and k centers.
    void begin(Index d, Index k) {
        const std::size_t size = std::size_t(d) * std::size_t(k) * std::size_t(count());
        limbs_.resize_to_zeros(size);
        k_ = k;
        d_ = d;
    }
    Index k() const { return k_; }

    // The limbs of a feature and a center.
    std::int64_t* at(Index f, Index j) { return limbs_.data() + (j * d_ + f) * count(); }
    const std::int64_t* at(Index f, Index j) const {
        return limbs_.data() + (j * d_ + f) * count();
    }

    using Limbs::value;
    double value(Index f, Index j) const { return value(at(f, j)); }

private:
    Index k_ = 0, d_ = 0;
    Aligned<std::int64_t> limbs_;  // (n_clusters, n_features, count)
};

}  // namespace lab
