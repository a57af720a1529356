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
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/arrays.h"
#include "common/compiler.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/numbers.h"
#include "common/types.h"
#include "simd/engines/choice.h"
#include "simd/once/bind_blocks.h"
#include "simd/once/calls.h"
#include "simd/rows.h"

namespace py = pybind11;
using lab::Array;
using lab::Index;
using lab::kAssigns;
using lab::require;
using lab::Rows;

static constexpr char kOneFeature[] = "X must have at least one feature";
template <typename T>
static constexpr const char* kOut = sizeof(T) == 8 ? "out must be a C-contiguous float64 array"
                                                   : "out must be a C-contiguous float32 array";

// A weight for each row, or nothing.
using Weights = std::optional<Array<double>>;

static const double* values_of(const Weights& weights, Index n) {
    if (!weights) return nullptr;
    require(weights->ndim() == 1 && weights->shape(0) == n, "weights must have shape (n,)");
    return weights->data();
}

// A row of X that all others are taken relative to, or nothing.
template <typename T>
using Middle = std::optional<Array<T>>;

template <typename T>
static const T* values_of(const Middle<T>& middle, const Array<T>& X) {
    if (!middle) return nullptr;
    require(middle->ndim() == 1 && middle->shape(0) == X.shape(1), "middle must have shape (d,)");
    return middle->data();
}

static void warn_of_fewer(int started, int wanted) {
    if (started == wanted) return;
    py::module_::import("kmeans_lab.crews.helpers").attr("warn_of_fewer")(started - 1, wanted - 1);
}

static Index clusters(const py::object& given) {
    return lab::count("n_clusters", given, std::numeric_limits<std::int32_t>::max());  // labels are
}

// More threads than any processor has would only exhaust the system.
static int threads(const py::object& given) { return int(lab::count("n_threads", given, 4096)); }

template <typename T>
static std::unique_ptr<Rows> make_rows(const Array<T>& X, Index n_clusters, int n_threads,
                                       const Middle<T>& middle, lab::Use use,
                                       const Weights& weights = std::nullopt,
                                       const std::string& named = "") {
    require(X.ndim() == 2, "prepare needs X with 2 dimensions");
    require(X.shape(1) > 0, kOneFeature);
    const lab::RowsGiven<T> rows{X.data(), values_of(middle, X), values_of(weights, X.shape(0)),
                                 X.shape(0), X.shape(1)};
    std::unique_ptr<lab::Engine<T>> engine;
    {
        lab::Unlocked unlocked;
        engine = lab::choose_engine(rows, n_clusters, n_threads, use, named);
    }
    warn_of_fewer(engine->n_threads(), n_threads);
    std::vector<py::object> kept{X};
    if (weights) kept.push_back(*weights);
    return std::make_unique<lab::RowsOf<T>>(std::move(engine), rows.middle, std::move(kept));
}

template <typename T>
static lab::ExactSum summed_inertia(const Array<T>& X, const Array<T>& centers,
                                    const Array<std::int32_t>& labels, const Middle<T>& middle,
                                    const Weights& weights, const py::object& n_threads) {
    require(X.ndim() == 2 && centers.ndim() == 2 && labels.ndim() == 1 &&
                X.shape(1) == centers.shape(1) && X.shape(0) == labels.shape(0),
            "inertia needs X (n, d), centers (k, d) and labels (n,)");
    const T* origin = values_of(middle, X);
    const lab::LabelledRows<T> of{X.data(),      centers.data(),
                                  labels.data(), {origin, origin != nullptr},
                                  X.shape(1),    values_of(weights, X.shape(0))};
    const Index n = X.shape(0), k = centers.shape(0);
    const int wanted = threads(n_threads);
    lab::Unlocked unlocked;
    lab::require_clusters(of.labels, n, k, lab::kRowsOfCenters);
    return lab::inertia_of_all(of, n, wanted);
}

template <typename T>
static double inertia(const Array<T>& X, const Array<T>& centers, const Array<std::int32_t>& labels,
                      const Middle<T>& middle, const Weights& weights,
                      const py::object& n_threads) {
    return summed_inertia(X, centers, labels, middle, weights, n_threads).value();
}

template <typename T>
static py::array_t<double> inertia_parts(const Array<T>& X, const Array<T>& centers,
                                         const Array<std::int32_t>& labels, const Middle<T>& middle,
                                         const Weights& weights, const py::object& n_threads) {
    auto sum = summed_inertia(X, centers, labels, middle, weights, n_threads);
    const std::vector<double> parts = sum.parts();
    return py::array_t<double>(py::ssize_t(parts.size()), parts.data());
}

// The arguments of a call that looks at X once.
template <typename T>
static lab::OnRows<T> on_rows(const Array<T>& X, const py::array& centers,
                              const py::object& n_threads, const T* middle = nullptr) {
    require(X.ndim() == 2 && centers.ndim() == 2 && X.shape(1) == centers.shape(1),
            "X (n, d) and centers (k, d) must have as many columns");
    require(X.shape(1) > 0, kOneFeature);
    require(centers.shape(0) > 0, lab::kOneCenter);
    return {X.data(),
            lab::read<T>(centers, lab::kCenters<T>),
            middle,
            X.shape(0),
            X.shape(1),
            centers.shape(0),
            threads(n_threads)};
}

