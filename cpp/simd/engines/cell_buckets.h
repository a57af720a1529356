// Buckets of neighbouring cells that rows are scattered into, on their way into tiles.

#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"

namespace lab {

// What is known while rows are sorted. A row that is scattered is a record: its values, its weight
// if there is one, its place in the caller's array; as many bytes as it takes in a tile.
struct CellBuckets {
    Index count = 0;                   // of buckets
    int low = 0;                       // bits that tell the cells of a bucket apart
    Index rows_per_piece = 1;          // of those that are told their cells, and scattered
    Aligned<std::uint16_t> rest;       // (n,): low bits, of records
    std::vector<std::uint32_t> next;   // (n_pieces, count): where the next record goes
    std::vector<std::uint32_t> begin;  // (count + 1,): the first record of each bucket

    void resize(Index n, int n_bits, Index n_pieces) {
        // Rows that are scattered to 256 places find them in the cache; of fewer rows, 1024 each.
        constexpr int kLow = 6, kMostHigh = 8;
        low = std::max(0, std::max(std::min(n_bits, kLow), n_bits - kMostHigh));
        count = Index(1) << (n_bits - low);
        rows_per_piece = (n + n_pieces - 1) / n_pieces;
        next.assign(n_pieces * count, 0);
        begin.assign(count + 1, 0);
    }

    // Counts become places: buckets in order and, within each, pieces in order. Returns the rows of
    // the largest bucket.
    Index place() {
        const Index n_pieces = Index(next.size()) / count;
        std::uint32_t sum = 0, most = 0;
        for (Index b = 0; b < count; ++b) {
            begin[b] = sum;
            for (Index p = 0; p < n_pieces; ++p) {
                std::uint32_t& at = next[p * count + b];
                sum += std::exchange(at, sum);
            }
            most = std::max(most, sum - begin[b]);
        }
        begin[count] = sum;
        return Index(most);
    }
};

// Rows that are taken from their bucket, to be put back in order.
struct CellBucket {
    std::vector<char> records;
    std::vector<std::uint32_t> count, places;
};

}  // namespace lab
