// Sums that no order can change: integers do not round.
//
// The values of a column are split into limbs, integers of `bits` bits each, which are added as
// int64. Whatever the order of the rows, the chunks, threads and instruction sets, the total is the
// same, and a row that leaves takes out exactly what it brought. A sum is rounded once, when it is
// read. The idea of splitting by adding and subtracting a large number is Rump, Ogita and Oishi's
// ("Accurate floating-point summation", SIAM J. Sci. Comput. 31, 2008); sums of integers that do
// not depend on order are Neal's ("Fast exact summation using small and large superaccumulators",
// 2015).

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "common/compiler.h"
#include "common/types.h"

namespace lab {

// The value, unchanged: a product that is passed through here is not fused with an addition.
inline double rounded(double value) {
    LAB_HIDE(value);
    return value;
}

constexpr int kSmallest = -1074;                      // the exponent of the smallest double
constexpr double kRoundsToUnit = 6755399441055744.0;  // 1.5 · 2^52; times a unit: see split

// Σ limbs[q · stride] · 2^(lowest + bits · (count − 1 − q)), rounded once to double, ties to even.
inline double round_limbs(const std::int64_t* limbs, Index stride, Index count, int bits,
                          int lowest) {
    // Carried: each limb but the first in [0, 2^bits).
    std::vector<std::int64_t> carried(count);
    const std::int64_t mask = (std::int64_t(1) << bits) - 1;
    const auto carry = [&](int sign) {
        std::int64_t over = 0;
        for (Index q = count - 1; q >= 0; --q) {
            const std::int64_t limb = sign * limbs[q * stride] + over;
            carried[q] = q > 0 ? limb & mask : limb;
            over = limb >> bits;
        }
    };
    carry(+1);
    const bool negative = carried[0] < 0;
    if (negative) carry(-1);
    // The topmost bits that a signed integer takes; a set bit below them, of whatever place, is
    // kept in the last one, which is too low to be part of the result.
    std::uint64_t top = 0;
    int scale = lowest + bits * int(count - 1);
    bool lost = false;
    for (Index q = 0; q < count; ++q) {
        std::uint64_t limb = std::uint64_t(carried[q]);
        int width = q > 0 ? bits : 63;
        if (q > 0) scale -= bits;
        if (top == 0) {
            top = limb;
            continue;
        }
        int room = 0;
        while (room < width && top >> (61 - room) == 0) ++room;
        const int below = width - room;
        top = top << room | limb >> below;
        lost = lost || (limb & ((std::uint64_t(1) << below) - 1)) != 0;
        if (below > 0) {
            scale += below;
            for (++q; q < count; ++q) lost = lost || carried[q] != 0;
            break;
        }
    }
    const double value =
        std::ldexp(double(std::int64_t(top << 1 | std::uint64_t(lost))), scale - 1);
    return negative ? -value : value;
}

// An exact sum of doubles: bins of 32 bits cover every exponent.
class ExactSum {
public:
    typedef double Two __attribute__((vector_size(16)));

    void add(double value) {
        if (!std::isfinite(value)) {
            beyond_ += value;
            return;
        }
        std::uint64_t word;
        std::memcpy(&word, &value, sizeof word);
        const int exponent = int(word >> 52 & 0x7ff);
        std::uint64_t digits = word & ((std::uint64_t(1) << 52) - 1);
        if (exponent > 0) digits |= std::uint64_t(1) << 52;
        const int place = exponent > 0 ? exponent - 1 : 0;  // of the lowest digit, above 2^-1074
        const std::int64_t sign = word >> 63 ? -1 : 1;
        const int off = place % kBits;
        std::int64_t* bin = bins_ + place / kBits;
        bin[0] += sign * std::int64_t(digits << off & kMask);
        bin[1] += sign * std::int64_t((digits >> (kBits - off)) & kMask);
        bin[2] += sign * std::int64_t(off > 0 ? digits >> (2 * kBits - off) : 0);
        if (++added_ == kMostAdded) carry();
    }

