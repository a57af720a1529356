// Rows that come in blocks, as Python calls what adds them up.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "common/arrays.h"
#include "common/gil.h"
#include "common/labels.h"
#include "common/types.h"
#include "simd/once/arguments.h"
#include "simd/once/block_sums.h"
#include "simd/rows.h"  // the sentences of arguments

namespace lab {

inline constexpr char kBlocksAre[] = "a block must be a C-contiguous array (n, d) of one dtype";
inline constexpr char kPartsAre[] = "parts must be what parts() of sums of the same rows returns";
inline constexpr char kMovesAre[] = "before and after must be C-contiguous int32 arrays (n,)";

// Sums of either dtype.
class SumsOfBlocks {
public:
    virtual ~SumsOfBlocks() = default;
    virtual Index move(const pybind11::array& X, const std::optional<pybind11::array>& middle,
                       const std::optional<pybind11::array>& weights, const pybind11::array& before,
                       const pybind11::array& after) = 0;
    virtual void read(pybind11::array& sums, pybind11::array& counts) = 0;
    virtual pybind11::array_t<std::int64_t> parts() = 0;
    virtual void add(const pybind11::array& parts) = 0;
};

template <typename T>
class SumsOfBlocksOf final : public SumsOfBlocks {
public:
    SumsOfBlocksOf(const ColumnsOfBlocks& of, int n_threads) : of_(of), sums_(of, n_threads) {}

    Index move(const pybind11::array& X, const std::optional<pybind11::array>& middle,
               const std::optional<pybind11::array>& weights, const pybind11::array& before,
               const pybind11::array& after) override {
        require(X.ndim() == 2 && X.shape(1) == of_.d, kBlocksAre);
        const Index n = X.shape(0);
        require(
            before.ndim() == 1 && after.ndim() == 1 && before.shape(0) == n && after.shape(0) == n,
            kMovesAre);
        require(!middle || (middle->ndim() == 1 && middle->shape(0) == of_.d),
                "middle must have shape (d,)");
        require(of_.weighted == bool(weights) &&
                    (!weights || (weights->ndim() == 1 && weights->shape(0) == n)),
                "weights must have shape (n,), where rows have weights");
        const RowsGiven<T> rows{
            lab::read<T>(X, kBlocksAre), middle ? lab::read<T>(*middle, kBlocksAre) : nullptr,
            weights ? lab::read<double>(*weights, kBlocksAre) : nullptr, n, of_.d};
        const auto* from = lab::read<std::int32_t>(before, kMovesAre);
        const auto* to = lab::read<std::int32_t>(after, kMovesAre);
        Unlocked unlocked;
        std::lock_guard<std::mutex> lock(mutex_);
        for (Index i = 0; i < n; ++i) {
            require(
                from[i] >= -1 && from[i] < of_.n_clusters && to[i] >= 0 && to[i] < of_.n_clusters,
                "before and after must name clusters");
        }
        return sums_.move(rows, from, to);
    }

    void read(pybind11::array& sums, pybind11::array& counts) override {
        const Index k = of_.n_clusters;
        require(sums.ndim() == 2 && sums.shape(0) == k && sums.shape(1) == of_.d &&
                    counts.ndim() == 1 && counts.shape(0) == k,
                "read needs sums (k, d) and counts (k,)");
        PassArrays<T> to{nullptr, k, nullptr};
        to.sums = write<double>(sums, kSums);
        to.masses = of_.weighted ? write<double>(counts, kMasses) : nullptr;
        to.counts = of_.weighted ? nullptr : write<std::int64_t>(counts, kCounts);
        std::fill_n(to.sums, k * of_.d, 0.0);
        if (to.masses) std::fill_n(to.masses, k, 0.0);
        if (to.counts) std::fill_n(to.counts, k, std::int64_t(0));
        std::lock_guard<std::mutex> lock(mutex_);
        sums_.read(to);
    }

    // Sums as whole numbers, and counts behind them.
    pybind11::array_t<std::int64_t> parts() override {
        std::lock_guard<std::mutex> lock(mutex_);
        const Index k = of_.n_clusters, size = k * sums_.size();
        pybind11::array_t<std::int64_t> found(size + k);
        std::int64_t* to = found.mutable_data();
        sums_.copy(to, to + size);
        return found;
    }

    void add(const pybind11::array& parts) override {
        const Index k = of_.n_clusters, size = k * sums_.size();
        require(parts.ndim() == 1 && parts.shape(0) == size + k, kPartsAre);
        const auto* from = lab::read<std::int64_t>(parts, kPartsAre);
        std::lock_guard<std::mutex> lock(mutex_);
        sums_.add(from, from + size);
    }

private:
    const ColumnsOfBlocks of_;
    BlockSums<T> sums_;
    std::mutex mutex_;
};

inline std::unique_ptr<SumsOfBlocks> make_sums_of_blocks(bool wide,
                                                         const pybind11::array_t<double>& most,
                                                         const pybind11::array_t<double>& least,
                                                         Index n_samples, Index n_clusters,
                                                         bool weighted, int n_threads) {
    const Index columns = most.shape(0), d = columns - (weighted ? 1 : 0);
    require(most.ndim() == 1 && least.ndim() == 1 && least.shape(0) == columns && d > 0 &&
                n_clusters > 0 && n_samples > 0,
            "sums of blocks need most and least (columns,), rows and clusters");
    const ColumnsOfBlocks of{most.data(), least.data(), n_samples, d, n_clusters, weighted};
    if (wide) return std::make_unique<SumsOfBlocksOf<double>>(of, n_threads);
    return std::make_unique<SumsOfBlocksOf<float>>(of, n_threads);
}

inline void bind_blocks(pybind11::module_& module) {
    namespace py = pybind11;
    py::class_<SumsOfBlocks>(module, "SumsOfBlocks", "Exact sums of rows that come in blocks.")
        .def("move", &SumsOfBlocks::move, py::arg("X"), py::arg("middle").none(true),
             py::arg("weights").none(true), py::arg("before"), py::arg("after"),
             "Move the rows of X − middle whose labels differ between the sums of their clusters, "
             "−1 for none; return how many there are.")
        .def("read", &SumsOfBlocks::read, py::arg("sums"), py::arg("counts"),
             "Overwrite sums and counts, or masses, with those of all rows, each rounded once.")
        .def("parts", &SumsOfBlocks::parts,
             "Return whole numbers that add up with those of other blocks of the same rows.")
        .def("add", &SumsOfBlocks::add, py::arg("parts"), "Add what parts() of others returned.");
    module.def(
        "sums_of_blocks",
        [](bool wide, const py::array_t<double>& most, const py::array_t<double>& least,
           Index n_samples, Index n_clusters, bool weighted, const py::object& n_threads) {
            return make_sums_of_blocks(wide, most, least, n_samples, n_clusters, weighted,
                                       threads(n_threads));
        },
        py::arg("wide"), py::arg("most"), py::arg("least"), py::arg("n_samples"),
        py::arg("n_clusters"), py::arg("weighted"), py::arg("n_threads"),
        "Return empty sums of rows whose magnitudes, zeros aside, lie between least and most.");
}

}  // namespace lab
