// Arguments of calls from Python, and what is said where the system starts too few threads.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>

#include "common/arrays.h"
#include "common/numbers.h"
#include "common/types.h"

namespace lab {

inline constexpr char kOneFeature[] = "X must have at least one feature";
template <typename T>
inline constexpr const char* kOut = sizeof(T) == 8 ? "out must be a C-contiguous float64 array"
                                                   : "out must be a C-contiguous float32 array";

// A weight for each row, or nothing.
using Weights = std::optional<Array<double>>;

inline const double* values_of(const Weights& weights, Index n) {
    if (!weights) return nullptr;
    require(weights->ndim() == 1 && weights->shape(0) == n, "weights must have shape (n,)");
    return weights->data();
}

// A row of X that all others are taken relative to, or nothing.
template <typename T>
using Middle = std::optional<Array<T>>;

template <typename T>
const T* values_of(const Middle<T>& middle, const Array<T>& X) {
    if (!middle) return nullptr;
    require(middle->ndim() == 1 && middle->shape(0) == X.shape(1), "middle must have shape (d,)");
    return middle->data();
}

inline void warn_of_fewer(int started, int wanted) {
    if (started == wanted) return;
    pybind11::module_::import("kmeans_lab.crews.helpers")
        .attr("warn_of_fewer")(started - 1, wanted - 1);
}

// More threads than any processor has would only exhaust the system.
inline int threads(const pybind11::object& given) { return int(count("n_threads", given, 4096)); }

}  // namespace lab
