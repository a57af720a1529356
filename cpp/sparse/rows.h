// Rows of which only some values are stored, as kmeans_lab.sparse.rows.SparseRows holds them.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "common/arrays.h"
#include "common/types.h"

namespace lab {

// The values of row i are data[indptr[i]] … in the columns indices[indptr[i]] …, which ascend.
template <typename T>
struct SparseRows {
    const T* data;
    const std::int32_t* indices;
    const std::int64_t* indptr;  // (n_samples + 1,); need not begin with 0
    Index n_samples, n_features;

    Index first(Index i) const { return Index(indptr[i]); }
    Index size(Index i) const { return Index(indptr[i + 1] - indptr[i]); }
    Index n_values() const { return Index(indptr[n_samples] - indptr[0]); }
};

// The rows of a SparseRows, whose columns and places have been checked where it was made.
template <typename T>
SparseRows<T> view(const py::object& rows, const char* rule) {
    const py::array data = rows.attr("data"), indices = rows.attr("indices"),
                    indptr = rows.attr("indptr");
    return {read<T>(data, rule), read<std::int32_t>(indices, rule),
            read<std::int64_t>(indptr, rule), static_cast<Index>(indptr.shape(0)) - 1,
            rows.attr("n_features").cast<Index>()};
}

inline bool wide(const py::object& rows) { return py::array(rows.attr("data")).itemsize() == 8; }

}  // namespace lab
