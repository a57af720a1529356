// The flagship: exact k-means as fast as the processor's multiply-add units allow.
//
// Rows are transposed once into tiles; one build holds the block routine for several instruction
// sets and picks one when a fit is prepared; a team of threads shares fixed chunks, whose partial
// sums are added in chunk order, so that results do not depend on the number of threads.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "simd_seeding.h"
#include "simd_team.h"
#include "simd_work.h"

#if defined(__clang__)
#define LAB_UNROLL _Pragma("unroll")
#define LAB_MEMBER inline __attribute__((always_inline))
#elif defined(__GNUC__)
#define LAB_UNROLL _Pragma("GCC unroll 16")
#define LAB_MEMBER inline __attribute__((always_inline))
#else
#define LAB_UNROLL
#define LAB_MEMBER inline
#endif
#define LAB_INLINE static LAB_MEMBER
// Keeps running values out of registers while a large panel is summed. gcc 12 would otherwise put
// the rows on the stack, across cache lines: 64 % of the peak for 64 features.
#if defined(__GNUC__)
#define LAB_TO_MEMORY(a, b, c) __asm__ volatile("" : : "r"(a), "r"(b), "r"(c) : "memory")
#else
#define LAB_TO_MEMORY(a, b, c)
#endif

#define LAB_ISA baseline
#if defined(__GNUC__)
#define LAB_BYTES 16
#else
#define LAB_BYTES 0
#endif
#include "simd_block.h"
#undef LAB_ISA
#undef LAB_BYTES

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define LAB_DISPATCHES 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define LAB_ISA avx2
#define LAB_BYTES 32
#include "simd_block.h"
#undef LAB_ISA
#undef LAB_BYTES
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define LAB_ISA avx512
#define LAB_BYTES 64
#include "simd_block.h"
#undef LAB_ISA
#undef LAB_BYTES
#pragma GCC pop_options
#endif

namespace py = pybind11;

namespace lab {

enum class Isa { baseline, avx2, avx512 };
static const char* const kIsaNames[] = {"baseline", "avx2", "avx512"};

static Isa best_isa() {
#if defined(LAB_DISPATCHES)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return Isa::avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
    return Isa::baseline;
}

// The best one of this machine, or the one that KMEANS_LAB_ISA names.
static Isa chosen_isa() {
    const char* forced = std::getenv("KMEANS_LAB_ISA");
    const Isa best = best_isa();
    if (forced == nullptr || *forced == '\0') return best;
    for (int i = 0; i < 3; ++i) {
        if (std::strcmp(forced, kIsaNames[i]) != 0) continue;
        if (Isa(i) <= best) return Isa(i);
        throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                    " is not supported here; the most that this machine and build "
                                    "run is " +
                                    kIsaNames[int(best)] + ": unset the variable or name that");
    }
    throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                " is not known; choose one of baseline, avx2, avx512");
}

template <typename T>
static Block<T> choose_block(Isa isa, long d, long k) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::choose_block<T>(d, k);
    if (isa == Isa::avx2) return avx2::choose_block<T>(d, k);
#else
    (void)isa;
#endif
    return baseline::choose_block<T>(d, k);
}

template <typename T>
static Limits<T> choose_limits(Isa isa) {
#if defined(LAB_DISPATCHES)
    if (isa == Isa::avx512) return avx512::limits<T>();
    if (isa == Isa::avx2) return avx2::limits<T>();
#else
    (void)isa;
#endif
    return baseline::limits<T>();
}

// What prepare returns: rows in tiles, running sums in chunks, a team of threads.
template <typename T>
class Prepared {
public:
    Prepared(const T* rows, long n, long d, long k, int n_threads)
        : isa_(chosen_isa()),
          block_(choose_block<T>(isa_, d, k)),
          n_clusters_(k),
          team_(std::make_unique<Team>(n_threads)) {
        work_.n = n;
        work_.d = d;
        work_.width = block_.width;
        const long n_tiles = (n + block_.width - 1) / block_.width;
        work_.tiles.resize(n_tiles * block_.width * d);
        work_.nearest.resize(n_tiles * block_.width);
        work_.reach.resize(n_tiles);
        cut(n_tiles);
        each_chunk([&](Chunk& chunk) { fill(chunk, rows); });
    }

    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;

