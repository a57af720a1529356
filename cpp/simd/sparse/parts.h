// Sparse rows in parts that a team of threads shares, and what one look at all values tells.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/kept_team.h"
#include "simd/sparse/dispatch.h"
#include "simd/sparse/work.h"

namespace lab {

template <typename T>
class SparseParts {
public:
    SparseParts(const SparseRows<T>& rows, int n_threads)
        : isa_(chosen_isa()),
          half_(isa_ != Isa::baseline),
          routines_(choose_sparse_routines<T>(isa_, half_)),
          team_(n_threads) {
        work_.rows = rows;
        work_.interrupt = &interrupt_;
        scratch_.resize(std::size_t(team_->size()));
        cut();
        measure();
    }
    SparseParts(const SparseParts&) = delete;
    SparseParts& operator=(const SparseParts&) = delete;

    Index n() const { return work_.rows.n_samples; }
    Index d() const { return work_.rows.n_features; }
    Index k() const { return work_.screen.n_clusters; }
    const char* isa() const { return kIsaNames[int(isa_)]; }
    int n_threads() const { return team_->size(); }

protected:
    static constexpr Index kPieces = 32;  // of the features

    template <typename Task>
    void each(Index n, double work_per_call, const Task& task) {
        interrupt_.begin(work_per_call);
        team_->run(int(n), [&](int piece, int thread) {
            if (!interrupt_.came()) task(Index(piece), scratch_[std::size_t(thread)]);
        });
        if (interrupt_.came()) throw Interrupted();
    }

    template <typename Task>
    void each_center(Index k, double work_per_center, const Task& task) {
        const Index step = (k + kGroups - 1) / kGroups;
        each((k + step - 1) / step, double(step) * work_per_center,
             [&](Index group, SparseScratch& scratch) {
                 const Index end = std::min(k, (group + 1) * step);
                 for (Index j = group * step; j < end; ++j) task(j, scratch);
             });
    }

    template <typename Lay>
    void lay(const Lay& lay_some) {
        const Index step = (d() + kPieces - 1) / kPieces;
        each(kPieces, double(step * work_.screen.padded), [&](Index piece, SparseScratch&) {
            const Index first = std::min(d(), piece * step), last = std::min(d(), first + step);
            if (first < last) lay_some(first, last, piece);
        });
    }

    Index total(Index SparsePart::* of) const {
        Index sum = 0;
        for (const SparsePart& part : parts_) sum += part.*of;
        return sum;
    }

    const Isa isa_;
    bool half_;  // rows are screened in float16
    SparseRoutines<T> routines_;
    SparseWork<T> work_;
    std::vector<SparsePart> parts_;
    std::deque<SparseScratch> scratch_;  // of each thread
    Interrupt interrupt_;
    KeptTeam team_;

private:
    static constexpr Index kLeast = 1024;   // rows of a part at least
    static constexpr Index kParts = 256;    // parts at most: a hundred threads find work
    static constexpr Index kGroups = 1024;  // of the centers at most

    void cut() {
        const Index rows = std::max(Index(1), (n() / kParts + kLeast) / kLeast) * kLeast;
        for (Index first = 0; first < n(); first += rows) {
            SparsePart part;
            part.first = first;
            part.last = std::min(first + rows, n());
            parts_.push_back(part);
        }
    }

    // One look at all values.
    void measure() {
        const SparseRows<T>& rows = work_.rows;
        double most = 0, least = std::numeric_limits<double>::infinity(), longest = 0;
        for (Index p = rows.first(0), end = p + rows.n_values(); p < end; ++p) {
            const double value = double(rows.data[p]), size = std::fabs(value);
            most = std::max(most, size);
            if (size > 0) least = std::min(least, size);
            work_.negative = work_.negative || value < 0;
        }
        int exponent = 0;
        if (most > 0) std::frexp(most, &exponent);
        work_.scale = std::ldexp(1.0, -exponent);
        work_.lengths.resize(n());
        for (Index i = 0; i < n(); ++i) {
            double square = 0;
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                const double value = double(rows.data[p]) * work_.scale;
                square += value * value;
            }
            longest = std::max(longest, square);
            work_.squares += square;
            work_.lengths[i] = float(std::sqrt(square) * (1 + 1e-6));
            work_.longest_row = std::max(work_.longest_row, rows.size(i));
        }
        work_.longest = float(std::sqrt(longest) * (1 + 1e-6));
        work_.used = std::min(d(), rows.n_values());
        work_.sums.choose(most, least, std::numeric_limits<T>::digits, n());
    }
};

}  // namespace lab
