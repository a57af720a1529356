// The first look at rows: magnitudes of an array, moments of its columns; of rows that are
// prepared, the range of their columns and their lengths. Included once per instruction set, after
// vectors-inl.h and rows-inl.h.

#ifndef LAB_ISA
#error "measure-inl.h is for routines-inl.h to include, once per instruction set"
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

LAB_INLINE Lanes<double>::Values magnitude(const Lanes<double>::Values& values) {
    Lanes<double>::Integers bits;
    std::memcpy(&bits, &values, sizeof bits);
    bits &= std::numeric_limits<std::int64_t>::max();
    Lanes<double>::Values sizes;
    std::memcpy(&sizes, &bits, sizeof sizes);
    return sizes;
}

// A few rows at a time are copied, one after the other as memory likes it, to a tile that stays in
// the first cache: so many features of each, a vector in each place. Where the last vector of a row
// is not full, it begins earlier and has some values of the one before; where a row is shorter than
// a vector, zeros follow it.
struct MeasuredTile {
    static constexpr int lanes = Lanes<double>::lanes, vectors = lanes > 1 ? 2 : 8;
    static constexpr int rows = vectors * lanes;
    static constexpr Index kFeatures = 128;

    using Values = Lanes<double>::Values;

    alignas(64) double values[rows * kFeatures];
    Index n = 0;  // features of a row

    // The feature with which the vector at a place begins.
    static Index first_of(Index place, Index n) {
        return std::max(std::min(place, n - lanes), Index(0));
    }
    // The place of a feature of so many.
    static Index place_of(Index f, Index n) {
        const Index begin = (n - 1) / kFeatures * kFeatures, mine = n - begin;
        const Index whole = begin + mine / lanes * lanes;
        return f < whole || mine < lanes ? f : f + whole + lanes - n;
    }

    Values& at(int row, Index place) {
        return *reinterpret_cast<Values*>(values + row * kFeatures + place);
    }

    // Take the features of a row, less the middle.
    template <typename T>
    LAB_MEMBER void take(int row, const T* x, const T* middle) {
        using Few = typename Lanes<T>::Few;
        if (n < lanes) {
            double* to = values + row * kFeatures;
            for (Index f = 0; f < lanes; ++f) to[f] = f < n ? double(T(x[f] - middle[f])) : 0.0;
            return;
        }
        for (Index place = 0; place < n; place += lanes) {
            const Index f = first_of(place, n);
            Few some, from;
            std::memcpy(&some, x + f, sizeof some);
            std::memcpy(&from, middle + f, sizeof from);
            at(row, place) = convert<Values>(Few(some - from));
        }
    }

    // Widen the range of each place by the values of all rows, times their weights.
    template <bool weighted>
    LAB_MEMBER void widen(const double* weights, double* most, double* least) {
        const Values none = std::numeric_limits<double>::infinity() - Values{};
        for (Index place = 0; place < n; place += lanes) {
            Values& high = *reinterpret_cast<Values*>(most + place);
            Values& low = *reinterpret_cast<Values*>(least + place);
            Values highs[vectors], lows[vectors];
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                highs[v] = high;
                lows[v] = low;
                LAB_UNROLL for (int l = v; l < rows; l += vectors) {
                    Values value = at(l, place);
                    if (weighted) value *= weights[l];
                    const Values size = magnitude(value), counted = size > Values{} ? size : none;
                    highs[v] = size > highs[v] ? size : highs[v];
                    lows[v] = counted < lows[v] ? counted : lows[v];
                }
            }
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                high = highs[v] > high ? highs[v] : high;
                low = lows[v] < low ? lows[v] : low;
            }
        }
    }

    // Add the squares of each row to its sum, feature by feature, each rounded.
    LAB_MEMBER void add_squares_to(double* sums) {
        Values all[vectors];
        std::memcpy(all, sums, sizeof all);
        for (Index place = 0; place < n; place += lanes) {
            const Index old = place - first_of(place, n);
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                Values block[lanes];
                LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                    block[l] = rounded_square(at(v * lanes + l, place));
                }
                turn(block);
                LAB_UNROLL for (int q = 0; q < lanes; ++q) {
                    if (q >= old) all[v] += block[q];
                }
            }
        }
        std::memcpy(sums, all, sizeof all);
    }
};

// Widen the range of a column by its largest and least magnitudes.
LAB_INLINE void widen(Range<double>& range, Index column, double most, double least) {
    double& high = range.most[column * range.lanes];
    double& low = range.least[column * range.lanes];
    high = std::max(high, most);
    low = std::min(low, least);
}

