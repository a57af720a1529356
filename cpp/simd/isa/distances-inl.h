// Distances of all rows to all centers, and lengths of rows. Included once per instruction set,
// after rows-inl.h.
//
// Lanes are centers, so that a row's distances are written side by side. The smallest distance is
// that of the label: differences are squared and added as the reference does, unfused. Where there
// are many, by fused steps, and only the least of a row, and what may be as little, are summed
// again. Either way a distance is off by (d + 3) 2^-53 of itself at most, wherever the origin is.

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

// Distances that are summed again: pairs of a row and a center, a vector of them at a time.
template <typename T>
class Again {
public:
    LAB_MEMBER explicit Again(Index d) : d_(d) {}

    LAB_MEMBER void add(const T* row, const T* center, T* to) {
        rows_[n_] = row;
        centers_[n_] = center;
        to_[n_] = to;
        if (++n_ == lanes) flush();
    }

    LAB_MEMBER void flush() {
        if (n_ == 0) return;
        for (int l = n_; l < lanes; ++l) {
            rows_[l] = rows_[0];
            centers_[l] = centers_[0];
        }
        Lanes<double>::Values sums[1] = {};
        const auto row = [&](int l) { return rows_[l]; };
        const auto center = [&](int l) { return centers_[l]; };
        add_squares<1, false, T>(row, center, nullptr, d_, [](Index, Index) {}, sums);
        const Lanes<double>::Values roots = square_roots<double>(sums[0]);
        for (int l = 0; l < n_; ++l) *to_[l] = T(lane(roots, l));
        n_ = 0;
    }

private:
    static constexpr int lanes = Lanes<double>::lanes;
    const Index d_;
    const T *rows_[lanes], *centers_[lanes];
    T* to_[lanes];
    int n_ = 0;
};

// Distances of some rows to the centers of some vectors; the least square of each row and lane.
template <bool fused, int rows, int vectors, typename T>
LAB_INLINE void measure_block(const T* x, Index d, const double* center, T* to, Index k, Index left,
                              Lanes<double>::Values* least) {
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
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const Values difference = value - c[v];
                sums[r][v] += fused ? difference * difference : rounded_square(difference);
            }
        }
    }
    LAB_UNROLL for (int r = 0; r < rows; ++r) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            if (fused) {  // padding is not a number
                least[r] = sums[r][v] < least[r] ? sums[r][v] : least[r];
            }
            write_lanes(square_roots<double>(sums[r][v]), to + r * k + v * lanes, left - v * lanes);
        }
    }
}

// Have those distances of a row summed again that are no larger than a limit, or not a number.
template <typename T>
LAB_INLINE void find_least(const T* row, const T* centers, Index d, T* to, Index k, T limit,
                           Again<T>& again) {
    constexpr int lanes = Lanes<T>::lanes;
    Index j = 0;
    for (; j + lanes <= k; j += lanes) {
        typename Lanes<T>::Values some;
        std::memcpy(&some, to + j, sizeof some);
        for (std::uint32_t left = bits_of<T>(opposite(some > limit)); left; left &= left - 1) {
            const Index c = j + LAB_LOWEST_BIT(left);
            again.add(row, centers + c * d, to + c);
        }
    }
    for (; j < k; ++j) {
        if (!(to[j] > limit)) again.add(row, centers + j * d, to + j);
    }
}

constexpr Index kSideBySide = 16;  // rows that meet some centers while those are in the first cache

// Distances of up to so many rows to all centers.
template <bool fused, typename T>
LAB_INLINE void measure_some(const T* x, Index n, const T* centers, const DirectCenters& packed,
                             T* to, Again<T>& again) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes, group = int(DirectCenters::kGroup);
    constexpr int rows = 4, at_once = 2;
    const Index d = packed.d, k = packed.n_clusters;
    Values least[kSideBySide];
    for (Index i = 0; i < n; ++i) least[i] = std::numeric_limits<double>::infinity() - Values{};
    for (Index j = 0; j < k; j += at_once * lanes) {
        const double* center = packed.packed.data() + j / group * group * d + j % group;
        const Index left = k - j;
        Index i = 0;
        for (; i + rows <= n && left > lanes; i += rows) {
            measure_block<fused, rows, at_once>(x + i * d, d, center, to + i * k + j, k, left,
                                                least + i);
        }
        for (; i + rows <= n; i += rows) {
            measure_block<fused, rows, 1>(x + i * d, d, center, to + i * k + j, k, left, least + i);
        }
        for (; i < n; ++i) {
            measure_block<fused, 1, at_once>(x + i * d, d, center, to + i * k + j, k, left,
                                             least + i);
        }
    }
    if (!fused) return;
    // Two sums in question are off by (d + 1) 2^-53 each, and by what underflows. Rounding to T
    // keeps their order.
    const double wide = 1 + double(d + 8) * std::numeric_limits<double>::epsilon();
    const double tiny = 4 * double(d) * std::numeric_limits<double>::denorm_min();
    for (Index i = 0; i < n; ++i) {
        double lowest = lane(least[i], 0);
        for (int l = 1; l < lanes; ++l) lowest = std::min(lowest, double(lane(least[i], l)));
        const T limit = T(std::sqrt(lowest + tiny) * wide);
        find_least(x + i * d, centers, d, to + i * k, k, limit, again);
    }
}

