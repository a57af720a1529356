// Sparse rows by column: which rows store a value of a feature, in their order.

#pragma once

#include <cstdint>
#include <vector>

#include "common/types.h"
#include "sparse/rows.h"

namespace lab {

template <typename T>
struct Columns {
    std::vector<Index> begin;          // (n_features + 1,): where each column begins
    std::vector<std::int32_t> owners;  // (n_values,): rows
    std::vector<T> values;

    explicit Columns(const SparseRows<T>& rows)
        : begin(std::size_t(rows.n_features + 2)),
          owners(std::size_t(rows.n_values())),
          values(std::size_t(rows.n_values())) {
        const Index from = rows.first(0), n = rows.n_values();
        for (Index p = from; p < from + n; ++p) ++begin[std::size_t(rows.indices[p]) + 2];
        for (std::size_t f = 2; f < begin.size(); ++f) begin[f] += begin[f - 1];
        for (Index i = 0; i < rows.n_samples; ++i) {
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                const Index to = begin[std::size_t(rows.indices[p]) + 1]++;
                owners[std::size_t(to)] = std::int32_t(i);
                values[std::size_t(to)] = rows.data[p];
            }
        }
        begin.pop_back();
    }
};

}  // namespace lab
