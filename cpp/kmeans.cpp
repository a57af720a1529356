// The C++ reference kernel: two templates that read like the textbook, then the binding.
//
// The same nested loops as _py_kernel.py, _numba_kernel.py and _cy_kernel.pyx, in the same
// order and with the same names, so that the files can be compared line by line. Distances
// are computed in double for both dtypes; float32 is a storage format here.

#include <cstdint>
#include <limits>

#include "common/labels.h"
#include "common/types.h"
#ifndef LAB_LOOPS_ALONE
#include "common/arrays.h"
#include "common/compiler.h"
#include "common/gil.h"
#endif

using lab::Index;

// Overwrite labels with each row's nearest center, the first of equals; return the inertia.
template <typename T>
double assign(const T* rows,         // IN  (n_samples, n_features)
              const T* centers,      // IN  (n_clusters, n_features)
              std::int32_t* labels,  // OUT (n_samples,)
              Index n_samples, Index n_features, Index n_clusters) {
    double inertia = 0.0;
    for (Index i = 0; i < n_samples; ++i) {
        double best = std::numeric_limits<double>::infinity();
        std::int32_t nearest = 0;
        for (Index j = 0; j < n_clusters; ++j) {
            double distance = 0.0;
            for (Index f = 0; f < n_features; ++f) {
                const double diff = static_cast<double>(rows[i * n_features + f]) -
                                    static_cast<double>(centers[j * n_features + f]);
                distance += diff * diff;
            }
            if (distance < best) {
                best = distance;
                nearest = static_cast<std::int32_t>(j);
            }
        }
        labels[i] = nearest;
        inertia += best;
    }
    return inertia;
}

// Add each row to its cluster's sum, and one to its count.
template <typename T>
void update(const T* rows,               // IN    (n_samples, n_features)
            const std::int32_t* labels,  // IN    (n_samples,), each in [0, n_clusters)
            double* sums,                // INOUT (n_clusters, n_features), added to
            std::int64_t* counts,        // INOUT (n_clusters,), added to
            Index n_samples, Index n_features) {
    for (Index i = 0; i < n_samples; ++i) {
        const Index j = labels[i];
        for (Index f = 0; f < n_features; ++f) {
            sums[j * n_features + f] += static_cast<double>(rows[i * n_features + f]);
        }
        counts[j] += 1;
    }
}

// ---------------------------------------------------------------------------------------
// The binding: C-contiguous arrays of the exact dtype, or TypeError. Another binding includes this
// file for its loops alone.

#ifndef LAB_LOOPS_ALONE

namespace py = pybind11;
using lab::Array;
using lab::require;

template <typename T>
double assign_arrays(const Array<T>& rows, const Array<T>& centers, Array<std::int32_t>& labels) {
    require(rows.ndim() == 2 && centers.ndim() == 2 && labels.ndim() == 1,
            "assign needs rows and centers with 2 dimensions and labels with 1");
    require(rows.shape(1) == centers.shape(1) && rows.shape(0) == labels.shape(0),
            "assign needs rows (n, d), centers (k, d) and labels (n,)");
    require(centers.shape(0) > 0, "assign needs at least one center");
    const T* rows_in = rows.data();
    const T* centers_in = centers.data();
    std::int32_t* labels_out = labels.mutable_data();
    lab::Unlocked unlocked;
    return assign(rows_in, centers_in, labels_out, rows.shape(0), rows.shape(1), centers.shape(0));
}

template <typename T>
void update_arrays(const Array<T>& rows, const Array<std::int32_t>& labels, Array<double>& sums,
                   Array<std::int64_t>& counts) {
    require(rows.ndim() == 2 && labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1,
            "update needs rows and sums with 2 dimensions, labels and counts with 1");
    require(rows.shape(0) == labels.shape(0) && rows.shape(1) == sums.shape(1) &&
                sums.shape(0) == counts.shape(0),
            "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
    const T* rows_in = rows.data();
    const std::int32_t* labels_in = labels.data();
    double* sums_inout = sums.mutable_data();
    std::int64_t* counts_inout = counts.mutable_data();
    lab::Unlocked unlocked;
    lab::require_clusters(labels_in, labels.shape(0), counts.shape(0));
    update(rows_in, labels_in, sums_inout, counts_inout, rows.shape(0), rows.shape(1));
}

template <typename T>
void bind(py::module_& module) {
    module.def("assign", &assign_arrays<T>, py::arg("rows").noconvert(),
               py::arg("centers").noconvert(), py::arg("labels").noconvert(),
               "Overwrite labels with each row's nearest center; return the inertia.");
    module.def("update", &update_arrays<T>, py::arg("rows").noconvert(),
               py::arg("labels").noconvert(), py::arg("sums").noconvert(),
               py::arg("counts").noconvert(), "Add each row to its cluster's sum and count.");
}

template <typename R>
void refuse(py::module_& module, const char* name, const char* rule) {
    module.def(name,
               [rule](const py::args&, const py::kwargs&) -> R { throw py::type_error(rule); });
}

PYBIND11_MODULE(_cpp_kernel, module, py::mod_gil_not_used()) {
    module.doc() = "The C++ reference kernel: nested loops, GIL released.";
    bind<double>(module);
    bind<float>(module);
    // What none of the others takes: pybind11 would print their signatures.
    refuse<double>(module, "assign",
                   "assign needs C-contiguous arrays: rows and centers of one dtype, float64 or "
                   "float32, and labels of int32 that can be written to");
    refuse<void>(module, "update",
                 "update needs C-contiguous arrays: rows of float64 or float32, labels of int32, "
                 "sums of float64 and counts of int64 that can be written to");
    module.attr("BUILD") = LAB_BUILD;
}

#endif