    // Up to kTogether values, several vectors side by side: parts of them that doubles add without
    // rounding, the highest first, until nothing is left. The values are lost.
    template <typename Vector = Two>
    LAB_MEMBER void add(double* values, Index n) {
        constexpr Index lanes = sizeof(Vector) / sizeof(double), step = kSide * lanes;
        using Mask = decltype(Vector{} != Vector{});
        const Index whole = n - n % step;
        const double most = largest<Vector>(values, whole);
        // Splitting would overflow; or not a number.
        const Index alone = most < 0x1p960 ? whole : 0;
        for (Index i = alone; i < n; ++i) add(values[i]);
        if (alone == 0 || most == 0) return;
        // What is left of a value is no more than half a unit.
        int exponent = std::ilogb(most) - 41;
        for (bool left = true; left; exponent -= 42) {
            const double magic = std::ldexp(kRoundsToUnit, std::max(exponent, kSmallest));
            Vector sums[kSide] = {};
            Mask rests[kSide] = {};
            for (Index i = 0; i < whole; i += step) {
                for (int v = 0; v < kSide; ++v) {
                    Vector value;
                    std::memcpy(&value, values + i + v * lanes, sizeof value);
                    const Vector part = (value + magic) - magic;
                    sums[v] += part;
                    value -= part;
                    rests[v] |= value != 0.0;
                    std::memcpy(values + i + v * lanes, &value, sizeof value);
                }
            }
            left = false;
            for (int v = 0; v < kSide; ++v) {
                for (Index l = 0; l < lanes; ++l) {
                    add(double(sums[v][l]));
                    left = left || rests[v][l] != 0;
                }
            }
        }
    }

    void add(const ExactSum& other) {
        carry();
        for (int b = 0; b < kBins; ++b) bins_[b] += other.bins_[b];
        beyond_ += other.beyond_;
        carry();
    }

    double value() const {
        if (beyond_ != 0) return beyond_;  // not a number, too
        std::int64_t limbs[kBins];
        std::reverse_copy(bins_, bins_ + kBins, limbs);
        return round_limbs(limbs, 1, kBins, kBits, kSmallest);
    }

    // Numbers whose exact sum this is: those of several sums can be added up together.
    std::vector<double> parts() {
        carry();
        std::vector<double> found;
        for (int b = 0; b < kBins; ++b) {
            if (bins_[b] != 0) found.push_back(std::ldexp(double(bins_[b]), kSmallest + b * kBits));
        }
        if (beyond_ != 0) found.assign(1, beyond_);
        return found;
    }

    static constexpr Index kTogether = 1024;

private:
    static constexpr int kBits = 32, kSide = 2;
    static constexpr int kBins = 2046 / kBits + 4;  // room for a sum beyond the largest double
    static constexpr std::uint64_t kMask = (std::uint64_t(1) << kBits) - 1;
    static constexpr Index kMostAdded = Index(1) << 29;

    // Not a number where one is not finite.
    template <typename Vector>
    LAB_MEMBER static double largest(const double* values, Index n) {
        constexpr Index lanes = sizeof(Vector) / sizeof(double);
        Vector most[kSide] = {}, zeros[kSide] = {};
        for (Index i = 0; i < n; i += kSide * lanes) {
            for (int v = 0; v < kSide; ++v) {
                Vector value;
                std::memcpy(&value, values + i + v * lanes, sizeof value);
                const Vector size = value < 0.0 ? -value : value;
                most[v] = size > most[v] ? size : most[v];
                zeros[v] += value * 0.0;
            }
        }
        double all = 0, zero = 0;
        for (int v = 0; v < kSide; ++v) {
            for (Index l = 0; l < lanes; ++l) {
                all = std::max(all, double(most[v][l]));
                zero += double(zeros[v][l]);
            }
        }
        return all + zero;
    }

    void carry() {
        for (int b = 0; b + 1 < kBins; ++b) {
            bins_[b + 1] += bins_[b] >> kBits;
            bins_[b] &= std::int64_t(kMask);
        }
        added_ = 0;
    }

    std::int64_t bins_[kBins] = {};
    double beyond_ = 0;  // the sum of what is infinite or not a number
    Index added_ = 0;
};

// The largest and smallest magnitudes of each column, lane by lane; zeros do not count.
template <typename T>
struct Range {
    static constexpr Index lanes = 64 / sizeof(T);  // of the widest vector
    std::vector<T> most, least;                     // (n_features, lanes)

