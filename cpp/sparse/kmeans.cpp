// The C++ reference kernel for sparse rows: two templates that read like the textbook.
//
// The same loops as _py_kernel.py, _numba_kernel.py and _cy_kernel.pyx of kmeans_lab/sparse, in the
// same order and with the same names, so that the files can be compared line by line. Everything is
// computed in double; float32 is a storage format here.

#include <cstdint>
#include <limits>
#include <vector>

#include "common/arrays.h"
#include "common/compiler.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/types.h"
#include "sparse/rows.h"

using lab::Index;
using lab::SparseRows;

// Overwrite labels with each row's nearest center, the first of equals; return the inertia.
template <typename T>
double assign(const SparseRows<T>& rows,  // IN  (n_samples, n_features)
              const T* centers,           // IN  (n_clusters, n_features)
              std::int32_t* labels,       // OUT (n_samples,)
              Index n_clusters) {
    std::vector<double> norms(static_cast<std::size_t>(n_clusters));
    for (Index j = 0; j < n_clusters; ++j) {
        double norm = 0.0;
        for (Index f = 0; f < rows.n_features; ++f) {
            const double value = static_cast<double>(centers[j * rows.n_features + f]);
            norm += value * value;
        }
        norms[static_cast<std::size_t>(j)] = norm;
    }
    double inertia = 0.0;
    for (Index i = 0; i < rows.n_samples; ++i) {
        double best = std::numeric_limits<double>::infinity();
        std::int32_t nearest = 0;
        for (Index j = 0; j < n_clusters; ++j) {
            const T* center = centers + j * rows.n_features;
            double dot = 0.0;
            for (Index p = rows.indptr[i]; p < rows.indptr[i + 1]; ++p) {
                dot += static_cast<double>(rows.data[p]) *
                       static_cast<double>(center[rows.indices[p]]);
            }
            const double score = norms[static_cast<std::size_t>(j)] - 2.0 * dot;
            if (score < best) {
                best = score;
                nearest = static_cast<std::int32_t>(j);
            }
        }
        double square = 0.0;
        for (Index p = rows.indptr[i]; p < rows.indptr[i + 1]; ++p) {
            square += static_cast<double>(rows.data[p]) * static_cast<double>(rows.data[p]);
        }
        labels[i] = nearest;
        if (best + square > 0.0) inertia += best + square;
    }
    return inertia;
}

// Add each row to its cluster's sum, and one to its count.
template <typename T>
void update(const SparseRows<T>& rows,   // IN    (n_samples, n_features)
            const std::int32_t* labels,  // IN    (n_samples,), each in [0, n_clusters)
            double* sums,                // INOUT (n_clusters, n_features), added to
            std::int64_t* counts) {      // INOUT (n_clusters,), added to
    for (Index i = 0; i < rows.n_samples; ++i) {
        const Index j = labels[i];
        for (Index p = rows.indptr[i]; p < rows.indptr[i + 1]; ++p) {
            sums[j * rows.n_features + rows.indices[p]] += static_cast<double>(rows.data[p]);
        }
        counts[j] += 1;
    }
}

// ---------------------------------------------------------------------------------------
// The binding: C-contiguous arrays of the exact dtype, or TypeError.

namespace py = pybind11;
using lab::require;

namespace {

constexpr const char* kAssignTakes =
    "assign needs SparseRows and C-contiguous arrays: values and centers of one dtype, float64 or "
    "float32, and labels of int32 that can be written to";
constexpr const char* kUpdateTakes =
    "update needs SparseRows and C-contiguous arrays: labels of int32, sums of float64 and counts "
    "of int64 that can be written to";

template <typename T>
double assign_rows(const py::object& rows, const py::array& centers, py::array& labels) {
    const SparseRows<T> given = lab::view<T>(rows, kAssignTakes);
    require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == given.n_features &&
                labels.shape(0) == given.n_samples,
            "assign needs rows (n, d), centers (k, d) and labels (n,)");
    require(centers.shape(0) > 0, "assign needs at least one center");
    const T* centers_in = lab::read<T>(centers, kAssignTakes);
    std::int32_t* labels_out = lab::write<std::int32_t>(labels, kAssignTakes);
    const Index n_clusters = centers.shape(0);
    lab::Unlocked unlocked;
    return assign(given, centers_in, labels_out, n_clusters);
}

template <typename T>
void update_rows(const py::object& rows, const py::array& labels, py::array& sums,
                 py::array& counts) {
    const SparseRows<T> given = lab::view<T>(rows, kUpdateTakes);
    require(labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1 &&
                labels.shape(0) == given.n_samples && sums.shape(1) == given.n_features &&
                sums.shape(0) == counts.shape(0),
            "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
    const std::int32_t* labels_in = lab::read<std::int32_t>(labels, kUpdateTakes);
    double* sums_inout = lab::write<double>(sums, kUpdateTakes);
    std::int64_t* counts_inout = lab::write<std::int64_t>(counts, kUpdateTakes);
    const Index n_clusters = counts.shape(0);
    lab::Unlocked unlocked;
    lab::require_clusters(labels_in, given.n_samples, n_clusters);
    update(given, labels_in, sums_inout, counts_inout);
}

}  // namespace

PYBIND11_MODULE(_cpp_kernel, module, py::mod_gil_not_used()) {
    module.doc() = "The C++ reference kernel for sparse rows: nested loops, GIL released.";
    module.def(
        "assign",
        [](const py::object& rows, const py::array& centers, py::array& labels) {
            return lab::wide(rows) ? assign_rows<double>(rows, centers, labels)
                                   : assign_rows<float>(rows, centers, labels);
        },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("labels").noconvert(),
        "Overwrite labels with each row's nearest center; return the inertia.");
    module.def(
        "update",
        [](const py::object& rows, const py::array& labels, py::array& sums, py::array& counts) {
            return lab::wide(rows) ? update_rows<double>(rows, labels, sums, counts)
                                   : update_rows<float>(rows, labels, sums, counts);
        },
        py::arg("rows"), py::arg("labels").noconvert(), py::arg("sums").noconvert(),
        py::arg("counts").noconvert(), "Add each row to its cluster's sum and count.");
    module.attr("BUILD") = LAB_BUILD;
}
