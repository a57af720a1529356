// The table that rows are screened by: laid out anew, or changed where sums have.

#ifndef LAB_ISA
#error "table-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

LAB_INLINE void store_cells(const float* row, Index padded, float* to) {
    std::copy_n(row, padded, to);
}
LAB_INLINE void store_cell(double value, float* to) { *to = float(value); }
#if defined(__x86_64__) && LAB_BYTES >= 32
LAB_INLINE void store_cells(const float* row, Index padded, Half* to) {
    for (Index j = 0; j < padded; j += 8) {
        const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(row + j), 0);
        std::memcpy(to + j, &halves, sizeof halves);
    }
}
LAB_INLINE void store_cell(double value, Half* to) { *to = _cvtss_sh(float(value), 0); }
#endif

template <typename T, typename Cell>
LAB_INLINE Cell* cell_at(SparseWork<T>& work, Index f, Index j) {
    return reinterpret_cast<Cell*>(work.screen.table.data()) + f * work.screen.padded + j;
}

// By what the sums of center j are multiplied.
template <typename T, typename Cell>
LAB_INLINE double multiplier(const SparseWork<T>& work, Index j) {
    return std::ldexp(work.scale * double(kRoom<Cell>), -work.screen.exponents[j]);
}

// Lay out some features of centers that are given as an array.
template <typename T, typename Cell>
void lay_given(SparseWork<T>& work, Index first, Index last) {
    const Index k = work.screen.n_clusters, padded = work.screen.padded;
    const Index d = work.rows.n_features;
    const T* centers = work.reference.given();
    std::vector<float> block(kFeaturesTogether * padded);
    std::vector<double> times(k);
    for (Index j = 0; j < k; ++j) times[j] = multiplier<T, Cell>(work, j);
    for (Index begin = first; begin < last; begin += kFeaturesTogether) {
        const Index n = std::min(kFeaturesTogether, last - begin);
        for (Index j = 0; j < k; ++j) {
            const T* center = centers + j * d + begin;
            for (Index f = 0; f < n; ++f) {
                block[f * padded + j] = float(double(center[f]) * times[j]);
                if (center[f] != 0) work.reference.note(begin + f, j);
            }
        }
        for (Index f = 0; f < n; ++f) {
            store_cells(&block[f * padded], padded, cell_at<T, Cell>(work, begin + f, 0));
        }
    }
}

// Lay out some features of the means of the sums; add the squares of the scaled sums up and, where
// the means take the place of an array, squared differences.
template <typename T, typename Cell>
void lay_sums(SparseWork<T>& work, Index first, Index last, const T* instead, double* squares,
              double* differences) {
    const Index k = work.screen.n_clusters, padded = work.screen.padded;
    const Index d = work.rows.n_features;
    std::vector<float> block(kFeaturesTogether * padded);
    double sums[kFeaturesTogether];
    for (Index begin = first; begin < last; begin += kFeaturesTogether) {
        const Index n = std::min(kFeaturesTogether, last - begin);
        for (Index j = 0; j < k; ++j) {
            const double times = multiplier<T, Cell>(work, j);
            // Most sums are zero; no branch tells, which would be guessed wrong too often.
            work.sums.values(work.sums.at(begin, j), n, sums);
            double square = 0;
            for (Index f = 0; f < n; ++f) {
                block[f * padded + j] = float(sums[f] * times);
                const double scaled = sums[f] * work.scale;
                square += scaled * scaled;
            }
            squares[j] += square;
            if (instead == nullptr) continue;
            const double rows = double(std::max<std::int64_t>(work.counts[j], 1));
            const T* before = instead + j * d + begin;
            double moved = 0;
            for (Index f = 0; f < n; ++f) {
                const double mean = double(T(sums[f] / rows));
                const double difference = (mean - double(before[f])) * work.scale;
                moved += difference * difference;
            }
            differences[j] += moved;
        }
        for (Index f = 0; f < n; ++f) {
            store_cells(&block[f * padded], padded, cell_at<T, Cell>(work, begin + f, 0));
        }
    }
}