    void begin(Index d) {
        most.assign(d * lanes, T(0));
        least.assign(d * lanes, std::numeric_limits<T>::infinity());
    }
    void join(const Range& other) {
        for (std::size_t i = 0; i < most.size(); ++i) {
            most[i] = std::max(most[i], other.most[i]);
            least[i] = std::min(least[i], other.least[i]);
        }
    }
};

// How the values of each column are split: the first limb counts in the largest unit, each further
// one in a unit of 2^-bits of the one before, and the last unit divides every value of the column.
struct Split {
    int bits = 40;              // of a limb: with few enough for all rows no sum overflows
    Index count = 1;            // limbs of a value
    Index stride = 0;           // from a limb of one cluster's sum to its next
    std::vector<double> magic;  // (count, stride): 1.5 · 2^52 units; see split
    std::vector<int> lowest;    // (n_features,): exponent of the last unit
    std::vector<double> unit;   // (n_features,): the last unit, where one or two limbs are enough

    // `digits`: binary ones of a value. Few columns are padded, too, where whole vectors are added.
    template <typename T>
    void choose(const Range<T>& range, int digits, Index n, Index d, bool padded = false) {
        constexpr Index lanes = Range<T>::lanes;
        int rows = 1;
        while (n >> rows != 0) ++rows;
        bits = std::min(40, 62 - rows);
        count = 1;
        stride = d < 8 && !padded ? d : (d + 7) / 8 * 8;
        std::vector<int> top(d);
        for (Index f = 0; f < d; ++f) {
            const T* most = range.most.data() + f * lanes;
            const T* least = range.least.data() + f * lanes;
            const T largest = *std::max_element(most, most + lanes);
            const T smallest = *std::min_element(least, least + lanes);
            if (!(largest > 0)) continue;
            int above, below;  // largest < 2^above, 2^(below − 1) ≤ smallest
            std::frexp(largest, &above);
            std::frexp(smallest, &below);
            top[f] = above - (bits - 2);
            const int last = below - digits;  // of the lowest digit
            count = std::max(count, 1 + Index(std::max(0, top[f] - last) + bits - 1) / bits);
        }
        lowest.resize(d);
        magic.assign(count * stride, kRoundsToUnit);
        // Columns share the number of limbs, and the last unit of none is less than any double.
        const int least = kSmallest + bits * int(count - 1);
        for (Index f = 0; f < d; ++f) {
            top[f] = std::max(top[f], least);
            for (Index q = 0; q < count; ++q) {
                magic[q * stride + f] = std::ldexp(kRoundsToUnit, top[f] - int(q) * bits);
            }
            lowest[f] = top[f] - int(count - 1) * bits;
        }
        unit.resize(d);
        for (Index f = 0; f < d; ++f) unit[f] = std::ldexp(1.0, lowest[f]);
    }

    // The sum of one cluster, rounded to doubles.
    void round(const std::int64_t* limbs, Index d, double* to) const {
        constexpr std::int64_t whole = std::int64_t(1) << 53;  // up to here integers are doubles
        const double up = double(std::int64_t(1) << bits);
        for (Index f = 0; f < d; ++f) {
            const std::int64_t high = limbs[f], low = count == 2 ? limbs[stride + f] : 0;
            if (count == 1) {
                to[f] = double(high) * unit[f];
            } else if (count == 2 && std::max(std::abs(high), std::abs(low)) < whole) {
                to[f] = (double(high) * up + double(low)) * unit[f];
            } else {
                to[f] = round_limbs(limbs + f, stride, count, bits, lowest[f]);
            }
        }
    }

    Index size() const { return count * stride; }  // of one cluster's limbs
};

// The nearest multiple of a unit, as an integer of units; `value` keeps what is left of it.
inline std::int64_t split(double& value, double magic) {
    const double shifted = value + magic;
    value -= shifted - magic;
    std::int64_t word, zero;
    std::memcpy(&word, &shifted, sizeof word);
    std::memcpy(&zero, &magic, sizeof zero);
    return word - zero;
}

}  // namespace lab
