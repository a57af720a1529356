// Magnitudes of an array, and moments of its columns. Included once per instruction set, after
// vectors-inl.h.

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

// Add the values of `n` rows of places that lie one behind the other: `vectors` of them, from the
// place `at` on.
template <int vectors, typename T>
LAB_INLINE void add_places(const T* rows, Index n, Index at, Moments& to) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const Index places = to.places;
    Values pivot[vectors], low[vectors], high[vectors], sum[vectors], square[vectors];
    const auto each = [&](const auto& copy) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Index i = at + v * lanes;
            copy(low[v], to.low[i]);
            copy(high[v], to.high[i]);
            copy(sum[v], to.sum[i]);
            copy(square[v], to.square[i]);
        }
    };
    each([](Values& own, double& kept) { std::memcpy(&own, &kept, sizeof own); });
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        std::memcpy(&pivot[v], &to.pivot[at + v * lanes], sizeof pivot[v]);
    }
    const T* x = rows + at;
    for (Index r = 0; r < n; ++r, x += places) {
        LAB_PREFETCH(x + n * places);  // a processor does not guess the order of the places
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            typename Lanes<T>::Few few;
            std::memcpy(&few, x + v * lanes, sizeof few);
            const Values value = convert<Values>(few), off = value - pivot[v];
            low[v] = value < low[v] ? value : low[v];
            high[v] = value > high[v] ? value : high[v];
            sum[v] += off;
            square[v] += off * off;
        }
    }
    each([](Values& own, double& kept) { std::memcpy(&kept, &own, sizeof own); });
}

// Add the values of n rows. A value that is not finite leaves a square that is not.
template <typename T>
void add_moments(const T* rows, Index n, Index d, Moments& to) {
    constexpr int lanes = Lanes<double>::lanes;
    constexpr Index kept = 1024;  // values that stay in the first cache, from place to place
    const Index places = to.places, side = places / d, wide = n / side;
    const Index step = std::max(Index(8), kept / places);
    const auto add = [&](const T& x, Index i) {
        const double value = double(x), off = value - to.pivot[i];
        to.low[i] = std::min(to.low[i], value);
        to.high[i] = std::max(to.high[i], value);
        to.sum[i] += off;
        to.square[i] += off * off;
    };
    for (Index r = 0; r < wide; r += step) {
        const T* x = rows + r * places;
        const Index some = std::min(step, wide - r);
        Index at = 0;
        for (; at + 2 * lanes <= places; at += 2 * lanes) add_places<2>(x, some, at, to);
        for (; at + lanes <= places; at += lanes) add_places<1>(x, some, at, to);
        for (; at < places; ++at) {
            for (Index i = 0; i < some; ++i) add(x[i * places + at], at);
        }
    }
    const T* x = rows + wide * places;
    for (Index i = 0; i < (n - wide * side) * d; ++i) add(x[i], i);
}

}  // namespace LAB_ISA
}  // namespace lab
