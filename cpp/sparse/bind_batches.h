// Functions for sparse rows that are seen once, as Python calls them: centers and sums (d, k) lie
// column by column.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/arrays.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/types.h"
#include "simd/sparse/batches.h"
#include "sparse/rows.h"
#include "sparse/rules.h"

namespace lab {

inline constexpr char kColumnsAre[] =
    "centers by column must be a C-contiguous array (d, k) of the dtype of the rows";
inline constexpr char kOutIs[] = "out must be a C-contiguous float64 array";
inline constexpr char kSquaresAre[] = "squares and mass must be C-contiguous float64 arrays (k,)";

inline constexpr char kSumsAndMass[] = "sums (d, k) need mass (k,), and lengths must be (k,)";

using OptionalArray = std::optional<py::array>;

inline ColumnSums column_sums(const py::array& sums, const OptionalArray& mass,
                              const OptionalArray& lengths) {
    require(sums.ndim() == 2 && mass && mass->ndim() == 1 && mass->shape(0) == sums.shape(1) &&
                (!lengths || (lengths->ndim() == 1 && lengths->shape(0) == sums.shape(1))),
            kSumsAndMass);
    return {read<double>(sums, kSumsAre), read<double>(*mass, kSquaresAre),
            lengths ? read<double>(*lengths, kSquaresAre) : nullptr};
}

inline void square_means_of(const py::array& sums, const py::array& mass, py::array& squares) {
    const ColumnSums of = column_sums(sums, mass, std::nullopt);
    const Index d = sums.shape(0), k = sums.shape(1);
    require(k > 0 && squares.ndim() == 1 && squares.shape(0) == k, kSquaresAre);
    double* squares_out = write<double>(squares, kSquaresAre);
    Unlocked unlocked;
    square_means(d, k, of, squares_out);
}

template <typename T>
void bind_typed_batches(py::module_& module) {
    module.def(
        "assign_batch",
        [](const py::object& rows, const Array<T>& centers, const py::array& squares,
           py::array& labels) {
            const SparseRows<T> given = view<T>(rows, kRowsAre);
            require(centers.ndim() == 2 && centers.shape(0) == given.n_features, kColumnsAre);
            const Index k = centers.shape(1);
            require(k > 0, "assign_batch needs at least one center");
            require(squares.ndim() == 1 && squares.shape(0) == k, kSquaresAre);
            require(labels.ndim() == 1 && labels.shape(0) == given.n_samples, kLabelsAre);
            const double* squares_in = read<double>(squares, kSquaresAre);
            std::int32_t* labels_out = write<std::int32_t>(labels, kLabelsAre);
            const T* centers_in = centers.data();
            Unlocked unlocked;
            return assign_batch<T>(given, {centers_in, squares_in, k}, labels_out);
        },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("squares"), py::arg("labels"),
        "Overwrite labels with each row's nearest center, given their squared lengths; return the "
        "inertia.");
    module.def(
        "settle_columns",
        [](const OptionalArray& sums, const OptionalArray& mass, Array<T>& centers,
           py::array& squares, const OptionalArray& lengths) {
            require(centers.ndim() == 2, kColumnsAre);
            const Index d = centers.shape(0), k = centers.shape(1);
            require(k > 0 && squares.ndim() == 1 && squares.shape(0) == k, kSquaresAre);
            const ColumnSums of = sums ? column_sums(*sums, mass, lengths) : ColumnSums{};
            require(!sums || (sums->shape(0) == d && sums->shape(1) == k), kSumsAndMass);
            T* centers_out = write<T>(centers, kColumnsAre);
            double* squares_out = write<double>(squares, kSquaresAre);
            Unlocked unlocked;
            settle_columns<T>(d, k, of, centers_out, squares_out);
        },
        py::arg("sums").none(true), py::arg("mass").none(true), py::arg("centers").noconvert(),
        py::arg("squares"), py::arg("lengths") = py::none(),
        "Overwrite squares with the squared length of each center; where there are sums, first "
        "overwrite the centers that have any mass with their means, divided by lengths.");
    module.def(
        "measure_own",
        [](const py::object& rows, const Array<T>& centers, const py::array& squares,
           const py::array& labels, py::array& out) {
            const SparseRows<T> given = view<T>(rows, kRowsAre);
            require(centers.ndim() == 2 && centers.shape(0) == given.n_features, kColumnsAre);
            const Index k = centers.shape(1);
            require(squares.ndim() == 1 && squares.shape(0) == k, kSquaresAre);
            require(labels.ndim() == 1 && out.ndim() == 1 && labels.shape(0) == given.n_samples &&
                        out.shape(0) == given.n_samples,
                    "measure_own needs rows (n, d), labels (n,) and out (n,)");
            const double* squares_in = read<double>(squares, kSquaresAre);
            const std::int32_t* labels_in = read<std::int32_t>(labels, kLabelsAre);
            double* to = write<double>(out, kOutIs);
            const T* centers_in = centers.data();
            Unlocked unlocked;
            require_clusters(labels_in, given.n_samples, k, kRowsOfCenters);
            measure_own<T>(given, {centers_in, squares_in, k}, labels_in, to);
        },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("squares"), py::arg("labels"),
        py::arg("out"), "Overwrite out with the squared distance of each row to its own center.");
}

template <typename T>
void add_batch_of(const py::object& rows, const py::array& labels, py::array& sums,
                  py::array& mass) {
    const SparseRows<T> given = view<T>(rows, kRowsAre);
    require(labels.ndim() == 1 && sums.ndim() == 2 && labels.shape(0) == given.n_samples &&
                sums.shape(0) == given.n_features,
            "add_batch needs rows (n, d), labels (n,) and sums (d, k)");
    require(mass.ndim() == 1 && mass.shape(0) == sums.shape(1), kSquaresAre);
    const std::int32_t* labels_in = read<std::int32_t>(labels, kLabelsAre);
    double* sums_inout = write<double>(sums, kSumsAre);
    double* mass_inout = write<double>(mass, kSquaresAre);
    const Index k = sums.shape(1);
    Unlocked unlocked;
    require_clusters(labels_in, given.n_samples, k);
    add_batch(given, labels_in, k, sums_inout, mass_inout);
}

template <typename T>
void measure_batch_of(const py::object& rows, const py::array& numbers, py::array& out) {
    const SparseRows<T> given = view<T>(rows, kRowsAre);
    require(numbers.ndim() == 1 && out.ndim() == 2 && out.shape(0) == numbers.shape(0) &&
                out.shape(1) == given.n_samples,
            "measure_batch needs rows (n, d), numbers (m,) and out (m, n)");
    const Index* numbers_in = read<Index>(numbers, "numbers must be a C-contiguous int64 array");
    const Index n = numbers.shape(0);
    const bool fit = std::all_of(numbers_in, numbers_in + n,
                                 [&](Index i) { return i >= 0 && i < given.n_samples; });
    require(fit, "numbers must be those of rows");
    double* to = write<double>(out, kOutIs);
    Unlocked unlocked;
    measure_batch(given, numbers_in, n, to);
}

inline void bind_batches(py::module_& module) {
    bind_typed_batches<double>(module);
    bind_typed_batches<float>(module);
    module.def("square_means", &square_means_of, py::arg("sums"), py::arg("mass"),
               py::arg("squares"), "Overwrite squares with those of the means of sums (d, k).");
    module.def(
        "measure_batch",
        [](const py::object& rows, const py::array& numbers, py::array& out) {
            wide(rows) ? measure_batch_of<double>(rows, numbers, out)
                       : measure_batch_of<float>(rows, numbers, out);
        },
        py::arg("rows"), py::arg("numbers"), py::arg("out"),
        "Overwrite out with the squared distance of each row to each of these rows.");
    module.def(
        "add_batch",
        [](const py::object& rows, const py::array& labels, py::array& sums, py::array& mass) {
            wide(rows) ? add_batch_of<double>(rows, labels, sums, mass)
                       : add_batch_of<float>(rows, labels, sums, mass);
        },
        py::arg("rows"), py::arg("labels"), py::arg("sums"), py::arg("mass"),
        "Add each row to its cluster's sum, and one to its mass: sums (d, k), mass (k,).");
}

}  // namespace lab
