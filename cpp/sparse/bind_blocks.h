// Sparse rows that come in blocks: exact sums that rows move between.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "common/arrays.h"
#include "common/gil.h"
#include "common/interrupt.h"
#include "common/labels.h"
#include "common/types.h"
#include "simd/sparse/cell_sums.h"
#include "simd/sparse/inertia.h"
#include "sparse/rows.h"
#include "sparse/rules.h"

namespace lab {

inline constexpr char kMovesAre[] = "before and after must be C-contiguous int32 arrays (n,)";
inline constexpr char kPartsAre[] = "parts must be what parts() of sums of the same rows returns";

// Sums of either dtype. They are those of all rows, of which the largest and smallest magnitudes
// and the number are given: sums of some of them add up.
class SparseSumsOfBlocks {
public:
    virtual ~SparseSumsOfBlocks() = default;
    virtual Index move(const py::object& rows, const py::array& before, const py::array& after) = 0;

    void read(py::array& sums, py::array& counts) {
        require(sums.ndim() == 2 && sums.shape(0) == sums_.k() && sums.shape(1) == d_ &&
                    counts.ndim() == 1 && counts.shape(0) == sums_.k(),
                "read needs sums (k, d) and counts (k,)");
        double* to = write<double>(sums, kSumsAre);
        std::int64_t* counts_out = write<std::int64_t>(counts, kCountsAre);
        Unlocked unlocked;
        std::lock_guard<std::mutex> lock(mutex_);
        for (Index j = 0; j < sums_.k(); ++j) sums_.values(sums_.at(0, j), d_, to + j * d_);
        std::copy(counts_.begin(), counts_.end(), counts_out);
    }

    // The limbs of all sums, and counts behind them.
    py::array_t<std::int64_t> parts() {
        std::lock_guard<std::mutex> lock(mutex_);
        py::array_t<std::int64_t> found(n_limbs() + sums_.k());
        std::int64_t* to = found.mutable_data();
        std::copy_n(sums_.at(0, 0), n_limbs(), to);
        std::copy(counts_.begin(), counts_.end(), to + n_limbs());
        return found;
    }

    void add(const py::array& parts) {
        require(parts.ndim() == 1 && parts.shape(0) == n_limbs() + sums_.k(), kPartsAre);
        const std::int64_t* from = lab::read<std::int64_t>(parts, kPartsAre);
        std::lock_guard<std::mutex> lock(mutex_);
        std::int64_t* to = sums_.at(0, 0);
        for (Index i = 0; i < n_limbs(); ++i) to[i] += from[i];
        for (Index j = 0; j < sums_.k(); ++j) counts_[j] += from[n_limbs() + j];
    }

protected:
    SparseSumsOfBlocks(double most, double least, int digits, Index n, Index d, Index k)
        : d_(d), counts_(k, 0) {
        sums_.choose(most, least, digits, n);
        sums_.begin(d, k);
    }
    Index n_limbs() const { return sums_.k() * d_ * sums_.count(); }

    const Index d_;
    CellSums sums_;
    std::vector<std::int64_t> counts_;
    std::mutex mutex_;
};

template <typename T>
class SparseSumsOfBlocksOf final : public SparseSumsOfBlocks {
public:
    SparseSumsOfBlocksOf(double most, double least, Index n, Index d, Index k)
        : SparseSumsOfBlocks(most, least, std::numeric_limits<T>::digits, n, d, k) {}

    Index move(const py::object& given, const py::array& before, const py::array& after) override {
        const SparseRows<T> rows = view<T>(given, kRowsAre);
        const Index n = rows.n_samples, k = sums_.k();
        require(rows.n_features == d_, "rows must have as many columns as the sums");
        require(
            before.ndim() == 1 && after.ndim() == 1 && before.shape(0) == n && after.shape(0) == n,
            kMovesAre);
        const std::int32_t* from = lab::read<std::int32_t>(before, kMovesAre);
        const std::int32_t* to = lab::read<std::int32_t>(after, kMovesAre);
        Unlocked unlocked;
        std::lock_guard<std::mutex> lock(mutex_);
        for (Index i = 0; i < n; ++i) {
            require(from[i] >= -1 && from[i] < k && to[i] >= 0 && to[i] < k,
                    "before and after must name clusters");
        }
        Index moved = 0;
        for (Index i = 0; i < n; ++i) {
            if (from[i] == to[i]) continue;
            ++moved;
            if (from[i] >= 0) take(rows, i, from[i], -1);
            take(rows, i, to[i], 1);
        }
        return moved;
    }

private:
    void take(const SparseRows<T>& rows, Index i, Index j, std::int64_t sign) {
        counts_[j] += sign;
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            sums_.add(sums_.at(rows.indices[p], j), double(rows.data[p]), sign);
        }
    }
};

inline std::unique_ptr<SparseSumsOfBlocks> make_sparse_sums(bool wide, double most, double least,
                                                            Index n, Index d, Index k) {
    require(n > 0 && d > 0 && k > 0 && most >= least && least > 0,
            "sums of blocks need rows, columns, clusters, and magnitudes above 0");
    if (wide) return std::make_unique<SparseSumsOfBlocksOf<double>>(most, least, n, d, k);
    return std::make_unique<SparseSumsOfBlocksOf<float>>(most, least, n, d, k);
}

inline void bind_blocks(py::module_& module) {
    // Local: tests load several builds of this module into a process.
    py::class_<SparseSumsOfBlocks>(module, "SumsOfBlocks", "Exact sums of rows in blocks.",
                                   py::module_local())
        .def("move", &SparseSumsOfBlocks::move, py::arg("rows"), py::arg("before"),
             py::arg("after"),
             "Move rows whose labels differ between the sums of their clusters, −1 for none; "
             "return how many there are.")
        .def("read", &SparseSumsOfBlocks::read, py::arg("sums"), py::arg("counts"),
             "Overwrite sums and counts with those of all rows, each rounded once.")
        .def("parts", &SparseSumsOfBlocks::parts,
             "Return whole numbers that add up with those of other blocks of the same rows.")
        .def("add", &SparseSumsOfBlocks::add, py::arg("parts"),
             "Add what parts() of others returned.");
    module.def("sums_of_blocks", &make_sparse_sums, py::arg("wide"), py::arg("most"),
               py::arg("least"), py::arg("n_samples"), py::arg("n_features"), py::arg("n_clusters"),
               "Return empty sums of rows whose magnitudes, zeros aside, lie from least to most.");
}

}  // namespace lab
