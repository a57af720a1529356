// Sums of distances that no order changes: whole steps of a grid.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace lab {

// Multiples of a power of two, the step. Numbers ≥ 0 are rounded to whole steps, so that their sums
// are exact, in any order. The same as Grid in kmeans_lab/numerics/grids.py.
struct Grid {
    double step, shift;   // shift: 3 · 2^51 steps
    std::int64_t offset;  // the bits of shift

    // For numbers whose sum is at most the bound, and then at most 2^51 steps.
    explicit Grid(double bound = std::numeric_limits<double>::infinity()) {
        int exponent = 1022;
        if (std::isfinite(bound)) std::frexp(bound, &exponent);
        exponent = std::clamp(exponent, -1023, 1022);
        step = std::ldexp(1.0, exponent - 51);
        shift = std::ldexp(1.5, exponent + 1);
        std::memcpy(&offset, &shift, sizeof(offset));
    }
    // Shifted, the number is rounded correctly, and its last bit is a step.
    std::int64_t steps(double value) const {
        const double shifted = value + shift;
        std::int64_t bits;
        std::memcpy(&bits, &shifted, sizeof(bits));
        return bits - offset;
    }
};

}  // namespace lab
