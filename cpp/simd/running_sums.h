// Sums and counts of all chunks as they were last read, and the inertia that follows from them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/types.h"
#include "simd/sums.h"
#include "simd/work.h"

namespace lab {

class RunningSums {
public:
    // Read those of the clusters whose rows have changed since they were read.
    void read(std::vector<Chunk>& chunks, const Split& split, Index n_clusters, Index d) {
        const Index size = split.size();
        sums_.resize(n_clusters * d);
        counts_.resize(n_clusters);
        std::vector<std::int64_t> limbs(size);
        for (Index j = 0; j < n_clusters; ++j) {
            bool touched = false;
            for (Chunk& chunk : chunks) {
                touched = touched || chunk.touched[j] != 0;
                chunk.touched[j] = 0;
            }
            if (!touched) continue;
            std::fill(limbs.begin(), limbs.end(), 0);
            counts_[j] = 0;
            for (const Chunk& chunk : chunks) {
                const std::int64_t* own = chunk.limbs.data() + j * size;
                for (Index i = 0; i < size; ++i) limbs[i] += own[i];
                counts_[j] += chunk.counts[j];
            }
            split.round(limbs.data(), d, sums_.data() + j * d);
        }
    }

    void add_to(double* sums, std::int64_t* counts) const {
        for (std::size_t i = 0; i < sums_.size(); ++i) sums[i] += sums_[i];
        for (std::size_t j = 0; j < counts_.size(); ++j) counts[j] += counts_[j];
    }

    // Σ‖x − c‖² = Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum). It follows from the sums alone, since no
    // product is fused with an addition.
    template <typename T>
    double inertia(double squares, const T* centers, Index d) const {
        double inertia = squares;
        for (std::size_t j = 0; j < counts_.size(); ++j) {
            const T* center = centers + Index(j) * d;
            const double* sum = sums_.data() + Index(j) * d;
            double change = 0;
            for (Index f = 0; f < d; ++f) {
                const double c = double(center[f]);
                change += rounded(c * (rounded(double(counts_[j]) * c) - 2 * sum[f]));
            }
            inertia += change;
        }
        return inertia;
    }

private:
    std::vector<double> sums_;  // (n_clusters, n_features)
    std::vector<std::int64_t> counts_;
};

}  // namespace lab
