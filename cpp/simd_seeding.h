// Greedy k-means++ over tiles: squared distances to the nearest center so far, and their sums.

#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "simd_work.h"

namespace lab {

// Team is what calls a task for each chunk: team(task).
template <typename T, typename Team>
class Seeding {
public:
    Seeding(const Work<T>& work, const std::vector<Chunk>& chunks, const Block<T>& block,
            long n_candidates, Team team)
        : work_(work),
          chunks_(chunks),
          block_(block),
          team_(team),
          stride_(n_candidates + 1),
          sums_(chunks.size()),
          trials_(chunks.size() * stride_),
          candidates_(stride_ * work.d) {
        const long padded = (work.n + work.width - 1) / work.width * work.width;
        nearest_.resize(padded);
        std::fill_n(nearest_.data(), padded, 0.0);
        std::fill_n(nearest_.data(), work.n, std::numeric_limits<double>::infinity());
    }

    // Make a row a center.
    void keep(long row) {
        copy(row, 0);
        team_([&](Chunk& chunk) {
            block_.try_one(work_, chunk, candidates_.data(), nearest_.data(), &sums_[index(chunk)],
                           true);
        });
    }

    // Of the rows at which the running sum passes each draw, the one that lowers the sum most; the
    // first of equals.
    long best_of(const double* draws, long n_candidates) {
        double total = 0;
        for (const double sum : sums_) total += sum;
        if (!(total > 0)) return long(draws[0] * double(work_.n));  // every row is a center
        std::vector<long> rows(n_candidates);
        for (long c = 0; c < n_candidates; ++c) {
            rows[c] = row_passing(draws[c] * total);
            copy(rows[c], c);
        }
        copy(rows[0], n_candidates);  // they are tried by twos
        team_([&](Chunk& chunk) {
            for (long c = 0; c < n_candidates; c += 2) {
                block_.try_two(work_, chunk, &candidates_[c * work_.d], nearest_.data(),
                               &trials_[index(chunk) * stride_ + c], false);
            }
        });
        long best = 0;
        double lowest = std::numeric_limits<double>::infinity();
        for (long c = 0; c < n_candidates; ++c) {
            double sum = 0;
            for (std::size_t i = 0; i < chunks_.size(); ++i) sum += trials_[i * stride_ + c];
            if (sum < lowest) {
                lowest = sum;
                best = c;
            }
        }
        return rows[best];
    }

private:
    long index(const Chunk& chunk) const { return &chunk - chunks_.data(); }

    void copy(long row, long c) {
        const T* x = work_.row_at(row);
        for (long f = 0; f < work_.d; ++f) candidates_[c * work_.d + f] = x[f * work_.width];
    }

    long row_passing(double target) const {
        double running = 0;
        for (std::size_t c = 0; c < chunks_.size(); ++c) {
            if (running + sums_[c] <= target) {
                running += sums_[c];
                continue;
            }
            const long first = chunks_[c].first_tile * work_.width;
            for (long i = first; i < first + chunks_[c].n_rows; ++i) {
                running += nearest_[i];
                if (running > target) return i;
            }
        }
        return work_.n - 1;
    }

    const Work<T>& work_;
    const std::vector<Chunk>& chunks_;
    const Block<T>& block_;
    Team team_;
    const long stride_;
    std::vector<double> sums_, trials_;
    std::vector<T> candidates_;
    Aligned<double> nearest_;
};

}  // namespace lab
