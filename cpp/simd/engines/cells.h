// The engine for few features: boxes around neighbouring rows, most of which belong to one cluster
// as a whole. Rows stay in the caller's array; those of boxes on a border are copied when the
// centers first meet them.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/engines/cell_sort.h"
#include "simd/engines/cell_work.h"
#include "simd/engines/engine.h"
#include "simd/kept_team.h"
#include "simd/order.h"
#include "simd/running_sums.h"
#include "simd/team_or_alone.h"

namespace lab {

template <typename T>
class CellsEngine final : public Engine<T> {
public:
    // `seed`: chooses rows as Engine::greedy does, by tiles of its own.
    using Seed = std::vector<Index> (*)(const RowsGiven<T>& rows, int n_threads, Index first,
                                        const double* draws, Index n_rounds, Index n_candidates);

    CellsEngine(const RowsGiven<T>& rows, Index k, int n_threads, Seed seed)
        : isa_(chosen_isa()),
          routines_(choose_cell_routines<T>(isa_, rows.d)),
          seed_(seed),
          planned_(k),
          n_clusters_(k),
          middle_(rows.d, T(0)),
          team_(n_threads) {
        if (rows.middle) std::copy_n(rows.middle, rows.d, middle_.begin());
        work_.n = rows.n;
        work_.d = rows.d;
        work_.columns = rows.d + (rows.weights ? 1 : 0);
        work_.given = {rows.rows, middle_.data(), rows.d};
        work_.weights = rows.weights;
        work_.interrupt = &interrupt_;
        cut();
        measure();
        if (rows.n == 0) return;
        lay();
    }

    // If it was the last pass that wrote the labels, only those that change need be written.
    double pass(const PassArrays<T>& arrays) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Index k = arrays.k;
        if (forgotten_) lay();
        if (k != n_clusters_ || slots_.empty()) restart(k);
        const bool kept = arrays.sums && arrays.labels == written_ && hold(arrays.labels);
        work_.labels_out = kept ? arrays.labels : nullptr;
        written_ = nullptr;  // until all are written: memory may run out, or Ctrl-C come
        lay_centers(arrays.centers);
        const double multiply_adds = met_ * double(work_.n) * double(k) * double(work_.d + 3);
        const bool alone = team_->size() > 1 && team_or_alone_.alone(multiply_adds);
        each_chunk(
            [&](CellChunk& chunk, int thread) {
                chunk.changed = 0;
                chunk.met = 0;
                routines_.assign(work_, chunk, slots_[std::size_t(thread) % slots_.size()]);
                if (!kept && !interrupt_.came()) overwrite(chunk, arrays.labels);
            },
            alone);
        written_ = arrays.labels;
        team_or_alone_.end();
        met_ = 0;
        for (const CellChunk& chunk : chunks_) met_ += chunk.met;
        met_ /= double(std::max(work_.n, Index(1))) * double(k);
        return sums_.end_pass(slots_, work_.split, work_.d, weighted(), squares_, arrays);
    }

    void update(const std::int32_t* labels, Index k, double* sums,
                std::int64_t* counts) const override {
        Partial all;
        all.begin_sums(k, work_.split);
        routines_.add_rows(work_, all, labels);
        add_rounded(all, work_.split, work_.columns, work_.d, sums, counts);
    }

    std::vector<Index> greedy(const T* rows, Index first, const double* draws, Index n_rounds,
                              Index n_candidates) override {
        std::lock_guard<std::mutex> lock(mutex_);
        const RowsGiven<T> given{rows, middle_.data(), nullptr, work_.n, work_.d};
        if (work_.n > kManyRows) forget();  // the seeding needs the memory
        return seed_(given, team_->size(), first, draws, n_rounds, n_candidates);
    }

    Index n() const override { return work_.n; }
    Index d() const override { return work_.d; }
    bool weighted() const override { return work_.weights != nullptr; }
    const char* isa() const override { return kIsaNames[int(isa_)]; }
    const char* engine() const override { return kCells; }
    int n_threads() const override { return team_->size(); }
    double met() const override { return met_; }
    Index rescored() const override { return total(&CellChunk::rescored); }
    Index changed() const override { return total(&CellChunk::changed); }

private:
    static constexpr Index kRows = CellTile<T>::rows, kTiles = CellBoxes::kids;
    static constexpr Index kLeastGroups = 4;   // of a chunk: 2048 rows
    static constexpr Index kMostPieces = 256;  // chunks: a hundred threads find work

