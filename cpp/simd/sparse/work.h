// What the routines for sparse rows read and write: rows, centers as they are screened, parts.

#pragma once

#include <cstdint>
#include <vector>

#include "common/aligned.h"
#include "common/compiler.h"
#include "common/interrupt.h"
#include "common/types.h"
#include "simd/sparse/cell_sums.h"
#include "simd/sparse/reference.h"
#include "sparse/rows.h"

namespace lab {

using Half = std::uint16_t;  // the bits of a float16

// A row of a part that has changed its center; before < 0: it had none.
struct Move {
    std::uint32_t row;
    std::int32_t before;
};

// Some rows, which one thread looks at.
struct SparsePart {
    Index first = 0, last = 0;
    Index rescored = 0;  // rows that the reference's arithmetic has decided
    Index near = 0;      // rows with several centers within the error, in the last pass
    Index met = 0;       // rows that have met all centers in the last pass
    std::vector<Move> moves;
};

// A sum of a center that has changed, by which share of the center's rows.
struct Change {
    std::int32_t feature;
    float share;
};

// Values that are added to the sums of a center: those of several rows together, so that the sums
// of later ones are on their way.
constexpr Index kEntries = 512, kEntriesAhead = 16;
struct Entering {
    Index n = 0;
    std::int32_t features[kEntries + kEntriesAhead] = {};
    double values[kEntries];
};

// Room of a thread.
struct SparseScratch {
    Aligned<float> values;            // of some rows
    Aligned<float> lower;             // (padded,): lower bounds of the scores of a row
    std::vector<std::uint64_t> seen;  // a bit for each feature whose sum may have changed
    std::vector<double> before;       // what that sum was
    Entering entering;
    std::vector<std::int32_t> candidates;  // centers that may be the nearest of a row
    std::vector<double> products;          // with these
    std::vector<std::uint64_t> shared;     // a bit for each center that shares a feature with it
};

// Centers as rows are screened by them. All values are scaled: those of rows by a power of two to
// less than 1, and the sums of center j by 2^-exponents[j] more, to less than 2. A score is
// squares[j] − factors[j] · Σ x · table[f, j].
struct Screen {
    Index n_clusters = 0, padded = 0;
    Aligned<unsigned char> table;     // (n_features, padded) float16 or float32
    Aligned<float> squares, factors;  // (padded,)
    std::vector<int> exponents;
    std::vector<double> norms;  // ‖c‖²
    double off = 0;             // of each of these, at most

    // The error of a score of a row of m values and length r: `unit` + `per_value` · m, times what
    // is subtracted where nothing is negative; and `fixed` + r (`per_root` √m + `per_length` times
    // the first), whatever is subtracted.
    bool negative = false;
    float unit = 0, per_value = 0, fixed = 0, per_root = 0, per_length = 0;
};

// How each center has moved since the pass before, in scaled units.
struct Movement {
    std::vector<double> shift;      // a bound of the distance
    std::vector<double> squares;    // change of the squared length
    std::vector<double> growth;     // old number of rows / new − 1
    std::vector<double> length;     // before
    std::vector<double> low, high;  // bounds of the distance, as coordinates are rounded

    void resize(Index k) {
        for (auto* of : {&shift, &squares, &growth, &length, &low, &high}) of->assign(k, 0.0);
    }
};

// Up to what power of two the values of a table may come, before the last factor of two.
template <typename Cell>
constexpr double kRoom = sizeof(Cell) == 2 ? 16384.0 : 1.0;
// Features whose cells are laid out together, so that centers are read by whole cache lines.
constexpr Index kFeaturesTogether = 32;
// Values that are rounded to float32 together.
constexpr Index kValuesTogether = 2048;

// Lanes of the narrow table, and how many of them are for loud centers; see bounds.h.
constexpr Index kLoudLanes = 16, kLoud = kLoudLanes - 2;

// What the bounds of rows have to reckon with in a pass.
struct Bounds {
    Aligned<float> table;  // (n_features, kLoudLanes)
    alignas(64) float squares[kLoudLanes] = {}, factors[kLoudLanes] = {};  // of the loud centers
    std::vector<std::int32_t> place;      // of each center: its lane, or −1
    std::vector<float> rise, rise_apart;  // of its score, at most: by lengths; but for the product
    float fall = 0, fall_apart = 0;       // of the score of any quiet center, at most
};

template <typename T>
struct SparseWork {
    SparseRows<T> rows;
    double scale = 1;            // a power of two
    bool negative = false;       // some value is
    float longest = 0;           // of the lengths
    Index longest_row = 0;       // values of the row that has most
    Index used = 0;              // at most so many coordinates of a mean are not zero
    double squares = 0;          // Σ‖x‖², scaled
    std::vector<float> lengths;  // (n_samples,) scaled, rounded up

    std::vector<std::int32_t> labels;    // (n_samples,): −1 none
    std::int32_t* labels_out = nullptr;  // the caller's, where only changes are written
    CellSums sums;                       // of the rows that have labels
    std::vector<std::int64_t> counts;
    SparseReference<T> reference;  // the centers of the pass
    bool blind = false;            // float32 cannot screen them
    Screen screen;

    // Sums of squares of the scaled sums of each center, and their errors.
    std::vector<double> squares_of, squares_off;
    Movement movement;

    // Bounds of each row, which pass on from pass to pass: of its own center's score, from above;
    // of the others', from below.
    bool bounding = false;
    Aligned<float> own, others;
    Bounds bounds;
    std::vector<std::vector<Change>> changes;  // of each center's sums, while bounds are carried

    // Rows that leave or join a center: 2 · row + 1 joins.
    std::vector<Index> ops, ops_begin;

    Interrupt* interrupt = nullptr;

    // Note the label of a row.
    LAB_MEMBER void put(SparsePart& part, Index i, std::int32_t label) {
        const std::int32_t before = labels[i];
        if (label == before) return;
        part.moves.push_back({std::uint32_t(i - part.first), before});
        labels[i] = label;
        if (labels_out != nullptr) labels_out[i] = label;
    }

    // A score of the reference, and the error of it, as an upper bound of a screened one.
    float screened(double score, double off) const {
        return float((score + off) * scale * scale) + screen.fixed;
    }
};

}  // namespace lab