    ~Prepared() {
        // In a forked child there are no threads to end, and their locks may be held for ever.
        if (team_->forked()) static_cast<void>(team_.release());
    }

    double pass(const T* centers, long k, std::int32_t* labels, bool summing) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (k != n_clusters_) {
            n_clusters_ = k;
            for (Chunk& chunk : chunks_) chunk.stale = true;
        }
        work_.centers.set(centers, k, work_.d, block_.panel);
        each_chunk([&](Chunk& chunk) {
            block_.assign(work_, chunk, summing);
            if (summing && chunk.stale) work_.sum_in_full(chunk, n_clusters_);
            const long first = chunk.first_tile * work_.width;
            std::copy_n(work_.nearest.data() + first, chunk.n_rows, labels + first);
        });
        double inertia = 0;
        for (const Chunk& chunk : chunks_) inertia += chunk.inertia;
        return std::max(inertia, 0.0);
    }

    void add_sums(double* sums, std::int64_t* counts) const {
        for (const Chunk& chunk : chunks_) {
            for (long i = 0; i < n_clusters_ * work_.d; ++i) sums[i] += chunk.sums[i];
            for (long j = 0; j < n_clusters_; ++j) counts[j] += chunk.counts[j];
        }
    }

    void update(const std::int32_t* labels, double* sums, std::int64_t* counts) const {
        for (long i = 0; i < work_.n; ++i) {
            const T* x = work_.row_at(i);
            double* to = sums + labels[i] * work_.d;
            for (long f = 0; f < work_.d; ++f) to[f] += double(x[f * work_.width]);
            counts[labels[i]] += 1;
        }
    }

    // Greedy k-means++: rounds of candidates, each drawn where the running sum of squared distances
    // passes its draw; the one that lowers the sum most is kept, the first of equals.
    std::vector<long> greedy(long first, const double* draws, long n_rounds, long n_candidates) {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto team = [this](const auto& task) { each_chunk(task); };
        Seeding<T, decltype(team)> seeding(work_, chunks_, block_, n_candidates, team);
        std::vector<long> chosen{first};
        seeding.keep(first);
        for (long r = 0; r < n_rounds; ++r) {
            chosen.push_back(seeding.best_of(draws + r * n_candidates, n_candidates));
            seeding.keep(chosen.back());
        }
        return chosen;
    }

    long n() const { return work_.n; }
    long d() const { return work_.d; }
    const char* isa() const { return kIsaNames[int(isa_)]; }
    long rescored() const {
        long sum = 0;
        for (const Chunk& chunk : chunks_) sum += chunk.rescored;
        return sum;
    }

private:
    // Chunks depend on the shape only. Enough for many threads to share, few enough for their sums
    // to stay small; a multiple of 64 rows, so that every instruction set cuts at the same rows.
    void cut(long n_tiles) {
        const long slots = std::clamp(long(1 << 21) / (n_clusters_ * work_.d), 4L, 64L);
        const long rows = std::max(256L, (work_.n / slots + 63) / 64 * 64);
        const long tiles = rows / work_.width;
        for (long first = 0; first < n_tiles; first += tiles) {
            Chunk chunk;
            chunk.first_tile = first;
            chunk.last_tile = std::min(first + tiles, n_tiles);
            chunk.n_rows = std::min(chunk.last_tile * work_.width, work_.n) - first * work_.width;
            chunks_.push_back(std::move(chunk));
        }
    }

    void fill(Chunk& chunk, const T* rows) {
        const long width = work_.width, d = work_.d;
        for (long t = chunk.first_tile; t < chunk.last_tile; ++t) {
            T* tile = work_.tiles.data() + t * width * d;
            double longest = 0;
            for (long l = 0; l < width; ++l) {
                const long i = t * width + l;
                double square = 0;
                for (long f = 0; f < d; ++f) {
                    const T value = i < work_.n ? rows[i * d + f] : T(0);
                    tile[f * width + l] = value;
                    square += double(value) * double(value);
                }
                work_.nearest[i] = -1;
                longest = std::max(longest, square);
                chunk.squares += square;
            }
            work_.reach[t] = std::sqrt(longest);
        }
        chunk.heavy = 64 * chunk.squares / double(chunk.n_rows);
    }

    template <typename Task>
    void each_chunk(const Task& task) {
        team_->run(int(chunks_.size()), [&](int c) { task(chunks_[c]); });
    }

    Isa isa_;
    Block<T> block_;
    long n_clusters_;
    Work<T> work_;
    std::vector<Chunk> chunks_;
    std::unique_ptr<Team> team_;
    std::mutex mutex_;
};

}  // namespace lab

