// The flagship for sparse rows: exact labels by scores in float16, sums that are carried along.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/arrays.h"
#include "common/compiler.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/numbers.h"
#include "common/types.h"
#include "simd/sparse/engine.h"
#include "simd/sparse/inertia.h"
#include "sparse/bind_batches.h"
#include "sparse/bind_blocks.h"
#include "sparse/rows.h"
#include "sparse/rules.h"

namespace py = pybind11;
using lab::Index;
using lab::kCentersAre;
using lab::kCountsAre;
using lab::kDrawsAre;
using lab::kLabelsAre;
using lab::kRowsAre;
using lab::kSumsAre;
using lab::require;

namespace {

// Prepared rows of either dtype as Python sees them: their arrays are checked here.
class Prepared {
public:
    virtual ~Prepared() = default;
    virtual double pass(const py::array& centers, py::array& labels, py::array* sums,
                        py::array* counts) = 0;
    virtual void follow(const py::object& centers, py::array& labels, py::array& counts) = 0;
    virtual void update(const py::array& labels, py::array& sums, py::array& counts) = 0;
    virtual void sums(py::array& out, bool before) = 0;
    virtual std::pair<double, double> shift() const = 0;
    virtual py::array_t<Index> greedy(Index first, const py::array& draws) = 0;
    virtual const char* isa() const = 0;
    virtual Index changed() const = 0;
    virtual Index rescored() const = 0;
    virtual double met() const = 0;
    virtual int n_threads() const = 0;
};

template <typename T>
class PreparedOf final : public Prepared {
public:
    PreparedOf(const py::object& rows, Index k, int n_threads)
        : kept_(rows.attr("data"), rows.attr("indices"), rows.attr("indptr")),
          rows_(lab::view<T>(rows, kRowsAre)) {
        lab::Unlocked unlocked;
        engine_ = std::make_unique<lab::SparseEngine<T>>(rows_, k, n_threads);
    }

    double pass(const py::array& centers, py::array& labels, py::array* sums,
                py::array* counts) override {
        const T* centers_in = checked(centers, labels);
        const Index k = centers.shape(0);
        std::int32_t* labels_out = lab::write<std::int32_t>(labels, kLabelsAre);
        double* sums_inout = sums ? lab::write<double>(*sums, kSumsAre) : nullptr;
        std::int64_t* counts_inout =
            counts ? lab::write<std::int64_t>(*counts, kCountsAre) : nullptr;
        require(!sums || (sums->ndim() == 2 && counts->ndim() == 1 && sums->shape(0) == k &&
                          sums->shape(1) == engine_->d() && counts->shape(0) == k),
                "assign_update needs sums (k, d) and counts (k,)");
        lab::Unlocked unlocked;
        engine_->pass(centers_in, k, labels_out, false);
        if (sums_inout) {
            engine_->add_sums(sums_inout);
            for (Index j = 0; j < k; ++j) counts_inout[j] += engine_->counts()[j];
        }
        return engine_->inertia(centers_in);
    }

    void follow(const py::object& centers, py::array& labels, py::array& counts) override {
        const T* centers_in = nullptr;
        Index k = engine_->k();
        if (!centers.is_none()) {
            const py::array array = centers.cast<py::array>();
            centers_in = checked(array, labels);
            k = array.shape(0);
        }
        require(labels.ndim() == 1 && labels.shape(0) == engine_->n() && counts.ndim() == 1 &&
                    counts.shape(0) == k,
                "follow needs labels (n,) and counts (k,)");
        std::int32_t* labels_out = lab::write<std::int32_t>(labels, kLabelsAre);
        std::int64_t* counts_out = lab::write<std::int64_t>(counts, kCountsAre);
        lab::Unlocked unlocked;
        engine_->pass(centers_in, k, labels_out, true);
        std::copy(engine_->counts().begin(), engine_->counts().end(), counts_out);
    }

