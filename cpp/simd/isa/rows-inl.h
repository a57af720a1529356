// Rows scored as they lie: a few at a time are transposed into a tile that stays in the first
// cache, so that nothing of X is copied. Included once per instruction set, after assign-inl.h.

#ifndef LAB_ISA
#error "rows-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Where float leaves more than this share of the rows to differences, double is cheaper.
constexpr double kDoubtful = 0.05;

// Rows one after the other, or wherever a list says.
template <typename T>
struct Following {
    const T* first;
    Index d;
    LAB_MEMBER const T* operator[](Index i) const { return first + i * d; }
    // Those behind the next `width` ones, when `done` of as many values have been read.
    LAB_MEMBER void fetch(Index width, Index done, Index size) const {
        constexpr Index line = 64 / sizeof(T);
        const T* next = first + width * (d + done);
        for (Index i = 0; i < width * size; i += line) LAB_PREFETCH(next + i);
    }
};
template <typename T>
struct Pointed {
    const T* const* rows;
    LAB_MEMBER const T* operator[](Index i) const { return rows[i]; }
    LAB_MEMBER void fetch(Index, Index, Index) const {}
};

// Rows of a list lie anywhere: unless they are fetched ahead, waiting for them takes as long as
// scoring them.
template <typename T>
LAB_INLINE void fetch_row(const T* row, Index d) {
    constexpr Index line = 64 / sizeof(T);
    for (Index f = 0; f + 1 < d; f += line) LAB_PREFETCH(row + f);
    LAB_PREFETCH(row + d - 1);
}

// Values of rows become those that are scored: relative to an origin, and times a scale. Where S is
// wider than T, a subtraction of our own is wide.
template <typename S, typename T>
struct Moved {
    const Origin<T> origin;
    const T scale;

    LAB_MEMBER S value(const T* x, Index f) const {
        if constexpr (sizeof(S) > sizeof(T)) {
            const T at = origin.at[f];
            return (origin.given ? S(T(x[f] - at)) : S(x[f]) - S(at)) * S(scale);
        } else {
            return S((x[f] - origin.at[f]) * scale);
        }
    }
#if defined(LAB_TRANSPOSES)
    // A block of a row, from this feature on.
    LAB_MEMBER typename Block<S>::Values block(const T* x, Index f) const {
        constexpr int size = Block<S>::size;
        typedef T Given __attribute__((vector_size(size * sizeof(T))));
        typedef typename Block<S>::Values To;
        Given values, at;
        std::memcpy(&values, x + f, sizeof values);
        std::memcpy(&at, origin.at + f, sizeof at);
        if constexpr (sizeof(S) > sizeof(T)) {
            const To moved = origin.given ? __builtin_convertvector(values - at, To)
                                          : __builtin_convertvector(values, To) -
                                                __builtin_convertvector(at, To);
            return moved * S(scale);
        } else {
            return __builtin_convertvector((values - at) * scale, To);
        }
    }
#endif
};

// The same, and they are kept as they are scored.
template <typename T>
struct Copied {
    const Moved<float, T> moved;
    const T* const first;  // of all rows
    float* const copies;   // (n, d)

    LAB_MEMBER float value(const T* x, Index f) const {
        return copies[x - first + f] = moved.value(x, f);
    }
#if defined(LAB_TRANSPOSES)
    LAB_MEMBER Block<float>::Values block(const T* x, Index f) const {
        const Block<float>::Values values = moved.block(x, f);
        std::memcpy(copies + (x - first) + f, &values, sizeof values);
        return values;
    }
#endif
};

// Values that are scored as they stand.
struct Copies {
    LAB_MEMBER float value(const float* x, Index f) const { return x[f]; }
#if defined(LAB_TRANSPOSES)
    LAB_MEMBER Block<float>::Values block(const float* x, Index f) const {
        Block<float>::Values values;
        std::memcpy(&values, x + f, sizeof values);
        return values;
    }
#endif
};

// Spread rows into a tile, `vectors` times as many as there are lanes: value f of row i goes to
// tile[f · width + i]. Returns their squared lengths.
template <typename S, int vectors, typename List, typename Read>
LAB_INLINE void spread_rows(const List& rows, const Read& read, Index d, S* tile,
                            typename Lanes<S>::Values* squares) {
    using Values = typename Lanes<S>::Values;
    constexpr int lanes = Lanes<S>::lanes;
    constexpr Index width = vectors * lanes;
    LAB_UNROLL for (int v = 0; v < vectors; ++v) squares[v] = Values{};
    const auto put = [&](Index f, int v, const Values& values) {
        std::memcpy(tile + f * width + v * lanes, &values, sizeof values);
    };
#if defined(LAB_TRANSPOSES)
    constexpr Index size = Block<S>::size;
    if (d >= size) {
        for (Index f = 0; f < d; f += size) {
            // The last block overlaps the one before: nothing beyond a row is read.
            const Index from = std::min(f, d - size), old = f - from;
            rows.fetch(width, f, size);
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                typename Block<S>::Values blocks[lanes];
                LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                    blocks[l] = read.block(rows[v * lanes + l], from);
                }
                Values across[size];
                transpose<S>(blocks, across);
                Values added{};  // by itself: no block waits for the one before
                LAB_UNROLL for (Index q = 0; q < size; ++q) {
                    if (q < old) continue;
                    put(from + q, v, across[q]);
                    added += across[q] * across[q];
                }
                squares[v] += added;
            }
        }
        return;
    }
