// Sparse rows made ready for a fit: passes, their threads, and sums that are carried along.
//
// A pass screens each row by all centers in float16 (scan-inl.h); what is near is decided by the
// reference's arithmetic (reference.h). Rows that change their center move from sum to sum, and
// where the means of these sums are the next centers, the table that rows are screened by is
// changed where they have (table-inl.h, movement.h): late passes cost what changes.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "common/steps.h"
#include "common/types.h"
#include "simd/sparse/audit.h"
#include "simd/sparse/bounds.h"
#include "simd/sparse/seeding.h"
#include "simd/sparse/table.h"
#include "simd/sparse/work.h"

namespace lab {

template <typename T>
class SparseEngine : public SparseTable<T> {
public:
    using Base = SparseTable<T>;
    using Base::d, Base::n, Base::k, Base::shift;

    SparseEngine(const SparseRows<T>& rows, Index k, int n_threads) : Base(rows, n_threads) {
        restart(k);
    }

    // Assign rows to the centers of an array, (k, d), and move them between the sums; or, without
    // one, to the means of the last pass. `follows`: the next pass may be one without.
    void pass(const T* centers, Index k, std::int32_t* labels, bool follows) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (centers == nullptr && !follows_from_last()) throw std::invalid_argument(kNoMeans);
        if (k != work_.screen.n_clusters || !whole_) restart(k);
        whole_ = false;
        const bool kept = labels == written_ && hold(labels);
        written_ = nullptr;
        work_.labels_out = kept ? labels : nullptr;
        if (centers != nullptr) {
            this->take(centers);
        } else if (!shown_) {
            work_.bounding = false;  // nothing is known about what has moved
            this->show(nullptr);
        }
        this->settle_screen();
        plan_bounds(centers == nullptr);
        scan();
        audit(work_);
        if (!kept) overwrite(labels);
        sort_moves();
        before_ = work_.counts;
        move(centers == nullptr ? shown_ : false);
        if (centers != nullptr && follows) this->show(centers);
        if (half_ && total(&SparsePart::near) > n() / kManyNear) this->widen();
        whole_ = true;
        written_ = labels;
    }

    // Overwrite (k, d) with the sums of the last pass, or of the one before it.
    void sums(double* out, bool before) {
        std::lock_guard<std::mutex> lock(mutex_);
        const bool whole = whole_;
        whole_ = false;  // until all is back in its place
        if (before) undo();
        each_sum(work_.sums, [&](Index at, double sum) { out[at] = sum; });
        if (before) undo();
        whole_ = whole;
    }
    void add_sums(double* to) {
        std::lock_guard<std::mutex> lock(mutex_);
        each_sum(work_.sums, [&](Index at, double sum) { to[at] += sum; });
    }

    // Add all rows to sums and counts by these labels.
    void update(const std::int32_t* labels, Index k, double* sums, std::int64_t* counts) {
        std::lock_guard<std::mutex> lock(mutex_);
        CellSums all;
        static_cast<Limbs&>(all) = work_.sums;
        all.begin(d(), k);
        for (Index i = 0; i < n(); ++i) {
            const SparseRows<T>& rows = work_.rows;
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                all.add(all.at(rows.indices[p], labels[i]), double(rows.data[p]), 1);
            }
            ++counts[labels[i]];
        }
        each_sum(all, [&](Index at, double sum) { sums[at] += sum; });
    }
    double inertia(const T* centers) const { return inertia_of(centers); }

    // The rows that greedy k-means++ chooses.
    std::vector<Index> greedy(Index first, const double* draws, Index n_rounds,
                              Index n_candidates) {
        std::lock_guard<std::mutex> lock(mutex_);
        SparseSeeding<T> seeding(work_.rows, routines_, *team_, interrupt_);
        return draw_rows(seeding, first, draws, n_rounds, n_candidates);
    }

    const std::vector<std::int64_t>& counts() const { return work_.counts; }
    Index changed() const { return changed_; }
    Index rescored() const { return total(&SparsePart::rescored); }
    double met() const { return double(total(&SparsePart::met)) / double(std::max(Index(1), n())); }

