// Balls around rows that lie together, to rule out centers for all of them at once.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"

namespace lab {

// Balls that hold all rows of a tile, of a group of tiles, of a family of groups. The balls of one
// parent lie side by side, so that lanes are balls when they are tested against one center.
template <typename T>
struct Balls {
    static constexpr Index kids = 64 / sizeof(T);  // of one parent; the widest vector

    Aligned<T> middle;          // (n_parents, n_features, kids)
    Aligned<T> square;          // (n_parents, kids): squared radius
    std::vector<double> reach;  // (n_parents · kids,): the longest row in it; tiles: see Work
    // Written by passes: no memory is touched before forget.
    Aligned<std::int32_t> likely;  // (n_parents · kids,): the nearest center in the last pass
    Aligned<std::int32_t> owner;   // (n_parents · kids,): the cluster of all rows; −1: unknown

    void resize(Index n_parents, Index d) {
        middle.resize(n_parents * d * kids);
        square.resize(n_parents * kids);
        std::fill_n(middle.data(), n_parents * d * kids, T(0));
        std::fill_n(square.data(), n_parents * kids, T(0));
        likely.resize(n_parents * kids);
        owner.resize(n_parents * kids);
    }
    void resize_with_reach(Index n_parents, Index d) {
        resize(n_parents, d);
        reach.assign(n_parents * kids, 0.0);
    }
    void forget(Index first, Index last) {
        if (first >= last) return;
        std::fill(likely.data() + first, likely.data() + last, 0);
        std::fill(owner.data() + first, owner.data() + last, -1);
    }
    T* middle_of(Index b, Index d) { return middle.data() + b / kids * kids * d + b % kids; }
    const T* middle_of(Index b, Index d) const {
        return middle.data() + b / kids * kids * d + b % kids;
    }
};

}  // namespace lab
