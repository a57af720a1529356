// The flagship: exact k-means as fast as the processor's multiply-add units allow.
//
// Rows are transposed once into tiles; one build holds the block routine for several instruction
// sets and picks one when a fit is prepared; a team of threads shares fixed chunks, whose partial
// sums are added in chunk order, so that results do not depend on the number of threads.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#include "simd_prepared.h"

namespace py = pybind11;

// ---------------------------------------------------------------------------------------
// The binding. Outputs are noconvert: a silently copied one would lose the results.

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// A row of X that all others are taken relative to, or nothing.
template <typename T>
using Middle = std::optional<Array<T>>;

static bool signal_came() {
    py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
}

static void require(bool fits, const char* rule) {
    if (!fits) throw std::invalid_argument(rule);
}

template <typename T>
static double run(lab::Prepared<T>& rows, const Array<T>& centers, Array<std::int32_t>& labels,
                  Array<double>* sums = nullptr, Array<std::int64_t>* counts = nullptr) {
    require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == rows.d() &&
                labels.shape(0) == rows.n(),
            "assign needs rows (n, d), centers (k, d) and labels (n,)");
    require(sums == nullptr ||
                (sums->ndim() == 2 && counts->ndim() == 1 && sums->shape(0) == centers.shape(0) &&
                 sums->shape(1) == rows.d() && counts->shape(0) == centers.shape(0)),
            "assign_update needs sums (k, d) and counts (k,)");
    const T* centers_in = centers.data();
    const long k = centers.shape(0);
    std::int32_t* labels_out = labels.mutable_data();
    double* sums_inout = sums ? sums->mutable_data() : nullptr;
    std::int64_t* counts_inout = counts ? counts->mutable_data() : nullptr;
    py::gil_scoped_release nogil;
    return rows.pass(centers_in, k, labels_out, sums_inout, counts_inout);
}