private:
    using Base::work_, Base::routines_, Base::parts_, Base::scratch_, Base::interrupt_, Base::team_,
        Base::each, Base::each_center, Base::total, Base::shown_, Base::shift_, Base::half_;

    static constexpr Index kManyNear = 8;  // of so many rows one, too many to be decided twice
#if defined(LAB_AUDIT)
    static constexpr Index kFewMoves = 1;  // bounds are tried at once
#else
    static constexpr Index kFewMoves = 100;  // of so many rows one, before bounds pay
#endif
    static constexpr double kMostFailing = 0.75;  // of the rows, while they do

    bool follows_from_last() const {
        const std::vector<std::int64_t>& counts = work_.counts;
        return whole_ && std::find(counts.begin(), counts.end(), 0) == counts.end();
    }

    // Begin without labels and with empty sums.
    void restart(Index k) {
        whole_ = false;
        written_ = nullptr;
        this->resize(k);
        work_.labels.assign(n(), -1);
        work_.sums.begin(d(), k);
        work_.counts.assign(k, 0);
        work_.bounding = carried_ = false;
        work_.changes.clear();
        bounding_.forget();
        for (SparseScratch& scratch : scratch_) {
            scratch.lower.resize(work_.screen.padded);
            scratch.values.resize(std::max(work_.longest_row, kValuesTogether));
            scratch.seen.assign(std::size_t(d() / 64 + 1), 0);
            scratch.before.resize(std::size_t(d()));
        }
    }

    // Bounds pay once few rows change their centers, and as long as they hold for most.
    void plan_bounds(bool following) {
        const bool held = carried_ && met() > kMostFailing;
        if (held) quiet_ = changed_ / 2;
        const bool pays = following && !work_.blind && k() > kLoudLanes && !held &&
                          changed_ < std::min(n() / kFewMoves, quiet_);
        carried_ = work_.bounding && pays;
        work_.bounding = pays;
        if (!following) quiet_ = n();
        if (!carried_) bounding_.forget();
        if (!pays) return;
        work_.own.resize(std::size_t(n()));
        work_.others.resize(std::size_t(n()));
        work_.changes.resize(std::size_t(k()));
        if (carried_) {
            bounding_.plan(work_);
            for (auto& changes : work_.changes) changes.clear();
        }
    }

    void scan() {
        const Index k = work_.screen.n_clusters;
        each(Index(parts_.size()), 256 * double(k), [&](Index p, SparseScratch& scratch) {
            SparsePart& part = parts_[p];
            part.moves.clear();
            part.met = part.near = 0;
            const auto scan_some = carried_ ? routines_.scan_failing : routines_.scan;
            work_.blind ? scan_blindly(part, scratch) : scan_some(work_, part, scratch);
        });
        changed_ = 0;
        for (const SparsePart& part : parts_) changed_ += Index(part.moves.size());
    }

    // Label the rows of a part by the reference's arithmetic alone.
    void scan_blindly(SparsePart& part, SparseScratch& scratch) {
        scratch.candidates.resize(work_.screen.n_clusters);
        for (Index j = 0; j < work_.screen.n_clusters; ++j) scratch.candidates[j] = std::int32_t(j);
        for (Index i = part.first; i < part.last && !interrupt_.came(); ++i) {
            const auto found = work_.reference.nearest(work_.rows, i, scratch.candidates,
                                                       scratch.products, scratch.shared);
            part.rescored += found.tied;
            ++part.met;
            work_.put(part, i, found.label);
        }
    }

    // Sort what has moved by center: first what leaves and joins it row by row.
    void sort_moves() {
        const Index k = work_.screen.n_clusters;
        std::vector<Index>& begin = work_.ops_begin;
        begin.assign(k + 1, 0);
        const auto each_move = [&](const auto& task) {
            for (const SparsePart& part : parts_) {
                for (const Move& move : part.moves) task(part.first + move.row, move.before);
            }
        };
        each_move([&](Index i, std::int32_t before) {
            if (before >= 0) ++begin[before + 1];
            ++begin[work_.labels[i] + 1];
        });
        for (Index j = 0; j < k; ++j) begin[j + 1] += begin[j];
        work_.ops.resize(begin[k]);
        std::vector<Index> next(begin.begin(), begin.end() - 1);
        each_move([&](Index i, std::int32_t before) {
            if (before >= 0) work_.ops[next[before]++] = 2 * i;
            work_.ops[next[work_.labels[i]]++] = 2 * i + 1;
        });
    }

    // Carry the moves out.
    void move(bool shown) {
        const Index k = work_.screen.n_clusters;
        for (Index j = 0; j < k; ++j) {
            for (Index o = work_.ops_begin[j]; o < work_.ops_begin[j + 1]; ++o) {
                work_.counts[j] += work_.ops[o] % 2 == 1 ? 1 : -1;
            }
        }
        each_center(k, double(work_.rows.n_values()) / double(k),
                    [&](Index j, SparseScratch& scratch) {
                        routines_.move(work_, j, shown, before_[j], scratch);
                    });
        if (!shown) return;
        double low = 0, high = 0;
        for (Index j = 0; j < k; ++j) {
            low += work_.movement.low[j] * work_.movement.low[j];
            high += work_.movement.high[j] * work_.movement.high[j];
        }
        shift_ = this->in_units(low * (1 - 1e-12), high * (1 + 1e-12));
    }

    // Take the moves of the last pass out of the sums, or back in again.
    void undo() {
        for (Index& op : work_.ops) op ^= 1;
        work_.counts.swap(before_);
        for (Index j = 0; j < work_.screen.n_clusters; ++j) {
            routines_.move(work_, j, false, 0, scratch_[0]);
        }
    }

    // Hand each sum and its place in an array (k, d) to a task.
    template <typename Task>
    void each_sum(const CellSums& sums, const Task& task) {
        each_center(sums.k(), double(d()), [&](Index j, SparseScratch&) {
            for (Index f = 0; f < d(); ++f) {
                const std::int64_t* limbs = sums.at(f, j);
                task(j * d() + f, sums.zero(limbs) ? 0.0 : sums.value(limbs));
            }
        });
    }

    // Σ‖x‖² + Σ (count · ‖c‖² − 2 c · sum), which depends on nothing but labels.
    double inertia_of(const T* centers) const {
        double inertia = work_.squares / work_.scale / work_.scale;
        for (Index j = 0; j < work_.screen.n_clusters; ++j) {
            double change = 0;
            for (Index f = 0; f < d(); ++f) {
                const double c = double(centers[j * d() + f]);
                if (c == 0) continue;
                const double sum = work_.sums.value(f, j);
                change += rounded(c * (rounded(double(work_.counts[j]) * c) - 2 * sum));
            }
            inertia += change;
        }
        return std::max(inertia, 0.0);
    }

    void overwrite(std::int32_t* labels) {
        changed_ = 0;
        for (Index i = 0; i < n(); ++i) {
            changed_ += labels[i] != work_.labels[i];
            labels[i] = work_.labels[i];
        }
    }

    // Whether labels hold what the last pass wrote, as the contract of assign_update promises. A
    // few labels of each part tell a caller that hands over other arrays.
    bool hold(const std::int32_t* labels) const {
        for (const SparsePart& part : parts_) {
            const Index step = (part.last - part.first + 3) / 4;
            for (Index i = part.first; i < part.last; i += step) {
                if (labels[i] != work_.labels[i]) return false;
            }
        }
        return true;
    }

    std::vector<std::int64_t> before_;  // counts before the last pass
    bool carried_ = false;              // bounds were carried to this pass
    Index quiet_ = 0;                   // so many moves, or fewer, before bounds are tried again
    Bounding<T> bounding_;
    const std::int32_t* written_ = nullptr;  // where the last pass wrote labels
    bool whole_ = false;                     // the last pass came to its end
    Index changed_ = 0;
    std::mutex mutex_;
};

}  // namespace lab
