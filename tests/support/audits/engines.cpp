// Engines with carried bounds for ctypes, compiled with LAB_AUDIT: each pass checks its bounds
// against distances.

#include <cstdint>
#include <cstring>
#include <exception>

#include "simd/engines/carried.h"
#include "simd/engines/hamerly.h"

namespace {

// `more`: what an engine takes after its number of threads.
template <template <typename> class Engine, typename T, typename... More>
int fit(const T* rows, const T* middle, T* centers, const lab::Index* sizes, int n_passes,
        char* trouble, More... more) {
    const lab::Index n = sizes[0], d = sizes[1], k = sizes[2];
    try {
        Engine<T> engine({rows, middle, nullptr, n, d}, k, int(sizes[3]), more...);
        std::vector<std::int32_t> labels(n, -1);
        for (int pass = 0; pass < n_passes; ++pass) {
            std::vector<double> sums(k * d);
            std::vector<std::int64_t> counts(k);
            engine.pass({centers, k, labels.data(), sums.data(), counts.data()});
            for (lab::Index j = 0; j < k; ++j) {
                for (lab::Index f = 0; f < d && counts[j] > 0; ++f) {
                    centers[j * d + f] = T(sums[j * d + f] / double(counts[j]));
                }
            }
        }
    } catch (const std::exception& error) {
        std::strncpy(trouble, error.what(), 199);
        return 1;
    }
    return 0;
}

template <typename T>
int fit_either(const T* rows, const T* middle, T* centers, const lab::Index* sizes, int n_passes,
               char* trouble) {
    if (sizes[4] != 0)
        return fit<lab::HamerlyEngine>(rows, middle, centers, sizes, n_passes, trouble, false);
    return fit<lab::CarriedEngine>(rows, middle, centers, sizes, n_passes, trouble);
}

}  // namespace

// Sizes: n, d, k, threads, and whether rows have one bound each. Not zero: what failed stands in
// `trouble`, 200 characters.
extern "C" int fit_float64(const double* rows, const double* middle, double* centers,
                           const lab::Index* sizes, int n_passes, char* trouble) {
    return fit_either(rows, middle, centers, sizes, n_passes, trouble);
}
extern "C" int fit_float32(const float* rows, const float* middle, float* centers,
                           const lab::Index* sizes, int n_passes, char* trouble) {
    return fit_either(rows, middle, centers, sizes, n_passes, trouble);
}
