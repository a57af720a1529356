// The block routine, included once per instruction set with LAB_ISA (a namespace) and LAB_BYTES
// (of a vector) defined. Lanes are rows, not centers: no horizontal reduction, no remainder in k,
// and ties go to the lowest index for free.

namespace lab {
namespace LAB_ISA {

template <typename T, typename Integer>
struct Vectors {
    typedef Integer Index;
#if LAB_BYTES > 0
    typedef T Values __attribute__((vector_size(LAB_BYTES)));
    typedef Integer Integers __attribute__((vector_size(LAB_BYTES)));
    typedef std::int32_t Labels __attribute__((vector_size(LAB_BYTES / sizeof(T) * 4), aligned(4)));
    typedef signed char Flags __attribute__((vector_size(LAB_BYTES / sizeof(T))));
    typedef double Wide __attribute__((vector_size(LAB_BYTES / sizeof(T) * 8)));
    static constexpr int lanes = LAB_BYTES / sizeof(T);
#else
    typedef T Values;
    typedef Integer Integers;
    typedef double Wide;
    static constexpr int lanes = 1;
#endif
};
template <typename T>
struct Lanes;
template <>
struct Lanes<double> : Vectors<double, std::int64_t> {};
template <>
struct Lanes<float> : Vectors<float, std::int32_t> {};

// One lane of a vector, or the scalar itself.
template <typename Vector>
LAB_INLINE auto lane(const Vector& vector, int l) {
#if LAB_BYTES > 0
    return vector[l];
#else
    return vector;
#endif
}

template <typename T>
LAB_INLINE typename Lanes<T>::Wide widen(const typename Lanes<T>::Values& values) {
#if LAB_BYTES > 0
    return __builtin_convertvector(values, typename Lanes<T>::Wide);
#else
    return values;
#endif
}

// Whether a lane is a near-tie or differs from the label that is stored for it.
template <typename T>
LAB_INLINE bool any(const typename Lanes<T>::Integers& near,
                    const typename Lanes<T>::Integers& index, const std::int32_t* stored) {
    using Integers = typename Lanes<T>::Integers;
#if LAB_BYTES > 0
    using Labels = typename Lanes<T>::Labels;
    using Flags = typename Lanes<T>::Flags;
    const Integers before =
        __builtin_convertvector(*reinterpret_cast<const Labels*>(stored), Integers);
    const Flags flags = __builtin_convertvector(near | (index != before), Flags);
    std::uint64_t words[(sizeof(Flags) + 7) / 8] = {};
    std::memcpy(words, &flags, sizeof(Flags));
    std::uint64_t found = 0;
    for (const std::uint64_t word : words) found |= word;
    return found != 0;
#else
    return near || index != Integers(*stored);
#endif
}

// Scores ‖c‖² − 2x·c of one tile against one panel, then the running best, second and index.
// The sums of all centers of the panel are independent, which hides the latency of the additions.
template <typename T, int vectors, int panel>
LAB_INLINE void score_panel(const T* tile, const T* packed, const T* squares, long d, long j,
                            typename Lanes<T>::Values* best, typename Lanes<T>::Values* second,
                            typename Lanes<T>::Integers* index) {
    using Values = typename Lanes<T>::Values;
    using Integers = typename Lanes<T>::Integers;
    constexpr int lanes = Lanes<T>::lanes, width = vectors * lanes;
    if constexpr (panel == 8) LAB_TO_MEMORY(best, second, index);
    Values sums[vectors][panel];
    LAB_UNROLL for (int c = 0; c < panel; ++c) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[v][c] = squares[c] - Values{};
    }
    for (long f = 0; f < d; ++f) {
        Values x[vectors];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            x[v] = *reinterpret_cast<const Values*>(tile + f * width + v * lanes);
        }
        LAB_UNROLL for (int c = 0; c < panel; ++c) {
            const Values center = packed[f * panel + c] - Values{};
            LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[v][c] += x[v] * center;
        }
    }
    LAB_UNROLL for (int c = 0; c < panel; ++c) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Values score = sums[v][c];
            const Integers less = score < best[v];
            const Values higher = score > best[v] ? score : best[v];
            second[v] = higher < second[v] ? higher : second[v];
            best[v] = less ? score : best[v];
            index[v] = less ? Integers{} + typename Lanes<T>::Index(j + c) : index[v];
        }
    }
}

