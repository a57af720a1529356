// The centers of a pass, laid out as the routines read them.

#pragma once

#include <cmath>
#include <limits>

#include "common/aligned.h"
#include "common/types.h"

namespace lab {

// Centers as the routines read them. All values are −2c, so that a score ‖c‖² − 2x·c is a chain of
// multiply-adds that begins with `squares`; padding centers are at infinity.
template <typename T>
struct Centers {
    const T* given = nullptr;  // (n_clusters, n_features): c itself
    Index n_clusters = 0, padded = 0, panel = 0;
    Aligned<T> packed;   // (padded / panel, n_features, panel): every row meets every center
    Aligned<T> squares;  // (padded,): ‖c‖²
    double longest = 0;  // max ‖c‖

    void set(const T* centers, Index k, Index d, Index panel_width) {
        given = centers;
        n_clusters = k;
        panel = panel_width;
        padded = k / panel * panel + panel;  // one padding center at least
        packed.resize(padded * d);
        squares.resize(padded);
        longest = 0;
        for (Index j = 0; j < padded; ++j) {
            T* to = packed.data() + (j / panel) * panel * d + j % panel;
            double square = 0;
            for (Index f = 0; f < d; ++f) {
                const T value = j < k ? centers[j * d + f] : T(0);
                to[f * panel] = T(-2) * value;
                square += double(value) * double(value);
            }
            squares[j] = j < k ? T(square) : std::numeric_limits<T>::infinity();
            longest = std::fmax(longest, std::sqrt(square));
        }
        padded = (k + panel - 1) / panel * panel;
    }
};

}  // namespace lab
