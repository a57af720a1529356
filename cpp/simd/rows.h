// Prepared rows of either dtype as Python sees them: their arrays are checked here.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/arrays.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/types.h"
#include "simd/engines/engine.h"
#include "simd/kept_means.h"

namespace lab {

// One class for Python, so that no call tries the wrong one first.
class Rows {
public:
    virtual ~Rows() = default;
    virtual double pass(const py::array& centers, py::array& labels, py::array* sums,
                        py::array* counts) = 0;
    virtual void follow(const std::optional<py::array>& centers, py::array& labels,
                        py::array& counts) = 0;
    virtual std::pair<double, double> shift() const = 0;
    virtual void sums(py::array& out, bool before) const = 0;
    virtual void update(const py::array& labels, py::array& sums, py::array& counts) const = 0;
    virtual py::array_t<Index> greedy(const py::array& X, Index first, const py::array& draws) = 0;
    virtual const char* isa() const = 0;
    virtual int n_threads() const = 0;
    virtual Index changed() const = 0;
    virtual Index rescored() const = 0;
    virtual double met() const = 0;
    virtual const char* engine() const = 0;
};

template <typename T>
inline constexpr const char* kCenters =
    sizeof(T) == 8 ? "centers must be a C-contiguous float64 array"
                   : "centers must be a C-contiguous float32 array";
template <typename T>
inline constexpr const char* kSamples = sizeof(T) == 8 ? "X must be a C-contiguous float64 array"
                                                       : "X must be a C-contiguous float32 array";
inline constexpr const char* kAssigns = "assign needs rows (n, d), centers (k, d) and labels (n,)";
inline constexpr const char* kOneCenter = "assign needs at least one center";
inline constexpr const char* kLabels = "labels must be a C-contiguous int32 array";
inline constexpr const char* kSums = "sums must be a C-contiguous float64 array";
inline constexpr const char* kCounts = "counts must be a C-contiguous int64 array";
inline constexpr const char* kMasses =
    "counts must be a C-contiguous float64 array where rows have weights";
inline constexpr const char* kDraws = "draws must be a C-contiguous float64 array";

// The rows that greedy k-means++ chooses among n, by a function of the draws.
template <typename Draw>
py::array_t<Index> drawn(Index n, Index first, const py::array& draws, const Draw& draw) {
    require(draws.ndim() == 2 && draws.shape(1) > 0 && draws.shape(1) <= kMostCandidates,
            "greedy needs draws (rounds, candidates), with 1 to 32 candidates");
    require(first >= 0 && first < n, "first must be a row of X");
    const double* draws_in = read<double>(draws, kDraws);
    std::vector<Index> chosen;
    {
        Unlocked unlocked;
        chosen = draw(draws_in);
    }
    return py::array_t<Index>(Index(chosen.size()), chosen.data());
}

template <typename T>
class RowsOf final : public Rows {
public:
    // Engines may read the caller's arrays in each pass: they are kept. The middle may be null.
    RowsOf(std::unique_ptr<Engine<T>> engine, const T* middle, std::vector<py::object> kept)
        : engine_(std::move(engine)),
          rows_(*engine_),
          means_(rows_.d(), middle),
          kept_(std::move(kept)) {}

    double pass(const py::array& centers, py::array& labels, py::array* sums,
                py::array* counts) override {
        require_assignable(centers, labels);
        require(
            sums == nullptr ||
                (sums->ndim() == 2 && counts->ndim() == 1 && sums->shape(0) == centers.shape(0) &&
                 sums->shape(1) == rows_.d() && counts->shape(0) == centers.shape(0)),
            "assign_update needs sums (k, d) and counts (k,)");
        const T* centers_in = read<T>(centers, kCenters<T>);
        const Index k = centers.shape(0);
        std::int32_t* labels_out = write<std::int32_t>(labels, kLabels);
        double* sums_inout = sums ? write<double>(*sums, kSums) : nullptr;
        PassArrays<T> arrays{centers_in, k, labels_out, sums_inout};
        if (counts && rows_.weighted()) arrays.masses = write<double>(*counts, kMasses);
        if (counts && !rows_.weighted()) arrays.counts = write<std::int64_t>(*counts, kCounts);
        Unlocked unlocked;
        return rows_.pass(arrays);
    }

