// Balls around rows that lie together, to rule out centers for all of them at once.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"

namespace lab {

// Balls that hold all rows of a tile or of a group of tiles. The balls of one
// parent lie side by side, so that lanes are balls when they are tested against one center.
template <typename T>
struct Balls {
    static constexpr Index kids = 64 / sizeof(T);  // of one parent; the widest vector

    Aligned<T> middle;  // (n_parents, n_features, kids)
    Aligned<T> square;  // (n_parents, kids): squared radius
    void resize(Index n_parents, Index d) {
        middle.resize(n_parents * d * kids);
        square.resize(n_parents * kids);
        std::fill_n(middle.data(), n_parents * d * kids, T(0));
        std::fill_n(square.data(), n_parents * kids, T(0));
    }
    T* middle_of(Index b, Index d) { return middle.data() + b / kids * kids * d + b % kids; }
    const T* middle_of(Index b, Index d) const {
        return middle.data() + b / kids * kids * d + b % kids;
    }
};

}  // namespace lab
