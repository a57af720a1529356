// Calls that look at X once, as Python sees them: see calls.h.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/arrays.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/types.h"
#include "simd/once/arguments.h"
#include "simd/once/calls.h"
#include "simd/rows.h"  // the sentences of arguments

namespace lab {

template <typename T>
ExactSum summed_inertia(const Array<T>& X, const Array<T>& centers,
                        const Array<std::int32_t>& labels, const Middle<T>& middle,
                        const Weights& weights, const pybind11::object& n_threads) {
    require(X.ndim() == 2 && centers.ndim() == 2 && labels.ndim() == 1 &&
                X.shape(1) == centers.shape(1) && X.shape(0) == labels.shape(0),
            "inertia needs X (n, d), centers (k, d) and labels (n,)");
    const T* origin = values_of(middle, X);
    const LabelledRows<T> of{X.data(),      centers.data(),
                             labels.data(), {origin, origin != nullptr},
                             X.shape(1),    values_of(weights, X.shape(0))};
    const Index n = X.shape(0), k = centers.shape(0);
    const int wanted = threads(n_threads);
    Unlocked unlocked;
    require_clusters(of.labels, n, k, kRowsOfCenters);
    return inertia_of_all(of, n, wanted);
}

template <typename T>
double inertia(const Array<T>& X, const Array<T>& centers, const Array<std::int32_t>& labels,
               const Middle<T>& middle, const Weights& weights, const pybind11::object& n_threads) {
    return summed_inertia(X, centers, labels, middle, weights, n_threads).value();
}

template <typename T>
pybind11::array_t<double> inertia_parts(const Array<T>& X, const Array<T>& centers,
                                        const Array<std::int32_t>& labels, const Middle<T>& middle,
                                        const Weights& weights, const pybind11::object& n_threads) {
    auto sum = summed_inertia(X, centers, labels, middle, weights, n_threads);
    const std::vector<double> parts = sum.parts();
    return pybind11::array_t<double>(pybind11::ssize_t(parts.size()), parts.data());
}

// The arguments of a call that looks at X once.
template <typename T>
OnRows<T> on_rows(const Array<T>& X, const pybind11::array& centers,
                  const pybind11::object& n_threads, const T* middle = nullptr) {
    require(X.ndim() == 2 && centers.ndim() == 2 && X.shape(1) == centers.shape(1),
            "X (n, d) and centers (k, d) must have as many columns");
    require(X.shape(1) > 0, kOneFeature);
    require(centers.shape(0) > 0, kOneCenter);
    return {X.data(),
            read<T>(centers, kCenters<T>),
            middle,
            X.shape(0),
            X.shape(1),
            centers.shape(0),
            threads(n_threads)};
}

template <typename T>
Labelled label(const OnRows<T>& given, pybind11::array& labels, bool with_inertia) {
    require(labels.ndim() == 1 && labels.shape(0) == given.n, kAssigns);
    std::int32_t* labels_out = write<std::int32_t>(labels, kLabels);
    Labelled found;
    {
        Unlocked unlocked;
        found = label_all(given, labels_out, with_inertia);
    }
    warn_of_fewer(given.n_threads - found.missing, given.n_threads);
    return found;
}

template <typename T>
double assign(const Array<T>& X, const pybind11::array& centers, pybind11::array& labels,
              const pybind11::object& n_threads, const Middle<T>& middle) {
    require(X.ndim() == 2 && centers.ndim() == 2 && X.shape(1) == centers.shape(1), kAssigns);
    return label(on_rows(X, centers, n_threads, values_of(middle, X)), labels, true).inertia;
}

template <typename T>
Index label_rows(const Array<T>& X, const pybind11::array& centers, pybind11::array& labels,
                 const pybind11::object& n_threads, const Middle<T>& middle) {
    return label(on_rows(X, centers, n_threads, values_of(middle, X)), labels, false).rescored;
}

template <typename T>
void distances(const Array<T>& X, const pybind11::array& centers, pybind11::array& out,
               const pybind11::object& n_threads) {
    const auto given = on_rows(X, centers, n_threads);
    require(out.ndim() == 2 && out.shape(0) == given.n && out.shape(1) == given.n_clusters,
            "distances needs out (n, k)");
    T* to = write<T>(out, kOut<T>);
    int missing;
    {
        Unlocked unlocked;
        missing = measure_all(given, to);
    }
    warn_of_fewer(given.n_threads - missing, given.n_threads);
}

template <typename T>
void divide_by_lengths(const Array<T>& X, double within, pybind11::array& lengths,
                       std::optional<pybind11::array>& out, const pybind11::object& n_threads) {
    require(
        X.ndim() == 2 && X.shape(1) > 0 && lengths.ndim() == 1 && lengths.shape(0) == X.shape(0),
        "divide_by_lengths needs X (n, d) and lengths (n,)");
    require(
        !out || (out->ndim() == 2 && out->shape(0) == X.shape(0) && out->shape(1) == X.shape(1)),
        "out must have the shape of X");
    double* lengths_out = write<double>(lengths, "lengths must be a C-contiguous float64 array");
    T* to = out ? write<T>(*out, kOut<T>) : nullptr;
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    const int wanted = threads(n_threads);
    Unlocked unlocked;
    divide_all(begin, n, d, within, wanted, lengths_out, to);
}

template <typename T>
double largest(const Array<T>& values, const pybind11::object& n_threads) {
    const T* begin = values.data();
    const Index n = values.size();
    const int wanted = threads(n_threads);
    Unlocked unlocked;
    return double(largest_of_all(begin, n, wanted));
}

template <typename T>
pybind11::array_t<double> moments(const Array<T>& X, const pybind11::object& n_threads,
                                  const std::optional<Array<double>>& pivot) {
    require(X.ndim() == 2 && X.shape(0) > 0 && X.shape(1) > 0,
            "moments needs X (n, d), with at least one row and one feature");
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    require(!pivot || (pivot->ndim() == 1 && pivot->shape(0) == d), "pivot must have shape (d,)");
    std::vector<double> from;
    if (pivot) from.assign(pivot->data(), pivot->data() + d);
    const int wanted = threads(n_threads);
    pybind11::array_t<double> out({Index(5), d});
    double* to = out.mutable_data();
    Unlocked unlocked;
    if (from.empty()) from = pivot_of(begin, n, d);
    const Moments found = moments_of_all(begin, n, d, wanted, from);
    for (const auto* row : {&found.pivot, &found.low, &found.high, &found.sum, &found.square}) {
        to = std::copy_n(row->data(), d, to);
    }
    return out;
}

template <typename T>
pybind11::array_t<double> least(const Array<T>& X, const pybind11::object& n_threads) {
    require(X.ndim() == 2 && X.shape(1) > 0, "least needs X (n, d), with at least one feature");
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    const int wanted = threads(n_threads);
    pybind11::array_t<double> out(d);
    double* to = out.mutable_data();
    Unlocked unlocked;
    const std::vector<double> found = least_of_all(begin, n, d, wanted);
    std::copy(found.begin(), found.end(), to);
    return out;
}

template <typename T>
void bind_calls(pybind11::module_& module) {
    namespace py = pybind11;
    module.def("assign", &assign<T>, py::arg("rows").noconvert(), py::arg("centers"),
               py::arg("labels"), py::arg("n_threads") = 1,
               py::arg("middle").noconvert() = py::none(),
               "The same for an array, which is not copied.");
    module.def("label_rows", &label_rows<T>, py::arg("X").noconvert(), py::arg("centers"),
               py::arg("labels"), py::arg("n_threads"), py::arg("middle").noconvert() = py::none(),
               "Overwrite labels with the nearest center of each row of X − middle; return how "
               "many near-ties direct "
               "differences have decided.");
    module.def("distances", &distances<T>, py::arg("X").noconvert(), py::arg("centers"),
               py::arg("out"), py::arg("n_threads"),
               "Overwrite out with the distance of each row to each center.");
    module.def(
        "divide_by_lengths", &divide_by_lengths<T>, py::arg("X").noconvert(), py::arg("within"),
        py::arg("lengths"), py::arg("out"), py::arg("n_threads"),
        "Overwrite lengths with that of each row, or a power of two within this share of it, "
        "and out with the rows divided by them, unless it is None. A length is 0 where "
        "squares leave the range of float64.");
    module.def("largest", &largest<T>, py::arg("values").noconvert(), py::arg("n_threads"),
               "Return the largest magnitude; NaN where a value is not finite.");
    module.def("moments", &moments<T>, py::arg("X").noconvert(), py::arg("n_threads"),
               py::arg("pivot") = py::none(),
               "Return of each column a pivot amid its values or as given, the least and the "
               "largest value, and "
               "the sums of all differences from the pivot and of their squares: shape (5, d).");
    module.def("least", &least<T>, py::arg("X").noconvert(), py::arg("n_threads"),
               "Return the smallest magnitude of each column, zeros aside.");
    module.def("inertia_parts", &inertia_parts<T>, py::arg("X").noconvert(),
               py::arg("centers").noconvert(), py::arg("labels").noconvert(),
               py::arg("middle").noconvert(), py::arg("weights").noconvert(), py::arg("n_threads"),
               "Return numbers whose exact sum is the inertia of these rows.");
    module.def("inertia", &inertia<T>, py::arg("X").noconvert(), py::arg("centers").noconvert(),
               py::arg("labels").noconvert(), py::arg("middle").noconvert() = py::none(),
               py::arg("weights").noconvert() = py::none(), py::arg("n_threads") = 1,
               "Return the sum of squared distances of X − middle to the chosen centers, by "
               "differences, each row counting by its weight.");
}

}  // namespace lab
