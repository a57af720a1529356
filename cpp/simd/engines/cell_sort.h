// Rows on their way into tiles: they are scattered once, into buckets of neighbouring cells, each
// of which is then sorted by itself, while it lies in the cache.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/types.h"
#include "simd/engines/cell_buckets.h"
#include "simd/engines/cell_work.h"
#include "simd/order.h"
#include "simd/routines.h"

namespace lab {

// Fill tiles with rows in the order of their cells; false where that does not pay: rows lie well as
// they are, most of them in one cell, or the memory for all of them would be too much. `run(n,
// task)` calls task(i, thread).
template <typename T, typename Run>
bool sort_into_tiles(CellWork<T>& work, const CellRoutines<T>& routines, Index k, Index n_threads,
                     const Run& run) {
    Layout layout;
    if (!work.may_copy_all() || !far_apart(work.given, work.n, work.d, k, layout)) return false;
    const Cells<T> cells(work.given, work.n, layout);
    CellBuckets buckets;
    work.order.resize(work.n);  // until rows are in order, each one's cell
    const Index n_pieces = n_threads == 1 ? 1 : std::min(Index(64), 4 * n_threads);
    buckets.resize(work.n, cells.n_bits(), n_pieces);
    run(n_pieces, [&](Index p, Index) {
        const Index end = std::min((p + 1) * buckets.rows_per_piece, work.n);
        std::uint32_t* counts = buckets.next.data() + p * buckets.count;
        for (Index i = p * buckets.rows_per_piece; i < end;) {
            const Index first = i, last = std::min(i + Cells<T>::kTogether, end);
            if (work.interrupt->came()) return;
            cells.of(first, last, work.order.data() + first);
            for (; i < last; ++i) ++counts[work.order[i] >> buckets.low];
        }
    });
    constexpr Index kLeast = 1 << 14;  // rows that may be in one bucket whatever their share is
    if (buckets.place() > std::max(kLeast, work.n / 8)) return false;
    buckets.rest.resize(work.n);
    work.tiles.resize(work.n_tiles() * work.tile_bytes());
    run(n_pieces, [&](Index p, Index) {
        const Index first = p * buckets.rows_per_piece;
        const Index last = std::min(first + buckets.rows_per_piece, work.n);
        routines.scatter_rows(work, buckets, first, last, buckets.next.data() + p * buckets.count);
    });
    std::vector<CellBucket> taken{std::size_t(n_threads)};
    run(buckets.count, [&](Index b, Index thread) {
        if (!work.interrupt->came()) routines.sort_bucket(work, buckets, b, taken[thread]);
    });
    return true;
}

}  // namespace lab
