// State of the engines that take rows as they lie in the caller's array: nothing is transposed.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/order.h"
#include "simd/partial.h"
#include "simd/sums.h"

namespace lab {

// Some neighbouring rows, which one thread takes at a time.
struct Part {
    Index first = 0, last = 0;  // rows
    Index changed = 0;          // labels, in the last pass
    Index rescored = 0;         // near-ties decided by the reference's arithmetic, so far
    double met = 0;             // pairs of row and center that the last pass looked at
    Index spared = 0;           // rows that the drift of their own center spared, in the last pass
    // Where float32 decides too little, scores are computed in double for a growing number of
    // passes.
    int wide_left = 0, wide_next = 1;
    bool copied = false;  // its rows have copies as they are scored
};

template <typename T>
struct RowWork {
    static constexpr Index kBehind = 8;  // values that may be read behind a row, or a middle

    Given<T> given;                   // rows of the caller, and the middle they are relative to
    const double* weights = nullptr;  // (n,): of rows; null: each counts as one
    Index n = 0, d = 0;
    Index columns = 0;             // that are added up: features and, with weights, the weight
    Split split;                   // of the values, for sums
    double longest = 0;            // of a row, ‖x‖, or up to √d times as much
    Aligned<std::int32_t> labels;  // (n,) and padding: labels of the last pass
    bool fresh = false;            // in this pass no row leaves a sum: all are empty
    std::int32_t* labels_out = nullptr;  // (n,): the caller's, where changes alone are written
    Interrupt* interrupt = nullptr;
    // Where columns are added up in whole vectors: −1 for features, and what stands behind them,
    // one for the weight and zeros.
    std::vector<std::int64_t> inside;  // (columns and padding,)
    std::vector<double> behind;        // (columns and padding,)
    std::vector<T> last;               // rows from first_last on, and padding
    Index first_last = 0;

    // A row, so that some values behind it may be read.
    const T* followed(Index row) const {
        return row < first_last ? given.rows + row * d : last.data() + (row - first_last) * d;
    }

    void pad() {
        inside.assign(columns + kBehind, 0);
        std::fill_n(inside.begin(), d, std::int64_t(-1));
        behind.assign(columns + kBehind, 0.0);
        if (weights) behind[d] = 1;
        first_last = std::max(n - (kBehind + d - 1) / d, Index(0));
        last.assign(given.rows + first_last * d, given.rows + n * d);
        last.resize(last.size() + kBehind);
    }
};

// What is learnt in one look at some rows.
struct Measured {
    Range<double> range;  // of each column that is added up
    ExactSum squares;     // Σ‖x‖², times weights
    double longest = 0;   // max ‖x‖²
};

}  // namespace lab
