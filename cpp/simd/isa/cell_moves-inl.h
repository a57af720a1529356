// Exact sums of rows of tiles, and their way from cluster to cluster. Included once per instruction
// set, after moves-inl.h.

#ifndef LAB_ISA
#error "cell_moves-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

alignas(64) constexpr std::int64_t kBitOfRow[32] = {
    1ll << 0,  1ll << 1,  1ll << 2,  1ll << 3,  1ll << 4,  1ll << 5,  1ll << 6,  1ll << 7,
    1ll << 8,  1ll << 9,  1ll << 10, 1ll << 11, 1ll << 12, 1ll << 13, 1ll << 14, 1ll << 15,
    1ll << 16, 1ll << 17, 1ll << 18, 1ll << 19, 1ll << 20, 1ll << 21, 1ll << 22, 1ll << 23,
    1ll << 24, 1ll << 25, 1ll << 26, 1ll << 27, 1ll << 28, 1ll << 29, 1ll << 30, 1ll << 31};

// The limbs of a column's values over the rows whose bits are set.
LAB_INLINE void sum_column(const double* values, std::uint32_t rows, const Split& how, Index f,
                           std::int64_t* to) {
    using Values = typename Lanes<double>::Values;
    using Integers = typename Lanes<double>::Integers;
    constexpr int lanes = Lanes<double>::lanes, vectors = 32 / lanes;
    Values value[vectors];
    LAB_UNROLL for (int v = 0; v < vectors; ++v) {
        std::memcpy(&value[v], values + v * lanes, sizeof value[v]);
    }
    if (rows != 0xffffffff) {  // a value of zero adds nothing
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            Integers bits;
            std::memcpy(&bits, kBitOfRow + v * lanes, sizeof bits);
            value[v] = (bits & std::int64_t(rows)) != Integers{} ? value[v] : Values{};
        }
    }
    for (Index at = f; at < how.size(); at += how.stride) {
        const Values magic = how.magic[at] - Values{};
        Integers zero, sum{};
        std::memcpy(&zero, &magic, sizeof zero);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) {
            const Values shifted = value[v] + magic;
            value[v] -= shifted - magic;
            Integers word;
            std::memcpy(&word, &shifted, sizeof word);
            sum += word - zero;
        }
        std::int64_t total = 0;
        for (int l = 0; l < lanes; ++l) total += lane(sum, l);
        to[at] = total;
    }
}

// The same for all columns of a tile.
template <typename T, int d>
LAB_INLINE void sum_rows(const CellTile<T>& tile, std::uint32_t rows, const Split& how,
                         std::int64_t* to) {
    constexpr Index n = CellTile<T>::rows;
    if constexpr (sizeof(T) == sizeof(double)) {
        if (!tile.weights) {
            for (Index f = 0; f < d; ++f) sum_column(tile.values + f * n, rows, how, f, to);
            return;
        }
    }
    for (Index f = 0; f < d + (tile.weights ? 1 : 0); ++f) {
        alignas(64) double values[n];
        for (Index l = 0; l < n; ++l) values[l] = f < d ? double(tile.values[f * n + l]) : 1.0;
        for (Index l = 0; tile.weights && l < n; ++l) values[l] *= tile.weights[l];
        sum_column(values, rows, how, f, to);
    }
}

// Bits of the first n rows of a tile.
LAB_INLINE std::uint32_t every(Index n) { return 0xffffffff >> (32 - n); }

LAB_INLINE int count_bits(std::uint32_t bits) {
    bits -= bits >> 1 & 0x55555555;
    bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f;
    return int(bits * 0x01010101 >> 24);
}

// Bits of the rows of a tile that have this label, or the same label in another array.
LAB_INLINE std::uint32_t equal(const std::int32_t* labels, std::int32_t label) {
    using Integers = Lanes<float>::Integers;
    std::uint32_t bits = 0;
    for (int l = 0; l < 32; l += Lanes<float>::lanes) {
        bits |= bits_of<float>(*reinterpret_cast<const Integers*>(labels + l) == Integers{} + label)
                << l;
    }
    return bits;
}
LAB_INLINE std::uint32_t equal(const std::int32_t* labels, const std::int32_t* others) {
    using Integers = Lanes<float>::Integers;
    std::uint32_t bits = 0;
    for (int l = 0; l < 32; l += Lanes<float>::lanes) {
        bits |= bits_of<float>(*reinterpret_cast<const Integers*>(labels + l) ==
                               *reinterpret_cast<const Integers*>(others + l))
                << l;
    }
    return bits;
}

// Rows from one cluster to another: −1: from none.
inline void move_limbs(Partial& sums, const Split& how, const std::int64_t* limbs,
                       std::int32_t before, std::int32_t label, Index n, bool alone = false) {
    if (!alone && !sums.locks.empty()) {
        const Locked both(sums.locks, before, label);
        move_limbs(sums, how, limbs, before, label, n, true);
        return;
    }
    count_moved(sums, before, label, n);
    const Index size = how.size();
    std::int64_t* joined = sums.limbs.data() + label * size;
    for (Index i = 0; i < size; ++i) joined[i] += limbs[i];
    if (before < 0) return;
    std::int64_t* left = sums.limbs.data() + before * size;
    for (Index i = 0; i < size; ++i) left[i] -= limbs[i];
}

// A row from one cluster to another: faster than its limbs apart where few rows move.
template <typename T, int d>
LAB_INLINE void move_row(Partial& sums, const Split& how, const CellTile<T>& tile, Index l,
                         std::int32_t before, std::int32_t label) {
    const Index size = how.size();
    std::int64_t* joined = sums.limbs.data() + label * size;
    std::int64_t* left = sums.limbs.data() + std::max(before, 0) * size;
    const std::int64_t leaves = before < 0 ? 0 : -1;
    count_moved(sums, before, label, 1);
    for (Index f = 0; f < d + (tile.weights ? 1 : 0); ++f) {
        double value = f < d ? double(tile.values[f * CellTile<T>::rows + l]) : 1.0;
        if (tile.weights) value *= tile.weights[l];
        for (Index at = f; at < size; at += how.stride) {
            const std::int64_t limb = split(value, how.magic[at]);
            joined[at] += limb;
            left[at] -= limb & leaves;
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