// ---------------------------------------------------------------------------------------
// The binding. Outputs are noconvert: a silently copied one would lose the results.

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

static void require(bool fits, const char* rule) {
    if (!fits) throw std::invalid_argument(rule);
}

template <typename T>
static double run(lab::Prepared<T>& rows, const Array<T>& centers, Array<std::int32_t>& labels,
                  Array<double>* sums, Array<std::int64_t>* counts) {
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
    const double inertia = rows.pass(centers_in, k, labels_out, sums != nullptr);
    if (sums) rows.add_sums(sums_inout, counts_inout);
    return inertia;
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
static py::array_t<long> greedy(lab::Prepared<T>& rows, long first, const Array<double>& draws) {
    require(draws.ndim() == 2 && draws.shape(1) > 0, "greedy needs draws (rounds, candidates)");
    require(first >= 0 && first < rows.n(), "first must be a row");
    const double* draws_in = draws.data();
    std::vector<long> chosen;
    {
        py::gil_scoped_release nogil;
        chosen = rows.greedy(first, draws_in, draws.shape(0), draws.shape(1));
    }
    return py::array_t<long>(py::ssize_t(chosen.size()), chosen.data());
}

template <typename T>
static std::unique_ptr<lab::Prepared<T>> prepare(const Array<T>& X, long n_clusters,
                                                 int n_threads) {
    require(X.ndim() == 2, "prepare needs X with 2 dimensions");
    require(n_clusters >= 1 && n_threads >= 1, "n_clusters and n_threads must be at least 1");
    const T* rows = X.data();
    const long n = X.shape(0), d = X.shape(1);
    py::gil_scoped_release nogil;
    return std::make_unique<lab::Prepared<T>>(rows, n, d, n_clusters, n_threads);
}

template <typename T>
static void bind(py::module_& module, const char* name) {
    using Rows = lab::Prepared<T>;
    py::class_<Rows>(module, name, "Rows transposed into tiles, with their running sums.")
        .def_property_readonly("isa", &Rows::isa, "The instruction set that computes.")
        .def_property_readonly("rescored", &Rows::rescored,
                               "Near-ties decided by direct differences so far.");
    module.def("prepare", &prepare<T>, py::arg("X").noconvert(), py::arg("n_clusters"),
               py::arg("n_threads"), "Transpose X into tiles; start a team of threads.");
    module.def(
        "assign",
        [](Rows& rows, const Array<T>& centers, Array<std::int32_t>& labels) {
            return run<T>(rows, centers, labels, nullptr, nullptr);
        },
        py::arg("rows"), py::arg("centers").noconvert(), py::arg("labels").noconvert(),
        "Overwrite labels with each row's nearest center; return the inertia.");
    module.def(
        "assign",
        [](const Array<T>& X, const Array<T>& centers, Array<std::int32_t>& labels) {
            require(centers.ndim() == 2 && centers.shape(0) > 0,
                    "assign needs rows (n, d), centers (k, d) and labels (n,)");
            return run<T>(*prepare<T>(X, centers.shape(0), 1), centers, labels, nullptr, nullptr);
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
    module.def("greedy", &greedy<T>, py::arg("rows"), py::arg("first"),
               py::arg("draws").noconvert(),
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
    bind<double>(module, "Rows64");
    bind<float>(module, "Rows32");
    module.def(
        "isa", [] { return lab::kIsaNames[int(lab::chosen_isa())]; },
        "Return the instruction set that the next fit will use.");
    module.attr("BUILD") = KMEANS_LAB_COMPILER " " KMEANS_LAB_FLAGS;
}