    void update(const py::array& labels, py::array& sums, py::array& counts) override {
        require(labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1 &&
                    labels.shape(0) == engine_->n() && sums.shape(1) == engine_->d() &&
                    sums.shape(0) == counts.shape(0),
                "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
        const std::int32_t* labels_in = lab::read<std::int32_t>(labels, kLabelsAre);
        double* sums_inout = lab::write<double>(sums, kSumsAre);
        std::int64_t* counts_inout = lab::write<std::int64_t>(counts, kCountsAre);
        const Index k = sums.shape(0);
        lab::Unlocked unlocked;
        lab::require_clusters(labels_in, engine_->n(), k);
        engine_->update(labels_in, k, sums_inout, counts_inout);
    }

    void sums(py::array& out, bool before) override {
        require(out.ndim() == 2 && out.shape(0) == engine_->k() && out.shape(1) == engine_->d(),
                "sums needs out (k, d)");
        double* to = lab::write<double>(out, kSumsAre);
        lab::Unlocked unlocked;
        engine_->sums(to, before);
    }

    std::pair<double, double> shift() const override {
        const lab::Shift found = engine_->shift();
        return {found.low, found.high};
    }
    py::array_t<Index> greedy(Index first, const py::array& draws) override {
        require(draws.ndim() == 2 && draws.shape(1) > 0,
                "greedy needs draws (rounds, candidates), with one candidate at least");
        require(first >= 0 && first < engine_->n(), "first must be a row of X");
        const double* draws_in = lab::read<double>(draws, kDrawsAre);
        std::vector<Index> chosen;
        {
            lab::Unlocked unlocked;
            chosen = engine_->greedy(first, draws_in, draws.shape(0), draws.shape(1));
        }
        return py::array_t<Index>(Index(chosen.size()), chosen.data());
    }
    const char* isa() const override { return engine_->isa(); }
    Index changed() const override { return engine_->changed(); }
    Index rescored() const override { return engine_->rescored(); }
    double met() const override { return engine_->met(); }
    int n_threads() const override { return engine_->n_threads(); }

private:
    const T* checked(const py::array& centers, const py::array& labels) const {
        require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == engine_->d() &&
                    labels.shape(0) == engine_->n(),
                "assign needs rows (n, d), centers (k, d) and labels (n,)");
        require(centers.shape(0) > 0, "assign needs at least one center");
        return lab::read<T>(centers, kCentersAre);
    }

    const std::tuple<py::object, py::object, py::object> kept_;
    const lab::SparseRows<T> rows_;
    std::unique_ptr<lab::SparseEngine<T>> engine_;
};

std::unique_ptr<Prepared> prepare(const py::object& rows, const py::object& n_clusters,
                                  const py::object& n_threads) {
    const Index k = lab::count("n_clusters", n_clusters, std::numeric_limits<std::int32_t>::max());
    const int wanted = int(lab::count("n_threads", n_threads, 4096));
    std::unique_ptr<Prepared> made;
    if (lab::wide(rows)) made = std::make_unique<PreparedOf<double>>(rows, k, wanted);
    if (!made) made = std::make_unique<PreparedOf<float>>(rows, k, wanted);
    if (made->n_threads() != wanted) {
        py::module_::import("kmeans_lab.crews.helpers")
            .attr("warn_of_fewer")(made->n_threads() - 1, wanted - 1);
    }
    return made;
}

template <typename T>
lab::ExactSum inertia_of(const py::object& rows, const py::array& centers,
                         const py::array& labels) {
    const lab::SparseRows<T> given = lab::view<T>(rows, kRowsAre);
    require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == given.n_features &&
                labels.shape(0) == given.n_samples,
            "inertia needs X (n, d), centers (k, d) and labels (n,)");
    const T* centers_in = lab::read<T>(centers, kCentersAre);
    const std::int32_t* labels_in = lab::read<std::int32_t>(labels, kLabelsAre);
    const Index k = centers.shape(0);
    lab::Unlocked unlocked;
    lab::require_clusters(labels_in, given.n_samples, k, lab::kRowsOfCenters);
    return lab::sparse_inertia(given, centers_in, labels_in, k);
}

lab::ExactSum inertia(const py::object& rows, const py::array& centers, const py::array& labels) {
    return lab::wide(rows) ? inertia_of<double>(rows, centers, labels)
                           : inertia_of<float>(rows, centers, labels);
}

constexpr char kOutOfMemory[] =
    "this pass needs more memory than there is: use float32 rows, or fewer clusters or threads";

}  // namespace

