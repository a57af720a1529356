// An index of possible neighbours: rows in columns, each column in the order of one feature.
//
// A row within eps is within eps in each feature. Up to two features are cut into parts as wide as
// eps, whose crossings are the columns; a third one orders the rows of a column. What is left for
// distances is a window in each of the three or nine columns around a row: contiguous rows.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"

namespace lab {

using Place = std::int32_t;  // a row's place in the order of columns

struct Window {
    Place begin, end;
};

class ColumnIndex {
public:
    ColumnIndex(const double* X,  // IN (n, d)
                Index n, Index d, double eps, Interrupt& interrupt)
        : n(n), d(d), reach_(eps * eps) {
        const std::vector<Index> widest = widest_features(X);
        along_ = widest[0];
        std::vector<Key> keys(n);
        for (Place i = 0; i < n; ++i) keys[i] = {kFirst, X[i * d + along_], i};
        for (std::size_t k = 1; k < widest.size(); ++k)
            cut(X + widest[k], k == 1 ? 32 : 0, keys, interrupt);
        sort(keys, interrupt);
        lay_out(X, keys, interrupt);
    }

    // The row that lies at a place, and a feature of all rows, place by place.
    Place row(Place p) const { return rows_[p]; }
    const double* feature(Index f) const { return &values_[f * n]; }

    bool within(double squared_distance) const { return squared_distance <= reach_; }

    // Calls visit(window) for the rows that can be neighbours of the row at p, itself included.
    template <typename Visit>
    void around(Place p, const Visit& visit) const {
        const double* along = feature(along_);
        const double value = along[p];
        const Column& own = columns_[column_[p]];
        for (int side = 0; side < 3; ++side) {
            const Name last = own.name + (Name(side) << 32) - kFirst + 2;
            for (Place c = own.around[side]; columns_[c].name <= last; ++c) {
                const double* begin = along + columns_[c].begin;
                const double* end = along + columns_[c + 1].begin;
                begin = std::partition_point(
                    begin, end, [&](double it) { return it < value && beyond(it, value); });
                end = std::partition_point(
                    begin, end, [&](double it) { return it <= value || !beyond(it, value); });
                if (begin < end) visit(Window{Place(begin - along), Place(end - along)});
            }
        }
    }

    const Index n, d;

private:
    using Name = std::uint64_t;  // key of a column: its parts of two features, each from 1
    static constexpr Name kFirst = (Name(1) << 32) + 1;
    static constexpr Place kAsk = 4096;  // comparisons, or rows, between two checks for Ctrl-C

    struct Key {
        Name column;
        double value;
        Place row;

        bool operator<(const Key& other) const {
            return column != other.column ? column < other.column : value < other.value;
        }
    };
    struct Column {
        Name name;
        Place begin;
        std::array<Place, 3> around;  // where those around it begin: in the part below, same, above
    };

    // Farther than eps in this feature. Squared like distances: a sum of squares is rounded to no
    // less than each of them, so that no neighbour is lost.
    bool beyond(double x, double y) const { return !within((x - y) * (x - y)); }

    // At most three features, those of the largest variance among some rows: any three would do.
    std::vector<Index> widest_features(const double* X) const {
        const Index step = n / kAsk + 1, n_seen = (n - 1) / step + 1;
        std::vector<double> mean(d), variance(d);
        for (Index i = 0; i < n; i += step)
            for (Index f = 0; f < d; ++f) mean[f] += X[i * d + f] / double(n_seen);
        for (Index i = 0; i < n; i += step)
            for (Index f = 0; f < d; ++f) {
                const double off = X[i * d + f] - mean[f];
                variance[f] += off * off;
            }
        std::vector<Index> features(d);
        std::iota(features.begin(), features.end(), 0);
        std::stable_sort(features.begin(), features.end(),
                         [&](Index f, Index g) { return variance[f] > variance[g]; });
        features.resize(std::min<Index>(d, 3));
        return features;
    }

    // Adds to each row's column the number of its part of a feature. A part begins with the first
    // value farther than eps from where the part before begins: values within eps lie in the same
    // part or in adjoining ones, and nothing is divided by eps that would round or overflow.
    void cut(const double* feature, int shift, std::vector<Key>& keys, Interrupt& interrupt) const {
        std::vector<std::pair<double, Place>> values(n);
        for (Place i = 0; i < n; ++i) values[i] = {feature[i * d], i};
        sort(values, interrupt);
        double start = values[0].first;
        Name part = 0;
        for (const auto& [value, i] : values) {
            if (beyond(value, start)) {
                start = value;
                ++part;
            }
            keys[i].column += part << shift;
        }
    }

    template <typename Item>
    static void sort(std::vector<Item>& items, Interrupt& interrupt) {
        Index compared = 0;
        std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
            if (++compared % kAsk == 0 && interrupt.came()) throw Interrupted();
            return a < b;
        });
    }

    void lay_out(const double* X, const std::vector<Key>& keys, Interrupt& interrupt) {
        const auto opens = [&](Place p) { return p == 0 || keys[p].column != keys[p - 1].column; };
        Index n_columns = 0;
        for (Place p = 0; p < n; ++p) n_columns += opens(p);
        columns_.reserve(n_columns + 1);  // as many as rows, where rows lie far apart
        values_.resize(n * d);
        rows_.resize(n);
        column_.resize(n);
        for (Place p = 0; p < n; ++p) {
            if (p % kAsk == 0 && interrupt.came()) throw Interrupted();
            if (opens(p)) columns_.push_back({keys[p].column, p, {}});
            rows_[p] = keys[p].row;
            column_[p] = Place(columns_.size()) - 1;
            for (Index f = 0; f < d; ++f) values_[f * n + p] = X[keys[p].row * d + f];
        }
        columns_.push_back({~Name(0), Place(n), {}});
        std::array<Place, 3> found{};
        for (Index c = 0; c < n_columns; ++c) {
            for (int side = 0; side < 3; ++side) {
                const Name first = columns_[c].name + (Name(side) << 32) - kFirst;
                while (columns_[found[side]].name < first) ++found[side];
            }
            columns_[c].around = found;
        }
    }

    const double reach_;  // eps, squared
    Index along_;         // the feature that orders the rows of a column
    std::vector<double> values_;
    std::vector<Place> rows_, column_;
    std::vector<Column> columns_;  // in the order of their names; the last one has no rows
};

}  // namespace lab