#endif
    for (Index f = 0; f < d; ++f) {
        for (Index i = 0; i < width; ++i) tile[f * width + i] = read.value(rows[i], f);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Values values;
            std::memcpy(&values, tile + f * width + v * lanes, sizeof values);
            squares[v] += values * values;
        }
    }
}
template <typename S, int vectors, typename T, typename List>
LAB_INLINE void spread_rows(const List& rows, const Origin<T>& origin, double scale, Index d,
                            S* tile, typename Lanes<S>::Values* squares) {
    spread_rows<S, vectors>(rows, Moved<S, T>{origin, T(scale)}, d, tile, squares);
}

// Score the rows of a tile against all panels.
template <typename S, int vectors, int panel>
LAB_INLINE void score_rows(const S* tile, const Panels<S>& panels, Best<S, vectors>& all) {
    constexpr int width = vectors * Lanes<S>::lanes;
    for (Index j = 0; j < panels.padded; j += panel) {
        const Packed<S, panel> from{panels.packed.data() + j * panels.d, panels.squares.data() + j,
                                    j};
        score_panel<S, vectors, width, panel>(tile, from, panels.d, all);
    }
}

// How far apart the two best scores of rows must be at least.
template <typename S>
LAB_INLINE typename Lanes<S>::Values tolerance(const Panels<S>& panels,
                                               const typename Lanes<S>::Values& squares) {
    return panels.least + panels.rate * squares;
}

// Whether rows are to be decided by differences: also those with a score that is not a number.
template <typename S, int vectors>
LAB_INLINE typename Lanes<S>::Integers near_ties(const Best<S, vectors>& all,
                                                 const Panels<S>& panels,
                                                 const typename Lanes<S>::Values& squares, int v) {
    return opposite(all.second[v] - all.best[v] > tolerance<S>(panels, squares));
}

// Add the squared differences of rows and centers, pair by pair, to `vectors` times as many sums as
// there are lanes: in the order of the features, each square rounded. `relative`: rows are taken
// relative to the origin. `fetch` asks for what is read next, so many values of a row at a time.
template <int vectors, bool relative, typename T, typename Row, typename Center, typename Fetch>
LAB_INLINE void add_squares(const Row& row, const Center& center, const T* origin, Index d,
                            const Fetch& fetch, typename Lanes<double>::Values* sums) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    if (d < lanes) {
        for (Index f = 0; f < d; ++f) {
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                alignas(64) double squares[lanes];
                LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                    const T x = row(v * lanes + l)[f];
                    const double diff =
                        double(relative ? T(x - origin[f]) : x) - double(center(v * lanes + l)[f]);
                    squares[l] = rounded(diff * diff);
                }
                sums[v] += *reinterpret_cast<const Values*>(squares);
            }
        }
        return;
    }
    for (Index f = 0; f < d; f += lanes) {
        // The last block overlaps the one before: nothing beyond a row is read.
        const Index from = std::min(f, d - lanes), old = f - from;
        typename Lanes<T>::Few middle{};
        if (relative) std::memcpy(&middle, origin + from, sizeof middle);
        fetch(f, lanes);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Values squares[lanes];
            LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                typename Lanes<T>::Few x, c;
                std::memcpy(&x, row(v * lanes + l) + from, sizeof x);
                std::memcpy(&c, center(v * lanes + l) + from, sizeof c);
                if (relative) x -= middle;
                squares[l] = rounded_square(convert<Values>(x) - convert<Values>(c));
            }
            turn(squares);
            LAB_UNROLL for (int q = 0; q < lanes; ++q) {
                if (q >= old) sums[v] += squares[q];
            }
        }
    }
}

// The nearest center by the reference's arithmetic, as Work::rescore finds it, to the last bit.
template <typename T>
LAB_INLINE std::int32_t nearest_directly(const T* row, const Origin<T>& origin,
                                         const DirectCenters& centers) {
    using Values = typename Lanes<double>::Values;
    using Integers = typename Lanes<double>::Integers;
    constexpr int lanes = Lanes<double>::lanes, group = int(DirectCenters::kGroup);
    constexpr int vectors = group / lanes;
    Values best = std::numeric_limits<double>::infinity() - Values{};
    Integers index{}, ids{};
    const double* center = centers.packed.data();
    for (Index j = 0; j < centers.padded; j += group) {
        Values sums[vectors] = {};
        for (Index f = 0; f < centers.d; ++f, center += group) {
            const Values x = origin.row(row, f) - Values{};
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                sums[v] += rounded_square(x - *reinterpret_cast<const Values*>(center + v * lanes));
            }
        }
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Integers less = sums[v] < best;  // the first of equals stays
            best = less ? sums[v] : best;
            index = less ? ids + (j + v * lanes) : index;
        }
    }
    double least = lane(best, 0);
    std::int64_t label = lane(index, 0);
    for (int l = 1; l < lanes; ++l) {
        const double own = lane(best, l);
        const std::int64_t mine = lane(index, l) + l;
        if (own < least || (own == least && mine < label)) {
            least = own;
            label = mine;
        }
    }
    return std::int32_t(label);
}

}  // namespace LAB_ISA
}  // namespace lab