    void cut() {
        const Index n_groups = work_.n_groups();
        const Index step = std::max(kLeastGroups, (n_groups + kMostPieces - 1) / kMostPieces);
        for (Index first = 0; first < n_groups; first += step) {
            CellChunk chunk;
            chunk.first_group = first;
            chunk.last_group = std::min(first + step, n_groups);
            chunks_.push_back(std::move(chunk));
        }
    }

    // One look at all rows: how large they are, and how their values are split for sums.
    void measure() {
        const std::size_t n = std::max(chunks_.size(), std::size_t(1));
        std::vector<Range<T>> ranges(n);
        std::vector<Range<double>> products(n);
        ranges[0].begin(work_.d);
        products[0].begin(work_.columns);
        each_chunk([&](CellChunk& chunk, int) {
            const std::size_t c = std::size_t(&chunk - chunks_.data());
            const Index first = chunk.first_group * kTiles * kRows;
            const Index last = std::min(chunk.last_group * kTiles * kRows, work_.n);
            ranges[c].begin(work_.d);
            routines_.measure(work_.given, first, last, ranges[c]);
            if (work_.weights) measure_products(first, last, products[c]);
        });
        for (const Range<T>& range : ranges) ranges[0].join(range);
        if (work_.weights) {
            for (const Range<double>& range : products) products[0].join(range);
            work_.split.choose(products[0], std::numeric_limits<double>::digits, work_.n,
                               work_.columns);
        } else {
            work_.split.choose(ranges[0], std::numeric_limits<T>::digits, work_.n, work_.columns);
        }
        const auto& most = ranges[0].most;
        const double largest = double(*std::max_element(most.begin(), most.end()));
        if (!(largest > 0) || !std::isfinite(largest)) return;
        work_.scale = std::ldexp(1.0, -std::max(std::ilogb(largest) + 1, -1000));
    }

    void measure_products(Index first, Index last, Range<double>& range) const {
        constexpr Index lanes = Range<double>::lanes;
        range.begin(work_.columns);
        for (Index i = first; i < last; ++i) {
            for (Index f = 0; f < work_.columns; ++f) {
                const double value = f < work_.d ? double(work_.given.at(i, f)) : 1.0;
                const double size = std::abs(work_.weights[i] * value);
                double &most = range.most[f * lanes], &least = range.least[f * lanes];
                most = std::max(most, size);
                if (size > 0) least = std::min(least, size);
            }
        }
    }

    void forget() {
        work_.order.release();
        work_.boxes.release();
        work_.tile_sums.release();
        if (!work_.tiles.empty()) {
            work_.tiles.release();
            slots_.clear();  // labels of rows went with them
        }
        forgotten_ = work_.n > 0;
    }

    // Always the same: what is known of tiles, and copies of their rows, stay true.
    void lay() {
        const Index n_groups = work_.n_groups(), n_tiles = work_.n_tiles();
        order();
        work_.boxes.resize(n_groups, work_.d);
        work_.tile_sums.resize(n_tiles * work_.split.size());
        for (CellChunk& chunk : chunks_) chunk.squares = ExactSum();
        each_chunk([&](CellChunk& chunk, int) {
            for (Index g = chunk.first_group; g < chunk.last_group; ++g) {
                if (interrupt_.came()) return;
                routines_.lay_group(work_, chunk, g);
            }
        });
        ExactSum squares;
        for (const CellChunk& chunk : chunks_) squares.add(chunk.squares);
        squares_ = squares.value();
        forgotten_ = false;
    }

