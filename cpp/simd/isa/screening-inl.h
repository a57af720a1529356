// Screening of the seeding: bounds of squared distances from products of 16-bit numbers, and the
// distances of rows that they do not rule out. Included once per instruction set, after
// vectors-inl.h.

#ifndef LAB_ISA
#error "screening-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr int kScreenVectors = 2;  // of rows, in a tile
constexpr int kScreenWidth = kScreenVectors * Lanes<float>::lanes;
constexpr Index kScreenBatch = 512;  // rows whose candidates are listed before they are measured
constexpr double kWhole = 0x1.8p52;  // added to a small number, it rounds that to a whole one

LAB_INLINE Lanes<float>::Values values_at(const Aligned<float>& values, Index i) {
    return *reinterpret_cast<const Lanes<float>::Values*>(values.data() + i);
}

// Copy rows from `first`, which begins a tile, to before `last`.
template <typename T>
void copy_rows(const Given<T>& given, Screen& screen, Index first, Index last) {
    const Index d = screen.d;
    std::vector<double> values(2 * screen.n_pairs);
    std::vector<std::int32_t> whole(2 * screen.n_pairs);
    for (Index i = first; i < last; ++i) {
        double sums[4] = {};
        for (Index f = 0; f < d; ++f) {
            values[f] = (double(given.at(i, f)) - screen.origin[f]) * screen.unit;
        }
        for (Index f = 0; f < 2 * screen.n_pairs; ++f) sums[f % 4] += values[f] * values[f];
        const double length = std::sqrt(sums[0] + sums[1] + sums[2] + sums[3]);
        const bool usual = length < kLongest;
        const float scale = usual ? float(length / screen.length())
                                  : std::numeric_limits<float>::infinity();  // measured always
        const bool zero = !usual || double(scale) < kShortest;
        const double inverse = zero ? 0 : 1 / double(scale);
        if (!usual) std::fill(values.begin(), values.end(), 0.0);
        std::int64_t square = 0;
        for (Index f = 0; f < 2 * screen.n_pairs; ++f) {
            whole[f] = std::int32_t((values[f] * inverse + kWhole) - kWhole);
            square += std::int64_t(whole[f]) * std::int64_t(whole[f]);
        }
        std::int32_t* pairs = screen.tiles.data() +
                              i / kScreenWidth * kScreenWidth * screen.n_pairs + i % kScreenWidth;
        for (Index p = 0; p < screen.n_pairs; ++p) {
            pairs[p * kScreenWidth] = Screen::pair(whole[2 * p], whole[2 * p + 1]);
        }
        const double s = usual && zero ? 0 : double(scale);
        screen.scale[i] = float(s);
        screen.square[i] = float(s * s * double(square) * (1 - kRounding));
    }
}

// Bound the squared distances of the copies of a tile, the first of whose rows is `row`, to those
// of a group of candidates from `c` on. Unless all are too far, call `take` with each candidate,
// each vector of rows, their bounds and which of them are too far.
template <int group, typename Take>
LAB_INLINE void screen_tile(const Screen& screen, const Screened& candidates, Index c, Index row,
                            const Take& take) {
    using Values = Lanes<float>::Values;
    using Integers = Lanes<float>::Integers;
    constexpr int lanes = Lanes<float>::lanes, vectors = kScreenVectors;
    const std::int32_t* rows = screen.tiles.data() + row * screen.n_pairs;
    const std::int32_t* pairs = candidates.pairs.data() + c;
    Integers products[group][vectors] = {};
    for (Index p = 0; p < screen.n_pairs; ++p, rows += kScreenWidth, pairs += candidates.count) {
        LAB_UNROLL for (int g = 0; g < group; ++g) {
            const Integers pair = pairs[g] - Integers{};
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const auto& own = *reinterpret_cast<const Integers*>(rows + v * lanes);
                products[g][v] += pair_products(own, pair);
            }
        }
    }
    Values bounds[group][vectors];
    Integers far[group][vectors];
    Integers all = opposite(Integers{});
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const Values scale = values_at(screen.scale, row + v * lanes);
        const Values square = values_at(screen.square, row + v * lanes);
        const Values reach = values_at(screen.reach, row + v * lanes);
        const Integers forgotten = square >= Screen::kForgotten;
        LAB_UNROLL for (int g = 0; g < group; ++g) {
            const Values least = reach + candidates.error[c + g];
            bounds[g][v] = (square + candidates.square[c + g]) -
                           scale * candidates.twice[c + g] * convert<Values>(products[g][v]);
            // The bound of a candidate beyond kLongest is not a number, and never too far; but
            // behind the last row there is nothing to be measured.
            far[g][v] = (bounds[g][v] >= least * least) | forgotten;
            all &= far[g][v];
        }
    }
    if (bits_of<float>(opposite(all)) == 0) return;
    LAB_UNROLL for (int g = 0; g < group; ++g) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            take(c + g, row + v * lanes, bounds[g][v], far[g][v]);
        }
    }
}