// Look at the rows of a part.
template <typename T>
void measure_rows(const RowWork<T>& work, const Part& part, Measured& to) {
    constexpr int rows = MeasuredTile::rows;
    const Index d = work.d, padded = (d + 7) / 8 * 8;
    MeasuredTile tile;
    Aligned<double> ends;
    ends.resize(2 * padded);
    double *most = ends.data(), *least = most + padded;
    std::fill_n(most, padded, 0.0);
    std::fill_n(least, padded, std::numeric_limits<double>::infinity());
    double squares[ExactSum::kTogether];
    Index n_squares = 0;
    for (Index first = part.first; first < part.last; first += rows) {
        if ((first - part.first) % 1024 == 0 && work.interrupt->came()) return;
        const int n = int(std::min(Index(rows), part.last - first));
        double sums[rows] = {}, weights[rows] = {};
        if (work.weights) std::copy_n(work.weights + first, n, weights);
        for (Index from = 0; from < d; from += tile.kFeatures) {
            const Index some = std::min(tile.kFeatures, d - from);
            tile.n = some;
            for (int l = 0; l < rows; ++l) {  // the last one again, to fill the tile
                const T* x = work.given.rows + (first + std::min(l, n - 1)) * d;
                tile.take(l, x + from, work.given.middle + from);
            }
            if (work.weights) {
                tile.template widen<true>(weights, most + from, least + from);
            } else {
                tile.template widen<false>(weights, most + from, least + from);
            }
            tile.add_squares_to(sums);
        }
        for (int l = 0; l < n; ++l) {
            to.longest = std::max(to.longest, sums[l]);
            squares[n_squares++] = work.weights ? sums[l] * weights[l] : sums[l];
            if (work.weights) {
                const double least_weight =
                    weights[l] > 0 ? weights[l] : std::numeric_limits<double>::infinity();
                widen(to.range, d, weights[l], least_weight);
            }
        }
        if (n_squares + rows > ExactSum::kTogether || first + rows >= part.last) {
            add_exactly(to.squares, squares, n_squares);
            n_squares = 0;
        }
    }
    for (Index f = 0; f < d; ++f) {
        const Index place = MeasuredTile::place_of(f, d);
        widen(to.range, f, most[place], least[place]);
    }
}

// Widen the range of the columns of a vector by n rows, which lie d values apart, less the middle.
template <typename T>
LAB_INLINE void range_columns(const T* x, Index n, Index d, const T* middle, double* most,
                              double* least) {
    using Values = Lanes<double>::Values;
    constexpr Index side = 2;
    const Values none = std::numeric_limits<double>::infinity() - Values{};
    typename Lanes<T>::Few at;
    std::memcpy(&at, middle, sizeof at);
    Values high[side], low[side];
    LAB_UNROLL for (Index q = 0; q < side; ++q) {
        std::memcpy(&high[q], most, sizeof high[q]);
        std::memcpy(&low[q], least, sizeof low[q]);
    }
    const auto widen = [&](Index q) {
        typename Lanes<T>::Few some;
        std::memcpy(&some, x, sizeof some);
        some -= at;
        const Values value = magnitude(convert<Values>(some));
        const Values counted = value > Values{} ? value : none;
        high[q] = value > high[q] ? value : high[q];
        low[q] = counted < low[q] ? counted : low[q];
        x += d;
    };
    Index i = 0;
    for (; i + side <= n; i += side) {
        LAB_UNROLL for (Index q = 0; q < side; ++q) widen(q);
    }
    if (i < n) widen(0);
    LAB_UNROLL for (Index q = 1; q < side; ++q) {
        high[0] = high[q] > high[0] ? high[q] : high[0];
        low[0] = low[q] < low[0] ? low[q] : low[0];
    }
    std::memcpy(most, &high[0], sizeof high[0]);
    std::memcpy(least, &low[0], sizeof low[0]);
}

// Widen the range of each column by the rows of a part, less the middle: a vector of columns after
// the other, of as many rows as stay in the first cache.
template <typename T>
void range_rows(const RowWork<T>& work, const Part& part, Range<double>& to) {
    constexpr Index lanes = Lanes<double>::lanes, kept = 1024;
    const Index d = work.d, size = std::max(d, lanes), step = std::max(Index(8), kept / d);
    std::vector<double> most(size, 0.0), least(size, std::numeric_limits<double>::infinity());
    // The rows behind have a copy, so that more than a row may be read.
    const Index behind = std::clamp(work.first_last, part.first, part.last);
    for (Index first = part.first; first < part.last;) {
        if (work.interrupt->came()) return;
        const Index n = std::min(step, (first < behind ? behind : part.last) - first);
        const Following<T> rows{work.followed(first), d};
        for (Index f = 0; f < d; f += lanes) {
            const Index from = std::max(std::min(f, d - lanes), Index(0));
            rows.fetch(n, f, lanes);  // no processor guesses this order
            range_columns(rows.first + from, n, d, work.given.middle + from, most.data() + from,
                          least.data() + from);
        }
        first += n;
    }
    for (Index f = 0; f < d; ++f) widen(to, f, most[f], least[f]);
}

}  // namespace LAB_ISA
}  // namespace lab