// Have rows on their way that will move soon: they lie far apart.
template <typename T>
LAB_INLINE void prefetch_row(const SparseWork<T>& work, Index o, Index end) {
    constexpr Index near = 4, far = 12;
    if (o + far < end) LAB_PREFETCH(work.rows.indptr + work.ops[o + far] / 2);
    if (o + near >= end) return;
    const Index first = work.rows.first(work.ops[o + near] / 2);
    LAB_PREFETCH(work.rows.indices + first);
    LAB_PREFETCH(work.rows.data + first);
    LAB_PREFETCH(work.rows.data + first + 64 / Index(sizeof(T)));
}

// Carry out what joins and leaves center j. Where the table shows the sums, it follows, and what
// is known of the center, which had `before` rows, does, too.
template <typename T, typename Cell>
void move_center(SparseWork<T>& work, Index j, bool shown, std::int64_t before,
                 SparseScratch& scratch) {
    Entering& entering = scratch.entering;
    const auto enter = [&] {
        for (Index q = 0; q < entering.n; ++q) {
            LAB_PREFETCH_TO_WRITE(work.sums.at(entering.features[q + kEntriesAhead], j));
            const Index f = entering.features[q];
            std::int64_t* limbs = work.sums.at(f, j);
            if (shown) {
                std::uint64_t& word = scratch.seen[f / 64];
                const std::uint64_t bit = std::uint64_t(1) << f % 64;
                if (!(word & bit)) {
                    word |= bit;
                    scratch.before[f] = work.sums.value(limbs);
                }
            }
            work.sums.add(limbs, entering.values[q], 1);
        }
        entering.n = 0;
    };
    for (Index o = work.ops_begin[j], end = work.ops_begin[j + 1]; o < end; ++o) {
        prefetch_row(work, o, end);
        const Index i = work.ops[o] / 2;
        const double sign = work.ops[o] % 2 == 1 ? 1.0 : -1.0;
        for (Index p = work.rows.first(i), last = p + work.rows.size(i); p < last; ++p) {
            if (entering.n == kEntries) enter();
            entering.features[entering.n] = work.rows.indices[p];
            entering.values[entering.n++] = sign * double(work.rows.data[p]);
        }
    }
    enter();
    if (!shown) return;
    const bool again = choose_exponent(work, j);
    const double times = multiplier<T, Cell>(work, j);
    Changed changed;
    const double rows = double(std::max<std::int64_t>(work.counts[j], 1));
    if (work.bounding) work.changes[j].clear();
    // Feature by feature, as sums and table lie: these may be far from the nearest cache.
    const auto follow = [&](Index f) {
        const double after = work.sums.value(f, j), was = scratch.before[f];
        const double change = (after - was) * work.scale;
        if (change == 0) return;
        changed.add(change, was * work.scale);
        if (work.bounding) work.changes[j].push_back({std::int32_t(f), float(change / rows)});
        if (!again) store_cell(after * times, cell_at<T, Cell>(work, f, j));
    };
    for (std::size_t w = 0; w < scratch.seen.size(); ++w) {
        for (std::uint64_t bits = scratch.seen[w]; bits != 0; bits &= bits - 1) {
            follow(Index(64 * w) + LAB_LOWEST_BIT(bits));
        }
        scratch.seen[w] = 0;
    }
    if (again) {
        for (Index f = 0; f < work.rows.n_features; ++f) {
            const std::int64_t* limbs = work.sums.at(f, j);
            const double sum = work.sums.zero(limbs) ? 0.0 : work.sums.value(limbs);
            store_cell(sum * times, cell_at<T, Cell>(work, f, j));
        }
    }
    follow_center(work, j, changed, before);
}

}  // namespace LAB_ISA
}  // namespace lab
