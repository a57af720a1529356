// Rows that share no feature with a candidate of the seeding.

#ifndef LAB_ISA
#error "seeding-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// By how much a point of this squared length lowers the sum of n rows' distances to their nearest
// center, in steps, where no row shares a feature with it; `keeps`: note the distances.
template <bool keeps>
LAB_INLINE std::int64_t meet_apart(const double* squares, double* nearest, Index n, double norm,
                                   const Grid& grid) {
    using Doubles = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Lanes<double>::Integers gains = {};
    Index i = 0;
    for (; i + lanes <= n; i += lanes) {
        Doubles own, before;
        std::memcpy(&own, squares + i, sizeof own);
        std::memcpy(&before, nearest + i, sizeof before);
        const Doubles distance = own + norm, after = distance < before ? distance : before;
        gains += steps_in(before, grid) - steps_in(after, grid);
        if (keeps) std::memcpy(nearest + i, &after, sizeof after);
    }
    std::uint64_t gain = 0;  // of distances that are infinite still, it means nothing, and wraps
    for (int l = 0; l < lanes; ++l) gain += std::uint64_t(lane(gains, l));
    for (; i < n; ++i) {
        const double before = nearest[i], after = std::min(squares[i] + norm, before);
        gain += std::uint64_t(grid.steps(before) - grid.steps(after));
        if (keeps) nearest[i] = after;
    }
    return std::int64_t(gain);
}
inline std::int64_t try_apart(const double* squares, double* nearest, Index n, double norm,
                              const Grid& grid) {
    return meet_apart<false>(squares, nearest, n, norm, grid);
}
inline std::int64_t keep_apart(const double* squares, double* nearest, Index n, double norm,
                               const Grid& grid) {
    return meet_apart<true>(squares, nearest, n, norm, grid);
}

}  // namespace LAB_ISA
}  // namespace lab
