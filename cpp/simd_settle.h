// Rows that change cluster, and the exact sums that they leave and join; included once per
// instruction set.

namespace lab {
namespace LAB_ISA {

// Widen the range of each column by the values of a tile; rows beyond the last are zero.
template <typename T>
void measure_range(const Work<T>& work, long tile, Range<T>& range) {
    using Values = typename Lanes<T>::Values;
    constexpr long lanes = Lanes<T>::lanes, kept = Range<T>::lanes;
    const Values none = std::numeric_limits<T>::infinity() - Values{};
    for (long f = 0; f < work.d; ++f) {
        const T* x = work.tiles.data() + (tile * work.d + f) * work.width;
        T* most = range.most.data() + f * kept;
        T* least = range.least.data() + f * kept;
        Values high, low;
        std::memcpy(&high, most, sizeof high);
        std::memcpy(&low, least, sizeof low);
        for (long l = 0; l < work.width; l += lanes) {
            const Values value = *reinterpret_cast<const Values*>(x + l);
            const Values size = value < Values{} ? -value : value;
            const Values counted = size > Values{} ? size : none;
            high = size > high ? size : high;
            low = counted < low ? counted : low;
        }
        std::memcpy(most, &high, sizeof high);
        std::memcpy(least, &low, sizeof low);
    }
}

constexpr long kAtOnce = 64;  // values of a row that are split together

LAB_INLINE void count_moved(Chunk& chunk, std::int32_t before, std::int32_t label, long n) {
    chunk.counts[label] += n;
    chunk.touched[label] = 1;
    if (before < 0) return;
    chunk.counts[before] -= n;
    chunk.touched[before] = 1;
}

// Take a row from the sums of one cluster, −1: of none, to those of another.
template <typename T>
void move_row(const Work<T>& work, Chunk& chunk, long row, std::int32_t before,
              std::int32_t label) {
    count_moved(chunk, before, label, 1);
    const T* x = work.row_at(row);
    const Split& how = work.split;
    std::int64_t* joined = chunk.limbs.data() + label * how.size();
    std::int64_t* left = chunk.limbs.data() + std::max(before, 0) * how.size();
    alignas(64) double values[kAtOnce];
    for (long first = 0; first < work.d; first += kAtOnce) {
        const long n = std::min(kAtOnce, how.stride - first);
        const long m = std::min(kAtOnce, work.d - first);
        for (long f = 0; f < m; ++f) values[f] = double(x[(first + f) * work.width]);
        for (long f = m; f < n; ++f) values[f] = 0;
        for (long q = 0; q < how.count; ++q) {
            const double* magic = how.magic.data() + q * how.stride + first;
            std::int64_t* __restrict to = joined + q * how.stride + first;
            if (before < 0) {
                for (long f = 0; f < n; ++f) to[f] += split(values[f], magic[f]);
            } else {
                std::int64_t* __restrict from = left + q * how.stride + first;
                for (long f = 0; f < n; ++f) {
                    const std::int64_t limb = split(values[f], magic[f]);
                    to[f] += limb;
                    from[f] -= limb;
                }
            }
        }
    }
}

// The same for all rows of a tile; rows beyond the last are zero.
template <typename T>
void move_tile(const Work<T>& work, Chunk& chunk, long tile, std::int32_t before,
               std::int32_t label) {
    const Split& how = work.split;
    std::int64_t* joined = chunk.limbs.data() + label * how.size();
    std::int64_t* left = chunk.limbs.data() + std::max(before, 0) * how.size();
    for (long f = 0; f < work.d; ++f) {
        const T* x = work.tiles.data() + (tile * work.d + f) * work.width;
        alignas(64) double values[kWidest];
        for (long l = 0; l < work.width; ++l) values[l] = double(x[l]);
        for (long q = 0; q < how.count; ++q) {
            const double magic = how.magic[q * how.stride + f];
            std::int64_t sum = 0;
            for (long l = 0; l < work.width; ++l) sum += split(values[l], magic);
            joined[q * how.stride + f] += sum;
            if (before >= 0) left[q * how.stride + f] -= sum;
        }
    }
}

// Take a row whose label is new, or may be a near-tie, to its cluster.
template <typename T>
void settle(Work<T>& work, Chunk& chunk, long row, std::int32_t label, bool near) {
    if (near) {
        label = work.rescore(row);
        ++chunk.rescored;
    }
    const std::int32_t before = work.nearest[row];
    if (label == before) return;
    work.write_label(row, label);
    ++chunk.changed;
    if (chunk.limbs.empty()) return;
    move_row(work, chunk, row, before, label);
}

// The same for all rows of a tile, where one center is left. Mostly they change together.
template <typename T>
void settle_tile(Work<T>& work, Chunk& chunk, long tile, std::int32_t label) {
    const long first = tile * work.width;
    const long end = std::min(first + work.width, chunk.first_tile * work.width + chunk.n_rows);
    const std::int32_t before = work.nearest[first];
    bool together = before != label && !chunk.limbs.empty();
    for (long row = first; row < end; ++row) together &= work.nearest[row] == before;
    if (!together) {
        for (long row = first; row < end; ++row) settle(work, chunk, row, label, false);
        return;
    }
    for (long row = first; row < end; ++row) work.write_label(row, label);
    chunk.changed += end - first;
    move_tile(work, chunk, tile, before, label);
    count_moved(chunk, before, label, end - first);
}

}  // namespace LAB_ISA
}  // namespace lab
