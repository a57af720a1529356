// The seeding over tiles: balls of rows too far from a candidate keep their sums.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/types.h"
#include "simd/engines/work.h"
#include "simd/grid.h"
#include "simd/order.h"
#include "simd/routines.h"
#include "simd/seeding/distances.h"
#include "simd/seeding/seeding.h"

namespace lab {

constexpr Index kMostStretches = 1024;

// Draws refer to the rows in their original order, whatever order they were put in. Up to
// kManyRows, their distances are kept in that order, too; beyond, a look at all of them finds what
// is needed.
template <typename T, typename EachChunk>
class BallSeeding {
public:
    BallSeeding(const Given<T>& given, const Work<T>& work, const std::vector<Chunk>& chunks,
                const Routines<T>& routines, Index n_candidates, EachChunk each_chunk)
        : given_(given),
          work_(work),
          chunks_(chunks),
          routines_(routines),
          each_chunk_(each_chunk),
          stride_(n_candidates),
          ordered_(!work.order.empty()),
          copies_(ordered_ && work.n <= kManyRows),
          // A chunk, or less where all rows are looked through.
          stretches_(work.n,
                     streams() ? (work.n / kMostStretches / kCut + 1) * kCut : chunks[0].n_rows),
          largest_(chunks.size()),
          trials_(chunks.size() * n_candidates),
          candidates_(n_candidates, work.d) {
        const Index padded = (work.n + work.width - 1) / work.width * work.width;
        const Index n_groups =
            chunks.empty() ? 0 : work.last_family(chunks.back()) * Balls<T>::kids;
        distances_.resize(work.n, padded, n_groups * Balls<T>::kids, n_groups, copies_);
        if (!streams()) return;
        ordered_sums_.resize(chunks.size(), -1);
        parts_.resize(chunks.size() * stretches_.sums.size());
        found_.resize(n_candidates);
        stretch_of_.resize((work.n + kCut - 1) / kCut);
        for (std::size_t i = 0; i < stretch_of_.size(); ++i) {
            stretch_of_[i] = std::uint16_t(Index(i) * kCut / stretches_.n_rows);
        }
    }

    const Stretches& stretches() const { return stretches_; }
    const Grid& grid() const { return distances_.grid; }

    void keep(Index row) {
        copy(row, 0);
        add_up([&](const Chunk& chunk) {
            return routines_.keep_candidate(work_, chunk, candidates_, distances_);
        });
    }

    // The rows at which the running sum passes targets.
    std::vector<Index> find(const std::vector<double>& targets) {
        const auto& distances = copies_ ? distances_.as_given : distances_.squares;
        std::vector<Stretches::Passing> places;
        for (const double target : targets) {
            places.push_back(stretches_.passing(target, distances.data()));
        }
        if (streams()) look_through(places);
        std::vector<Index> rows;
        for (std::size_t c = 0; c < targets.size(); ++c) {
            rows.push_back(stretches_.row_passing(places[c], targets[c], distances_.grid));
        }
        return rows;
    }

    Index best_of(const std::vector<Index>& rows) {
        const Index count = Index(rows.size());
        for (Index c = 0; c < count; ++c) copy(rows[c], c);
        each_chunk_([&](Chunk& chunk) {
            routines_.try_candidates(work_, chunk, candidates_, count, distances_,
                                     &trials_[index(chunk) * stride_]);
        });
        std::vector<std::int64_t> sums(count);
        for (std::size_t i = 0; i < chunks_.size(); ++i) {
            for (Index c = 0; c < count; ++c) sums[c] += trials_[i * stride_ + c];
        }
        return rows[std::min_element(sums.begin(), sums.end()) - sums.begin()];
    }

    void lay(const Grid& grid) {
        distances_.grid = grid;
        add_up([&](const Chunk& chunk) { return routines_.sum_again(chunk, distances_); }, true);
    }

    double find_largest() {
        each_chunk_([&](const Chunk& chunk) {
            largest_[index(chunk)] =
                largest_of(distances_.squares.data() + first_row(chunk), chunk.n_rows);
        });
        return *std::max_element(largest_.begin(), largest_.end());
    }

private:
    bool streams() const { return ordered_ && !copies_; }
    std::size_t index(const Chunk& chunk) const { return &chunk - chunks_.data(); }
    Index first_row(const Chunk& chunk) const { return chunk.first_tile * work_.width; }

