// Greedy k-means++ for sparse rows, measured as squared_distances of kmeans_lab/sparse/numerics.py
// measures: ‖x − c‖² = Σ (x_f − c_f)² over the features that the row stores, in their order, and
// what the center has elsewhere, ‖c‖² − Σ c_f² over these. The same rows are drawn.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/seeding/seeding.h"
#include "simd/sparse/routines.h"
#include "simd/sums.h"
#include "simd/team.h"
#include "sparse/rows.h"

namespace lab {

template <typename T>
class SparseSeeding {
public:
    SparseSeeding(const SparseRows<T>& rows, const SparseRoutines<T>& routines, Team& team,
                  Interrupt& interrupt)
        : rows_(rows),
          routines_(routines),
          team_(team),
          interrupt_(interrupt),
          stretches_(rows.n_samples,
                     std::max(kPiece, (rows.n_samples / kMostPieces + kPiece) / kPiece * kPiece)) {
        nearest_.resize(std::size_t(rows.n_samples));
        std::fill_n(nearest_.data(), rows.n_samples, std::numeric_limits<double>::infinity());
        candidates_.present.assign(std::size_t(rows.n_features), 0);
        squares_.resize(std::size_t(rows.n_samples));
        for (Index i = 0; i < rows.n_samples; ++i) {
            double square = 0;
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                square += rounded(double(rows.data[p]) * double(rows.data[p]));
            }
            squares_[std::size_t(i)] = square;
        }
        candidates_.values.resize(std::size_t(rows.n_features * kSeedLanes));
        std::fill_n(candidates_.values.data(), rows.n_features * kSeedLanes, 0.0);
    }

    const Stretches& stretches() const { return stretches_; }
    const Grid& grid() const { return grid_; }

    // Make a row a center.
    void keep(Index row) {
        set({row});
        each_stretch(1, [&](Index s, Index first, Index last) {
            routines_.keep_candidate(rows_, candidates_, first, last, squares_.data(),
                                     nearest_.data());
            stretches_.sums[s] = sum(first, last);
        });
        stretches_.add_up();
    }

    // The rows at which the running sum passes targets.
    std::vector<Index> find(const std::vector<double>& targets) const {
        std::vector<Index> rows;
        for (const double target : targets) {
            const auto place = stretches_.passing(target, nearest_.data());
            rows.push_back(stretches_.row_passing(place, target, grid_));
        }
        return rows;
    }

    // The row with which the sum is least, the first of equals.
    Index best_of(const std::vector<Index>& rows) {
        std::vector<std::int64_t> totals;
        for (Index done = 0; done < Index(rows.size()); done += kSeedLanes) {
            const Index end = std::min(done + kSeedLanes, Index(rows.size()));
            set({rows.begin() + done, rows.begin() + end});
            parts_.assign(stretches_.sums.size() * kSeedLanes, 0);
            each_stretch(kSeedLanes, [&](Index s, Index first, Index last) {
                routines_.try_candidates(rows_, candidates_, first, last, squares_.data(),
                                         nearest_.data(), grid_, &parts_[s * kSeedLanes]);
            });
            for (Index c = 0; c < end - done; ++c) {
                std::int64_t total = 0;
                for (std::size_t s = 0; s < stretches_.sums.size(); ++s) {
                    total += parts_[s * kSeedLanes + c];
                }
                totals.push_back(total);
            }
        }
        return rows[std::min_element(totals.begin(), totals.end()) - totals.begin()];
    }

    void lay(const Grid& grid) {
        grid_ = grid;
        each_stretch(
            1, [&](Index s, Index first, Index last) { stretches_.sums[s] = sum(first, last); });
        stretches_.add_up();
    }

    double find_largest() { return largest_of(nearest_.data(), rows_.n_samples); }

private:
    static constexpr Index kPiece = 1024;      // stretches are as many rows, or multiples
    static constexpr Index kMostPieces = 256;  // enough for many threads to share

    std::int64_t sum(Index first, Index last) const {
        std::int64_t steps = 0;
        for (Index i = first; i < last; ++i) steps += grid_.steps(nearest_[i]);
        return steps;
    }

    // Write some rows, each in a lane of its own; what was there before is taken out.
    void set(const std::vector<Index>& rows) {
        double* values = candidates_.values.data();
        for (const Index at : written_) {
            values[at] = 0;
            candidates_.present[std::size_t(at / kSeedLanes)] = 0;
        }
        written_.clear();
        for (std::size_t c = 0; c < rows.size(); ++c) {
            double norm = 0;
            for (Index p = rows_.first(rows[c]), end = p + rows_.size(rows[c]); p < end; ++p) {
                const double value = double(rows_.data[p]);
                const Index at = Index(rows_.indices[p]) * kSeedLanes + Index(c);
                values[at] = value;
                written_.push_back(at);
                candidates_.present[std::size_t(rows_.indices[p])] |= std::uint8_t(1u << c);
                norm += rounded(value * value);
            }
            candidates_.norms[c] = norm;
        }
    }

    template <typename Task>
    void each_stretch(Index met, const Task& task) {
        const Index length = stretches_.n_rows, n = rows_.n_samples;
        const double values = double(rows_.n_values()) / double(std::max(Index(1), n));
        interrupt_.begin(double(met) * double(length) * (values + 1));
        team_.run(int(stretches_.sums.size()), [&](int s, int) {
            if (!interrupt_.came()) task(s, s * length, std::min((s + 1) * length, n));
        });
        if (interrupt_.came()) throw Interrupted();
    }

    const SparseRows<T>& rows_;
    const SparseRoutines<T>& routines_;
    Team& team_;
    Interrupt& interrupt_;
    Stretches stretches_;
    Grid grid_;
    Aligned<double> nearest_;  // (n_samples,): squared distances to the nearest center
    Aligned<double> squares_;  // (n_samples,): ‖x‖²
    SeedCandidates candidates_;
    std::vector<Index> written_;  // places of the candidates' values
    std::vector<std::int64_t> parts_;
};

}  // namespace lab
