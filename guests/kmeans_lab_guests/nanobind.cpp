// The templates of kmeans_lab's cpp/kmeans.cpp, bound by nanobind: the same loops, another binding.
//
// Arrays are declared by type, number of dimensions and layout, and nanobind refuses all others
// with a TypeError: nothing is converted, since results in a converted copy would be lost.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#define LAB_LOOPS_ALONE
#include "kmeans.cpp"

namespace nb = nanobind;
using namespace nb::literals;

template <typename T, int dimensions>
using Array = nb::ndarray<T, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;

void require(bool fits, const char* rule) {
    if (!fits) throw std::invalid_argument(rule);
}

template <typename T>
double assign_arrays(Array<const T, 2> rows, Array<const T, 2> centers,
                     Array<std::int32_t, 1> labels) {
    require(rows.shape(1) == centers.shape(1) && rows.shape(0) == labels.shape(0),
            "assign needs rows (n, d), centers (k, d) and labels (n,)");
    require(centers.shape(0) > 0, "assign needs at least one center");
    nb::gil_scoped_release unlocked;
    return assign(rows.data(), centers.data(), labels.data(), Index(rows.shape(0)),
                  Index(rows.shape(1)), Index(centers.shape(0)));
}

template <typename T>
void update_arrays(Array<const T, 2> rows, Array<const std::int32_t, 1> labels,
                   Array<double, 2> sums, Array<std::int64_t, 1> counts) {
    require(rows.shape(0) == labels.shape(0) && rows.shape(1) == sums.shape(1) &&
                sums.shape(0) == counts.shape(0),
            "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
    nb::gil_scoped_release unlocked;
    lab::require_clusters(labels.data(), Index(labels.shape(0)), Index(counts.shape(0)));
    update(rows.data(), labels.data(), sums.data(), counts.data(), Index(rows.shape(0)),
           Index(rows.shape(1)));
}

template <typename T>
void bind(nb::module_& module) {
    module.def("assign", &assign_arrays<T>, "rows"_a.noconvert(), "centers"_a.noconvert(),
               "labels"_a.noconvert(),
               "Overwrite labels with each row's nearest center; return the inertia.");
    module.def("update", &update_arrays<T>, "rows"_a.noconvert(), "labels"_a.noconvert(),
               "sums"_a.noconvert(), "counts"_a.noconvert(),
               "Add each row to its cluster's sum and count.");
}

NB_MODULE(_nanobind, module) {
    module.doc() = "The C++ reference kernel behind nanobind: nested loops, GIL released.";
    bind<double>(module);
    bind<float>(module);
}
