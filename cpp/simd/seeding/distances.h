// The state of the seeding: candidates, and squared distances to the nearest center so far.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/grid.h"

namespace lab {

constexpr Index kMostCandidates = 32;  // of one round of the seeding

// Rows that may become centers: as they are tested against balls, and in double.
template <typename T>
class Candidates {
public:
    Candidates(Index n, Index d) : d_(d), values_(n * d), doubles_(n * d) {}
    void set(Index c, Index f, T value) {
        values_[c * d_ + f] = value;
        doubles_[c * d_ + f] = double(value);
    }
    const T* values(Index c) const { return values_.data() + c * d_; }
    const double* doubles(Index c) const { return doubles_.data() + c * d_; }

private:
    const Index d_;
    std::vector<T> values_;
    std::vector<double> doubles_;
};

// Squared distances to the nearest center so far.
template <typename T>
struct Distances {
    // Of balls, in their slots.
    struct Slots {
        Aligned<std::int64_t> sums;  // of their rows' distances, in steps of the grid
        Aligned<T> limits;           // a candidate as far from the middle, squared, changes nothing

        void resize(Index n) {
            sums.resize(n);
            limits.resize(n);
            std::fill_n(sums.data(), n, 0);
            std::fill_n(limits.data(), n, std::numeric_limits<T>::infinity());
        }
    };
    Aligned<double> squares;   // (n_tiles · width,): of each row; zero beyond n
    Aligned<double> as_given;  // (n,): the same where rows were put in order, unless too many
    Slots tiles, groups;
    Grid grid;

    void resize(Index n, Index padded, Index n_tiles, Index n_groups, bool copies) {
        if (copies) as_given.resize(n);
        squares.resize(padded);
        std::fill_n(squares.data(), padded, 0.0);
        std::fill_n(squares.data(), n, std::numeric_limits<double>::infinity());
        tiles.resize(n_tiles);
        groups.resize(n_groups);
    }
};

}  // namespace lab
