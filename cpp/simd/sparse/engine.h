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
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/sparse/audit.h"
#include "simd/sparse/bounds.h"
#include "simd/sparse/dispatch.h"
#include "simd/sparse/work.h"
#include "simd/team.h"

// What tests make wrong, to see that the audit finds it.
#ifndef LAB_MUTANT_CELL
#define LAB_MUTANT_CELL 1.0
#endif

namespace lab {

// The squared distance between the centers of a pass and the means that follow from it.
struct Shift {
    double low, high;
};

template <typename T>
class SparseEngine {
public:
    SparseEngine(const SparseRows<T>& rows, Index k, int n_threads)
        : isa_(chosen_isa()), team_(std::make_unique<Team>(n_threads)) {
        work_.rows = rows;
        work_.interrupt = &interrupt_;
        half_ = isa_ != Isa::baseline;
        routines_ = choose_sparse_routines<T>(isa_, half_);
        scratch_.resize(std::size_t(team_->size()));
        cut();
        measure();
        restart(k);
    }
    SparseEngine(const SparseEngine&) = delete;
    SparseEngine& operator=(const SparseEngine&) = delete;
    ~SparseEngine() {
        // In a forked child there are no threads to end, and their locks may be held for ever.
        if (team_->forked()) static_cast<void>(team_.release());
    }

    // Assign rows to the centers of an array, (k, d), and move them between the sums; or, without
    // one, to the means of the last pass. `follows`: the next pass may be one without.
    void pass(const T* centers, Index k, std::int32_t* labels, bool follows) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (k != work_.screen.n_clusters || !whole_) restart(k);
        whole_ = false;
        const bool kept = labels == written_ && hold(labels);
        written_ = nullptr;
        work_.labels_out = kept ? labels : nullptr;
        if (centers != nullptr) {
            take(centers);
        } else if (!shown_) {
            work_.bounding = false;  // nothing is known about what has moved
            show(nullptr);
        }
        settle_screen();
        plan_bounds(centers == nullptr);
        scan();
        audit(work_);
        if (!kept) overwrite(labels);
        sort_moves();
        before_ = work_.counts;
        move(centers == nullptr ? shown_ : false);
        if (centers != nullptr && follows) show(centers);
        if (half_ && total(&SparsePart::near) > n() / kManyNear) widen();
        whole_ = true;
        written_ = labels;
    }

    // Overwrite (k, d) with the sums of the last pass, or of the one before it.
    void sums(double* out, bool before) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (before) undo();
        each_sum(work_.sums, [&](Index at, double sum) { out[at] = sum; });
        if (before) undo();
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

    Shift shift() const { return shift_; }
    const std::vector<std::int64_t>& counts() const { return work_.counts; }
    Index n() const { return work_.rows.n_samples; }
    Index d() const { return work_.rows.n_features; }
    Index k() const { return work_.screen.n_clusters; }
    const char* isa() const { return kIsaNames[int(isa_)]; }
    int n_threads() const { return team_->size(); }
    Index changed() const { return changed_; }
    Index rescored() const { return total(&SparsePart::rescored); }
    double met() const { return double(total(&SparsePart::met)) / double(std::max(Index(1), n())); }

private:
    static constexpr Index kLeast = 1024;   // rows of a part at least
    static constexpr Index kParts = 256;    // parts at most: a hundred threads find work
    static constexpr Index kPieces = 32;    // of the features
    static constexpr Index kManyNear = 8;   // of so many rows one, too many to be decided twice
    static constexpr Index kGroups = 1024;  // of the centers at most
#if defined(LAB_AUDIT)
    static constexpr Index kFewMoves = 1;  // bounds are tried at once
#else
    static constexpr Index kFewMoves = 100;  // of so many rows one, before bounds pay
#endif
    static constexpr double kMostFailing = 0.75;  // of the rows, while they do

    void cut() {
        const Index rows = std::max(Index(1), (n() / kParts + kLeast) / kLeast) * kLeast;
        for (Index first = 0; first < n(); first += rows) {
            SparsePart part;
            part.first = first;
            part.last = std::min(first + rows, n());
            parts_.push_back(part);
        }
    }

