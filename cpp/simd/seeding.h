// Greedy k-means++ over tiles: squared distances to the nearest center so far, and their sums. The
// rows that it chooses follow from the rows and draws alone; greedy_rows in kmeans_lab/seeding.py
// chooses the same.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/types.h"
#include "simd/distances.h"
#include "simd/grid.h"
#include "simd/order.h"
#include "simd/routines.h"
#include "simd/work.h"

namespace lab {

constexpr Index kMostStretches = 1024;

// A sum of fewer steps deserves a finer grid.
constexpr std::int64_t kLeastSteps = std::int64_t(1) << 44;

// Draws refer to the rows in their original order, whatever order they were put in. Up to
// kManyRows, their distances are kept in that order, too; beyond, a look at all of them finds what
// is needed.
template <typename T, typename EachChunk>
class Seeding {
public:
    Seeding(const Given<T>& given, const Work<T>& work, const std::vector<Chunk>& chunks,
            const Routines<T>& routines, Index n_candidates, EachChunk each_chunk)
        : given_(given),
          work_(work),
          chunks_(chunks),
          routines_(routines),
          each_chunk_(each_chunk),
          stride_(n_candidates),
          ordered_(!work.order.empty()),
          copies_(ordered_ && work.n <= kManyRows),
          stretch_(streams() ? (work.n / kMostStretches / kCut + 1) * kCut
                             : chunks[0].n_rows),  // the last chunk has fewer
          sums_((work.n + stretch_ - 1) / stretch_),
          largest_(chunks.size()),
          trials_(chunks.size() * n_candidates),
          candidates_(n_candidates, work.d) {
        const Index padded = (work.n + work.width - 1) / work.width * work.width;
        const Index n_groups = Index(work.groups_in.reach.size());
        distances_.resize(work.n, padded, n_groups * Balls<T>::kids, n_groups, copies_);
        if (!streams()) return;
        ordered_sums_.resize(chunks.size(), -1);
        parts_.resize(chunks.size() * sums_.size());
        found_.resize(n_candidates);
        stretch_of_.resize((work.n + kCut - 1) / kCut);
        for (std::size_t i = 0; i < stretch_of_.size(); ++i) {
            stretch_of_[i] = std::uint16_t(Index(i) * kCut / stretch_);
        }
    }

    // Make a row a center.
    void keep(Index row) {
        copy(row, 0);
        add_up([&](const Chunk& chunk) {
            return routines_.keep_candidate(work_, chunk, candidates_, distances_);
        });
        refine();
    }