    void follow(const std::optional<py::array>& centers, py::array& labels,
                py::array& counts) override {
        if (centers) require_assignable(*centers, labels);
        require(labels.ndim() == 1 && labels.shape(0) == rows_.n() && counts.ndim() == 1 &&
                    (!centers || centers->shape(0) == counts.shape(0)),
                kFollows);
        const T* centers_in = centers ? read<T>(*centers, kCenters<T>) : nullptr;
        const Index k = counts.shape(0);
        std::int32_t* labels_out = write<std::int32_t>(labels, kLabels);
        if (rows_.weighted()) {
            follow(centers_in, k, labels_out, write<double>(counts, kMasses));
        } else {
            follow(centers_in, k, labels_out, write<std::int64_t>(counts, kCounts));
        }
    }

    std::pair<double, double> shift() const override {
        Unlocked unlocked;
        const Shift found = means_.shift();
        return {found.low, found.high};
    }

    void sums(py::array& out, bool before) const override {
        require(out.ndim() == 2 && out.shape(1) == rows_.d(), kTellsSums);
        double* to = write<double>(out, kSums);
        const Index k = out.shape(0);
        Unlocked unlocked;
        means_.sums(to, k, before);
    }

    void update(const py::array& labels, py::array& sums, py::array& counts) const override {
        require(!rows_.weighted(), "rows with weights are added up by assign_update alone");
        require(labels.ndim() == 1 && sums.ndim() == 2 && counts.ndim() == 1 &&
                    labels.shape(0) == rows_.n() && sums.shape(1) == rows_.d() &&
                    sums.shape(0) == counts.shape(0),
                "update needs rows (n, d), labels (n,), sums (k, d) and counts (k,)");
        const std::int32_t* labels_in = read<std::int32_t>(labels, kLabels);
        double* sums_inout = write<double>(sums, kSums);
        std::int64_t* counts_inout = write<std::int64_t>(counts, kCounts);
        const Index k = sums.shape(0);
        Unlocked unlocked;
        require_clusters(labels_in, rows_.n(), k);
        rows_.update(labels_in, k, sums_inout, counts_inout);
    }

    py::array_t<Index> greedy(const py::array& X, Index first, const py::array& draws) override {
        require(X.ndim() == 2 && X.shape(0) == rows_.n() && X.shape(1) == rows_.d(),
                "greedy needs the X that was prepared");
        require(rows_.seeds(), "greedy needs rows that were prepared for a fit, with balls");
        const T* given = read<T>(X, kSamples<T>);
        return drawn(rows_.n(), first, draws, [&](const double* draws_in) {
            return rows_.greedy(given, first, draws_in, draws.shape(0), draws.shape(1));
        });
    }

    const char* isa() const override { return rows_.isa(); }
    int n_threads() const override { return rows_.n_threads(); }
    Index changed() const override { return rows_.changed(); }
    Index rescored() const override { return rows_.rescored(); }
    double met() const override { return rows_.met(); }

    const char* engine() const override { return rows_.engine(); }

private:
    template <typename Count>
    void follow(const T* centers, Index k, std::int32_t* labels, Count* counts) {
        Unlocked unlocked;
        means_.follow(rows_, centers, k, labels, counts);
    }

    void require_assignable(const py::array& centers, const py::array& labels) const {
        require(centers.ndim() == 2 && labels.ndim() == 1 && centers.shape(1) == rows_.d() &&
                    labels.shape(0) == rows_.n(),
                kAssigns);
        require(centers.shape(0) > 0, kOneCenter);
    }

    const std::unique_ptr<Engine<T>> engine_;
    Engine<T>& rows_;
    KeptMeans<T> means_;
    const std::vector<py::object> kept_;
};

}  // namespace lab
