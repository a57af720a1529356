// A row or a center as whole numbers of 16 bits, and a scale: products of two copies are exact.

#pragma once

#include <cstdint>

#include "common/types.h"

namespace lab {

struct ShortCopy {
    double square = 0;  // of the length that is copied
    float scale = 0;    // of the whole numbers
    float error = 0;    // of the copy, in its length; rounded up
};

// Copy values relative to a middle, times a power of two: two features each in pairs. The scratch
// has room for d values and a vector.
template <typename T>
using CopyShort = ShortCopy (*)(const T* values, const T* middle, double scale, Index d,
                                float* scratch, std::int32_t* pairs);

}  // namespace lab
