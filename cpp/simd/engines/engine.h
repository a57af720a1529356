// What the kernel asks of prepared rows, whichever way they find their nearest centers.

#pragma once

#include <cstdint>
#include <vector>

#include "common/types.h"

namespace lab {

// How nearest centers may be found.
inline constexpr char kAllPairs[] = "all pairs";
inline constexpr char kBoundPerRow[] = "bound per row";
inline constexpr char kBoundsPerGroup[] = "bounds per group";
inline constexpr char kCells[] = "cells";

// The caller's arrays of one pass. With sums, labels hold the previous ones, as the contract of
// assign_update promises; counts are whole numbers or, where rows have weights, masses.
template <typename T>
struct PassArrays {
    const T* centers;  // (k, d)
    Index k;
    std::int32_t* labels;            // (n,)
    double* sums = nullptr;          // (k, d); null: assign alone
    std::int64_t* counts = nullptr;  // (k,)
    double* masses = nullptr;        // (k,), in place of counts
    bool inertia = true;             // whether anybody looks at it
};

// The rows of a fit as the caller hands them over.
template <typename T>
struct RowsGiven {
    const T* rows;                    // (n, d)
    const T* middle;                  // (d,), which is subtracted; null: they are taken as they are
    const double* weights = nullptr;  // (n,); null: each row counts as one
    Index n, d;
};

template <typename T>
class Engine {
public:
    Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    virtual ~Engine() = default;

    // Overwrite labels, add to sums and counts where they are given, return the inertia.
    virtual double pass(const PassArrays<T>& arrays) = 0;
    // Add all rows to sums and counts by these labels.
    virtual void update(const std::int32_t* labels, Index k, double* sums,
                        std::int64_t* counts) const = 0;
    // The rows that greedy k-means++ chooses; only where `seeds`.
    virtual bool seeds() const { return true; }
    virtual std::vector<Index> greedy(const T* rows, Index first, const double* draws,
                                      Index n_rounds, Index n_candidates) = 0;

    virtual Index n() const = 0;
    virtual Index d() const = 0;
    virtual bool weighted() const = 0;
    virtual const char* isa() const = 0;
    virtual const char* engine() const = 0;
    virtual int n_threads() const = 0;
    virtual Index rescored() const = 0;  // near-ties decided by direct differences so far
    virtual Index changed() const = 0;   // labels that the last pass changed
    virtual double met() const = 0;  // of the last pass: the share of all pairs that were looked at
};

}  // namespace lab
