// Greedy k-means++ for sparse rows, measured as squared_distances of kmeans_lab/sparse/numerics.py
// measures: ‖x − c‖² = Σ (x_f − c_f)² over the features that the row stores, in their order, and
// what the center has elsewhere, ‖c‖² − Σ c_f² over these. The same rows are drawn.
//
// A candidate stores few features: its products with all rows are added up column by column, and
// only rows that it may be nearer to than their center are measured. All others share no feature
// with it, and are as far from it as both are long, squared.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/compiler.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/grid.h"
#include "simd/seeding/seeding.h"
#include "simd/sparse/audit.h"
#include "simd/sparse/columns.h"
#include "simd/sparse/routines.h"
#include "simd/sums.h"
#include "simd/team.h"
#include "sparse/rows.h"

// What tests make wrong, to see that the audit finds it.
#ifndef LAB_MUTANT_NEAR
#define LAB_MUTANT_NEAR 1.0
#endif

namespace lab {

template <typename T>
class SparseSeeding {
public:
    SparseSeeding(const SparseRows<T>& rows, const SparseRoutines<T>& routines, Team& team,
                  Interrupt& interrupt)
        : rows_(rows),
          columns_(rows),
          routines_(routines),
          team_(team),
          interrupt_(interrupt),
          stretches_(rows.n_samples,
                     std::max(kPiece, (rows.n_samples / kMostPieces + kPiece) / kPiece * kPiece)),
          touched_(stretches_.sums.size()) {
        const auto n = std::size_t(rows.n_samples);
        nearest_.resize(n);
        std::fill_n(nearest_.data(), n, std::numeric_limits<double>::infinity());
        products_.resize(n);
        met_.assign(n, 0);
        squares_.resize(n);
        for (Index i = 0; i < rows.n_samples; ++i) squares_[std::size_t(i)] = square(i);
    }

    const Stretches& stretches() const { return stretches_; }
    const Grid& grid() const { return grid_; }

    // Make a row a center.
    void keep(Index row) {
        const bool first = stretches_.total == 0;  // distances so far are infinite
        set({row});
        each_stretch(0.1, [&](Index s, Index begin, Index end) {
            const std::int64_t gain = keep_candidate(s, begin, end);
            if (!first) stretches_.sums[std::size_t(s)] -= gain;
        });
        first ? lay(grid_) : stretches_.add_up();
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
        const Index count = Index(rows.size());
        set(rows);
        gains_.assign(stretches_.sums.size() * rows.size(), 0);
        each_stretch(double(count) * 0.1, [&](Index s, Index begin, Index end) {
            for (Index c = 0; c < count; ++c) {
                gains_[std::size_t(s * count + c)] = try_candidate(s, begin, end, c);
            }
        });
        std::vector<std::int64_t> totals(rows.size());
        for (std::size_t i = 0; i < gains_.size(); ++i) totals[i % rows.size()] += gains_[i];
        return rows[std::size_t(std::max_element(totals.begin(), totals.end()) - totals.begin())];
    }

    void lay(const Grid& grid) {
        grid_ = grid;
        each_stretch(0.1, [&](Index s, Index begin, Index end) {
            std::int64_t steps = 0;
            for (Index i = begin; i < end; ++i) steps += grid_.steps(nearest_[i]);
            stretches_.sums[std::size_t(s)] = steps;
        });
        stretches_.add_up();
    }

    double find_largest() { return largest_of(nearest_.data(), rows_.n_samples); }

private:
    static constexpr Index kPiece = 8192;     // stretches are as many rows, or multiples
    static constexpr Index kMostPieces = 64;  // enough for many threads to share

    double square(Index i) const {
        double square = 0;
        for (Index p = rows_.first(i), end = p + rows_.size(i); p < end; ++p) {
            square += rounded(double(rows_.data[p]) * double(rows_.data[p]));
        }
        return square;
    }