template <typename T>
static lab::Labelled label(const lab::OnRows<T>& given, py::array& labels, bool with_inertia) {
    require(labels.ndim() == 1 && labels.shape(0) == given.n, kAssigns);
    std::int32_t* labels_out = lab::write<std::int32_t>(labels, lab::kLabels);
    lab::Labelled found;
    {
        lab::Unlocked unlocked;
        found = lab::label_all(given, labels_out, with_inertia);
    }
    warn_of_fewer(given.n_threads - found.missing, given.n_threads);
    return found;
}

template <typename T>
static double assign(const Array<T>& X, const py::array& centers, py::array& labels,
                     const py::object& n_threads, const Middle<T>& middle) {
    require(X.ndim() == 2 && centers.ndim() == 2 && X.shape(1) == centers.shape(1), kAssigns);
    return label(on_rows(X, centers, n_threads, values_of(middle, X)), labels, true).inertia;
}

template <typename T>
static Index label_rows(const Array<T>& X, const py::array& centers, py::array& labels,
                        const py::object& n_threads, const Middle<T>& middle) {
    return label(on_rows(X, centers, n_threads, values_of(middle, X)), labels, false).rescored;
}

template <typename T>
static void distances(const Array<T>& X, const py::array& centers, py::array& out,
                      const py::object& n_threads) {
    const auto given = on_rows(X, centers, n_threads);
    require(out.ndim() == 2 && out.shape(0) == given.n && out.shape(1) == given.n_clusters,
            "distances needs out (n, k)");
    T* to = lab::write<T>(out, kOut<T>);
    int missing;
    {
        lab::Unlocked unlocked;
        missing = lab::measure_all(given, to);
    }
    warn_of_fewer(given.n_threads - missing, given.n_threads);
}

template <typename T>
static void divide_by_lengths(const Array<T>& X, double within, py::array& lengths,
                              std::optional<py::array>& out, const py::object& n_threads) {
    require(
        X.ndim() == 2 && X.shape(1) > 0 && lengths.ndim() == 1 && lengths.shape(0) == X.shape(0),
        "divide_by_lengths needs X (n, d) and lengths (n,)");
    require(
        !out || (out->ndim() == 2 && out->shape(0) == X.shape(0) && out->shape(1) == X.shape(1)),
        "out must have the shape of X");
    double* lengths_out =
        lab::write<double>(lengths, "lengths must be a C-contiguous float64 array");
    T* to = out ? lab::write<T>(*out, kOut<T>) : nullptr;
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    const int wanted = threads(n_threads);
    lab::Unlocked unlocked;
    lab::divide_all(begin, n, d, within, wanted, lengths_out, to);
}

template <typename T>
static double largest(const Array<T>& values, const py::object& n_threads) {
    const T* begin = values.data();
    const Index n = values.size();
    const int wanted = threads(n_threads);
    lab::Unlocked unlocked;
    return double(lab::largest_of_all(begin, n, wanted));
}

template <typename T>
static py::array_t<double> moments(const Array<T>& X, const py::object& n_threads,
                                   const std::optional<Array<double>>& pivot) {
    require(X.ndim() == 2 && X.shape(0) > 0 && X.shape(1) > 0,
            "moments needs X (n, d), with at least one row and one feature");
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    require(!pivot || (pivot->ndim() == 1 && pivot->shape(0) == d), "pivot must have shape (d,)");
    std::vector<double> from;
    if (pivot) from.assign(pivot->data(), pivot->data() + d);
    const int wanted = threads(n_threads);
    py::array_t<double> out({Index(5), d});
    double* to = out.mutable_data();
    lab::Unlocked unlocked;
    if (from.empty()) from = lab::pivot_of(begin, n, d);
    const lab::Moments found = lab::moments_of_all(begin, n, d, wanted, from);
    for (const auto* row : {&found.pivot, &found.low, &found.high, &found.sum, &found.square}) {
        to = std::copy_n(row->data(), d, to);
    }
    return out;
}

template <typename T>
static py::array_t<double> least(const Array<T>& X, const py::object& n_threads) {
    require(X.ndim() == 2 && X.shape(1) > 0, "least needs X (n, d), with at least one feature");
    const T* begin = X.data();
    const Index n = X.shape(0), d = X.shape(1);
    const int wanted = threads(n_threads);
    py::array_t<double> out(d);
    double* to = out.mutable_data();
    lab::Unlocked unlocked;
    const std::vector<double> found = lab::least_of_all(begin, n, d, wanted);
    std::copy(found.begin(), found.end(), to);
    return out;
}