PYBIND11_MODULE(simd, module, py::mod_gil_not_used()) {
    module.doc() = "The flagship for sparse rows: exact labels by scores in float16.";
    py::register_exception_translator(&lab::translate<kOutOfMemory>);
    py::class_<Prepared>(module, "PreparedRows", "Rows made ready for a fit, with their sums.")
        .def_property_readonly("isa", &Prepared::isa, "The instruction set that computes.")
        .def_property_readonly("changed", &Prepared::changed, "Labels that the last pass changed.")
        .def_property_readonly("met", &Prepared::met,
                               "Share of all rows that have met all centers in the last pass.")
        .def_property_readonly("rescored", &Prepared::rescored,
                               "Rows that the reference's arithmetic has decided so far.")
        .def("follow", &Prepared::follow, py::arg("centers").none(true), py::arg("labels"),
             py::arg("counts"),
             "Assign rows to centers or, without them, to the means of the last step; overwrite "
             "counts, and keep the sums.")
        .def("shift", &Prepared::shift,
             "Return bounds of the squared distance from the centers of the last step to the means "
             "that follow from it.")
        .def(
            "greedy",
            [](Prepared& rows, const py::object&, Index first, const py::array& draws) {
                return rows.greedy(first, draws);
            },
            py::arg("X"), py::arg("first"), py::arg("draws"),
            "Return the rows of X, which was prepared, that greedy k-means++ chooses.")
        .def("sums", &Prepared::sums, py::arg("out"), py::arg("before") = false,
             "Overwrite out with the sums of the last step, or of the one before it.");
    module.def("prepare", &prepare, py::arg("rows"), py::arg("n_clusters"), py::arg("n_threads"),
               "Make rows ready for a fit; start a team of threads.");
    module.def(
        "assign",
        [](const py::object& rows, const py::array& centers, py::array& labels,
           const py::object& n_threads) {
            if (py::isinstance<Prepared>(rows)) {
                return rows.cast<Prepared&>().pass(centers, labels, nullptr, nullptr);
            }
            require(centers.ndim() == 2 && centers.shape(0) > 0,
                    "assign needs at least one center");
            return prepare(rows, py::int_(centers.shape(0)), n_threads)
                ->pass(centers, labels, nullptr, nullptr);
        },
        py::arg("rows"), py::arg("centers"), py::arg("labels"), py::arg("n_threads") = 1,
        "Overwrite labels with each row's nearest center; return the inertia.");
    module.def(
        "assign_update",
        [](Prepared& rows, const py::array& centers, py::array& labels, py::array& sums,
           py::array& counts) { return rows.pass(centers, labels, &sums, &counts); },
        py::arg("rows"), py::arg("centers"), py::arg("labels"), py::arg("sums"), py::arg("counts"),
        "Both steps in one pass; return the inertia.");
    module.def(
        "update",
        [](const py::object& rows, const py::array& labels, py::array& sums, py::array& counts) {
            if (py::isinstance<Prepared>(rows)) {
                return rows.cast<Prepared&>().update(labels, sums, counts);
            }
            prepare(rows, py::int_(1), py::int_(1))->update(labels, sums, counts);
        },
        py::arg("rows"), py::arg("labels"), py::arg("sums"), py::arg("counts"),
        "Add each row to its cluster's sum and count.");
    module.def(
        "inertia",
        [](const py::object& rows, const py::array& centers, const py::array& labels) {
            return inertia(rows, centers, labels).value();
        },
        py::arg("rows"), py::arg("centers"), py::arg("labels"),
        "Return the sum of squared distances to the chosen centers, by differences.");
    module.def(
        "inertia_parts",
        [](const py::object& rows, const py::array& centers, const py::array& labels) {
            const std::vector<double> parts = inertia(rows, centers, labels).parts();
            return py::array_t<double>(py::ssize_t(parts.size()), parts.data());
        },
        py::arg("rows"), py::arg("centers"), py::arg("labels"),
        "Return numbers whose exact sum is the inertia.");
    lab::bind_blocks(module);
    lab::bind_batches(module);
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set chosen for the next fit.");
    module.attr("BUILD") = LAB_BUILD;
}
