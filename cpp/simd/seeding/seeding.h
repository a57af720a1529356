// Greedy k-means++: rounds of candidates, each drawn where the running sum of squared distances to
// the nearest center passes its draw. The rows that it chooses follow from the rows and draws
// alone; greedy_rows in kmeans_lab/seeding.py chooses the same.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/types.h"
#include "simd/grid.h"

namespace lab {

// A sum of fewer steps deserves a finer grid.
constexpr std::int64_t kLeastSteps = std::int64_t(1) << 44;

// Sums of squared distances in whole steps, of stretches of rows as they were given.
struct Stretches {
    // The stretch in which the sum passes a target.
    struct Passing {
        std::size_t stretch = 0;
        std::int64_t before = 0;            // the sum of all stretches before it
        const double* distances = nullptr;  // of its rows
    };

    Index n = 0, n_rows = 0;  // of a stretch; the last one has fewer
    std::vector<std::int64_t> sums;
    std::int64_t total = 0;

    Stretches(Index n_samples, Index rows_of_a_stretch)
        : n(n_samples),
          n_rows(rows_of_a_stretch),
          sums((n_samples + rows_of_a_stretch - 1) / rows_of_a_stretch) {}

    void add_up() {
        total = 0;
        for (const std::int64_t sum : sums) total += sum;
    }

    // `distances` are those of all rows.
    Passing passing(double target, const double* distances) const {
        Passing place;
        std::int64_t running = 0;
        for (std::size_t s = 0; s < sums.size(); ++s) {
            if (sums[s] == 0) continue;
            place = {s, running, nullptr};
            running += sums[s];
            if (double(running) > target) break;
        }
        place.distances = distances + Index(place.stretch) * n_rows;
        return place;
    }

    Index row_passing(const Passing& place, double target, const Grid& grid) const {
        const Index first = Index(place.stretch) * n_rows, count = std::min(n_rows, n - first);
        std::int64_t running = place.before;
        for (Index i = 0; i < count; ++i) {
            running += grid.steps(place.distances[i]);
            if (double(running) > target) return first + i;
        }
        return first + count - 1;  // for draws that are not below 1
    }
};

inline double largest_of(const double* distances, Index n) {
    double most[8] = {};  // side by side: eight times as fast as one
    Index i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int l = 0; l < 8; ++l) most[l] = std::max(most[l], distances[i + l]);
    }
    for (; i < n; ++i) most[0] = std::max(most[0], distances[i]);
    return *std::max_element(most, most + 8);
}

// Make sure that the sum is many steps, unless every row is a center. The grid follows from the
// distances alone, by bounds of their sum that no order changes; `in_steps` in
// kmeans_lab/numerics/grids.py does the same.
template <typename State>
void refine(State& state) {
    const auto lay_if_finer = [&](double bound) {
        const Grid grid(bound);
        if (grid.step < state.grid().step) state.lay(grid);
    };
    const std::int64_t& total = state.stretches().total;
    const double n = double(state.stretches().n);
    if (double(total) <= n) {  // the sum may consist of rounding errors alone
        const double largest = state.find_largest();
        if (largest == 0) return;
        lay_if_finer(n * largest);
    }
    if (total < kLeastSteps) lay_if_finer((double(total) + n) * state.grid().step);
}

// The state holds the distances: it finds the rows at which their sum passes targets, says with
// which of these rows as one more center the sum is least, the first of equals, and makes a row a
// center.
template <typename State>
std::vector<Index> draw_rows(State& state, Index first, const double* draws, Index n_rounds,
                             Index n_candidates) {
    std::vector<Index> chosen{first};
    std::vector<double> targets(n_candidates);
    state.keep(first);
    bool done = false;  // every row is a center, and stays one
    for (Index r = 0; r < n_rounds; ++r, draws += n_candidates) {
        if (!done) refine(state);
        const std::int64_t total = state.stretches().total;
        done = total == 0;
        if (done) {
            chosen.push_back(Index(draws[0] * double(state.stretches().n)));
            continue;
        }
        for (Index c = 0; c < n_candidates; ++c) targets[c] = draws[c] * double(total);
        chosen.push_back(state.best_of(state.find(targets)));
        if (r + 1 < n_rounds) state.keep(chosen.back());
    }
    return chosen;
}

}  // namespace lab
