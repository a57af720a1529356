// Squared distances of sparse rows to candidates of the seeding: lanes are candidates.

#ifndef LAB_ISA
#error "seeding-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

using Doubles = Lanes<double>::Values;
constexpr int kSeedVectors = int(kSeedLanes) / Lanes<double>::lanes;

LAB_INLINE Doubles load_doubles(const double* from) {
    Doubles lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}
LAB_INLINE Doubles square_of(const Doubles& values) {
    Doubles square = values * values;
    LAB_HIDE(square);
    return square;
}

// The candidates that share a column with a row: a bit each. To the others it is as far as both are
// long, squared.
template <typename T>
LAB_INLINE unsigned sharing(const SparseRows<T>& rows, const SeedCandidates& candidates, Index i) {
    unsigned bits = 0;
    for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
        bits |= candidates.present[std::size_t(rows.indices[p])];
    }
    return bits;
}

// The squared distances of a row to all candidates. No product is fused with a sum.
template <typename T>
LAB_INLINE void measure_row(const SparseRows<T>& rows, const SeedCandidates& candidates, Index i,
                            Doubles (&distances)[kSeedVectors]) {
    constexpr int lanes = Lanes<double>::lanes;
    Doubles apart[kSeedVectors] = {}, theirs[kSeedVectors] = {};
    for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
        const double* values = candidates.values.data() + Index(rows.indices[p]) * kSeedLanes;
        const Doubles mine = Doubles{} + double(rows.data[p]);
        LAB_UNROLL for (int v = 0; v < kSeedVectors; ++v) {
            const Doubles theirs_here = load_doubles(values + v * lanes);
            apart[v] += square_of(mine - theirs_here);
            theirs[v] += square_of(theirs_here);
        }
    }
    for (int v = 0; v < kSeedVectors; ++v) {
        const Doubles elsewhere = load_doubles(candidates.norms + v * lanes) - theirs[v];
        distances[v] = apart[v] + (elsewhere > 0.0 ? elsewhere : Doubles{});
    }
}

// Add up, in steps, the distances of some rows to the nearest of their centers and a candidate.
template <typename T>
void try_sparse(const SparseRows<T>& rows, const SeedCandidates& candidates, Index first,
                Index last, const double* squares, const double* nearest, const Grid& grid,
                std::int64_t* totals) {
    constexpr int lanes = Lanes<double>::lanes;
    Lanes<double>::Integers sums[kSeedVectors] = {};
    for (Index i = first; i < last; ++i) {
        Doubles distances[kSeedVectors];
        if (sharing(rows, candidates, i) != 0) {
            measure_row(rows, candidates, i, distances);
        } else {
            for (int v = 0; v < kSeedVectors; ++v) {
                distances[v] = load_doubles(candidates.norms + v * lanes) + squares[i];
            }
        }
        const Doubles before = Doubles{} + nearest[i];
        for (int v = 0; v < kSeedVectors; ++v) {
            sums[v] += steps_in(distances[v] < before ? distances[v] : before, grid);
        }
    }
    for (int v = 0; v < kSeedVectors; ++v)
        std::memcpy(totals + v * lanes, &sums[v], sizeof sums[v]);
}

// Make the first candidate a center of some rows.
template <typename T>
void keep_sparse(const SparseRows<T>& rows, const SeedCandidates& candidates, Index first,
                 Index last, const double* squares, double* nearest) {
    for (Index i = first; i < last; ++i) {
        if ((sharing(rows, candidates, i) & 1) == 0) {
            nearest[i] = std::min(nearest[i], squares[i] + candidates.norms[0]);
            continue;
        }
        double apart = 0, theirs = 0;
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            const double value = candidates.values[std::size_t(rows.indices[p] * kSeedLanes)];
            const double difference = double(rows.data[p]) - value;
            apart += rounded(difference * difference);
            theirs += rounded(value * value);
        }
        const double distance = apart + std::max(candidates.norms[0] - theirs, 0.0);
        nearest[i] = std::min(nearest[i], distance);
    }
}

}  // namespace LAB_ISA
}  // namespace lab
