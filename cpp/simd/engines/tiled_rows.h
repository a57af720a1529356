// Rows in tiles, scored against all centers; and for the seeding, with balls around tiles.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/engines/engine.h"
#include "simd/engines/layout.h"
#include "simd/engines/work.h"
#include "simd/kept_team.h"
#include "simd/order.h"
#include "simd/running_sums.h"
#include "simd/seeding/ball_seeding.h"
#include "simd/seeding/screened_seeding.h"
#include "simd/team_or_alone.h"

namespace lab {

// A fit comes back with other centers, and remembers what it found; a single look does not pay for
// that. The seeding puts balls around tiles.
enum class Use { fit, once, seeding };

template <typename T>
class TiledRows final : public Engine<T> {
public:
    TiledRows(const RowsGiven<T>& rows, Index k, int n_threads, Use use)
        : isa_(chosen_isa()),
          routines_(choose_routines<T>(isa_, rows.n, rows.d, k)),
          n_clusters_(k),
          use_(use),
          middle_(rows.d, T(0)),
          team_(n_threads) {
        const Index n = rows.n, d = rows.d;
        if (rows.middle) std::copy_n(rows.middle, d, middle_.begin());
        const Given<T> given{rows.rows, middle_.data(), d};
        work_.n = n;
        work_.d = d;
        work_.columns = d + (rows.weights ? 1 : 0);
        work_.width = routines_.width;
        work_.interrupt = &interrupt_;
        const Index n_tiles = (n + routines_.width - 1) / routines_.width;
        work_.tiles.resize(n_tiles * routines_.width * d);
        work_.labels.resize(n_tiles * routines_.width);
        if (rows.weights) work_.weights.resize(n_tiles * routines_.width);
        work_.reach.resize(n_tiles);
        chunks_ = cut_into_chunks(work_, n_tiles, k);
        const Index n_families = chunks_.empty() ? 0 : work_.last_family(chunks_.back());
        if (has_balls()) work_.order = choose_order(given, n, d, k, interrupt_);
        if (has_balls()) {
            work_.groups_in.resize(n_families, d);
            work_.tiles_in.resize(n_families * kKids, d);
        }
        std::vector<Ranges<T>> ranges(chunks_.size());
        each_chunk([&](Chunk& chunk) {
            Ranges<T>* some = keeps_sums() ? &ranges[&chunk - chunks_.data()] : nullptr;
            if (!fill_tiles(work_, routines_, rows, given, chunk, some) || !has_balls()) return;
            fit_balls(work_, routines_, chunk);
        });
        ExactSum squares;
        for (const Chunk& chunk : chunks_) squares.add(chunk.squares);
        squares_ = squares.value();
        if (!keeps_sums() || n == 0) return;
        for (const Ranges<T>& some : ranges) ranges[0].join(some);
        ranges[0].choose(work_);
    }

    // If it was the last pass that wrote the labels, only those that change need be written.
    double pass(const PassArrays<T>& arrays) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Index k = arrays.k;
        std::int32_t* labels = arrays.labels;
        if (k != n_clusters_) {
            n_clusters_ = k;
            for (Chunk& chunk : chunks_) chunk.begun = false;
        }
        const bool kept = arrays.sums && labels == written_ && hold(labels);
        work_.labels_out = kept ? labels : nullptr;
        written_ = nullptr;  // until all are written: memory may run out, or Ctrl-C come
        work_.centers.set(arrays.centers, k, work_.d, routines_.panel);
        const double multiply_adds = double(work_.n) * double(k) * double(work_.d + 3);
        const bool alone = team_->size() > 1 && team_or_alone_.alone(multiply_adds);
        const auto task = [&](Chunk& chunk) {
            begin(chunk);
            chunk.changed = 0;
            routines_.assign(work_, chunk);
            if (interrupt_.came()) return;  // rows may be left without a cluster
            if (!kept) overwrite(chunk, labels);
        };
        each_chunk(task, alone);
        written_ = labels;
        team_or_alone_.end();
        if (!keeps_sums()) return std::max(inertia_from_scores(), 0.0);
        sums_.read(chunks_, work_.split, k, work_.d, weighted());
        if (arrays.sums) sums_.add_to(arrays);
        return std::max(sums_.inertia(squares_, arrays.centers), 0.0);
    }

