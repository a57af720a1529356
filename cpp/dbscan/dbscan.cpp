// DBSCAN's two passes in C++: count every row's neighbours, then grow clusters from core rows.
//
// Neighbours are looked for twice and never stored: memory does not grow with their number.
// Distances are computed and summed as in kmeans_lab/numerics/dbscan_in_python.py, so that both
// agree on ties.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "common/arrays.h"
#include "common/compiler.h"
#include "common/gil.h"
#include "dbscan/index.h"

namespace py = pybind11;
using lab::Array;
using lab::ColumnIndex;
using lab::Index;
using lab::Interrupt;
using lab::Interrupted;
using lab::Place;
using lab::require;
using lab::Window;

// How many rows of a window are neighbours of the row at p.
static Index count_near(const ColumnIndex& index, Place p, Window window) {
    constexpr Place kBlock = 128;  // distances at a time, in the fastest cache; 512 are as good
    double distances[kBlock];
    Index found = 0;
    for (Place begin = window.begin; begin < window.end; begin += kBlock) {
        const Place size = std::min(kBlock, window.end - begin);
        std::fill_n(distances, size, 0.0);
        for (Index f = 0; f < index.d; ++f) {
            const double* values = index.feature(f) + begin;
            const double value = index.feature(f)[p];
            for (Place k = 0; k < size; ++k)
                distances[k] += (value - values[k]) * (value - values[k]);
        }
        for (Place k = 0; k < size; ++k) found += index.within(distances[k]);
    }
    return found;
}

static bool are_near(const ColumnIndex& index, Place p, Place q) {
    double distance = 0.0;
    for (Index f = 0; f < index.d; ++f) {
        const double* values = index.feature(f);
        distance += (values[p] - values[q]) * (values[p] - values[q]);
    }
    return index.within(distance);
}

// Overwrites counts with each row's number of neighbours, itself included.
static void count(const ColumnIndex& index,
                  std::int64_t* counts,  // OUT (n_samples,)
                  Interrupt& interrupt) {
    interrupt.begin(double(index.n * index.d));
    for (Place p = 0; p < index.n; ++p) {
        if (interrupt.came()) throw Interrupted();
        Index found = 0;
        index.around(p, [&](Window window) { found += count_near(index, p, window); });
        counts[index.row(p)] = found;
    }
}

// Overwrites labels: clusters of core rows, numbered in the order of their first core row; a row
// that is not core goes to the first cluster that reaches it, or is -1.
static void grow(const ColumnIndex& index,
                 const bool* core,      // IN  (n_samples,)
                 std::int32_t* labels,  // OUT (n_samples,)
                 Interrupt& interrupt) {
    interrupt.begin(double(index.n * index.d));
    std::vector<Place> places(index.n), reached;
    for (Place p = 0; p < index.n; ++p) places[index.row(p)] = p;
    // One byte for each row, in the order of places: memchr finds the remaining ones fast.
    std::vector<char> done(index.n, 0);
    std::fill_n(labels, index.n, -1);
    std::int32_t cluster = 0;
    const auto take = [&](Place p) {
        done[p] = 1;
        labels[index.row(p)] = cluster;
        if (core[index.row(p)]) reached.push_back(p);
    };
    for (Index first = 0; first < index.n; ++first) {
        if (!core[first] || labels[first] >= 0) continue;
        take(places[first]);
        while (!reached.empty()) {
            if (interrupt.came()) throw Interrupted();
            const Place p = reached.back();
            reached.pop_back();
            index.around(p, [&](Window window) {
                const char* end = &done[0] + window.end;
                const char* at = &done[0] + window.begin;
                while (at < end && (at = static_cast<const char*>(std::memchr(at, 0, end - at)))) {
                    const Place q = Place(at - &done[0]);
                    if (are_near(index, p, q)) take(q);
                    ++at;
                }
            });
        }
        ++cluster;
    }
}

// ---------------------------------------------------------------------------------------
// The binding.

static std::unique_ptr<ColumnIndex> prepare(const Array<double>& X, double eps) {
    require(X.ndim() == 2 && X.shape(0) > 0 && X.shape(1) > 0, "prepare needs X (n, d)");
    require(X.shape(0) < std::numeric_limits<Place>::max(), "prepare takes up to 2^31 - 2 rows");
    const double* rows = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    lab::Unlocked unlocked;
    const auto is_finite = [](double value) { return std::isfinite(value); };
    require(std::all_of(rows, rows + n * d, is_finite), "prepare needs finite values");
    Interrupt interrupt;
    interrupt.begin(1 << 16);
    return std::make_unique<ColumnIndex>(rows, n, d, eps, interrupt);
}

static void count_array(const ColumnIndex& index, Array<std::int64_t>& counts) {
    require(counts.ndim() == 1 && counts.shape(0) == index.n, "count needs counts (n,)");
    std::int64_t* counts_out = counts.mutable_data();
    lab::Unlocked unlocked;
    Interrupt interrupt;
    count(index, counts_out, interrupt);
}

static void grow_arrays(const ColumnIndex& index, const Array<bool>& core,
                        Array<std::int32_t>& labels) {
    require(core.ndim() == 1 && labels.ndim() == 1 && core.shape(0) == index.n &&
                labels.shape(0) == index.n,
            "grow needs core (n,) and labels (n,)");
    const bool* core_in = core.data();
    std::int32_t* labels_out = labels.mutable_data();
    lab::Unlocked unlocked;
    Interrupt interrupt;
    grow(index, core_in, labels_out, interrupt);
}

static constexpr char kOutOfMemory[] =
    "dbscan ran out of memory: it keeps a copy of X and up to 65 bytes for each row; give it fewer "
    "rows";

PYBIND11_MODULE(_cpp_dbscan, module, py::mod_gil_not_used()) {
    module.doc() = "DBSCAN: neighbours counted in columns of rows, GIL released.";
    py::register_local_exception_translator(lab::translate<kOutOfMemory>);
    py::class_<ColumnIndex>(module, "Index", "Rows in the order of columns as wide as eps.");
    module.def("prepare", &prepare, py::arg("X").noconvert(), py::arg("eps"),
               "Return an index of the rows of X.");
    module.def("count", &count_array, py::arg("index"), py::arg("counts").noconvert(),
               "Overwrite counts with each row's number of neighbours, itself included.");
    module.def("grow", &grow_arrays, py::arg("index"), py::arg("core").noconvert(),
               py::arg("labels").noconvert(),
               "Overwrite labels with clusters, in the order of their first core row; -1: noise.");
    module.attr("BUILD") = LAB_BUILD;
}