    // The squared distance of a row to a candidate.
    double distance(Index i, Index c) const {
        const double* candidate = values_.data() + c * rows_.n_features;
        double apart = 0, theirs = 0;
        for (Index p = rows_.first(i), end = p + rows_.size(i); p < end; ++p) {
            const double value = candidate[rows_.indices[p]];
            const double difference = double(rows_.data[p]) - value;
            apart += rounded(difference * difference);
            theirs += rounded(value * value);
        }
        return apart + std::max(norms_[std::size_t(c)] - theirs, 0.0);
    }

    // By how much a distance would lower the sum, in steps.
    std::int64_t gain_of(Index i, double distance) const {
        const double nearest = nearest_[std::size_t(i)];
        return distance < nearest ? grid_.steps(nearest) - grid_.steps(distance) : 0;
    }

    // By how much a candidate would lower the sum of a stretch, in steps: first as if no row shared
    // a feature with it.
    std::int64_t try_candidate(Index s, Index begin, Index end, Index c) {
        const double norm = norms_[std::size_t(c)];
        std::int64_t gain = routines_.try_apart(squares_.data() + begin, nearest_.data() + begin,
                                                end - begin, norm, grid_);
        std::vector<std::int32_t>& touched = multiply(s, begin, end, c);
        if (gain != 0) {
            for (const std::int32_t i : touched) {
                gain -= gain_of(i, squares_[std::size_t(i)] + norm);
            }
        }
        keep_possible(touched, c);
        for (std::size_t t = 0; t < touched.size(); ++t) {
            fetch(touched, t);
            gain += gain_of(touched[t], distance(touched[t], c));
        }
        return gain;
    }

    // Add the first candidate to the centers of a stretch; returns the same, once distances are
    // finite.
    std::int64_t keep_candidate(Index s, Index begin, Index end) {
        std::int64_t gain = 0;
        const std::vector<std::int32_t>& touched = multiply(s, begin, end, 0);
        for (const std::int32_t i : touched) {
            double& nearest = nearest_[std::size_t(i)];
            double& then = products_[std::size_t(i)];
            const double found =
                may_be_nearer(i, 0) ? distance(i, 0) : std::numeric_limits<double>::infinity();
            if (std::isfinite(nearest)) gain += gain_of(i, found);
            then = std::min(nearest, found);
            nearest = 0;  // nothing below lowers it
        }
        gain += routines_.keep_apart(squares_.data() + begin, nearest_.data() + begin, end - begin,
                                     norms_[0], grid_);
        for (const std::int32_t i : touched) nearest_[std::size_t(i)] = products_[std::size_t(i)];
        return gain;
    }

    // Drop rows to which a candidate is surely no nearer than their center.
    void keep_possible(std::vector<std::int32_t>& touched, Index c) const {
        std::size_t n = 0;
        for (const std::int32_t i : touched) {
            const bool possible = may_be_nearer(i, c);
            if (kAudited) audit_near(distance(i, c) < nearest_[std::size_t(i)], possible);
            touched[n] = i;
            n += possible;
        }
        touched.resize(n);
    }

    // Have rows on their way that will be measured soon: they lie far apart.
    void fetch(const std::vector<std::int32_t>& touched, std::size_t t) const {
        constexpr std::size_t near = 6, far = 16;
        if (t + far < touched.size()) LAB_PREFETCH(rows_.indptr + touched[t + far]);
        if (t + near >= touched.size()) return;
        const Index first = rows_.first(touched[t + near]);
        LAB_PREFETCH(rows_.indices + first);
        LAB_PREFETCH(rows_.data + first);
        LAB_PREFETCH(rows_.data + first + 64 / Index(sizeof(T)));
    }

    // Add up the products of a stretch of rows with a candidate; returns those that share a feature
    // with it.
    std::vector<std::int32_t>& multiply(Index s, Index begin, Index end, Index c) {
        std::vector<std::int32_t>& touched = touched_[std::size_t(s)];
        touched.clear();
        const Index row = rows_of_[std::size_t(c)];
        const std::uint32_t mark = marks_ + std::uint32_t(c);
        const std::int32_t* owners = columns_.owners.data();
        for (Index p = rows_.first(row), last = p + rows_.size(row); p < last; ++p) {
            const Index* column = &columns_.begin[std::size_t(rows_.indices[p])];
            const auto *from = owners + column[0], *to = owners + column[1];
            if (begin > 0) from = std::lower_bound(from, to, std::int32_t(begin));
            const double theirs = double(rows_.data[p]);
            const T* value = columns_.values.data() + (from - owners);
            for (; from < to && *from < end; ++from, ++value) {
                const auto i = std::size_t(*from);
                const double product = double(*value) * theirs;
                if (met_[i] == mark) {
                    products_[i] += product;
                } else {
                    met_[i] = mark;
                    products_[i] = product;
                    touched.push_back(*from);
                }
            }
        }
        return touched;
    }