template <typename T, int vectors, int panel>
void assign_tiles(Work<T>& work, Chunk& chunk, bool summing) {
    using L = Lanes<T>;
    using Values = typename L::Values;
    using Integers = typename L::Integers;
    constexpr int lanes = L::lanes, width = vectors * lanes;
    const long d = work.d, end = chunk.first_tile * width + chunk.n_rows;
    const T infinity = std::numeric_limits<T>::infinity();
    typename L::Wide inertia{};
    chunk.inertia = chunk.squares;
    for (long t = chunk.first_tile; t < chunk.last_tile; ++t) {
        const T* tile = work.tiles.data() + t * width * d;
        Values best[vectors], second[vectors];
        Integers index[vectors];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            best[v] = second[v] = infinity - Values{};
            index[v] = Integers{};
        }
        for (long j = 0; j < work.centers.padded; j += panel) {
            score_panel<T, vectors, panel>(tile, work.centers.packed.data() + j * d,
                                           work.centers.squares.data() + j, d, j, best, second,
                                           index);
        }
        const bool whole = (t + 1) * width <= end;
        const T tolerance = T(work.tolerance(t) * 1.001);  // still above it when rounded to T
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const long row = t * width + v * lanes;
            const Integers near = second[v] - best[v] <= tolerance - Values{};
            if (whole) {
                inertia += widen<T>(best[v]);
                if (!any<T>(near, index[v], work.nearest.data() + row)) continue;
            }
            for (int l = 0; l < lanes && row + l < end; ++l) {
                if (!whole) chunk.inertia += double(lane(best[v], l));
                work.settle(chunk, row + l, std::int32_t(lane(index[v], l)), lane(near, l) != 0,
                            summing);
            }
        }
    }
    for (int l = 0; l < lanes; ++l) chunk.inertia += lane(inertia, l);
}

// Squared distances of one chunk to `group` candidates, by direct differences; each row's smaller
// one of that and `nearest` is added to the candidate's total and, when asked, kept.
template <typename T, int vectors, int group>
void try_candidates(const Work<T>& work, const Chunk& chunk, const T* candidates, double* nearest,
                    double* totals, bool keep) {
    using L = Lanes<T>;
    using Values = typename L::Values;
    using Wide = typename L::Wide;
    constexpr int lanes = L::lanes, width = vectors * lanes;
    const long d = work.d;
    Wide total[group] = {};
    for (long t = chunk.first_tile; t < chunk.last_tile; ++t) {
        const T* tile = work.tiles.data() + t * width * d;
        Values sums[group][vectors] = {};
        for (long f = 0; f < d; ++f) {
            LAB_UNROLL for (int c = 0; c < group; ++c) {
                LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                    const Values x = *reinterpret_cast<const Values*>(tile + f * width + v * lanes);
                    const Values diff = x - candidates[c * d + f];
                    sums[c][v] += diff * diff;
                }
            }
        }
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Wide* stored = reinterpret_cast<Wide*>(nearest + t * width + v * lanes);
            const Wide before = *stored;
            LAB_UNROLL for (int c = 0; c < group; ++c) {
                const Wide distance = widen<T>(sums[c][v]);
                const Wide smaller = distance < before ? distance : before;
                total[c] += smaller;
                if (keep) *stored = smaller;
            }
        }
    }
    for (int c = 0; c < group; ++c) {
        totals[c] = 0;
        for (int l = 0; l < lanes; ++l) totals[c] += lane(total[c], l);
    }
}

template <typename T, int vectors, int panel>
Block<T> make_block() {
    return {assign_tiles<T, vectors, panel>, try_candidates<T, vectors, 1>,
            try_candidates<T, vectors, 2>, vectors * Lanes<T>::lanes, panel};
}

// How many vectors of rows and how many centers a block holds in registers. Few features leave
// little to do per score, so that more rows at a time hide the latency of the comparisons.
template <typename T>
Block<T> choose_block(long d, long k) {
    const bool fives = (k + 4) / 5 * 5 < (k + 3) / 4 * 4 || k % 5 == 0;
    if (d <= 4) return make_block<T, 4, 2>();
    if (fives) return make_block<T, 2, 5>();
    if (LAB_BYTES == 64 && d > 16 && (k + 7) / 8 * 8 == (k + 3) / 4 * 4) {
        return make_block<T, 2, 8>();
    }
    return make_block<T, 2, 4>();
}

// The processor's limits, measured with the same vectors: `rounds` of twelve independent
// multiply-adds (enough to hide their latency), and one pass over an array.
template <typename T>
double multiply_add(long rounds, T factor) {
    using Values = typename Lanes<T>::Values;
    Values sums[12];
    LAB_UNROLL for (int i = 0; i < 12; ++i) sums[i] = T(i) - Values{};
    for (long r = 0; r < rounds; ++r) {
        LAB_UNROLL for (int i = 0; i < 12; ++i) {
            sums[i] = sums[i] * (factor - Values{}) + (factor - Values{});
        }
    }
    T sink = 0;
    for (int i = 0; i < 12; ++i) sink += lane(sums[i], 0);
    return sink != sink ? -1 : 24.0 * double(rounds) * Lanes<T>::lanes;
}

template <typename T>
double read_all(const T* values, long n) {
    using Values = typename Lanes<T>::Values;
    constexpr int lanes = Lanes<T>::lanes;
    Values sums[8] = {};
    for (long i = 0; i + 8 * lanes <= n; i += 8 * lanes) {
        LAB_UNROLL for (int v = 0; v < 8; ++v) {
            sums[v] += *reinterpret_cast<const Values*>(values + i + v * lanes);
        }
    }
    double sink = 0;
    for (int v = 0; v < 8; ++v) sink += double(lane(sums[v], 0));
    return sink;
}

template <typename T>
constexpr Limits<T> limits() {
    return {multiply_add<T>, read_all<T>};
}

}  // namespace LAB_ISA
}  // namespace lab
