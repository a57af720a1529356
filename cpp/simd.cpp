// The flagship: exact k-means as fast as the processor's multiply-add units allow.
//
// Rows are transposed once into tiles; one build holds the block routine for several instruction
// sets and picks one when a fit is prepared; a team of threads shares chunks. Sums are exact, so
// that results depend on neither the order of the rows, the threads nor the instructions.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "compiler.h"
#include "gil.h"
#include "labels.h"
#include "simd_prepared.h"

namespace py = pybind11;

// ---------------------------------------------------------------------------------------
// The binding. No array is ever converted: a silently copied output would lose the results.

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// A row of X that all others are taken relative to, or nothing.
template <typename T>
using Middle = std::optional<Array<T>>;

static void require(bool fits, const char* rule) {
    if (!fits) throw std::invalid_argument(rule);
}

// The values of an array of T in the usual layout. Every iteration hands over four arrays:
// pybind11's own array_t would ask NumPy to convert each of them, 0.15 µs for nothing.
template <typename T>
static const T* read(const py::array& array, const char* rule) {
    constexpr char kind = std::is_floating_point<T>::value ? 'f' : 'i';
    constexpr int usual = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    const py::dtype dtype = array.dtype();
    const bool fits = dtype.kind() == kind && dtype.itemsize() == sizeof(T) &&
                      dtype.byteorder() == '=' && (array.flags() & usual) == usual;
    if (!fits) throw py::type_error(rule);
    return static_cast<const T*>(array.data());
}

template <typename T>
static T* write(py::array& array, const char* rule) {
    read<T>(array, rule);
    return static_cast<T*>(array.mutable_data());
}

// Rows of either dtype: Python sees one class, so that no call tries the wrong one first.
class Rows {
public:
    virtual ~Rows() = default;
    virtual double pass(const py::array& centers, py::array& labels, py::array* sums,
                        py::array* counts) = 0;
    virtual void update(const py::array& labels, py::array& sums, py::array& counts) const = 0;
    virtual py::array_t<long> greedy(const py::array& X, long first, const py::array& draws) = 0;
    virtual const char* isa() const = 0;
    virtual int n_threads() const = 0;
    virtual long changed() const = 0;
    virtual long rescored() const = 0;
    virtual double met() const = 0;
};

template <typename T>
static constexpr const char* kCenters =
    sizeof(T) == 8 ? "centers must be a C-contiguous float64 array"
                   : "centers must be a C-contiguous float32 array";
template <typename T>
static constexpr const char* kSamples = sizeof(T) == 8 ? "X must be a C-contiguous float64 array"
                                                       : "X must be a C-contiguous float32 array";
static constexpr const char* kLabels = "labels must be a C-contiguous int32 array";
static constexpr const char* kSums = "sums must be a C-contiguous float64 array";
static constexpr const char* kCounts = "counts must be a C-contiguous int64 array";
static constexpr const char* kOneCenter = "assign needs at least one center";
static constexpr const char* kDraws = "draws must be a C-contiguous float64 array";

template <typename T>
class RowsOf final : public Rows {
public:
    template <typename... Given>
    explicit RowsOf(Given... given) : rows_(given...) {}