template <typename Take>
LAB_INLINE void screen_rows(const Screen& screen, const Screened& candidates, Index first,
                            Index last, const Take& take) {
    const Index count = candidates.count;
    for (Index row = first; row < last; row += kScreenWidth) {
        if (candidates.bits != 0 && (screen.near[row / kScreenWidth] & candidates.bits) == 0) {
            continue;
        }
        Index c = 0;
        for (; c + 3 < count; c += 4) screen_tile<4>(screen, candidates, c, row, take);
        for (; c + 1 < count; c += 2) screen_tile<2>(screen, candidates, c, row, take);
        if (c < count) screen_tile<1>(screen, candidates, c, row, take);
    }
}

// By about how much each candidate would lower the sum of a chunk's squared distances, and how
// wrong that may be, in units; and to which tiles it is near. With t more than the
// distance of the copies, and e the errors of these, a square is as wrong as 2te + e², where e ≤ t,
// and the rounding of float32: of the squares of row and candidate, and of the row's distance.
inline void estimate_screened(const Screened& candidates, Index first, Index last, Screen& screen,
                              double* gains, double* errors) {
    using Values = Lanes<float>::Values;
    constexpr float rounding = float(kRounding);
    const float half = float(screen.half);
    std::fill_n(gains, candidates.count, 0.0);
    std::fill_n(errors, candidates.count, 0.0);
    for (Index begin = first; begin < last; begin += kScreenBatch) {
        const Index end = std::min(begin + kScreenBatch, last);
        for (Index row = begin; row < end; row += kScreenWidth) screen.near[row / kScreenWidth] = 0;
        Values gain[kMostCandidates] = {}, error[kMostCandidates] = {};
        screen_rows(
            screen, candidates, begin, end,
            [&](Index c, Index row, const Values& bound, const Lanes<float>::Integers& far) {
                const Values own = values_at(screen.scale, row) * half;
                const Values reach = values_at(screen.reach, row);
                const Values squares = values_at(screen.square, row) + candidates.square[c];
                const Values t = reach + candidates.error[c], e = own + candidates.error[c];
                const Values less = (reach - own) * (reach - own) - bound;
                const Values wrong = t * (3 * e + 8 * rounding * t) + 8 * rounding * squares;
                gain[c] += less > 0 ? less : Values{};
                error[c] += far ? Values{} : wrong;
                const std::uint32_t any = bits_of<float>(opposite(far)) != 0;
                screen.near[row / kScreenWidth] |= any << c;
            });
        for (Index c = 0; c < candidates.count; ++c) {
            for (int l = 0; l < Lanes<float>::lanes; ++l) {
                gains[c] += double(lane(gain[c], l));
                errors[c] += double(lane(error[c], l));
            }
        }
    }
}

// Rows that are near to each candidate, of one batch.
struct Near {
    std::uint16_t rows[kMostCandidates][kScreenBatch];  // after the first of the batch
    Index counts[kMostCandidates];
};

// Features of a row from f on, in double.
template <typename T>
LAB_INLINE Lanes<double>::Values features_of(const Given<T>& given, Index row, Index f) {
    typename Lanes<T>::Few values, middle;
    std::memcpy(&values, given.rows + row * given.d + f, sizeof(values));
    std::memcpy(&middle, given.middle + f, sizeof(middle));
    return convert<Lanes<double>::Values>(values - middle);
}

// Squared distances of rows to a candidate, the same bits as meet_rows computes: lanes are features
// first; the squares are turned, so that lanes are rows when they are added.
template <typename T, int vectors>
LAB_INLINE void measure(const Given<T>& given, const Index* rows, const double* candidate,
                        Lanes<double>::Values* sums) {
    using Doubles = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Index f = 0;
    for (; f + lanes <= given.d; f += lanes) {
        Doubles point;
        std::memcpy(&point, candidate + f, sizeof(point));
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Doubles squares[lanes];
            LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                squares[l] = rounded_square(features_of(given, rows[v * lanes + l], f) - point);
            }
            turn(squares);
            LAB_UNROLL for (int l = 0; l < lanes; ++l) sums[v] += squares[l];
        }
    }
    for (; f < given.d; ++f) {
        for (int v = 0; v < vectors; ++v) {
            double values[lanes];
            for (int l = 0; l < lanes; ++l) values[l] = double(given.at(rows[v * lanes + l], f));
            Doubles column;
            std::memcpy(&column, values, sizeof(column));
            sums[v] += rounded_square(column - candidate[f]);
        }
    }
}

