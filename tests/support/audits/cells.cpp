// The engine for few features by itself, with the audit of its bounds: what
// tests/tuned/test_cells_audit.py compiles and calls through ctypes.

#include "simd/engines/cells.h"

#include <Python.h>

#include <cstdint>
#include <memory>

// Fit from these centers for so many passes; returns 0, or 1 where the audit finds a fault.
template <typename T>
static int passes(const T* X, lab::Index n, lab::Index d, T* centers, lab::Index k, int n_passes) {
    const lab::RowsGiven<T> rows{X, nullptr, nullptr, n, d};
    std::vector<std::int32_t> labels(n, -1);
    try {
        lab::CellsEngine<T> engine(rows, k, 1, nullptr);
        for (int pass = 0; pass < n_passes; ++pass) {
            std::vector<double> sums(k * d);
            std::vector<std::int64_t> counts(k);
            engine.pass({centers, k, labels.data(), sums.data(), counts.data()});
            for (lab::Index i = 0; i < k * d; ++i) {
                if (counts[i / d] > 0) centers[i] = T(sums[i] / double(counts[i / d]));
            }
        }
    } catch (const std::logic_error&) {
        return 1;
    }
    return 0;
}

extern "C" int passes_float64(const double* X, lab::Index n, lab::Index d, double* centers,
                              lab::Index k, int n_passes) {
    return passes(X, n, d, centers, k, n_passes);
}

extern "C" int passes_float32(const float* X, lab::Index n, lab::Index d, float* centers,
                              lab::Index k, int n_passes) {
    return passes(X, n, d, centers, k, n_passes);
}