    double pass(const py::array& centers, py::array& labels, py::array* sums,
                py::array* counts) override {
        require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == rows_.d() &&
                    labels.shape(0) == rows_.n(),
                "assign needs rows (n, d), centers (k, d) and labels (n,)");
        require(centers.shape(0) > 0, kOneCenter);
        require(
            sums == nullptr ||
                (sums->ndim() == 2 && counts->ndim() == 1 && sums->shape(0) == centers.shape(0) &&
                 sums->shape(1) == rows_.d() && counts->shape(0) == centers.shape(0)),
            "assign_update needs sums (k, d) and counts (k,)");
        const T* centers_in = read<T>(centers, kCenters<T>);
        const long k = centers.shape(0);
        std::int32_t* labels_out = write<std::int32_t>(labels, kLabels);
        double* sums_inout = sums ? write<double>(*sums, kSums) : nullptr;
        std::int64_t* counts_inout = counts ? write<std::int64_t>(*counts, kCounts) : nullptr;
        lab::Unlocked unlocked;
        return rows_.pass(centers_in, k, labels_out, sums_inout, counts_inout);
    }

    void update(const py::array& labels, py::array& sums, py::array& counts) const override {
        require(labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1 &&
                    labels.shape(0) == rows_.n() && sums.shape(1) == rows_.d() &&
                    sums.shape(0) == counts.shape(0),
                "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
        const std::int32_t* labels_in = read<std::int32_t>(labels, kLabels);
        double* sums_inout = write<double>(sums, kSums);
        std::int64_t* counts_inout = write<std::int64_t>(counts, kCounts);
        const long k = sums.shape(0);
        lab::Unlocked unlocked;
        lab::require_clusters(labels_in, rows_.n(), k);
        rows_.update(labels_in, k, sums_inout, counts_inout);
    }

    py::array_t<long> greedy(const py::array& X, long first, const py::array& draws) override {
        require(draws.ndim() == 2 && draws.shape(1) > 0 && draws.shape(1) <= lab::kMostCandidates,
                "greedy needs draws (rounds, candidates), with 1 to 32 candidates");
        require(X.ndim() == 2 && X.shape(0) == rows_.n() && X.shape(1) == rows_.d(),
                "greedy needs the X that was prepared");
        require(first >= 0 && first < rows_.n(), "first must be a row of X");
        require(rows_.has_balls(), "greedy needs rows that were prepared with balls");
        const T* given = read<T>(X, kSamples<T>);
        const double* draws_in = read<double>(draws, kDraws);
        std::vector<long> chosen;
        {
            lab::Unlocked unlocked;
            chosen = rows_.greedy(given, first, draws_in, draws.shape(0), draws.shape(1));
        }
        return py::array_t<long>(py::ssize_t(chosen.size()), chosen.data());
    }

    const char* isa() const override { return rows_.isa(); }
    int n_threads() const override { return rows_.n_threads(); }
    long changed() const override { return rows_.changed(); }
    long rescored() const override { return rows_.rescored(); }
    double met() const override { return rows_.met(); }

private:
    lab::Prepared<T> rows_;
};

template <typename T>
static const T* values_of(const Middle<T>& middle, const Array<T>& X) {
    if (!middle) return nullptr;
    require(middle->ndim() == 1 && middle->shape(0) == X.shape(1), "middle must have shape (d,)");
    return middle->data();
}

// From differences in double: the squares of a row are added feature by feature, none fused with
// an addition, and the rows exactly, so that neither their order nor the processor matters.
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
    lab::Unlocked unlocked;
    lab::require_clusters(label, n, k, lab::kRowsOfCenters);
    lab::ExactSum total;
    double distances[lab::ExactSum::kTogether];
    for (long first = 0; first < n; first += lab::ExactSum::kTogether) {
        const long end = std::min(first + lab::ExactSum::kTogether, n);
        for (long i = first; i < end; ++i) {
            double distance = 0;
            for (long f = 0; f < d; ++f) {
                const double diff = double(x.at(i, f)) - double(center[label[i] * d + f]);
                distance += lab::rounded(diff * diff);
            }
            distances[i - first] = distance;
        }
        total.add(distances, end - first);
    }
    return total.value();
}

static void warn_of_fewer(int started, int wanted) {
    if (started == wanted) return;
    py::module_::import("kmeans_lab._helpers").attr("warn_of_fewer")(started - 1, wanted - 1);
}

// A whole number of any size between 1 and most, or one sentence.
static long count(const char* name, const py::object& given, long most) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
    if (!number) throw py::error_already_set();
    int beyond = 0;
    const long value = PyLong_AsLongAndOverflow(number.ptr(), &beyond);
    if (beyond != 0 || value < 1 || value > most) {
        throw std::invalid_argument(std::string(name) + "=" + std::string(py::str(number)) +
                                    " must be from 1 to " + std::to_string(most));
    }
    return value;
}

static long clusters(const py::object& given) {
    return count("n_clusters", given, std::numeric_limits<std::int32_t>::max());  // labels are
}

// More threads than any processor has would only exhaust the system.
static int threads(const py::object& given) { return int(count("n_threads", given, 4096)); }

template <typename T>
static std::unique_ptr<Rows> transpose(const Array<T>& X, long n_clusters, int n_threads,
                                       const Middle<T>& middle, lab::Use use) {
    require(X.ndim() == 2, "prepare needs X with 2 dimensions");
    require(X.shape(1) > 0, "X must have at least one feature");
    const T* rows = X.data();
    const T* middle_in = values_of(middle, X);
    const long n = X.shape(0), d = X.shape(1);
    std::unique_ptr<Rows> made;
    {
        lab::Unlocked unlocked;
        made = std::make_unique<RowsOf<T>>(rows, middle_in, n, d, n_clusters, n_threads, use,
                                           lab::signal_came);
    }
    warn_of_fewer(made->n_threads(), n_threads);
    return made;
}