template <typename T>
static void update(const lab::Prepared<T>& rows, const Array<std::int32_t>& labels,
                   Array<double>& sums, Array<std::int64_t>& counts) {
    require(labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1 &&
                labels.shape(0) == rows.n() && sums.shape(1) == rows.d() &&
                sums.shape(0) == counts.shape(0),
            "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
    const std::int32_t* labels_in = labels.data();
    double* sums_inout = sums.mutable_data();
    std::int64_t* counts_inout = counts.mutable_data();
    py::gil_scoped_release nogil;
    rows.update(labels_in, sums_inout, counts_inout);
}

template <typename T>
static const T* values_of(const Middle<T>& middle, const Array<T>& X) {
    if (!middle) return nullptr;
    require(middle->ndim() == 1 && middle->shape(0) == X.shape(1), "middle must have shape (d,)");
    return middle->data();
}

// From differences in double. Eight sums side by side hide the latency of the additions, and short
// blocks keep their rounding small.
template <typename T>
static double direct_inertia(const Array<T>& X, const Array<T>& centers,
                             const Array<std::int32_t>& labels, const Middle<T>& middle) {
    require(X.ndim() == 2 && centers.ndim() == 2 && labels.ndim() == 1 &&
                X.shape(1) == centers.shape(1) && X.shape(0) == labels.shape(0),
            "inertia needs X (n, d), centers (k, d) and labels (n,)");
    const std::vector<T> zero(X.shape(1), T(0));
    const lab::Given<T> x{X.data(), middle ? values_of(middle, X) : zero.data(), X.shape(1)};
    const T* center = centers.data();
    const std::int32_t* label = labels.data();
    const long n = X.shape(0), d = X.shape(1), k = centers.shape(0);
    py::gil_scoped_release nogil;
    double total = 0;
    for (long first = 0; first < n; first += 1024) {
        double sums[8] = {};
        for (long i = first; i < std::min(first + 1024, n); ++i) {
            if (label[i] < 0 || label[i] >= k) throw std::invalid_argument("a label is no cluster");
            double distance = 0;
            for (long f = 0; f < d; ++f) {
                const double diff = double(x.at(i, f)) - double(center[label[i] * d + f]);
                distance += diff * diff;
            }
            sums[i % 8] += distance;
        }
        for (const double sum : sums) total += sum;
    }
    return total;
}

template <typename T>
static std::unique_ptr<lab::Prepared<T>> transpose(const Array<T>& X, long n_clusters,
                                                   int n_threads, const Middle<T>& middle,
                                                   lab::Use use) {
    require(X.ndim() == 2, "prepare needs X with 2 dimensions");
    require(X.shape(1) > 0, "X must have at least one feature");
    require(n_clusters >= 1 && n_threads >= 1, "n_clusters and n_threads must be at least 1");
    const T* rows = X.data();
    const T* middle_in = values_of(middle, X);
    const long n = X.shape(0), d = X.shape(1);
    py::gil_scoped_release nogil;
    return std::make_unique<lab::Prepared<T>>(rows, middle_in, n, d, n_clusters, n_threads, use,
                                              signal_came);
}

template <typename T>
static py::array_t<long> greedy_on(lab::Prepared<T>& rows, const Array<T>& X, long first,
                                   const Array<double>& draws) {
    require(draws.ndim() == 2 && draws.shape(1) > 0 && draws.shape(1) <= lab::kMostCandidates,
            "greedy needs draws (rounds, candidates), with 1 to 32 candidates");
    require(X.ndim() == 2 && X.shape(0) == rows.n() && X.shape(1) == rows.d(),
            "greedy needs the X that was prepared");
    require(first >= 0 && first < rows.n(), "first must be a row of X");
    require(rows.has_balls(), "greedy needs rows that were prepared with balls");
    const T* given = X.data();
    const double* draws_in = draws.data();
    std::vector<long> chosen;
    {
        py::gil_scoped_release nogil;
        chosen = rows.greedy(given, first, draws_in, draws.shape(0), draws.shape(1));
    }
    return py::array_t<long>(py::ssize_t(chosen.size()), chosen.data());
}

template <typename T>
static py::array_t<long> greedy(const Array<T>& X, long first, const Array<double>& draws,
                                int n_threads, const Middle<T>& middle) {
    require(draws.ndim() == 2, "greedy needs draws (rounds, candidates)");
    const auto rows = transpose(X, draws.shape(0) + 1, n_threads, middle, lab::Use::seeding);
    return greedy_on(*rows, X, first, draws);
}

template <typename T>
static void bind(py::module_& module, const char* name) {
    using Rows = lab::Prepared<T>;
    py::class_<Rows>(module, name, "Rows transposed into tiles, with their running sums.")
        .def_property_readonly("isa", &Rows::isa, "The instruction set that computes.")
        .def_property_readonly("changed", &Rows::changed, "Labels that the last pass changed.")
        .def_property_readonly("met", &Rows::met,
                               "Share of all pairs of row and center that the last pass met.")
        .def("greedy", &greedy_on<T>, py::arg("X").noconvert(), py::arg("first"),
             py::arg("draws").noconvert(),
             "Return the rows of X, which was prepared, that greedy k-means++ chooses.")
        .def_property_readonly("rescored", &Rows::rescored,
                               "Near-ties decided by direct differences so far.");
    module.def(
        "prepare",
        [](const Array<T>& X, long n_clusters, int n_threads, const Middle<T>& middle, bool balls) {
            return transpose(X, n_clusters, n_threads, middle,
                             balls ? lab::Use::fit : lab::Use::without_balls);
        },
        py::arg("X").noconvert(), py::arg("n_clusters"), py::arg("n_threads"),
        py::arg("middle").noconvert() = py::none(), py::arg("balls") = true,
        "Transpose X − middle into tiles, neighbours together; start a team of threads. Without "
        "balls, every row meets every center.");
    module.def(
        "assign",
        [](Rows& rows, const Array<T>& centers, Array<std::int32_t>& labels) {
            return run<T>(rows, centers, labels);
        },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("labels").noconvert(),
        "Overwrite labels with each row's nearest center; return the inertia.");
    module.def(
        "assign",
        [](const Array<T>& X, const Array<T>& centers, Array<std::int32_t>& labels) {
            require(centers.ndim() == 2 && centers.shape(0) > 0,
                    "assign needs rows (n, d), centers (k, d) and labels (n,)");
            const auto rows = transpose(X, centers.shape(0), 1, Middle<T>(), lab::Use::once);
            return run<T>(*rows, centers, labels);
        },
        py::arg("rows").noconvert(), py::arg("centers").noconvert(), py::arg("labels").noconvert(),
        "The same for an array that has not been prepared.");
    module.def(
        "assign_update",
        [](Rows& rows, const Array<T>& centers, Array<std::int32_t>& labels, Array<double>& sums,
           Array<std::int64_t>& counts) { return run<T>(rows, centers, labels, &sums, &counts); },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("labels").noconvert(),
        py::arg("sums").noconvert(), py::arg("counts").noconvert(),
        "Both steps in one pass; return the inertia.");
    module.def("inertia", &direct_inertia<T>, py::arg("X").noconvert(),
               py::arg("centers").noconvert(), py::arg("labels").noconvert(),
               py::arg("middle").noconvert() = py::none(),
               "Return the sum of squared distances of X − middle to the chosen centers, by "
               "differences.");
    module.def("greedy", &greedy<T>, py::arg("X").noconvert(), py::arg("first"),
               py::arg("draws").noconvert(), py::arg("n_threads"),
               py::arg("middle").noconvert() = py::none(),
               "Return the rows that greedy k-means++ chooses with these draws from [0, 1).");
    module.def(
        sizeof(T) == 8 ? "multiply_add_float64" : "multiply_add_float32",
        [](long rounds, double factor) {
            py::gil_scoped_release nogil;
            return lab::choose_limits<T>(lab::chosen_isa()).multiply_add(rounds, T(factor));
        },
        py::arg("rounds"), py::arg("factor"),
        "Run independent multiply-adds; return how many floating-point operations that were.");
    module.def(
        "read_all",
        [](const Array<T>& values) {
            const T* begin = values.data();
            const long n = values.size();
            require(reinterpret_cast<std::uintptr_t>(begin) % 64 == 0, "values must be aligned");
            py::gil_scoped_release nogil;
            return lab::choose_limits<T>(lab::chosen_isa()).read_all(begin, n);
        },
        py::arg("values").noconvert(), "Read an array once, as fast as vectors can.");
    module.def("update", &update<T>, py::arg("rows"), py::arg("labels").noconvert(),
               py::arg("sums").noconvert(), py::arg("counts").noconvert(),
               "Add each row to its cluster's sum and count.");
}

#if defined(__clang__)
#define KMEANS_LAB_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define KMEANS_LAB_COMPILER "gcc " __VERSION__
#else
#define KMEANS_LAB_COMPILER "msvc"
#endif

PYBIND11_MODULE(_simd_kernel, module, py::mod_gil_not_used()) {
    module.doc() = "The flagship: tiles, vectors chosen at run time, threads of its own.";
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (const lab::Interrupted&) {
            // What the signal's handler raised is set already.
        }
    });
    bind<double>(module, "Rows64");
    bind<float>(module, "Rows32");
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set that the next fit will use.");
    module.attr("BUILD") = KMEANS_LAB_COMPILER " " KMEANS_LAB_FLAGS;
}