    // Screen in float32 from now on: values of both signs, or too far apart, leave too many rows to
    // the reference's arithmetic.
    void widen() {
        half_ = shown_ = false;
        routines_ = choose_sparse_routines<T>(isa_, false);
        work_.screen.table.release();
        work_.screen.table.resize(std::size_t(d() * work_.screen.padded) * routines_.cell);
    }

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

    // Begin without labels and with empty sums.
    void restart(Index k) {
        whole_ = shown_ = false;
        written_ = nullptr;
        work_.labels.assign(n(), -1);
        work_.sums.begin(d(), k);
        work_.counts.assign(k, 0);
        work_.squares_of.assign(k, 0.0);
        work_.squares_off.assign(k, 0.0);
        work_.movement.resize(k);
        work_.bounding = carried_ = false;
        work_.changes.clear();
        bounding_.forget();
        Screen& screen = work_.screen;
        screen.n_clusters = k;
        screen.padded = (k + routines_.lanes - 1) / routines_.lanes * routines_.lanes;
        screen.squares.resize(screen.padded);
        screen.factors.resize(screen.padded);
        screen.exponents.assign(k, 0);
        screen.norms.assign(k, 0.0);
        screen.table.resize(std::size_t(d() * screen.padded) * routines_.cell);
        for (SparseScratch& scratch : scratch_) {
            scratch.lower.resize(screen.padded);
            scratch.values.resize(std::max(work_.longest_row, kValuesTogether));
            scratch.seen.assign(std::size_t(d() / 64 + 1), 0);
        }
    }

    // Lay out centers that are given as an array.
    void take(const T* centers) {
        const Index k = work_.screen.n_clusters;
        work_.reference.take(centers, d(), k);
        shown_ = false;
        Screen& screen = work_.screen;
        screen.off = 0;
        screen.negative = work_.negative;
        std::vector<char> negative(k, 0);
        each_center(k, double(d()),
                    [&](Index j, SparseScratch&) { negative[j] = measure_center(j); });
        for (const char one : negative) screen.negative = screen.negative || one;
        lay([&](Index first, Index last, Index) { routines_.lay_given(work_, first, last); });
    }

    // The length of a center that is given, by the reference's arithmetic, and its power of two.
    bool measure_center(Index j) {
        const T* center = work_.reference.given() + j * d();
        double square = 0, most = 0;
        bool negative = false;
        for (Index f = 0; f < d(); ++f) {
            const double value = double(center[f]);
            square += rounded(value * value);
            most = std::max(most, std::fabs(value));
            negative = negative || value < 0;
        }
        int exponent = 0;
        if (most > 0) std::frexp(most * work_.scale, &exponent);
        work_.screen.exponents[j] = std::clamp(exponent, -100, 100);
        work_.reference.set_square(j, square);
        work_.reference.estimate[j] = square;
        work_.reference.off[j] = (double(work_.used) + 8) * kRounding * square;
        work_.screen.norms[j] = square * work_.scale * work_.scale;
        return negative;
    }

    // Show the means of the sums in the table, in place of the centers of an array, if there is
    // one.
    void show(const T* instead) {
        const Index k = work_.screen.n_clusters;
        work_.reference.follow(work_.sums, work_.counts, d(), k);
        work_.screen.negative = work_.negative;
        work_.screen.off = 0;
        for (Index j = 0; j < k; ++j) {
            work_.screen.exponents[j] = std::numeric_limits<int>::min() / 2;
            choose_exponent(work_, j);
        }
        std::vector<double> squares(kPieces * k, 0.0), differences(kPieces * k, 0.0);
        lay([&](Index first, Index last, Index piece) {
            routines_.lay_sums(work_, first, last, instead, &squares[piece * k],
                               &differences[piece * k]);
        });
        const double off = (double(work_.used) + 8) * kRounding;
        double all = 0;
        for (Index j = 0; j < k; ++j) {
            double square = 0;
            for (Index piece = 0; piece < kPieces; ++piece) {
                square += squares[piece * k + j];
                all += differences[piece * k + j];
            }
            work_.squares_of[j] = square;
            work_.squares_off[j] = off * square;
            set_length(work_, j);
        }
        work_.movement.resize(k);
        shift_ = in_units(all * (1 - 1e-12) * (1 - off), all * (1 + 1e-12) * (1 + off));
        shown_ = true;
    }

