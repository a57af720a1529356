// Distances of all rows to all centers. Included once per instruction set, after rows-inl.h.
//
// Lanes are centers, so that a row's distances are written side by side. Differences are squared
// and added in the order of the features, unfused, wherever the smallest distance is in question:
// it is that of the label.

#ifndef LAB_ISA
#error "distances-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Write the lanes of a vector, or as many as there are places left.
template <typename T>
LAB_INLINE void write_lanes(const Lanes<double>::Values& values, T* to, Index left) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    if (left >= lanes) {
        const auto few = convert<typename Lanes<T>::Few>(values);
        std::memcpy(to, &few, sizeof few);
        return;
    }
    alignas(64) double spilled[lanes];
    std::memcpy(spilled, &values, sizeof(Values));
    for (Index l = 0; l < left; ++l) to[l] = T(spilled[l]);
}

// Distances of some rows to the centers of some vectors.
template <int rows, int vectors, typename T>
LAB_INLINE void measure_block(const T* x, Index d, const double* center, T* to, Index k,
                              Index left) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes, group = int(DirectCenters::kGroup);
    Values sums[rows][vectors];
    LAB_UNROLL for (int r = 0; r < rows; ++r) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[r][v] = Values{};
    }
    for (Index f = 0; f < d; ++f) {
        Values c[vectors];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            c[v] = *reinterpret_cast<const Values*>(center + f * group + v * lanes);
        }
        LAB_UNROLL for (int r = 0; r < rows; ++r) {
            const Values value = double(x[r * d + f]) - Values{};
            LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[r][v] += rounded_square(value - c[v]);
        }
    }
    LAB_UNROLL for (int r = 0; r < rows; ++r) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            write_lanes(square_roots<double>(sums[r][v]), to + r * k + v * lanes, left - v * lanes);
        }
    }
}

template <int rows, typename T>
LAB_INLINE void measure_rows(const T* x, const DirectCenters& centers, T* to) {
    constexpr int lanes = Lanes<double>::lanes, group = int(DirectCenters::kGroup);
    const Index d = centers.d, k = centers.n_clusters;
    constexpr int at_once = 2;
    for (Index j = 0; j < k; j += at_once * lanes) {
        const double* center = centers.packed.data() + j / group * group * d + j % group;
        if (k - j > lanes) {
            measure_block<rows, at_once>(x, d, center, to + j, k, k - j);
        } else {
            measure_block<rows, 1>(x, d, center, to + j, k, k - j);
        }
    }
}

// Write the distances of these rows to all centers.
template <typename T>
void measure_rows(const T* x, Index n, const DirectCenters& centers, T* to) {
    constexpr int rows = 4;
    Index i = 0;
    for (; i + rows <= n; i += rows) {
        measure_rows<rows>(x + i * centers.d, centers, to + i * centers.n_clusters);
    }
    for (; i < n; ++i) measure_rows<1>(x + i * centers.d, centers, to + i * centers.n_clusters);
}

// A row relative to the origin and scaled as the panels are; returns its squared length.
template <typename T>
LAB_INLINE double move_row(const T* x, const Origin<T>& origin, double scale, Index d, double* to) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Values sums{};
    Index f = 0;
    for (; f + lanes <= d; f += lanes) {
        typename Lanes<T>::Few value, at;
        std::memcpy(&value, x + f, sizeof value);
        std::memcpy(&at, origin.at + f, sizeof at);
        const Values moved = (convert<Values>(value) - convert<Values>(at)) * scale;
        std::memcpy(to + f, &moved, sizeof moved);
        sums += moved * moved;
    }
    double square = 0;
    for (; f < d; ++f) {
        to[f] = (double(x[f]) - double(origin.at[f])) * scale;
        square += to[f] * to[f];
    }
    for (int l = 0; l < lanes; ++l) square += lane(sums, l);
    return square;
}