template <typename T>
static py::array_t<Index> greedy(const Array<T>& X, Index first, const Array<double>& draws,
                                 const py::object& n_threads, const Middle<T>& middle) {
    require(draws.ndim() == 2, "greedy needs draws (rounds, candidates)");
    require(X.ndim() == 2 && X.shape(1) > 0, "greedy needs X (n, d), with at least one feature");
    const Index n = X.shape(0), d = X.shape(1), n_rounds = draws.shape(0);
    const T* middle_in = values_of(middle, X);
    const std::vector<T> zero(middle_in ? 0 : d, T(0));
    const lab::Given<T> given{X.data(), middle_in ? middle_in : zero.data(), d};
    if (!lab::screening_pays(given, n, n_rounds + 1)) {
        const auto rows = make_rows(X, n_rounds + 1, threads(n_threads), middle, lab::Use::seeding);
        return rows->greedy(X, first, draws);
    }
    const int wanted = threads(n_threads);
    int started = 0;
    const auto chosen = lab::drawn(n, first, draws, [&](const double* draws_in) {
        lab::Team team(wanted);
        lab::Interrupt interrupt;
        started = team.size();
        lab::ScreenedSeeding<T> seeding(
            given, n, draws.shape(1), lab::choose_screening<T>(lab::chosen_isa()), team, interrupt);
        return lab::draw_rows(seeding, first, draws_in, n_rounds, draws.shape(1));
    });
    warn_of_fewer(started, wanted);
    return chosen;
}

// Functions of prepared rows of either dtype.
static void bind_prepared(py::module_& module) {
    py::class_<Rows>(module, "PreparedRows", "Rows made ready for a fit, with their running sums.")
        .def_property_readonly("isa", &Rows::isa, "The instruction set that computes.")
        .def_property_readonly("engine", &Rows::engine, "How nearest centers are found.")
        .def_property_readonly("changed", &Rows::changed, "Labels that the last pass changed.")
        .def_property_readonly("met", &Rows::met,
                               "Share of all pairs of row and center that the last pass met.")
        .def_property_readonly("rescored", &Rows::rescored,
                               "Near-ties decided by direct differences so far.")
        .def("follow", &Rows::follow, py::arg("centers").none(true), py::arg("labels"),
             py::arg("counts"),
             "Assign rows to centers or, without them, to the means of the last step; overwrite "
             "counts, and keep the sums.")
        .def("shift", &Rows::shift,
             "Return bounds of the squared distance from the centers of the last step to the means "
             "that follow from it.")
        .def("sums", &Rows::sums, py::arg("out"), py::arg("before") = false,
             "Overwrite out with the sums of the last step, or of the one before it.")
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

// Functions that take X itself, and the measuring routines.
template <typename T>
static void bind(py::module_& module) {
    module.def(
        "prepare",
        [](const Array<T>& X, const py::object& n_clusters, const py::object& n_threads,
           const Middle<T>& middle, bool balls, const Weights& weights, const std::string& engine) {
            return make_rows(X, clusters(n_clusters), threads(n_threads), middle,
                             balls ? lab::Use::fit : lab::Use::once, weights, engine);
        },
        py::arg("X").noconvert(), py::arg("n_clusters"), py::arg("n_threads"),
        py::arg("middle").noconvert() = py::none(), py::arg("balls") = true,
        py::arg("weights").noconvert() = py::none(), py::arg("engine") = "",
        "Make X − middle ready for a fit, each row counting by its weight; start a team of "
        "threads. Without balls, for rows that are seen once: every row meets every center. An "
        "engine that is named takes the place of the one that should be fastest.");
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
    module.def("greedy", &greedy<T>, py::arg("X").noconvert(), py::arg("first"),
               py::arg("draws").noconvert(), py::arg("n_threads"),
               py::arg("middle").noconvert() = py::none(),
               "Return the rows that greedy k-means++ chooses with these draws from [0, 1).");
    module.def(
        sizeof(T) == 8 ? "multiply_add_float64" : "multiply_add_float32",
        [](Index rounds, double factor) {
            lab::Unlocked unlocked;
            return lab::choose_roofline<T>(lab::chosen_isa()).multiply_add(rounds, T(factor));
        },
        py::arg("rounds"), py::arg("factor"),
        "Run independent multiply-adds; return how many floating-point operations that were.");
    module.def(
        "read_all",
        [](const Array<T>& values) {
            const T* begin = values.data();
            const Index n = values.size();
            require(reinterpret_cast<std::uintptr_t>(begin) % 64 == 0, "values must be aligned");
            lab::Unlocked unlocked;
            return lab::choose_roofline<T>(lab::chosen_isa()).read_all(begin, n);
        },
        py::arg("values").noconvert(), "Read an array once, as fast as vectors can.");
}

static constexpr char kOutOfMemory[] =
    "kernel 'cpp-simd' ran out of memory: a fit keeps bounds or copies of rows, and each thread "
    "sums "
    "of n_clusters rows; give it fewer rows, clusters or threads";

PYBIND11_MODULE(simd, module, py::mod_gil_not_used()) {
    module.doc() = "The flagship: tiles, vectors chosen at run time, threads of its own.";
    // The module that warns of scarce memory is loaded while there is some.
    py::module_::import("kmeans_lab.crews.helpers");
    py::register_local_exception_translator(lab::translate<kOutOfMemory>);
    bind_prepared(module);
    lab::bind_blocks(module, threads);
    bind<double>(module);
    bind<float>(module);
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set that the next fit will use.");
    module.attr("BUILD") = LAB_BUILD;
}
