// Greedy k-means++ over tiles: squared distances to the nearest center so far, and their sums.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "simd_order.h"
#include "simd_work.h"

namespace lab {

constexpr long kMostStretches = 1024;

// Draws count on the rows as they were given, whatever order they were put in. Up to kManyRows,
// their distances are kept in that order, too; beyond, a look at all of them finds what is needed.
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
          ordered_(!work.order.empty()),
          copies_(ordered_ && work.n <= kManyRows),
          stretch_(streams() ? (work.n / kMostStretches / kCut + 1) * kCut
                             : chunks[0].n_rows),  // the last chunk has fewer
          sums_((work.n + stretch_ - 1) / stretch_),
          trials_(chunks.size() * n_candidates),
          candidates_(n_candidates * work.d) {
        const long padded = (work.n + work.width - 1) / work.width * work.width;
        const long n_groups = long(work.groups_in.reach.size());
        nearest_.resize(work.n, padded, n_groups * Balls<T>::kids, n_groups, copies_);
        if (!streams()) return;
        ordered_sums_.resize(chunks.size(), -1.0);
        parts_.resize(chunks.size() * sums_.size());
        found_.resize(n_candidates);
        stretch_of_.resize((work.n + kCut - 1) / kCut);
        for (std::size_t i = 0; i < stretch_of_.size(); ++i) {
            stretch_of_[i] = std::uint16_t(long(i) * kCut / stretch_);
        }
    }

    // Make a row a center.
    void keep(long row) {
        copy(row, 0);
        team_([&](Chunk& chunk) {
            const double sum = block_.keep_candidate(work_, chunk, candidates_.data(), nearest_);
            double& before = (streams() ? ordered_sums_ : sums_)[index(chunk)];
            // Most chunks of ordered rows are too far away for a new center to change them.
            if (streams() && sum != before) sum_by_stretch(chunk);
            before = sum;
        });
        if (copies_) {
            team_([&](Chunk& chunk) { sum_copies(chunk); });
        } else if (streams()) {
            std::fill(sums_.begin(), sums_.end(), 0.0);
            for (std::size_t i = 0; i < parts_.size(); ++i) sums_[i % sums_.size()] += parts_[i];
        }
    }

    // Of the rows at which the running sum passes each draw, the one that lowers the sum most; the
    // first of equals.
    long best_of(const double* draws, long n_candidates) {
        double total = 0;
        for (const double sum : sums_) total += sum;
        if (!(total > 0)) return long(draws[0] * double(work_.n));  // every row is a center
        std::vector<Passing> places(n_candidates);
        for (long c = 0; c < n_candidates; ++c) places[c] = stretch_passing(draws[c] * total);
        if (streams()) find(places);
        std::vector<long> rows(n_candidates);
        for (long c = 0; c < n_candidates; ++c) {
            rows[c] = row_passing(places[c], draws[c] * total);
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
    // The stretch of rows as they were given in which a sum passes its target.
    struct Passing {
        std::size_t stretch = 0;
        double before = 0;                  // the sum of all stretches before it
        const double* distances = nullptr;  // of its rows
    };

    bool streams() const { return ordered_ && !copies_; }
    std::size_t index(const Chunk& chunk) const { return &chunk - chunks_.data(); }
    long first_row(const Chunk& chunk) const { return chunk.first_tile * work_.width; }

    void copy(long row, long c) {
        for (long f = 0; f < work_.d; ++f) candidates_[c * work_.d + f] = given_.at(row, f);
    }

    void sum_copies(const Chunk& chunk) {
        const double* distances = nearest_.as_given.data() + first_row(chunk);
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

    // What this chunk of ordered rows adds to each stretch.
    void sum_by_stretch(const Chunk& chunk) {
        double sums[kMostStretches] = {};
        const long first = first_row(chunk);
        for (long i = first; i < first + chunk.n_rows; ++i) {
            sums[stretch_of_[work_.order[i] / kCut]] += nearest_.squares[i];
        }
        std::copy_n(sums, sums_.size(), parts_.begin() + long(index(chunk) * sums_.size()));
    }

    Passing stretch_passing(double target) const {
        Passing place;
        double running = 0;
        for (std::size_t s = 0; s < sums_.size(); ++s) {
            if (!(sums_[s] > 0)) continue;
            place = {s, running, nullptr};
            running += sums_[s];
            if (running > target) break;
        }
        const auto& distances = copies_ ? nearest_.as_given : nearest_.squares;
        place.distances = distances.data() + long(place.stretch) * stretch_;
        return place;
    }

    // Look through all rows for those of a few stretches.
    void find(std::vector<Passing>& places) {
        std::vector<std::uint8_t> found_of(sums_.size(), 0);  // 0: not wanted
        std::vector<long> firsts(places.size());
        for (std::size_t c = 0; c < places.size(); ++c) {
            std::uint8_t& found = found_of[places[c].stretch];
            if (found == 0) {
                found = std::uint8_t(c + 1);
                firsts[c] = long(places[c].stretch) * stretch_;
                found_[c].resize(stretch_);
            }
            places[c].distances = found_[found - 1].data();
        }
        std::vector<std::uint8_t> found_of_cut(stretch_of_.size());
        for (std::size_t i = 0; i < found_of_cut.size(); ++i) {
            found_of_cut[i] = found_of[stretch_of_[i]];
        }
        team_([&](Chunk& chunk) {
            const std::uint32_t* order = work_.order.data();
            const std::uint8_t* found = found_of_cut.data();
            const long first = first_row(chunk);
            for (long i = first; i < first + chunk.n_rows; ++i) {
                const std::uint8_t c = found[order[i] / kCut];
                if (c != 0) found_[c - 1][order[i] - firsts[c - 1]] = nearest_.squares[i];
            }
        });
    }

    long row_passing(const Passing& place, double target) const {
        const long first = long(place.stretch) * stretch_;
        const long n_rows = std::min(stretch_, work_.n - first);
        double running = place.before;
        for (long i = 0; i < n_rows; ++i) {
            running += place.distances[i];
            if (running > target) return first + i;
        }
        long last = n_rows - 1;  // by rounding: the stretch's own sum did pass
        while (last > 0 && !(place.distances[last] > 0)) --last;
        return first + last;
    }

    const Given<T> given_;  // the caller's rows, in their own order
    const Work<T>& work_;
    const std::vector<Chunk>& chunks_;
    const Block<T>& block_;
    Team team_;
    const long stride_;
    const bool ordered_, copies_;
    const long stretch_;  // rows of a stretch: of a chunk, or fewer where all are looked through
    std::vector<double> sums_;  // of each stretch
    std::vector<double> trials_;
    std::vector<T> candidates_;
    Nearest<T> nearest_;
    std::vector<std::uint16_t> stretch_of_;  // of each kCut rows as they were given
    std::vector<double> ordered_sums_;       // of each chunk of ordered rows
    std::vector<double> parts_;              // (n_chunks, n_stretches)
    std::vector<std::vector<double>> found_;
};

}  // namespace lab
