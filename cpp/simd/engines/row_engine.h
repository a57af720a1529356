// The base of engines that take rows as they lie: parts of rows, sums, threads, labels.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/engines/engine.h"
#include "simd/engines/row_work.h"
#include "simd/engines/tiled_rows.h"
#include "simd/kept_team.h"
#include "simd/running_sums.h"
#include "simd/team_or_alone.h"

namespace lab {

template <typename T>
class RowEngine : public Engine<T> {
public:
    // Rows are taken relative to the middle, (d,), which may be null, and count by their weights,
    // (n,), which may be null. The caller keeps rows and weights. Few rows are cut into parts of
    // fewer than kLeast where `fine`.
    RowEngine(const RowsGiven<T>& rows, Index k, int n_threads, bool fine)
        : isa_(chosen_isa()),
          routines_(choose_row_routines<T>(isa_, rows.d, k)),
          n_clusters_(k),
          middle_(rows.d + RowWork<T>::kBehind, T(0)),
          team_(n_threads) {
        if (rows.middle) std::copy_n(rows.middle, rows.d, middle_.begin());
        work_.given = {rows.rows, middle_.data(), rows.d};
        work_.weights = rows.weights;
        work_.n = rows.n;
        work_.d = rows.d;
        work_.columns = rows.d + (rows.weights ? 1 : 0);
        work_.interrupt = &interrupt_;
        work_.pad();
        work_.labels.resize(rows.n + kPadding);
        std::fill_n(work_.labels.data() + rows.n, kPadding, 0);
        cut(fine);
        rows.weights ? measure() : find_range();
    }

    double pass(const PassArrays<T>& arrays) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Index k = arrays.k;
        if (arrays.inertia && !squares_) measure();
        const bool again = starts_anew_ && arrays.sums && begins(arrays.labels);
        work_.fresh = again || k != n_clusters_ || slots_.empty();
        if (work_.fresh) restart(k);
        const bool kept = arrays.sums && arrays.labels == written_ && hold(arrays.labels);
        work_.labels_out = kept ? arrays.labels : nullptr;
        written_ = nullptr;  // until all are written: memory may run out, or Ctrl-C come
        const bool carried = whole_;
        whole_ = false;
        plan(arrays.centers, carried);
        const double multiply_adds = met_ * double(work_.n) * double(k) * double(work_.d + 3);
        const bool alone = team_->size() > 1 && team_or_alone_.alone(multiply_adds);
        each_part(
            [&](Part& part, int thread) {
                part.changed = part.spared = 0;
                part.met = 0;
                assign(part, slots_[std::size_t(thread) % slots_.size()]);
                if (!kept && !interrupt_.came()) overwrite(part, arrays.labels);
            },
            alone);
        whole_ = true;
        written_ = arrays.labels;
        team_or_alone_.end();
        met_ = 0;
        for (const Part& part : parts_) met_ += part.met;
        met_ /= double(std::max(work_.n, Index(1))) * double(k);
        return sums_.end_pass(slots_, work_.split, work_.d, weighted(), squares_.value_or(0),
                              arrays);
    }

    void update(const std::int32_t* labels, Index k, double* sums,
                std::int64_t* counts) const override {
        Partial all;
        all.begin_sums(k, work_.split, false);
        routines_.add_rows(work_, all, labels);
        add_rounded(all, work_.split, work_.columns, work_.d, sums, counts);
    }

    std::vector<Index> greedy(const T* rows, Index first, const double* draws, Index n_rounds,
                              Index n_candidates) override {
        const Given<T> given{rows, middle_.data(), work_.d};
        if (screening_pays(given, work_.n, n_rounds + 1)) {
            std::lock_guard<std::mutex> lock(mutex_);
            ScreenedSeeding<T> seeding(given, work_.n, n_candidates, choose_screening<T>(isa_),
                                       *team_, interrupt_);
            return draw_rows(seeding, first, draws, n_rounds, n_candidates);
        }
        TiledRows<T> tiles({rows, middle_.data(), nullptr, work_.n, work_.d}, n_rounds + 1,
                           team_->size(), Use::seeding);
        return tiles.greedy(rows, first, draws, n_rounds, n_candidates);
    }

    Index n() const override { return work_.n; }
    Index d() const override { return work_.d; }
    bool weighted() const override { return work_.weights != nullptr; }
    const char* isa() const override { return kIsaNames[int(isa_)]; }
    int n_threads() const override { return team_->size(); }
    double met() const override { return met_; }
    Index rescored() const override { return total(&Part::rescored); }
    Index changed() const override { return total(&Part::changed); }

protected:
    // Lay the centers out for a pass. What was carried from pass to pass holds, or does not: this
    // is the first pass, the number of centers has changed, or the last pass was interrupted.
    virtual void plan(const T* centers, bool carried) = 0;
    // Assign the rows of a part; rows that change cluster leave one sum and join another.
    virtual void assign(Part& part, Partial& sums) = 0;

    template <typename Task>
    void each_part(const Task& task, bool alone = false) {
        interrupt_.begin(kRowsPerCheck * double(n_clusters_) * double(work_.d));
        const auto one = [&](int p, int thread) {
            if (!interrupt_.came()) task(parts_[p], thread);
        };
        team_->run(int(parts_.size()), one, alone);
        if (interrupt_.came()) throw Interrupted();
    }

