// The largest magnitude of an array. Included once per instruction set, after vectors-inl.h.

#ifndef LAB_ISA
#error "magnitude-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Not a number where a value is not finite: comparisons alone would lose it again.
template <typename T>
T largest_of(const T* values, Index n) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes, side = 4;
    Values most[side] = {}, zeros[side] = {};
    Index i = 0;
    for (; i + side * lanes <= n; i += side * lanes) {
        LAB_UNROLL for (int v = 0; v < side; ++v) {
            Values value;
            std::memcpy(&value, values + i + v * lanes, sizeof value);
            const Values size = value < Values{} ? -value : value;
            most[v] = size > most[v] ? size : most[v];
            zeros[v] += value * T(0);
        }
    }
    T all = 0, zero = 0;
    for (int v = 0; v < side; ++v) {
        for (int l = 0; l < lanes; ++l) {
            all = std::max(all, T(lane(most[v], l)));
            zero += T(lane(zeros[v], l));
        }
    }
    for (; i < n; ++i) {
        all = std::max(all, T(std::fabs(values[i])));
        zero += values[i] * T(0);
    }
    return all + zero;
}

}  // namespace LAB_ISA
}  // namespace lab
