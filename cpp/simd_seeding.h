// Greedy k-means++ over tiles: squared distances to the nearest center so far, and their sums.

#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "simd_order.h"
#include "simd_work.h"

namespace lab {

// Team is what calls a task for each chunk: team(task).
template <typename T, typename Team>
class Seeding {
public:
    Seeding(const Given<T>& given, const Work<T>& work, const std::vector<Chunk>& chunks,
            const Block<T>& block, long n_candidates, Team team)
        : given_(given),
          work_(work),
          chunks_(chunks),
          block_(block),
          team_(team),
          stride_(n_candidates),
          sums_(chunks.size()),
          trials_(chunks.size() * n_candidates),
          candidates_(n_candidates * work.d) {
        const long padded = (work.n + work.width - 1) / work.width * work.width;
        nearest_.resize(work.n, padded, long(work.tiles_in.owner.size()),
                        long(work.groups_in.owner.size()), !work.order.empty());
    }

    // Make a row a center.
    void keep(long row) {
        copy(row, 0);
        team_([&](Chunk& chunk) {
            sums_[index(chunk)] = block_.keep_candidate(work_, chunk, candidates_.data(), nearest_);
        });
        if (!work_.order.empty()) team_([&](Chunk& chunk) { sum_as_given(chunk); });
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
        team_([&](Chunk& chunk) {
            block_.try_candidates(work_, chunk, candidates_.data(), n_candidates, nearest_,
                                  &trials_[index(chunk) * stride_]);
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
        for (long f = 0; f < work_.d; ++f) candidates_[c * work_.d + f] = given_.at(row, f);
    }

    // Draws count on the rows as they were given; as many of them belong to each chunk.
    void sum_as_given(const Chunk& chunk) {
        const double* distances = nearest_.as_given.data() + chunk.first_tile * work_.width;
        double sums[8] = {};  // side by side: eight times as fast as one
        long i = 0;
        for (; i + 8 <= chunk.n_rows; i += 8) {
            for (int l = 0; l < 8; ++l) sums[l] += distances[i + l];
        }
        double sum = 0;
        for (; i < chunk.n_rows; ++i) sum += distances[i];
        for (const double part : sums) sum += part;
        sums_[index(chunk)] = sum;
    }

    long row_passing(double target) const {
        const double* distances =
            work_.order.empty() ? nearest_.squares.data() : nearest_.as_given.data();
        double running = 0;
        for (std::size_t c = 0; c < chunks_.size(); ++c) {
            if (running + sums_[c] <= target) {
                running += sums_[c];
                continue;
            }
            const long first = chunks_[c].first_tile * work_.width;
            for (long i = first; i < first + chunks_[c].n_rows; ++i) {
                running += distances[i];
                if (running > target) return i;
            }
        }
        return work_.n - 1;
    }

    const Given<T> given_;  // the caller's rows, in their own order
    const Work<T>& work_;
    const std::vector<Chunk>& chunks_;
    const Block<T>& block_;
    Team team_;
    const long stride_;
    std::vector<double> sums_, trials_;
    std::vector<T> candidates_;
    Nearest<T> nearest_;
};

}  // namespace lab