    // Rows are all copied, in an order that puts neighbours side by side, or stay where they are.
    void order() {
        const auto run = [this](Index n, const auto& task) { run_all(n, task); };
        const bool sorted = sort_into_tiles(work_, routines_, planned_, Index(team_->size()), run);
        work_.copies.resize(work_.n_tiles(), nullptr);
        for (Index t = 0; sorted && t < work_.n_tiles(); ++t) {
            work_.copies[t] = work_.tiles.data() + t * work_.tile_bytes();
        }
        if (sorted) return;
        work_.order.release();
        const auto chosen = choose_order(work_.given, work_.n, work_.d, planned_, interrupt_);
        work_.order.resize(chosen.size());
        std::copy(chosen.begin(), chosen.end(), work_.order.data());
    }

    void lay_centers(const T* centers) {
        work_.centers = centers;
        work_.n_clusters = n_clusters_;
        work_.scaled.resize(n_clusters_ * work_.d);
        for (Index i = 0; i < n_clusters_ * work_.d; ++i) {
            work_.scaled[i] = double(centers[i]) * work_.scale;
        }
        routines_.lay_centers(work_.scaled.data(), n_clusters_, work_.all);
    }

    // Begin without labels and with empty sums.
    void restart(Index k) {
        n_clusters_ = k;
        slots_.clear();
        written_ = nullptr;
        work_.owner.assign(work_.n_tiles(), CellWork<T>::kUnknown);
        work_.group_owner.assign(work_.n_groups(), CellWork<T>::kUnknown);
        slots_ = begin_slots(k, work_.split, team_->size());
    }

    Index first_row(const CellChunk& chunk) const { return chunk.first_group * kTiles * kRows; }
    Index last_row(const CellChunk& chunk) const {
        return std::min(chunk.last_group * kTiles * kRows, work_.n);
    }

    // Whether labels hold what the last pass wrote, as the contract of assign_update promises. A
    // few labels of each chunk tell a caller that hands over other arrays.
    bool hold(const std::int32_t* labels) const {
        for (const CellChunk& chunk : chunks_) {
            const Index first = first_row(chunk), last = last_row(chunk);
            const Index step = (last - first + 3) / 4;
            for (Index row = first; row < last; row += step) {
                if (labels[work_.given_as(row)] != work_.label_of(row)) return false;
            }
        }
        return true;
    }

    void overwrite(CellChunk& chunk, std::int32_t* labels) const {
        constexpr Index ahead = 64;  // most places of labels are far from each other
        const Index first = first_row(chunk), last = last_row(chunk);
        chunk.changed = 0;
        for (Index row = first; row < last; ++row) {
            LAB_PREFETCH_TO_WRITE(labels + work_.given_as(std::min(row + ahead, last - 1)));
            std::int32_t& label = labels[work_.given_as(row)];
            const std::int32_t own = work_.label_of(row);
            chunk.changed += label != own;
            label = own;
        }
    }

    Index total(Index CellChunk::* of) const {
        Index sum = 0;
        for (const CellChunk& chunk : chunks_) sum += chunk.*of;
        return sum;
    }

    template <typename Task>
    void each_chunk(const Task& task, bool alone = false) {
        const auto one = [&](Index c, Index thread) { task(chunks_[c], int(thread)); };
        run_all(Index(chunks_.size()), one, alone);
    }

    template <typename Task>
    void run_all(Index n, const Task& task, bool alone = false) {
        interrupt_.begin(double(kTiles * kRows) * double(n_clusters_) * double(work_.d));
        const auto one = [&](int i, int thread) {
            if (!interrupt_.came()) task(Index(i), Index(thread));
        };
        team_->run(int(n), one, alone);
        if (interrupt_.came()) throw Interrupted();
    }

    const Isa isa_;
    const CellRoutines<T> routines_;
    const Seed seed_;
    const Index planned_;  // clusters, when the rows were prepared
    Index n_clusters_;
    std::vector<T> middle_;
    Interrupt interrupt_;
    TeamOrAlone team_or_alone_;
    double met_ = 1;
    const std::int32_t* written_ = nullptr;  // where the last pass wrote labels
    CellWork<T> work_;
    std::vector<CellChunk> chunks_;
    bool forgotten_ = false;      // order, boxes and sums of tiles
    double squares_ = 0;          // Σ‖x‖², times weights
    std::vector<Partial> slots_;  // sums of each thread, or of some
    RunningSums sums_;
    KeptTeam team_;
    std::mutex mutex_;
};

}  // namespace lab
