// Places of the bits that are set in a byte, from the lowest on.

#pragma once

#include <cstdint>

namespace lab {

struct Places {
    std::int32_t of[256][8] = {};
    unsigned char count[256] = {};

    constexpr Places() {
        for (int bits = 0; bits < 256; ++bits) {
            for (int b = 0; b < 8; ++b) {
                if (bits >> b & 1) of[bits][count[bits]++] = b;
            }
        }
    }
};
inline constexpr Places kPlaces;

}  // namespace lab