template <bool fused, typename T>
LAB_INLINE void measure_distances_by(const T* x, Index n, const T* centers,
                                     const DirectCenters& packed, T* to) {
    Again<T> again(packed.d);
    for (Index i = 0; i < n; i += kSideBySide) {
        measure_some<fused>(x + i * packed.d, std::min(kSideBySide, n - i), centers, packed,
                            to + i * packed.n_clusters, again);
    }
    again.flush();
}

// Finding the least of a row again takes some 100 cycles; a fused step saves an eighth of one.
constexpr Index kWorthFusing = 2048;  // centers times features

// Write the distances of these rows to all centers.
template <typename T>
void measure_distances(const T* x, Index n, const T* centers, const DirectCenters& packed, T* to) {
    if (packed.n_clusters * packed.d < kWorthFusing) {
        measure_distances_by<false>(x, n, centers, packed, to);
    } else {
        measure_distances_by<true>(x, n, centers, packed, to);
    }
}

// The sum of the squares of a row, each rounded. Eight sums take every eighth feature each and are
// added in halves, whatever the vectors: the same bits on every processor.
template <typename T>
LAB_INLINE double square_of_row(const T* x, Index d) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes, side = 8, vectors = side / lanes;
    Values sums[vectors] = {};
    Index f = 0;
    for (; f + side <= d; f += side) {
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            typename Lanes<T>::Few few;
            std::memcpy(&few, x + f + v * lanes, sizeof few);
            sums[v] += rounded_square(convert<Values>(few));
        }
    }
    double all[side];
    std::memcpy(all, sums, sizeof all);
    for (int l = 0; f + l < d; ++l) all[l] += rounded(double(x[f + l]) * double(x[f + l]));
    for (int l = 0; l < side / 2; ++l) all[l] += all[l + side / 2];
    return (all[0] + all[2]) + (all[1] + all[3]);
}

// A length, or the power of two that it differs from by no more than this share.
LAB_INLINE double or_power_of_two(double length, double within) {
    std::uint64_t bits;
    std::memcpy(&bits, &length, sizeof bits);
    bits &= std::uint64_t(0x7ff) << 52;
    double power;  // not above the length, and more than half of it
    std::memcpy(&power, &bits, sizeof power);
    if (length <= power * (1 + within)) return power;
    return length >= 2 * power * (1 - within) ? 2 * power : length;
}

// Write the length of each row, and the rows divided by it where `out` is not null. Where squares
// leave the range in which sums keep their digits, the length is 0, and the row is copied.
template <typename T>
void divide_by_lengths(const T* x, Index n, Index d, double within, double* lengths, T* out) {
    using Values = Lanes<double>::Values;
    using Few = typename Lanes<T>::Few;
    constexpr int lanes = Lanes<double>::lanes;
    constexpr double least = 0x1p-800, most = 0x1p800;
    for (Index i = 0; i < n; ++i, x += d) {
        const double square = square_of_row(x, d);
        const bool known = square >= least && square <= most;
        lengths[i] = known ? or_power_of_two(std::sqrt(square), within) : 0.0;
        if (!out) continue;
        const double by = known ? lengths[i] : 1.0;
        Index f = 0;
        for (; f + lanes <= d; f += lanes) {
            Few few;
            std::memcpy(&few, x + f, sizeof few);
            few = convert<Few>(convert<Values>(few) / by);
            std::memcpy(out + f, &few, sizeof few);
        }
        for (; f < d; ++f) out[f] = T(double(x[f]) / by);
        out += d;
    }
}

}  // namespace LAB_ISA
}  // namespace lab
