// The order in which rows are put into tiles: neighbours together, so that centers too far from all
// rows of a tile can be ruled out at once.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/aligned.h"
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

// The cell of a row: cells are halved n_bits times, each time the longer side of all: a k-d tree of
// fixed splits, so that a row's cell follows from its values alone.
template <typename T>
class Cells {
public:
    Cells(const Given<T>& rows, Index n, const Layout& layout)
        : rows_(rows),
          n_bits_(std::clamp(int(std::ceil(std::log2(double(n) / kBlock))) + 1, 1, 20)) {
        const Index d = rows.d;
        std::vector<double> side(d);
        std::vector<std::vector<int>> bits(d);  // of each feature: the bits of the cell it gives
        for (Index f = 0; f < d; ++f) side[f] = 4 * layout.deviation[f];
        for (int bit = n_bits_ - 1; bit >= 0; --bit) {
            const Index longest = std::max_element(side.begin(), side.end()) - side.begin();
            side[longest] /= 2;
            bits[longest].push_back(bit);
        }
        for (Index f = 0; f < d; ++f) {
            const int m = int(bits[f].size());
            if (m == 0 || !(layout.deviation[f] > 0)) continue;
            Side one{f, layout.mean[f] - 2 * layout.deviation[f], 0, 0,
                     std::vector<std::uint32_t>(Index(1) << m)};
            for (Index q = 0; q < Index(1) << m; ++q) {
                for (int b = 0; b < m; ++b)
                    one.bits[q] |= std::uint32_t(q >> (m - 1 - b) & 1) << bits[f][b];
            }
            one.last = double((Index(1) << m) - 1);
            one.scale = (one.last + 1) / (4 * layout.deviation[f]);
            sides_.push_back(std::move(one));
        }
    }

    int n_bits() const { return n_bits_; }

    // Of up to kTogether rows: they stay in the cache from one feature to the next.
    static constexpr Index kTogether = 16 * kBlock;
    void of(Index first, Index last, std::uint32_t* cells) const {
        std::fill(cells, cells + (last - first), 0);
        for (const Side& side : sides_) {
            const double low = side.low, scale = side.scale, most = side.last;
            const std::uint32_t* bits = side.bits.data();
            for (Index i = first; i < last; ++i) {
                const double at = (double(rows_.at(i, side.feature)) - low) * scale;
                cells[i - first] |= bits[at > 0 ? Index(std::min(at, most)) : 0];  // NaN: cell 0
            }
        }
    }

private:
    struct Side {
        Index feature;
        double low, scale, last;
        std::vector<std::uint32_t> bits;  // of the cell, for each part of the side
    };
    const Given<T> rows_;
    const int n_bits_;
    std::vector<Side> sides_;
};

// The rows in the order of their cells, by two steps of a radix sort: one writes to some hundred
// places in turn, which stay in the cache; the other one stays within one of them.
template <typename T>
std::vector<std::uint32_t> cell_order(const Given<T>& rows, Index n, const Layout& layout,
                                      Interrupt& interrupt) {
    const Cells<T> cells(rows, n, layout);
    const int low = cells.n_bits() > 10 ? cells.n_bits() / 2 : 0;  // bits of the second step
    const std::uint32_t mask = (std::uint32_t(1) << low) - 1;
    const Index n_first = Index(1) << (cells.n_bits() - low);
    Aligned<std::uint32_t> scratch;  // one piece, so that all of it goes back to the system
    scratch.resize(n + (n + 1) / 2);
    std::uint32_t* const cell = scratch.data();
    std::uint16_t* const rest = reinterpret_cast<std::uint16_t*>(cell + n);
    std::vector<std::uint32_t> first(n_first + 1), order(n);
    for (Index i = 0; i < n;) {
        const Index end = std::min(i + Cells<T>::kTogether, n);
        if (interrupt.came()) throw Interrupted();
        cells.of(i, end, cell + i);
        for (; i < end; ++i) ++first[(cell[i] >> low) + 1];
    }
    for (Index c = 0; c < n_first; ++c) first[c + 1] += first[c];
    std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
    for (Index i = 0; i < n; ++i) {
        const std::uint32_t to = next[cell[i] >> low]++;
        order[to] = std::uint32_t(i);
        if (low > 0) rest[to] = std::uint16_t(cell[i] & mask);
    }
    if (low == 0) return order;
    std::vector<std::uint32_t> count, unsorted;
    for (Index c = 0; c < n_first; ++c) {
        const std::uint32_t begin = first[c], end = first[c + 1];
        count.assign(Index(1) << low, 0);
        unsorted.assign(order.begin() + begin, order.begin() + end);
        for (std::uint32_t i = begin; i < end; ++i) ++count[rest[i]];
        std::uint32_t sum = begin;
        for (std::uint32_t& place : count) place = std::exchange(sum, sum + place);
        for (std::uint32_t i = begin; i < end; ++i) order[count[rest[i]]++] = unsorted[i - begin];
    }
    return order;
}

// Whether rows lie so far from their neighbours that an order may bring them closer; what the order
// needs to know of them.
template <typename T>
bool far_apart(const Given<T>& rows, Index n, Index d, Index k, Layout& given) {
    if (k < 4 || d > 64 || n < kOrderedRows || n > Index(0xffffffff)) return false;
    given = sample_layout(rows, [](Index i) { return i; }, n, d);
    // Cells of n / 32 equal parts would leave this share, were the rows uniform.
    const double uniform = std::pow(double(n) / kBlock, -2.0 / double(d));
    return given.within > 2 * std::min(uniform, kClose);
}

// The order for a fit with k clusters; empty where the rows stay as they are: they lie well
// already, or cells do not bring them much closer together.
template <typename T>
std::vector<std::uint32_t> choose_order(const Given<T>& rows, Index n, Index d, Index k,
                                        Interrupt& interrupt) {
    Layout given;
    if (!far_apart(rows, n, d, k, given)) return {};
    interrupt.begin(16.0 * kBlock * double(d));
    std::vector<std::uint32_t> order = cell_order(rows, n, given, interrupt);
    const auto row = [&](Index i) { return Index(order[i]); };
    if (sample_layout(rows, row, n, d).within > kCloser * given.within) order.clear();
    return order;
}

}  // namespace lab