    void update(const std::int32_t* labels, Index k, double* sums,
                std::int64_t* counts) const override {
        Chunk all;
        all.begin_sums(k, work_.split);
        routines_.add_rows(work_, all, labels);
        std::vector<double> own(work_.d);
        for (Index j = 0; j < k; ++j) {
            if (all.counts[j] == 0) continue;
            work_.split.round(all.limbs.data() + j * work_.split.size(), work_.d, own.data());
            for (Index f = 0; f < work_.d; ++f) sums[j * work_.d + f] += own[f];
            counts[j] += all.counts[j];
        }
    }

    // Greedy k-means++ on the rows as they were given; see draw_rows.
    std::vector<Index> greedy(const T* rows, Index first, const double* draws, Index n_rounds,
                              Index n_candidates) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Given<T> given{rows, middle_.data(), work_.d};
        if (screening_pays(given, work_.n, n_rounds + 1)) {
            ScreenedSeeding<T> seeding(given, work_.n, n_candidates, choose_screening<T>(isa_),
                                       *team_, interrupt_);
            return draw_rows(seeding, first, draws, n_rounds, n_candidates);
        }
        const auto each = [this](const auto& task) { this->each_chunk(task); };
        BallSeeding<T, decltype(each)> seeding(given, work_, chunks_, routines_, n_candidates,
                                               each);
        return draw_rows(seeding, first, draws, n_rounds, n_candidates);
    }

    bool seeds() const override { return has_balls(); }
    Index n() const override { return work_.n; }
    Index d() const override { return work_.d; }
    bool weighted() const override { return !work_.weights.empty(); }
    const char* isa() const override { return kIsaNames[int(isa_)]; }
    const char* engine() const override { return kAllPairs; }
    int n_threads() const override { return team_->size(); }
    Index rescored() const override {
        Index sum = 0;
        for (const Chunk& chunk : chunks_) sum += chunk.rescored;
        return sum;
    }
    Index changed() const override {
        Index sum = 0;
        for (const Chunk& chunk : chunks_) sum += chunk.changed;
        return sum;
    }
    double met() const override { return 1; }

private:
    bool has_balls() const { return use_ == Use::seeding; }
    bool keeps_sums() const { return use_ != Use::seeding; }

    // Not before the first pass: until then, the seeding needs the memory.
    void begin(Chunk& chunk) {
        if (chunk.begun) return;
        if (keeps_sums()) chunk.begin_sums(n_clusters_, work_.split);
        std::int32_t* labels = work_.labels.data();
        std::fill(labels + chunk.first_tile * work_.width, labels + chunk.last_tile * work_.width,
                  -1);
        chunk.begun = true;
    }

    // Whether labels hold what the last pass wrote, as the contract of assign_update promises. A
    // few labels of each chunk tell a caller that hands over other arrays.
    bool hold(const std::int32_t* labels) const {
        for (const Chunk& chunk : chunks_) {
            if (!chunk.begun) return false;
            const Index first = chunk.first_tile * work_.width, step = (chunk.n_rows + 3) / 4;
            for (Index i = first; i < first + chunk.n_rows; i += step) {
                if (labels[work_.given_as(i)] != work_.labels[i]) return false;
            }
        }
        return true;
    }

    void overwrite(Chunk& chunk, std::int32_t* labels) const {
        const Index first = chunk.first_tile * work_.width;
        chunk.changed = 0;
        for (Index i = first; i < first + chunk.n_rows; ++i) {
            std::int32_t& label = labels[work_.given_as(i)];
            chunk.changed += label != work_.labels[i];
            label = work_.labels[i];
        }
    }

    double inertia_from_scores() const {
        double inertia = squares_;
        for (const Chunk& chunk : chunks_) inertia += chunk.inertia;
        return inertia;
    }

    template <typename Task>
    void each_chunk(const Task& task, bool alone = false) {
        // No more than a family of tiles lies between two checks for a signal.
        const double rows_per_check = double(kKids * kKids * work_.width);
        interrupt_.begin(rows_per_check * double(n_clusters_) * double(work_.d));
        const auto one = [&](int c, int) {
            if (!interrupt_.came()) task(chunks_[c]);
        };
        team_->run(int(chunks_.size()), one, alone);
        if (interrupt_.came()) throw Interrupted();
    }

    static constexpr Index kKids = Balls<T>::kids;

    const Isa isa_;
    const Routines<T> routines_;
    Index n_clusters_;
    const Use use_;
    std::vector<T> middle_;
    Interrupt interrupt_;
    TeamOrAlone team_or_alone_;
    const std::int32_t* written_ = nullptr;  // where the last pass wrote labels
    Work<T> work_;
    std::vector<Chunk> chunks_;
    double squares_ = 0;  // Σ‖x‖²
    RunningSums sums_;
    KeptTeam team_;
    std::mutex mutex_;
};

}  // namespace lab