template <typename T>
static py::array_t<long> greedy(const Array<T>& X, long first, const Array<double>& draws,
                                const py::object& n_threads, const Middle<T>& middle) {
    require(draws.ndim() == 2, "greedy needs draws (rounds, candidates)");
    const auto rows =
        transpose(X, draws.shape(0) + 1, threads(n_threads), middle, lab::Use::seeding);
    return rows->greedy(X, first, draws);
}

// What works on rows that were prepared, whatever their dtype.
static void bind_prepared(py::module_& module) {
    py::class_<Rows>(module, "Tiles", "Rows transposed into tiles, with their running sums.")
        .def_property_readonly("isa", &Rows::isa, "The instruction set that computes.")
        .def_property_readonly("changed", &Rows::changed, "Labels that the last pass changed.")
        .def_property_readonly("met", &Rows::met,
                               "Share of all pairs of row and center that the last pass met.")
        .def_property_readonly("rescored", &Rows::rescored,
                               "Near-ties decided by direct differences so far.")
        .def("greedy", &Rows::greedy, py::arg("X"), py::arg("first"), py::arg("draws"),
             "Return the rows of X, which was prepared, that greedy k-means++ chooses.");
    module.def(
        "assign",
        [](Rows& rows, const py::array& centers, py::array& labels) {
            return rows.pass(centers, labels, nullptr, nullptr);
        },
        py::arg("rows"), py::arg("centers"), py::arg("labels"),
        "Overwrite labels with each row's nearest center; return the inertia.");
    module.def(
        "assign_update",
        [](Rows& rows, const py::array& centers, py::array& labels, py::array& sums,
           py::array& counts) { return rows.pass(centers, labels, &sums, &counts); },
        py::arg("rows"), py::arg("centers"), py::arg("labels"), py::arg("sums"), py::arg("counts"),
        "Both steps in one pass; return the inertia.");
    module.def("update", &Rows::update, py::arg("rows"), py::arg("labels"), py::arg("sums"),
               py::arg("counts"), "Add each row to its cluster's sum and count.");
}

// What takes X itself, and the measuring routines.
template <typename T>
static void bind(py::module_& module) {
    module.def(
        "prepare",
        [](const Array<T>& X, const py::object& n_clusters, const py::object& n_threads,
           const Middle<T>& middle, bool balls) {
            return transpose(X, clusters(n_clusters), threads(n_threads), middle,
                             balls ? lab::Use::fit : lab::Use::without_balls);
        },
        py::arg("X").noconvert(), py::arg("n_clusters"), py::arg("n_threads"),
        py::arg("middle").noconvert() = py::none(), py::arg("balls") = true,
        "Transpose X − middle into tiles, neighbours together; start a team of threads. Without "
        "balls, every row meets every center.");
    module.def(
        "assign",
        [](const Array<T>& X, const py::array& centers, py::array& labels) {
            require(centers.ndim() == 2,
                    "assign needs rows (n, d), centers (k, d) and labels (n,)");
            require(centers.shape(0) > 0, kOneCenter);
            const auto rows = transpose(X, centers.shape(0), 1, Middle<T>(), lab::Use::once);
            return rows->pass(centers, labels, nullptr, nullptr);
        },
        py::arg("rows").noconvert(), py::arg("centers"), py::arg("labels"),
        "The same for an array that has not been prepared.");
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
            lab::Unlocked unlocked;
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
            lab::Unlocked unlocked;
            return lab::choose_limits<T>(lab::chosen_isa()).read_all(begin, n);
        },
        py::arg("values").noconvert(), "Read an array once, as fast as vectors can.");
}

PYBIND11_MODULE(_simd_kernel, module, py::mod_gil_not_used()) {
    py::module_::import("kmeans_lab._helpers");  // what warns of scarce memory has its own already
    module.doc() = "The flagship: tiles, vectors chosen at run time, threads of its own.";
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(error);
        } catch (const lab::Interrupted&) {
            // What the signal's handler raised is set already.
        } catch (const std::bad_alloc&) {
            PyErr_SetString(PyExc_MemoryError,
                            "kernel 'cpp-simd' ran out of memory: it keeps a copy of X, and sums "
                            "of n_clusters rows for each of up to 64 chunks; give it less");
        }
    });
    bind_prepared(module);
    bind<double>(module);
    bind<float>(module);
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set that the next fit will use.");
    module.attr("BUILD") = KMEANS_LAB_COMPILER " " KMEANS_LAB_FLAGS;
}