// Call `take` with each row that a candidate is nearer to than its center, and the new square.
template <typename T, typename Take>
LAB_INLINE void measure_near(const Given<T>& given, const Screen& screen, Index begin,
                             const std::uint16_t* rows, Index n, const double* candidate,
                             const Take& take) {
    constexpr int lanes = Lanes<double>::lanes, vectors = 2, together = vectors * lanes;
    for (Index i = 0; i < n; i += together) {
        Index some[together];
        for (int l = 0; l < together; ++l) some[l] = begin + rows[std::min(i + l, n - 1)];
        Lanes<double>::Values sums[vectors] = {};
        measure<T, vectors>(given, some, candidate, sums);
        for (int l = 0; l < together && i + l < n; ++l) {
            const double squared = lane(sums[l / lanes], l % lanes);
            if (squared < screen.nearest[some[l]]) take(some[l], squared);
        }
    }
}

// Ask for the first features of a row, which is about to be measured; the processor sees by itself
// where that leads. Rows lie here and there: 1.5 × without.
template <typename T>
LAB_INLINE void fetch(const T* row, Index d) {
    constexpr Index line = 64 / Index(sizeof(T));
    for (Index f = 0; f < std::min(d, 8 * line); f += line) LAB_PREFETCH(row + f);
}

// Call `take` with each candidate and each row of a chunk that it is nearer to, and the new square.
template <typename T, typename Take>
LAB_INLINE void meet_screened(const Given<T>& given, const Screen& screen,
                              const Screened& candidates, Index first, Index last,
                              const Take& take) {
    Near near;
    for (Index begin = first; begin < last; begin += kScreenBatch) {
        std::fill_n(near.counts, candidates.count, 0);
        screen_rows(screen, candidates, begin, std::min(begin + kScreenBatch, last),
                    [&](Index c, Index row, const Lanes<float>::Values&,
                        const Lanes<float>::Integers& far) {
                        std::uint32_t bits = bits_of<float>(opposite(far));
                        for (Index& n = near.counts[c]; bits != 0; bits &= bits - 1) {
                            const Index i = row + LAB_LOWEST_BIT(bits);
                            near.rows[c][n++] = std::uint16_t(i - begin);
                            fetch(given.rows + i * given.d, given.d);
                        }
                    });
        for (Index c = 0; c < candidates.count; ++c) {
            measure_near(given, screen, begin, near.rows[c], near.counts[c],
                         candidates.values.data() + c * screen.d,
                         [&](Index row, double squared) { take(c, row, squared); });
        }
    }
}

// By how much each candidate would lower the sum of a chunk's distances, in steps.
template <typename T>
void try_screened(const Given<T>& given, const Screen& screen, const Screened& candidates,
                  Index first, Index last, std::int64_t* gains) {
    const Grid grid = screen.grid;
    std::fill_n(gains, candidates.count, 0);
    meet_screened(given, screen, candidates, first, last, [&](Index c, Index row, double squared) {
        gains[c] += grid.steps(screen.nearest[row]) - grid.steps(squared);
    });
}

// Add the one candidate to the centers of a chunk's rows for good; return the same.
template <typename T>
std::int64_t keep_screened(const Given<T>& given, const Screened& candidate, Index first,
                           Index last, Screen& screen) {
    std::int64_t gain = 0;
    const Grid grid = screen.grid;
    meet_screened(given, screen, candidate, first, last, [&](Index, Index row, double squared) {
        const double before = screen.nearest[row];
        if (std::isfinite(before)) gain += grid.steps(before) - grid.steps(squared);
        screen.lower(row, squared);
    });
    return gain;
}

// The sum of a chunk's distances, in steps.
inline std::int64_t sum_screened(const Screen& screen, Index first, Index last) {
    std::int64_t sum = 0;
    const Grid grid = screen.grid;
    for (Index i = first; i < last; ++i) sum += grid.steps(screen.nearest[i]);
    return sum;
}

template <typename T>
constexpr Screening<T> screening() {
    return {copy_rows<T>,     estimate_screened, try_screened<T>,
            keep_screened<T>, sum_screened,      kScreenWidth};
}

}  // namespace LAB_ISA
}  // namespace lab
