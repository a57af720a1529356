// What follows for a center from the sums that have changed: its length, how far it has moved.
//
// Computed in double from the changed sums alone, with bounds of the errors: decisions that rely on
// them do so within these.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "common/types.h"
#include "simd/sparse/work.h"

namespace lab {

constexpr double kRounding = std::numeric_limits<double>::epsilon();  // two units of rounding

// How far a coordinate is from the mean, as the driver rounds it: the sum, the quotient, the dtype.
template <typename T>
constexpr double kOffMean = kRounding + double(std::numeric_limits<T>::epsilon()) * 0.5;

// Changes D of the sums S of a center.
struct Changed {
    Index n = 0;
    double squares = 0, products = 0, sizes = 0;  // Σ D², Σ S · D, Σ |S · D|

    void add(double change, double then) {
        ++n;
        squares += change * change;
        products += then * change;
        sizes += std::fabs(then * change);
    }
};

// Choose a power of two for the sums of a center, if the one it has does not fit any more.
template <typename T>
bool choose_exponent(SparseWork<T>& work, Index j) {
    int exponent;
    std::frexp(double(std::max<std::int64_t>(work.counts[j], 1)), &exponent);
    int& mine = work.screen.exponents[j];
    if (exponent == mine || exponent == mine + 1 || exponent == mine - 1) return false;
    mine = exponent;
    return true;
}

// Note ‖c‖² of a mean, of the squares of its sums; in units of X for the reference.
template <typename T>
void set_length(SparseWork<T>& work, Index j) {
    const double n = double(std::max<std::int64_t>(work.counts[j], 1));
    const double square = std::max(work.squares_of[j], 0.0) / n / n;
    const double off = work.squares_off[j] / n / n + 4 * kRounding * square;
    const double back = 1 / work.scale;
    const double used = double(work.used);
    // The coordinates are rounded, and so is their sum of squares.
    const double rounding = (2.1 * kOffMean<T> + (used + 8) * kRounding) * square;
    work.reference.estimate[j] = square * back * back;
    work.reference.off[j] =
        (off + rounding) * back * back + used * std::numeric_limits<double>::denorm_min();
    work.reference.forget(j);
    work.screen.norms[j] = square;
    work.screen.off = std::max(work.screen.off, off);
}

// A center whose sums have changed; it had `before` rows.
template <typename T>
void follow_center(SparseWork<T>& work, Index j, const Changed& changed, std::int64_t before) {
    Movement& moved = work.movement;
    const double then = double(std::max<std::int64_t>(before, 1));
    const double now = double(std::max<std::int64_t>(work.counts[j], 1));
    const double length = work.screen.norms[j];
    moved.shift[j] = moved.squares[j] = moved.growth[j] = moved.low[j] = moved.high[j] = 0;
    moved.length[j] = std::sqrt(length);
    if (changed.n == 0 && before == work.counts[j]) return;
    const double a = 1 / now, b = 1 / now - 1 / then;
    const double terms[] = {a * a * changed.squares, 2 * a * b * changed.products,
                            b * b * work.squares_of[j]};
    const double sizes = terms[0] + 2 * a * std::fabs(b) * changed.sizes + terms[2];
    const double off = (double(changed.n) + 16) * kRounding * sizes + b * b * work.squares_off[j];
    const double square = terms[0] + terms[1] + terms[2];
    work.squares_off[j] += (double(changed.n) + 8) * kRounding *
                           (work.squares_of[j] + 2 * changed.sizes + changed.squares);
    work.squares_of[j] += 2 * changed.products + changed.squares;
    set_length(work, j);
    const double low = std::sqrt(std::max(square - off, 0.0));
    const double high = std::sqrt(std::max(square, 0.0) + off) * (1 + 4 * kRounding);
    const double longer = std::sqrt(std::max(length, work.screen.norms[j])) * 1.01;
    moved.shift[j] = high;
    moved.squares[j] = work.screen.norms[j] - length;
    moved.growth[j] = then / now - 1;
    moved.low[j] = std::max(low - 2.1 * kOffMean<T> * longer, 0.0);
    moved.high[j] = high + 2.1 * kOffMean<T> * longer;
}

}  // namespace lab
