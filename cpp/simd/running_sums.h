// Sums and counts of all chunks as they were last read, and the inertia that follows from them.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/types.h"
#include "simd/engines/engine.h"
#include "simd/partial.h"
#include "simd/sums.h"

namespace lab {

class RunningSums {
public:
    // Read those of the clusters whose rows have changed since they were read: d features each and,
    // with weights, one column more, the mass.
    template <typename Slot>
    void read(std::vector<Slot>& slots, const Split& split, Index n_clusters, Index d,
              bool weighted) {
        const Index size = split.size(), columns = d + (weighted ? 1 : 0);
        d_ = d;
        weighted_ = weighted;
        sums_.resize(n_clusters * d);
        counts_.resize(n_clusters);
        masses_.resize(n_clusters);
        std::vector<std::int64_t> limbs(size);
        std::vector<double> own(columns);
        for (Index j = 0; j < n_clusters; ++j) {
            bool touched = false;
            for (const Slot& slot : slots) touched = touched || slot.touched[j] != 0;
            if (!touched) continue;
            std::fill(limbs.begin(), limbs.end(), 0);
            counts_[j] = 0;
            for (const Partial& slot : slots) {
                const std::int64_t* some = slot.limbs.data() + j * size;
                for (Index i = 0; i < size; ++i) limbs[i] += some[i];
                counts_[j] += slot.counts[j];
            }
            split.round(limbs.data(), columns, own.data());
            std::copy_n(own.data(), d, sums_.data() + j * d);
            masses_[j] = weighted ? own[d] : double(counts_[j]);
            for (Slot& slot : slots) slot.touched[j] = 0;  // not before: memory may run out
        }
    }

    // The same, added to the caller's, where there are any; returns the inertia, where it is
    // wanted. `squares`: Σ‖x‖².
    template <typename T>
    double end_pass(std::vector<Partial>& slots, const Split& split, Index d, bool weighted,
                    double squares, const PassArrays<T>& to) {
        read(slots, split, to.k, d, weighted);
        if (to.sums) add_to(to);
        return to.inertia ? std::max(inertia(squares, to.centers), 0.0) : 0.0;
    }

    template <typename T>
    void add_to(const PassArrays<T>& to) const {
        for (std::size_t i = 0; i < sums_.size(); ++i) to.sums[i] += sums_[i];
        for (std::size_t j = 0; j < counts_.size(); ++j) {
            weighted_ ? void(to.masses[j] += masses_[j]) : void(to.counts[j] += counts_[j]);
        }
    }

    // Σ‖x − c‖² = Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum). It follows from the sums alone, since no
    // product is fused with an addition.
    template <typename T>
    double inertia(double squares, const T* centers) const {
        double inertia = squares;
        for (std::size_t j = 0; j < counts_.size(); ++j) {
            const T* center = centers + Index(j) * d_;
            const double* sum = sums_.data() + Index(j) * d_;
            double change = 0;
            for (Index f = 0; f < d_; ++f) {
                const double c = double(center[f]);
                change += rounded(c * (rounded(masses_[j] * c) - 2 * sum[f]));
            }
            inertia += change;
        }
        return inertia;
    }

private:
    Index d_ = 0;
    bool weighted_ = false;
    std::vector<double> sums_;    // (n_clusters, n_features)
    std::vector<double> masses_;  // (n_clusters,): weights of the rows, or their number
    std::vector<std::int64_t> counts_;
};

// Add the sums of d features and the counts of each cluster that has rows.
inline void add_rounded(const Partial& from, const Split& split, Index columns, Index d,
                        double* sums, std::int64_t* counts) {
    std::vector<double> own(columns);
    for (std::size_t j = 0; j < from.counts.size(); ++j) {
        if (from.counts[j] == 0) continue;
        split.round(from.limbs.data() + Index(j) * split.size(), columns, own.data());
        for (Index f = 0; f < d; ++f) sums[Index(j) * d + f] += own[f];
        counts[j] += from.counts[j];
    }
}

}  // namespace lab