    // Whether a row may be nearer to a candidate than `nearest_`, by its product with it. With
    // Σ |x_f c_f| at most half of ‖x‖² + ‖c‖², rounding takes a share of that sum from each number.
    bool may_be_nearer(Index i, Index c) const {
        constexpr double unit = std::numeric_limits<double>::epsilon();
        const double m = double(rows_.size(i) + rows_.size(rows_of_[std::size_t(c)]) + 8);
        const double both = squares_[std::size_t(i)] + norms_[std::size_t(c)];
        const double lost =
            LAB_MUTANT_NEAR * m * (4 * unit * both + 8 * std::numeric_limits<double>::denorm_min());
        // Not "less": what is not a number is measured.
        return !(both - 2 * products_[std::size_t(i)] - lost >= nearest_[std::size_t(i)]);
    }

    // Write some rows as arrays, in place of those before.
    void set(const std::vector<Index>& rows) {
        const Index d = rows_.n_features;
        const auto each_value = [&](const auto& task) {
            for (std::size_t c = 0; c < rows_of_.size(); ++c) {
                const Index first = rows_.first(rows_of_[c]);
                for (Index p = first; p < first + rows_.size(rows_of_[c]); ++p) {
                    task(values_[Index(c) * d + rows_.indices[p]], double(rows_.data[p]));
                }
            }
        };
        each_value([](double& at, double) { at = 0; });
        marks_ += std::uint32_t(rows_of_.size());
        rows_of_ = rows;
        const Index wanted = Index(rows.size()) * d;
        if (room_ < wanted) {
            values_.release();
            values_.resize(std::size_t(wanted));
            std::fill_n(values_.data(), wanted, 0.0);
            room_ = wanted;
        }
        each_value([](double& at, double value) { at = value; });
        norms_.clear();
        for (const Index row : rows) norms_.push_back(squares_[std::size_t(row)]);
    }

    // Call a task with each stretch, its first row and the one behind its last; `share` of all
    // values are looked at.
    template <typename Task>
    void each_stretch(double share, const Task& task) {
        const Index length = stretches_.n_rows, n = rows_.n_samples;
        const double values = double(rows_.n_values()) / double(std::max(Index(1), n));
        interrupt_.begin(share * double(length) * (values + 1));
        team_.run(int(stretches_.sums.size()), [&](int s, int) {
            if (!interrupt_.came()) task(s, s * length, std::min((s + 1) * length, n));
        });
        if (interrupt_.came()) throw Interrupted();
    }

    const SparseRows<T>& rows_;
    const Columns<T> columns_;
    const SparseRoutines<T>& routines_;
    Team& team_;
    Interrupt& interrupt_;
    Stretches stretches_;
    Grid grid_;
    std::vector<std::vector<std::int32_t>> touched_;  // of each stretch: rows that share a feature
    Aligned<double> nearest_;          // (n_samples,): squared distances to the nearest center
    Aligned<double> squares_;          // (n_samples,): ‖x‖²
    Aligned<double> products_;         // (n_samples,): with the candidate that `met_` names
    std::vector<std::uint32_t> met_;   // (n_samples,): the last candidate with a shared feature
    std::uint32_t marks_ = 1;          // of the first candidate at hand
    std::vector<Index> rows_of_;       // the candidates at hand
    std::vector<double> norms_;        // of the candidates: ‖c‖²
    Aligned<double> values_;           // (n_candidates, n_features)
    Index room_ = 0;                   // of them
    std::vector<std::int64_t> gains_;  // (n_stretches, n_candidates)
};

}  // namespace lab