    const Isa isa_;
    const RowRoutines<T> routines_;
    Index n_clusters_;
    RowWork<T> work_;
    std::vector<Part> parts_;
    // Whether another fit begins with empty sums. That takes half as long as to take nearly all
    // rows out of the sums of the fit before, whose bounds are of no use to this engine.
    bool starts_anew_ = false;

    static constexpr Index kPadding = 128;  // labels behind the last one, for whole vectors
    static constexpr double kRowsPerCheck = 1024;

private:
    static constexpr Index kLeast = 1024;      // rows of a part at least
    static constexpr Index kParts = 256;       // parts at most: a hundred threads find work
    static constexpr Index kFew = 8;           // parts that too few rows are cut into,
    static constexpr double kPiece = 1 << 18;  // of so many multiply-adds at least: some 5 µs

    // Threads write whole vectors of rows: parts begin at multiples of kPadding.
    Index rows_of_a_part(bool fine) const {
        const Index few = (work_.n / kFew + kPadding) / kPadding * kPadding;
        const double multiply_adds = double(few) * double(n_clusters_) * double(work_.d);
        if (fine && few < kLeast && multiply_adds >= kPiece) return few;
        return std::max(Index(1), (work_.n / kParts + kLeast) / kLeast) * kLeast;
    }

    void cut(bool fine) {
        const Index rows = rows_of_a_part(fine);
        for (Index first = 0; first < work_.n; first += rows) {
            Part part;
            part.first = first;
            part.last = std::min(first + rows, work_.n);
            parts_.push_back(part);
        }
    }

    // A look at all rows that tells how their values are split for sums, and how long they may be.
    void find_range() {
        std::vector<Range<double>> all(std::size_t(std::max(team_->size(), 1)));
        for (Range<double>& one : all) one.begin(work_.columns);
        each_part([&](const Part& part, int thread) {
            routines_.range(work_, part, all[std::size_t(thread)]);
        });
        for (std::size_t t = 1; t < all.size(); ++t) all[0].join(all[t]);
        double square = 0;
        for (const double most : all[0].most) square += most * most;
        work_.longest = std::sqrt(square) * (1 + 1e-9);
        work_.split.choose(all[0], std::numeric_limits<T>::digits, work_.n, work_.columns, true);
    }

    // A longer look: also Σ‖x‖² and, where rows have weights, the range of the products.
    void measure() {
        std::vector<Measured> all(std::size_t(std::max(team_->size(), 1)));
        for (Measured& one : all) one.range.begin(work_.columns);
        each_part([&](const Part& part, int thread) {
            routines_.measure(work_, part, all[std::size_t(thread)]);
        });
        for (std::size_t t = 1; t < all.size(); ++t) {
            all[0].range.join(all[t].range);
            all[0].squares.add(all[t].squares);
            all[0].longest = std::max(all[0].longest, all[t].longest);
        }
        squares_ = all[0].squares.value();
        if (!work_.weights) return;
        work_.longest = std::sqrt(all[0].longest);
        work_.split.choose(all[0].range, 53, work_.n, work_.columns, true);
    }

    // Begin without labels and with empty sums.
    void restart(Index k) {
        n_clusters_ = k;
        whole_ = false;
        slots_.clear();
        written_ = nullptr;
        std::fill_n(work_.labels.data(), work_.n, -1);
        slots_ = begin_slots(k, work_.split, team_->size());
    }

    // Whether labels say that no row has been to any cluster: another fit of the same rows begins.
    bool begins(const std::int32_t* labels) const {
        return std::all_of(parts_.begin(), parts_.end(),
                           [labels](const Part& part) { return labels[part.first] < 0; });
    }

    // Whether labels hold what the last pass wrote, as the contract of assign_update promises. A
    // few labels of each part tell a caller that hands over other arrays.
    bool hold(const std::int32_t* labels) const {
        for (const Part& part : parts_) {
            const Index step = (part.last - part.first + 3) / 4;
            for (Index i = part.first; i < part.last; i += step) {
                if (labels[i] != work_.labels[i]) return false;
            }
        }
        return true;
    }

    void overwrite(Part& part, std::int32_t* labels) const {
        part.changed = 0;
        for (Index i = part.first; i < part.last; ++i) {
            part.changed += labels[i] != work_.labels[i];
            labels[i] = work_.labels[i];
        }
    }

    Index total(Index Part::* of) const {
        Index sum = 0;
        for (const Part& part : parts_) sum += part.*of;
        return sum;
    }

    std::vector<T> middle_;
    Interrupt interrupt_;
    TeamOrAlone team_or_alone_;
    double met_ = 1;
    bool whole_ = false;                     // the last pass came to its end
    const std::int32_t* written_ = nullptr;  // where the last pass wrote labels
    std::optional<double> squares_;          // Σ‖x‖², times weights, since it was wanted
    std::vector<Partial> slots_;             // sums of each thread, or of some
    RunningSums sums_;
    KeptTeam team_;
    std::mutex mutex_;
};

}  // namespace lab