    void copy(Index row, Index c) {
        for (Index f = 0; f < work_.d; ++f) candidates_.set(c, f, given_.at(row, f));
    }

    // Add up the sums that chunks return, and those of stretches where these differ from chunks.
    template <typename Sum>
    void add_up(const Sum& sum_of, bool anew = false) {
        each_chunk_([&](Chunk& chunk) {
            const std::int64_t sum = sum_of(chunk);
            std::int64_t& before = (streams() ? ordered_sums_ : stretches_.sums)[index(chunk)];
            // Most chunks of ordered rows are too far away for a new center to change them.
            if (streams() && (anew || sum != before)) sum_by_stretch(chunk);
            before = sum;
        });
        if (copies_) {
            each_chunk_([&](Chunk& chunk) { sum_copies(chunk); });
        } else if (streams()) {
            std::vector<std::int64_t>& sums = stretches_.sums;
            std::fill(sums.begin(), sums.end(), 0);
            for (std::size_t i = 0; i < parts_.size(); ++i) sums[i % sums.size()] += parts_[i];
        }
        stretches_.add_up();
    }

    void sum_copies(const Chunk& chunk) {
        const double* distances = distances_.as_given.data() + first_row(chunk);
        const Grid grid = distances_.grid;
        std::int64_t sum = 0;
        for (Index i = 0; i < chunk.n_rows; ++i) sum += grid.steps(distances[i]);
        stretches_.sums[index(chunk)] = sum;
    }

    // What this chunk of ordered rows adds to each stretch.
    void sum_by_stretch(const Chunk& chunk) {
        std::int64_t sums[kMostStretches] = {};
        const Grid grid = distances_.grid;
        const Index first = first_row(chunk);
        for (Index i = first; i < first + chunk.n_rows; ++i) {
            sums[stretch_of_[work_.order[i] / kCut]] += grid.steps(distances_.squares[i]);
        }
        const std::size_t n = stretches_.sums.size();
        std::copy_n(sums, n, parts_.begin() + Index(index(chunk) * n));
    }

    // Look through all rows for those of a few stretches.
    void look_through(std::vector<Stretches::Passing>& places) {
        std::vector<std::uint8_t> found_of(stretches_.sums.size(), 0);  // 0: not wanted
        std::vector<Index> firsts(places.size());
        for (std::size_t c = 0; c < places.size(); ++c) {
            std::uint8_t& found = found_of[places[c].stretch];
            if (found == 0) {
                found = std::uint8_t(c + 1);
                firsts[c] = Index(places[c].stretch) * stretches_.n_rows;
                found_[c].resize(stretches_.n_rows);
            }
            places[c].distances = found_[found - 1].data();
        }
        std::vector<std::uint8_t> found_of_cut(stretch_of_.size());
        for (std::size_t i = 0; i < found_of_cut.size(); ++i) {
            found_of_cut[i] = found_of[stretch_of_[i]];
        }
        each_chunk_([&](Chunk& chunk) {
            const std::uint32_t* order = work_.order.data();
            const std::uint8_t* found = found_of_cut.data();
            const Index first = first_row(chunk);
            for (Index i = first; i < first + chunk.n_rows; ++i) {
                const std::uint8_t c = found[order[i] / kCut];
                if (c != 0) found_[c - 1][order[i] - firsts[c - 1]] = distances_.squares[i];
            }
        });
    }

    const Given<T> given_;  // the caller's rows, in their own order
    const Work<T>& work_;
    const std::vector<Chunk>& chunks_;
    const Routines<T>& routines_;
    EachChunk each_chunk_;  // calls a task for each chunk
    const Index stride_;
    const bool ordered_, copies_;
    Stretches stretches_;
    std::vector<double> largest_;  // distance of each chunk
    std::vector<std::int64_t> trials_;
    Candidates<T> candidates_;
    Distances<T> distances_;
    std::vector<std::uint16_t> stretch_of_;   // of each kCut rows as they were given
    std::vector<std::int64_t> ordered_sums_;  // of each chunk of ordered rows
    std::vector<std::int64_t> parts_;         // (n_chunks, n_stretches)
    std::vector<std::vector<double>> found_;
};

}  // namespace lab
