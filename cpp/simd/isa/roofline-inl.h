// The processor's limits, measured with the same vectors. Included once per instruction set, after
// vectors-inl.h.

#ifndef LAB_ISA
#error "roofline-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// `rounds` of twelve independent multiply-adds: enough to hide their latency.
template <typename T>
double multiply_add(Index rounds, T factor) {
    using Values = typename Lanes<T>::Values;
    Values sums[12];
    LAB_UNROLL for (int i = 0; i < 12; ++i) sums[i] = T(i) - Values{};
    for (Index r = 0; r < rounds; ++r) {
        LAB_UNROLL for (int i = 0; i < 12; ++i) {
            sums[i] = sums[i] * (factor - Values{}) + (factor - Values{});
        }
    }
    T sink = 0;
    for (int i = 0; i < 12; ++i) sink += lane(sums[i], 0);
    return sink != sink ? -1 : 24.0 * double(rounds) * Lanes<T>::lanes;
}

// One pass over an array.
template <typename T>
double read_all(const T* values, Index n) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    Values sums[8] = {};
    for (Index i = 0; i + 8 * lanes <= n; i += 8 * lanes) {
        LAB_UNROLL for (int v = 0; v < 8; ++v) {
            sums[v] += *reinterpret_cast<const Values*>(values + i + v * lanes);
        }
    }
    double sink = 0;
    for (int v = 0; v < 8; ++v) sink += double(lane(sums[v], 0));
    return sink;
}

template <typename T>
constexpr Roofline<T> roofline() {
    return {multiply_add<T>, read_all<T>};
}

}  // namespace LAB_ISA
}  // namespace lab
