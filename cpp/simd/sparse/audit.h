// An audit of every pass over sparse rows, in builds with LAB_AUDIT: slow.

#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "common/types.h"
#include "simd/sparse/work.h"

namespace lab {

#if defined(LAB_AUDIT)
constexpr bool kAudited = true;

// No candidate of the seeding that is nearer to a row was ruled out.
inline void audit_near(bool nearer, bool possible) {
    if (nearer && !possible) throw std::logic_error("a nearer candidate was ruled out");
}

// Each row must be with the center that the reference finds, and its bounds must hold for the
// reference's scores. Throws where they do not.
template <typename T>
void audit(SparseWork<T>& work) {
    const double units = work.scale * work.scale;
    for (Index i = 0; i < work.rows.n_samples; ++i) {
        const std::int32_t label = work.labels[i];
        double best = std::numeric_limits<double>::infinity(), others = best, own = best;
        std::int32_t nearest = 0;
        for (Index j = 0; j < work.screen.n_clusters; ++j) {
            const double product = work.reference.product(work.rows, i, j);
            const double score = work.reference.square(j) - 2 * product;
            if (score < best) {
                best = score;
                nearest = std::int32_t(j);
            }
            double& least = j == label ? own : others;
            least = score < least ? score : least;
        }
        if (nearest != label) throw std::logic_error("a row is with a center that is not nearest");
        if (!work.bounding) continue;
        if (own * units > double(work.own[i])) throw std::logic_error("a bound of the own score");
        if (others * units < double(work.others[i]))
            throw std::logic_error("a bound of the others");
    }
}
#else
constexpr bool kAudited = false;
inline void audit_near(bool, bool) {}
template <typename T>
inline void audit(SparseWork<T>&) {}
#endif

}  // namespace lab
