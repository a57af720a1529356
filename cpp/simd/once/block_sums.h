// Exact sums of rows that come in blocks, over and over: a row whose label has changed leaves one
// sum and joins another, and whatever the blocks are, the sums follow from the labels alone.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/engines/row_work.h"
#include "simd/kept_team.h"
#include "simd/running_sums.h"

namespace lab {

// What is known of all rows together, of each column that is added up: features and, with weights,
// the weight. Magnitudes are those of x − middle or, with weights, of the products of both.
struct ColumnsOfBlocks {
    const double *most, *least;  // (columns,): no value lies beyond, but for zeros
    Index n, d, n_clusters;
    bool weighted;
};

template <typename T>
class BlockSums {
public:
    BlockSums(const ColumnsOfBlocks& of, int n_threads)
        : isa_(chosen_isa()), of_(of), n_threads_(n_threads) {
        const Index columns = of.d + (of.weighted ? 1 : 0);
        Range<double> range;
        range.begin(columns);
        for (Index f = 0; f < columns; ++f) {
            range.most[f * range.lanes] = of.most[f];
            if (of.most[f] > 0) range.least[f * range.lanes] = of.least[f];
        }
        const int digits = of.weighted ? 53 : std::numeric_limits<T>::digits;
        // Split looks at magnitudes as they are: of the least, so many digits may follow.
        split_.choose(range, digits, of.n, columns, true);
        slots_ = begin_slots(of.n_clusters, split_, n_threads);
        of_.most = of_.least = nullptr;  // the caller's
    }

    // Move the rows of a block, (n, d), from the clusters where they were, −1 for none, to others;
    // return how many moved.
    Index move(const RowsGiven<T>& rows, const std::int32_t* before, const std::int32_t* after) {
        const auto routines = choose_row_routines<T>(isa_, of_.d, of_.n_clusters);
        std::vector<T> middle(of_.d + RowWork<T>::kBehind, T(0));
        if (rows.middle) std::copy_n(rows.middle, of_.d, middle.begin());
        Interrupt interrupt;
        RowWork<T> work;
        work.given = {rows.rows, middle.data(), of_.d};
        work.weights = rows.weights;
        work.n = rows.n;
        work.d = of_.d;
        work.columns = of_.d + (of_.weighted ? 1 : 0);
        work.split = split_;
        work.interrupt = &interrupt;
        work.pad();
        const Index n_parts = (rows.n + kRows - 1) / kRows;
        KeptTeam team(n_parts > 1 ? n_threads_ : 1);
        std::vector<Index> moved(std::size_t(team->size()), 0);
        interrupt.begin(kRows * double(of_.d));
        team->run(int(n_parts), [&](int part, int thread) {
            if (interrupt.came()) return;
            const Index first = part * kRows, last = std::min(first + kRows, rows.n);
            Partial& sums = slots_[std::size_t(thread) % slots_.size()];
            moved[std::size_t(thread)] += routines.move(work, first, last, before, after, sums);
        });
        if (interrupt.came()) throw Interrupted();
        Index all = 0;
        for (const Index some : moved) all += some;
        return all;
    }

    // Add the sums, each rounded once, and counts or masses to the caller's.
    void read(const PassArrays<T>& to) {
        sums_.read(slots_, split_, of_.n_clusters, of_.d, of_.weighted);
        sums_.add_to(to);
    }

    // The sums as whole numbers, (n_clusters, size), and counts: they add up with those of other
    // rows, of which the same is known.
    Index size() const { return split_.size(); }
    void copy(std::int64_t* limbs, std::int64_t* counts) const {
        std::fill_n(limbs, of_.n_clusters * size(), std::int64_t(0));
        std::fill_n(counts, of_.n_clusters, std::int64_t(0));
        for (const Partial& slot : slots_) {
            for (std::size_t i = 0; i < slot.limbs.size(); ++i) limbs[i] += slot.limbs[i];
            for (std::size_t j = 0; j < slot.counts.size(); ++j) counts[j] += slot.counts[j];
        }
    }
    void add(const std::int64_t* limbs, const std::int64_t* counts) {
        Partial& slot = slots_[0];
        for (std::size_t i = 0; i < slot.limbs.size(); ++i) slot.limbs[i] += limbs[i];
        for (std::size_t j = 0; j < slot.counts.size(); ++j) slot.counts[j] += counts[j];
        std::fill(slot.touched.begin(), slot.touched.end(), std::uint8_t(1));
    }

private:
    static constexpr Index kRows = 4096;  // that a thread takes at a time

    const Isa isa_;
    ColumnsOfBlocks of_;
    const int n_threads_;
    Split split_;
    std::vector<Partial> slots_;
    RunningSums sums_;
};

}  // namespace lab
