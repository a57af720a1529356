// The order in which rows are put into tiles: neighbours together, so that centers too far from all
// rows of a tile can be ruled out at once.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"

namespace lab {

constexpr Index kOrderedRows = 2048;  // fewer are not worth ordering
constexpr Index kBlock = 32;          // rows that should be close to each other
// Shares of the variance within blocks: `standard` in its own order has 0.05, shuffled 0.97 and in
// cells 0.07; `wide-16-64`, where balls rule out nothing, has 0.97 and 0.50.
constexpr double kClose = 0.05, kCloser = 0.4;

// Mean and standard deviation of each feature, and the share of the variance that lies within
// blocks of neighbouring rows; all from a sample of blocks.
struct Layout {
    std::vector<double> mean, deviation;
    double within = 0;
};

// The caller's rows, relative to a middle: the same values as a centered copy would hold.
template <typename T>
struct Given {
    const T* rows;    // (n, d)
    const T* middle;  // (d,)
    Index d;

    T at(Index i, Index f) const { return T(rows[i * d + f] - middle[f]); }
};

// `row(i)` is the place of the i-th row.
template <typename T, typename Row>
Layout sample_layout(const Given<T>& given, const Row& row, Index n, Index d) {
    const Index n_blocks = std::min(n / kBlock, Index(128)), step = n / n_blocks;
    Layout layout{std::vector<double>(d), std::vector<double>(d)};
    std::vector<double> sums(d), squares(d), block_sums(d), block_squares(d);
    double within = 0, total = 0;
    const Index first = row(0);  // subtracted: keeps the squares small
    for (Index b = 0; b < n_blocks; ++b) {
        std::fill(block_sums.begin(), block_sums.end(), 0.0);
        std::fill(block_squares.begin(), block_squares.end(), 0.0);
        for (Index i = b * step; i < b * step + kBlock; ++i) {
            const Index place = row(i);
            for (Index f = 0; f < d; ++f) {
                const double value = double(given.at(place, f)) - double(given.at(first, f));
                block_sums[f] += value;
                block_squares[f] += value * value;
            }
        }
        for (Index f = 0; f < d; ++f) {
            within += block_squares[f] - block_sums[f] * block_sums[f] / kBlock;
            sums[f] += block_sums[f];
            squares[f] += block_squares[f];
        }
    }
    const double count = double(n_blocks * kBlock);
    for (Index f = 0; f < d; ++f) {
        const double mean = sums[f] / count;
        const double variance = std::max(squares[f] / count - mean * mean, 0.0);
        layout.mean[f] = mean + double(given.at(first, f));
        layout.deviation[f] = std::sqrt(variance);
        total += variance * count;
    }
    layout.within = total > 0 ? within / total : 0;
    return layout;
}

// Cells are halved n_bits times, each time the longer side of all: a k-d tree of fixed splits, so
// that a row's cell follows from its values alone. Returns the rows in the order of their cells.
template <typename T>
std::vector<std::uint32_t> cell_order(const Given<T>& rows, Index n, Index d, const Layout& layout,
                                      Interrupt& interrupt) {
    const int n_bits = std::clamp(int(std::ceil(std::log2(double(n) / kBlock))) + 1, 1, 20);
    std::vector<double> side(d);
    std::vector<std::vector<int>> bits(d);  // of each feature: the bits of the cell that it gives
    for (Index f = 0; f < d; ++f) side[f] = 4 * layout.deviation[f];
    for (int bit = n_bits - 1; bit >= 0; --bit) {
        const Index longest = std::max_element(side.begin(), side.end()) - side.begin();
        side[longest] /= 2;
        bits[longest].push_back(bit);
    }
    std::vector<std::vector<std::uint32_t>> given(d);  // the cell's bits for each part of a side
    for (Index f = 0; f < d; ++f) {
        const int m = int(bits[f].size());
        if (m == 0 || !(layout.deviation[f] > 0)) continue;
        given[f].resize(Index(1) << m);
        for (Index q = 0; q < Index(1) << m; ++q) {
            for (int b = 0; b < m; ++b)
                given[f][q] |= std::uint32_t(q >> (m - 1 - b) & 1) << bits[f][b];
        }
    }
    std::vector<std::uint32_t> cell(n), first((Index(1) << n_bits) + 1), order(n);
    // Some rows at a time: they stay in the cache from one feature to the next.
    for (Index i0 = 0; i0 < n; i0 += 16 * kBlock) {
        const Index end = std::min(i0 + 16 * kBlock, n);
        if (interrupt.came()) throw Interrupted();
        for (Index f = 0; f < d; ++f) {
            if (given[f].empty()) continue;
            const double last = double(given[f].size() - 1);
            const double low = layout.mean[f] - 2 * layout.deviation[f];
            const double scale = (last + 1) / (4 * layout.deviation[f]);
            for (Index i = i0; i < end; ++i) {
                const double at = (double(rows.at(i, f)) - low) * scale;
                cell[i] |= given[f][at > 0 ? Index(std::min(at, last)) : 0];  // NaN: cell 0
            }
        }
    }
    for (Index i = 0; i < n; ++i) ++first[cell[i] + 1];
    for (Index c = 0; c < Index(1) << n_bits; ++c) first[c + 1] += first[c];
    for (Index i = 0; i < n; ++i) order[first[cell[i]]++] = std::uint32_t(i);
    return order;
}

// The order for a fit with k clusters; empty where the rows stay as they are: they lie well
// already, or cells do not bring them much closer together.
template <typename T>
std::vector<std::uint32_t> choose_order(const Given<T>& rows, Index n, Index d, Index k,
                                        Interrupt& interrupt) {
    if (k < 4 || d > 64 || n < kOrderedRows || n > Index(0xffffffff)) return {};
    const Layout given = sample_layout(rows, [](Index i) { return i; }, n, d);
    // Cells of n / 32 equal parts would leave this share, were the rows uniform.
    const double uniform = std::pow(double(n) / kBlock, -2.0 / double(d));
    if (!(given.within > 2 * std::min(uniform, kClose))) return {};
    interrupt.begin(16.0 * kBlock * double(d));
    std::vector<std::uint32_t> order = cell_order(rows, n, d, given, interrupt);
    const auto row = [&](Index i) { return Index(order[i]); };
    if (sample_layout(rows, row, n, d).within > kCloser * given.within) order.clear();
    return order;
}

}  // namespace lab