    // Of the rows at which the running sum passes each draw, the one that lowers the sum most; the
    // first of equals.
    Index best_of(const double* draws, Index n_candidates) {
        if (total_ == 0) return Index(draws[0] * double(work_.n));  // every row is a center
        std::vector<Passing> places(n_candidates);
        for (Index c = 0; c < n_candidates; ++c)
            places[c] = stretch_passing(draws[c] * double(total_));
        if (streams()) find(places);
        std::vector<Index> rows(n_candidates);
        for (Index c = 0; c < n_candidates; ++c) {
            rows[c] = row_passing(places[c], draws[c] * double(total_));
            copy(rows[c], c);
        }
        each_chunk_([&](Chunk& chunk) {
            routines_.try_candidates(work_, chunk, candidates_, n_candidates, distances_,
                                     &trials_[index(chunk) * stride_]);
        });
        Index best = 0;
        std::int64_t lowest = std::numeric_limits<std::int64_t>::max();
        for (Index c = 0; c < n_candidates; ++c) {
            std::int64_t sum = 0;
            for (std::size_t i = 0; i < chunks_.size(); ++i) sum += trials_[i * stride_ + c];
            if (sum < lowest) {
                lowest = sum;
                best = c;
            }
        }
        return rows[best];
    }

private:
    // The stretch of rows as they were given in which a sum passes its target.
    struct Passing {
        std::size_t stretch = 0;
        std::int64_t before = 0;            // the sum of all stretches before it
        const double* distances = nullptr;  // of its rows
    };

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
            std::int64_t& before = (streams() ? ordered_sums_ : sums_)[index(chunk)];
            // Most chunks of ordered rows are too far away for a new center to change them.
            if (streams() && (anew || sum != before)) sum_by_stretch(chunk);
            before = sum;
        });
        if (copies_) {
            each_chunk_([&](Chunk& chunk) { sum_copies(chunk); });
        } else if (streams()) {
            std::fill(sums_.begin(), sums_.end(), 0);
            for (std::size_t i = 0; i < parts_.size(); ++i) sums_[i % sums_.size()] += parts_[i];
        }
        total_ = 0;
        for (const std::int64_t sum : sums_) total_ += sum;
    }

    // Make sure that the sum is many steps. The grid follows from the distances alone, by bounds of
    // their sum that no order changes; `in_steps` in kmeans_lab/numerics/grids.py does the same.
    void refine() {
        if (done_ || total_ >= kLeastSteps) return;
        const double n = double(work_.n);
        if (double(total_) <= n) {  // the sum may consist of rounding errors alone
            const double largest = find_largest();
            done_ = largest == 0;
            lay(Grid(n * largest));
        }
        if (total_ < kLeastSteps) lay(Grid((double(total_) + n) * distances_.grid.step));
    }

    void lay(const Grid& grid) {
        if (!(grid.step < distances_.grid.step)) return;
        distances_.grid = grid;
        add_up([&](const Chunk& chunk) { return routines_.sum_again(chunk, distances_); }, true);
    }

    double find_largest() {
        each_chunk_([&](const Chunk& chunk) {
            const double* distances = distances_.squares.data() + first_row(chunk);
            double most[8] = {};  // side by side: eight times as fast as one
            Index i = 0;
            for (; i + 8 <= chunk.n_rows; i += 8) {
                for (int l = 0; l < 8; ++l) most[l] = std::max(most[l], distances[i + l]);
            }
            for (; i < chunk.n_rows; ++i) most[0] = std::max(most[0], distances[i]);
            largest_[index(chunk)] = *std::max_element(most, most + 8);
        });
        return *std::max_element(largest_.begin(), largest_.end());
    }

    void sum_copies(const Chunk& chunk) {
        const double* distances = distances_.as_given.data() + first_row(chunk);
        const Grid grid = distances_.grid;
        std::int64_t sum = 0;
        for (Index i = 0; i < chunk.n_rows; ++i) sum += grid.steps(distances[i]);
        sums_[index(chunk)] = sum;
    }

    // What this chunk of ordered rows adds to each stretch.
    void sum_by_stretch(const Chunk& chunk) {
        std::int64_t sums[kMostStretches] = {};
        const Grid grid = distances_.grid;
        const Index first = first_row(chunk);
        for (Index i = first; i < first + chunk.n_rows; ++i) {
            sums[stretch_of_[work_.order[i] / kCut]] += grid.steps(distances_.squares[i]);
        }
        std::copy_n(sums, sums_.size(), parts_.begin() + Index(index(chunk) * sums_.size()));
    }

    Passing stretch_passing(double target) const {
        Passing place;
        std::int64_t running = 0;
        for (std::size_t s = 0; s < sums_.size(); ++s) {
            if (sums_[s] == 0) continue;
            place = {s, running, nullptr};
            running += sums_[s];
            if (double(running) > target) break;
        }
        const auto& distances = copies_ ? distances_.as_given : distances_.squares;
        place.distances = distances.data() + Index(place.stretch) * stretch_;
        return place;
    }

    // Look through all rows for those of a few stretches.
    void find(std::vector<Passing>& places) {
        std::vector<std::uint8_t> found_of(sums_.size(), 0);  // 0: not wanted
        std::vector<Index> firsts(places.size());
        for (std::size_t c = 0; c < places.size(); ++c) {
            std::uint8_t& found = found_of[places[c].stretch];
            if (found == 0) {
                found = std::uint8_t(c + 1);
                firsts[c] = Index(places[c].stretch) * stretch_;
                found_[c].resize(stretch_);
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

    Index row_passing(const Passing& place, double target) const {
        const Index first = Index(place.stretch) * stretch_;
        const Index n_rows = std::min(stretch_, work_.n - first);
        std::int64_t running = place.before;
        for (Index i = 0; i < n_rows; ++i) {
            running += distances_.grid.steps(place.distances[i]);
            if (double(running) > target) return first + i;
        }
        return first + n_rows - 1;  // for draws that are not below 1
    }

    const Given<T> given_;  // the caller's rows, in their own order
    const Work<T>& work_;
    const std::vector<Chunk>& chunks_;
    const Routines<T>& routines_;
    EachChunk each_chunk_;  // calls a task for each chunk
    const Index stride_;
    const bool ordered_, copies_;
    const Index stretch_;  // rows of a stretch: of a chunk, or fewer where all are looked through
    std::int64_t total_ = 0;
    bool done_ = false;               // every row is a center, and stays one
    std::vector<std::int64_t> sums_;  // of each stretch
    std::vector<double> largest_;     // distance of each chunk
    std::vector<std::int64_t> trials_;
    Candidates<T> candidates_;
    Distances<T> distances_;
    std::vector<std::uint16_t> stretch_of_;   // of each kCut rows as they were given
    std::vector<std::int64_t> ordered_sums_;  // of each chunk of ordered rows
    std::vector<std::int64_t> parts_;         // (n_chunks, n_stretches)
    std::vector<std::vector<double>> found_;
};

}  // namespace lab