// Squared distances of some moved rows to all centers, as ‖x‖² + ‖c‖² − 2x·c; the least of each
// row.
template <int rows>
LAB_INLINE void expand_rows(const double* x, const double* lengths, const Panels<double>& centers,
                            double* squares, double* least) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes, group = int(DirectCenters::kGroup);
    constexpr int vectors = lanes > 8 ? 1 : 2;
    const Index d = centers.d;
    Values lowest[rows];
    for (int r = 0; r < rows; ++r) lowest[r] = std::numeric_limits<double>::infinity() - Values{};
    for (Index j = 0; j < centers.padded; j += vectors * lanes) {
        const double* center = centers.packed.data() + j / group * group * d + j % group;
        Values sums[rows][vectors];
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Values square;
            std::memcpy(&square, centers.squares.data() + j + v * lanes, sizeof square);
            LAB_UNROLL for (int r = 0; r < rows; ++r) sums[r][v] = square;
        }
        for (Index f = 0; f < d; ++f) {
            Values c[vectors];
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                c[v] = *reinterpret_cast<const Values*>(center + f * group + v * lanes);
            }
            LAB_UNROLL for (int r = 0; r < rows; ++r) {
                const Values value = x[r * d + f] - Values{};
                LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[r][v] += value * c[v];
            }
        }
        LAB_UNROLL for (int r = 0; r < rows; ++r) {
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const Values square = sums[r][v] + lengths[r];
                lowest[r] = square < lowest[r] ? square : lowest[r];
                std::memcpy(squares + r * centers.padded + j + v * lanes, &square, sizeof square);
            }
        }
    }
    for (int r = 0; r < rows; ++r) {
        least[r] = lane(lowest[r], 0);
        for (int l = 1; l < lanes; ++l) least[r] = std::min(least[r], double(lane(lowest[r], l)));
    }
}

// Roots of squared distances; those that may have lost digits, or may be the least, are summed by
// differences first.
template <typename T>
LAB_INLINE void finish_row(const Expanded<T>& with, const T* x, double limit, double* squares,
                           std::int32_t* doubtful, T* to) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const Index k = with.panels.n_clusters, d = with.panels.d;
    Index n = 0;
    for (Index j = 0; j < k; j += lanes) {
        const auto& some = *reinterpret_cast<const Values*>(squares + j);
        const std::uint32_t bits = bits_of<double>(opposite(some > limit));
        if (bits != 0) n += list_bits<double>(bits, j, doubtful + n);
    }
    const double back = 1 / (with.panels.scale * with.panels.scale);
    for (Index j = 0; j < k; j += lanes) {
        const auto& some = *reinterpret_cast<const Values*>(squares + j);
        write_lanes(square_roots<double>(some * back), to + j, k - j);
    }
    for (Index m = 0; m < n && doubtful[m] < k; m += lanes) {
        const T *rows[lanes], *centers[lanes];
        for (int l = 0; l < lanes; ++l) {
            const Index j = m + l < n ? std::min(Index(doubtful[m + l]), k - 1) : doubtful[m];
            rows[l] = x;
            centers[l] = with.centers + j * d;
        }
        Values sums[1] = {};
        add_squares<1>(rows, centers, with.origin, d, sums);
        const Values roots = square_roots<double>(sums[0]);
        for (int l = 0; l < lanes && m + l < n; ++l) {
            if (doubtful[m + l] < k) to[doubtful[m + l]] = T(lane(roots, l));
        }
    }
}

// The same by the expansion, where features are many: two operations for each instead of three.
template <typename T>
void expand_rows(const T* x, Index n, const Expanded<T>& with, T* to) {
    constexpr int rows = 4;
    const Panels<double>& panels = with.panels;
    const Index d = panels.d, k = panels.n_clusters;
    Aligned<double> moved, squares;
    Aligned<std::int32_t> doubtful;
    moved.resize(rows * d);
    squares.resize(rows * panels.padded);
    doubtful.resize(panels.padded + 64);
    for (Index i = 0; i < n; i += rows) {
        double lengths[rows], least[rows];
        for (int r = 0; r < rows; ++r) {
            const T* row = x + std::min(i + r, n - 1) * d;
            lengths[r] = move_row(row, with.origin, panels.scale, d, moved.data() + r * d);
        }
        expand_rows<rows>(moved.data(), lengths, panels, squares.data(), least);
        for (int r = 0; r < rows && i + r < n; ++r) {
            const double limit = with.limit(lengths[r], least[r]);
            finish_row(with, x + (i + r) * d, limit, squares.data() + r * panels.padded,
                       doubtful.data(), to + (i + r) * k);
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
