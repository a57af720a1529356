// Steps of prepared rows that keep their sums: the means may be the next centers.

#pragma once

namespace lab {

inline constexpr char kNoMeans[] =
    "a step without centers must follow a step that left no cluster empty; give centers";

// Bounds of the squared distance between the centers of a step and their means.
struct Shift {
    double low = 0, high = 0;
};

}  // namespace lab