    template <typename Lay>
    void lay(const Lay& lay_some) {
        const Index step = (d() + kPieces - 1) / kPieces;
        each(kPieces, double(step * work_.screen.padded), [&](Index piece, SparseScratch&) {
            const Index first = std::min(d(), piece * step), last = std::min(d(), first + step);
            if (first < last) lay_some(first, last, piece);
        });
    }

    // What rows are screened with, and how far that may be off.
    void settle_screen() {
        constexpr double single = std::numeric_limits<float>::epsilon() / 2;
        Screen& screen = work_.screen;
        const bool given = work_.reference.given() != nullptr;
        const double room = routines_.cell == 2 ? kRoom<Half> : kRoom<float>;
        double most = 0, largest = 0;
        for (Index j = 0; j < screen.padded; ++j) {
            if (j >= screen.n_clusters) {
                screen.squares[j] = std::numeric_limits<float>::infinity();
                screen.factors[j] = 0;
                continue;
            }
            const double n = given ? 1.0 : double(std::max<std::int64_t>(work_.counts[j], 1));
            const double factor = std::ldexp(2 / (room * n), screen.exponents[j]);
            screen.factors[j] = float(factor);
            screen.squares[j] = float(screen.norms[j]);
            most = std::max(most, screen.norms[j]);
            largest = std::max(largest, factor);
        }
        const double length = std::sqrt(most), whole = most + 2 * length * work_.longest;
        work_.blind = !(whole < 1e30 && whole * (1 / work_.scale) * (1 / work_.scale) < 1e300);
        const double cell = routines_.cell == 2 ? 0x1p-11 * 1.001 : single * 1.01;
        const double least = routines_.cell == 2 ? 0x1p-25 : 0x1p-149;
        screen.unit = float(LAB_MUTANT_CELL * cell + 8 * single);
        screen.per_value = float(1.01 * single);
        screen.per_root = float(1.01 * least * largest);
        screen.per_length = float(screen.negative ? 2.02 * length : 0);
        const double reference =
            (double(work_.used) + 2 * double(work_.longest_row) + 16) * kRounding + 8 * kOffMean<T>;
        const double lost = std::numeric_limits<double>::denorm_min() * work_.scale * work_.scale *
                            double(work_.used + 2 * work_.longest_row);
        screen.fixed = float(1.01 * ((8 * single + reference) * whole + 2 * screen.off + lost +
                                     1e-36 * double(work_.longest_row + 1)));
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
            const auto found =
                work_.reference.nearest(work_.rows, i, scratch.candidates, scratch.products);
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
        shift_ = in_units(low * (1 - 1e-12), high * (1 + 1e-12));
    }

    Shift in_units(double low, double high) const {
        const double back = 1 / work_.scale;
        return {low * back * back, high * back * back};
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

    Index total(Index SparsePart::* of) const {
        Index sum = 0;
        for (const SparsePart& part : parts_) sum += part.*of;
        return sum;
    }

    const Isa isa_;
    bool half_;
    SparseRoutines<T> routines_;
    SparseWork<T> work_;
    std::vector<SparsePart> parts_;
    std::deque<SparseScratch> scratch_;  // of each thread
    std::vector<std::int64_t> before_;   // counts before the last pass
    bool whole_ = false;                 // the last pass came to its end
    bool shown_ = false;                 // the table shows the means of the sums
    bool carried_ = false;               // bounds were carried to this pass
    Index quiet_ = 0;                    // so many moves, or fewer, before bounds are tried again
    Bounding<T> bounding_;
    const std::int32_t* written_ = nullptr;  // where the last pass wrote labels
    Shift shift_{0, 0};
    Index changed_ = 0;
    Interrupt interrupt_;
    std::unique_ptr<Team> team_;
    std::mutex mutex_;
};

}  // namespace lab
