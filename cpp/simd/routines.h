// The routines that are compiled once per instruction set, as the rest of the kernel calls them.

#pragma once

#include <cstdint>

#include "common/types.h"
#include "simd/centers.h"
#include "simd/engines/cell_buckets.h"
#include "simd/engines/cell_work.h"
#include "simd/engines/work.h"
#include "simd/inertia.h"
#include "simd/once/moments.h"
#include "simd/once/query.h"
#include "simd/order.h"
#include "simd/panels.h"
#include "simd/seeding/balls.h"
#include "simd/seeding/distances.h"
#include "simd/seeding/screen.h"
#include "simd/sums.h"

namespace lab {

// Assign the tiles of a chunk; the routine that is compiled once per instruction set.
template <typename T>
using AssignTiles = void (*)(Work<T>& work, Chunk& chunk);

// Widen the range of each column by the values of a tile, (columns, width).
template <typename T>
using MeasureRange = void (*)(const T* values, Index columns, Index width, Range<T>& range);

// Add all rows to the sums of a chunk, by labels of the rows as they were given.
template <typename T>
using AddRows = void (*)(const Work<T>& work, Chunk& chunk, const std::int32_t* labels);

// Put a ball around the first rows of a tile, or around the first balls of a parent.
template <typename T>
using FitBall = void (*)(const Work<T>& work, Index tile, Index count, Balls<T>& balls, Index b);
template <typename T>
using FitParent = void (*)(const Balls<T>& of, Index parent, Index count, Index d, Balls<T>& balls,
                           Index b);

// Measure up to kMostCandidates candidates for the seeding, and keep the first. Sums are in steps.
template <typename T>
using TryCandidates = void (*)(const Work<T>& work, const Chunk& chunk,
                               const Candidates<T>& candidates, Index count,
                               const Distances<T>& distances, std::int64_t* totals);
template <typename T>
using KeepCandidate = std::int64_t (*)(const Work<T>& work, const Chunk& chunk,
                                       const Candidates<T>& candidates, Distances<T>& distances);
template <typename T>
using SumAgain = std::int64_t (*)(const Chunk& chunk, Distances<T>& distances);

// The routines of one instruction set, with the tile width and panel they were made for.
template <typename T>
struct Routines {
    AssignTiles<T> assign;
    MeasureRange<T> measure_range;
    MeasureRange<double> measure_products;
    AddRows<T> add_rows;
    FitBall<T> fit_ball;
    FitParent<T> fit_parent;
    TryCandidates<T> try_candidates;
    KeepCandidate<T> keep_candidate;
    SumAgain<T> sum_again;
    Index width, panel;
};

// Label a range of rows as they lie; add their squared distances where those are wanted.
template <typename T>
using LabelRange = void (*)(Query<T>& query, Index first, Index last, ExactSum* inertia);

// Write the distances of rows to all centers, which are packed, too.
template <typename T>
using MeasureDistances = void (*)(const T* rows, Index n, const T* centers,
                                  const DirectCenters& packed, T* distances);

// Write the lengths of n rows and, where `out` is not null, the rows divided by them.
template <typename T>
using DivideByLengths = void (*)(const T* rows, Index n, Index d, double within, double* lengths,
                                 T* out);

// The largest magnitude of some values; not a number where one is not finite.
template <typename T>
using LargestOf = T (*)(const T* values, Index n);

// Add the values of n rows to the moments of their columns.
template <typename T>
using AddMoments = void (*)(const T* rows, Index n, Index d, Moments& to);

// Add the squared distances of a range of rows to the centers that their labels name.
template <typename T>
using AddInertia = void (*)(const LabelledRows<T>& of, Index first, Index last, ExactSum& to);

// The routines of calls that look at X once.
template <typename T>
struct Calls {
    PanelWidths widths;
    LabelRange<T> label;
    MeasureDistances<T> measure;
    DivideByLengths<T> divide_by_lengths;
    LargestOf<T> largest;
    AddMoments<T> add_moments;
    AddInertia<T> add_inertia;
    Index lanes;  // that moments are added up in
};

// The seeding that screens rows, from `first` to before `last`: copy them, estimate what each
// candidate takes from the sum of their distances and how wrong that may be, measure it, keep one
// candidate, add distances up. Sums are in steps, estimates are not.
template <typename T>
struct Screening {
    void (*copy_rows)(const Given<T>& given, Screen& screen, Index first, Index last);
    void (*estimate)(const Screened& candidates, Index first, Index last, Screen& screen,
                     double* gains, double* errors);
    void (*try_candidates)(const Given<T>& given, const Screen& screen, const Screened& candidates,
                           Index first, Index last, std::int64_t* gains);
    std::int64_t (*keep_candidate)(const Given<T>& given, const Screened& candidate, Index first,
                                   Index last, Screen& screen);
    std::int64_t (*sum)(const Screen& screen, Index first, Index last);
    Index width;
};
// The routines of the engine for few features, for one number of them.
template <typename T>
struct CellRoutines {
    // Widen the range of each feature by rows as they lie.
    void (*measure)(const Given<T>& given, Index first, Index last, Range<T>& range);
    // Sort rows into tiles, in two steps: see sort_into_tiles.
    void (*scatter_rows)(CellWork<T>& work, CellBuckets& buckets, Index first, Index last,
                         std::uint32_t* next);
    void (*sort_bucket)(CellWork<T>& work, const CellBuckets& buckets, Index bucket,
                        CellBucket& taken);
    // Look at the tiles of a group: boxes, sums, squares.
    void (*lay_group)(CellWork<T>& work, CellChunk& chunk, Index group);
    void (*lay_centers)(const double* scaled, Index k, NearCenters& to);
    void (*assign)(CellWork<T>& work, CellChunk& chunk, Partial& sums);
    // Add all rows to sums, by labels of the rows as they were given.
    void (*add_rows)(const CellWork<T>& work, Partial& sums, const std::int32_t* labels);
};

// The measured limits of one instruction set, with which the kernel is compared.
template <typename T>
struct Roofline {
    double (*multiply_add)(Index rounds, T factor);
    double (*read_all)(const T* values, Index n);
};

}  // namespace lab
