// Centers of sparse rows that are seen once, in batches: column by column, so that lanes are
// centers. Each lane does what the reference does, in the same order, and finds the same bits.

#ifndef LAB_ISA
#error "columns-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr int kCentersAbreast = 8;  // vectors of centers whose products are added up in registers

// The least score so far of each lane, and whose it is.
struct NearestLanes {
    using Values = Lanes<double>::Values;
    using Integers = Lanes<double>::Integers;
    static constexpr int lanes = Lanes<double>::lanes;

    Values best = std::numeric_limits<double>::infinity() - Values{};
    Integers index{};

    LAB_MEMBER void take(const Values& score, Index first) {
        const Integers less = score < best;
        best = less ? score : best;
        index = less ? first - Integers{} : index;
    }
    // The first of the least of all lanes: its score and its number.
    LAB_MEMBER double least(Index& label) const {
        double least = lane(best, 0);
        label = Index(lane(index, 0));
        for (int l = 1; l < lanes; ++l) {
            const double own = lane(best, l);
            const Index mine = Index(lane(index, l)) + l;
            if (own < least || (own == least && mine < label)) {
                least = own;
                label = mine;
            }
        }
        return least;
    }
};

// The values that begin here, wherever that is, as doubles.
template <typename T>
LAB_INLINE Lanes<double>::Values doubles_of(const T* values) {
    typename Lanes<T>::Few few;
    std::memcpy(&few, values, sizeof few);
    return convert<Lanes<double>::Values>(few);
}

// Add the scores of `vectors` times as many centers as there are lanes, from center j on.
template <int vectors, typename T>
LAB_INLINE void score_columns(const SparseRows<T>& rows, Index i, const CenterColumns<T>& centers,
                              Index j, NearestLanes& nearest) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Values dots[vectors] = {};
    for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
        const T* column = centers.values + rows.indices[p] * centers.k + j;
        const double x = double(rows.data[p]);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Values product = doubles_of(column + v * lanes) * x;
            LAB_HIDE(product);  // rounded before it is added
            dots[v] += product;
        }
    }
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        const Values square = doubles_of(centers.squares + j + v * lanes);
        nearest.take(square - 2.0 * dots[v], j + v * lanes);
    }
}

// Label rows from `first` to before `last`, and add their squared distances to the inertia.
template <typename T>
void assign_columns(const SparseRows<T>& rows, Index first, Index last,
                    const CenterColumns<T>& centers, std::int32_t* labels, double& inertia) {
    constexpr int lanes = Lanes<double>::lanes;
    for (Index i = first; i < last; ++i) {
        NearestLanes nearest;
        Index j = 0;
        for (; j + kCentersAbreast * lanes <= centers.k; j += kCentersAbreast * lanes) {
            score_columns<kCentersAbreast>(rows, i, centers, j, nearest);
        }
        for (; j + lanes <= centers.k; j += lanes) score_columns<1>(rows, i, centers, j, nearest);
        Index label;
        double best = nearest.least(label), square = 0;
        for (Index rest = j; rest < centers.k; ++rest) {
            double dot = 0;
            for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
                dot += rounded(double(rows.data[p]) *
                               double(centers.values[rows.indices[p] * centers.k + rest]));
            }
            const double score = centers.squares[rest] - 2 * dot;
            if (score < best) {
                best = score;
                label = rest;
            }
        }
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            square += rounded(double(rows.data[p]) * double(rows.data[p]));
        }
        labels[i] = std::int32_t(label);
        inertia += std::max(best + square, 0.0);
    }
}

// Go on with ‖c‖² of each center by some features, in their order.
template <typename T>
void add_column_squares(const T* values, Index n_features, Index k, double* squares) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    for (Index f = 0; f < n_features; ++f, values += k) {
        Index j = 0;
        for (; j + lanes <= k; j += lanes) {
            const Values value = doubles_of(values + j);
            const Values sum = doubles_of(squares + j) + rounded_square(value);
            std::memcpy(squares + j, &sum, sizeof sum);
        }
        for (; j < k; ++j) squares[j] += rounded(double(values[j]) * double(values[j]));
    }
}

