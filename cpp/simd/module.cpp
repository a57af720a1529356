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
#include "simd/once/arguments.h"
#include "simd/once/bind_blocks.h"
#include "simd/once/bind_calls.h"
#include "simd/once/calls.h"
#include "simd/rows.h"

namespace py = pybind11;
using lab::Array;
using lab::Index;
using lab::kAssigns;
using lab::kOneFeature;
using lab::Middle;
using lab::require;
using lab::Rows;
using lab::threads;
using lab::values_of;
using lab::warn_of_fewer;
using lab::Weights;

static Index clusters(const py::object& given) {
    return lab::count("n_clusters", given, std::numeric_limits<std::int32_t>::max());  // labels are
}

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
    lab::bind_calls<T>(module);
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
    lab::bind_blocks(module);
    bind<double>(module);
    bind<float>(module);
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set that the next fit will use.");
    module.attr("BUILD") = LAB_BUILD;
}
