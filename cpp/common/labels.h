// Labels as update and inertia take them: each names a cluster.

#pragma once

#include <cstdint>
#include <stdexcept>

#include "common/types.h"

namespace lab {

constexpr const char* kRowsOfSums =
    "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; assign "
    "writes "
    "such labels";
constexpr const char* kRowsOfCenters =
    "inertia needs labels from 0 to n_clusters - 1, each of which names a row of centers; assign "
    "writes such labels";

// Refuse labels out of range before one of them is written to. One sign bit serves all rows: a
// label below zero has it, and so has last - label beyond the last; the compiler takes several
// labels at a time.
inline void require_clusters(const std::int32_t* labels, Index n, Index n_clusters,
                             const char* rule = kRowsOfSums) {
    const std::uint32_t last = std::uint32_t(n_clusters) - 1;
    std::uint32_t bits = 0;
    for (Index i = 0; i < n; ++i) {
        const std::uint32_t label = std::uint32_t(labels[i]);
        bits |= label | (last - label);
    }
    if (bits >> 31 != 0) {
        throw std::invalid_argument(rule);
    }
}

}  // namespace lab