// Make means of the sums of some features, where a center has any mass; scaled, where there are
// lengths to divide them by.
template <typename T, bool scales>
LAB_INLINE void mean_columns(const ColumnSums& of, Index f, Index k, T* values) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const double* sums = of.sums + f * k;
    Index j = 0;
    for (; j + lanes <= k; j += lanes) {
        const Values count = doubles_of(of.mass + j);
        Values mean = doubles_of(sums + j) / count;
        if (scales) mean /= doubles_of(of.lengths + j);
        mean = count > 0 ? mean : doubles_of(values + j);
        const auto few = convert<typename Lanes<T>::Few>(mean);
        std::memcpy(values + j, &few, sizeof few);
    }
    for (; j < k; ++j) {
        const double mean = sums[j] / of.mass[j];
        if (of.mass[j] > 0) values[j] = T(scales ? mean / of.lengths[j] : mean);
    }
}
template <typename T>
void mean_columns(const ColumnSums& of, Index first, Index last, Index k, T* values) {
    for (Index f = first; f < last; ++f, values += k) {
        of.lengths ? mean_columns<T, true>(of, f, k, values)
                   : mean_columns<T, false>(of, f, k, values);
    }
}

// Add the squares of the means of some features, each to the sum of its place among kSides.
inline void add_mean_squares(const ColumnSums& of, Index first, Index last, Index k,
                             double* squares) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    for (Index f = first; f < last; ++f) {
        const double* sums = of.sums + f * k;
        double* to = squares + f % kSides * k;
        Index j = 0;
        for (; j + lanes <= k; j += lanes) {
            const Values mean = doubles_of(sums + j) / doubles_of(of.mass + j);
            const Values sum = doubles_of(to + j) + rounded_square(mean);
            std::memcpy(to + j, &sum, sizeof sum);
        }
        for (; j < k; ++j) {
            const double mean = sums[j] / of.mass[j];
            to[j] += rounded(mean * mean);
        }
    }
}

// Write the squared distances of all rows to some points, from point `first` on and as many as
// fill `vectors`: the values of a feature of all points lie together, in a place that `places`
// tells.
template <int vectors, typename T>
LAB_INLINE void measure_some(const SparseRows<T>& rows, const SparsePoints& points, Index first,
                             double* out) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const double* values = points.values.data() + first;
    const Index stride = points.stride, many = std::min(Index(vectors * lanes), points.n - first);
    for (Index i = 0; i < rows.n_samples; ++i) {
        Values apart[vectors] = {}, shared[vectors] = {};
        for (Index p = rows.first(i), end = p + rows.size(i); p < end; ++p) {
            const double x = double(rows.data[p]);
            const double* theirs = values + points.places[std::size_t(rows.indices[p])] * stride;
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const Values value = doubles_of(theirs + v * lanes);
                apart[v] += rounded_square(x - value);
                shared[v] += rounded_square(value);
            }
        }
        double squares[vectors * lanes];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Values norm = doubles_of(points.squares.data() + first + v * lanes);
            const Values rest = norm - shared[v];
            const Values all = apart[v] + (rest > Values{} ? rest : Values{});
            std::memcpy(squares + v * lanes, &all, sizeof all);
        }
        for (Index q = 0; q < many; ++q) out[(first + q) * rows.n_samples + i] = squares[q];
    }
}
template <typename T>
void measure_points(const SparseRows<T>& rows, const SparsePoints& points, double* out) {
    constexpr int lanes = Lanes<double>::lanes;
    Index q = 0;
    for (; q + lanes < points.n; q += 2 * lanes) measure_some<2>(rows, points, q, out);
    if (q < points.n) measure_some<1>(rows, points, q, out);
}

template <typename T>
constexpr ColumnRoutines<T> column_routines() {
    return {assign_columns<T>, add_column_squares<T>, mean_columns<T>, add_mean_squares,
            measure_points<T>};
}

}  // namespace LAB_ISA
}  // namespace lab
