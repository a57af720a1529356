// Rows on their way into tiles of the engine for few features. Included once per instruction set,
// after vectors-inl.h.

#ifndef LAB_ISA
#error "cell_sort-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Write the records of rows to their buckets, whose next places are told.
template <typename T, int d>
void scatter_rows(CellWork<T>& work, CellBuckets& buckets, Index first, Index last,
                  std::uint32_t* next) {
    constexpr Index kPerCheck = 4096;
    const Index bytes = work.tile_bytes() / CellTile<T>::rows;
    const std::uint32_t mask = (std::uint32_t(1) << buckets.low) - 1;
    const T* const rows = work.given.rows;
    const double* const weights = work.weights;
    const std::uint32_t* const cells = work.order.data();
    std::uint16_t* const rest = buckets.rest.data();
    char* const records = work.tiles.data();
    const int low = buckets.low;
    T middle[d];
    for (Index f = 0; f < d; ++f) middle[f] = work.given.middle[f];
    for (Index begin = first; begin < last; begin += kPerCheck) {
        if (work.interrupt->came()) return;
        for (Index i = begin; i < std::min(begin + kPerCheck, last); ++i) {
            const std::uint32_t cell = cells[i], row = std::uint32_t(i);
            const Index place = next[cell >> low]++;
            rest[place] = std::uint16_t(cell & mask);
            char* to = records + place * bytes;
            LAB_PREFETCH_TO_WRITE(to + 128);  // what a bucket takes next; stores wait in turn
            T values[d];
            LAB_UNROLL for (Index f = 0; f < d; ++f) { values[f] = T(rows[i * d + f] - middle[f]); }
            std::memcpy(to, values, sizeof values);
            if (weights) std::memcpy(to + sizeof values, weights + i, sizeof(double));
            std::memcpy(to + bytes - sizeof row, &row, sizeof row);
        }
    }
}

// Put the records of a bucket into tiles, in the order of their cells: tiles that begin within it,
// so that the last one may take rows of the buckets behind. They are last there.
template <typename T, int d>
void sort_bucket(CellWork<T>& work, const CellBuckets& buckets, Index bucket, CellBucket& taken) {
    constexpr Index rows = CellTile<T>::rows;
    const auto tile_at = [](std::uint32_t row) { return (Index(row) + rows - 1) / rows; };
    const Index tile = tile_at(buckets.begin[bucket]), own = buckets.begin[bucket + 1];
    const Index first = tile * rows, n_tiles = tile_at(buckets.begin[bucket + 1]) - tile;
    if (n_tiles <= 0) return;
    const Index last = std::min(first + n_tiles * rows, work.n), n = last - first;
    const Index bytes = work.tile_bytes() / rows;
    taken.records.resize(n * bytes);
    taken.places.resize(n_tiles * rows);
    std::memcpy(taken.records.data(), work.tiles.data() + first * bytes, n * bytes);
    taken.count.assign((Index(1) << buckets.low) + 1, 0);
    const std::uint16_t* rest = buckets.rest.data() + first;
    for (Index i = 0; i < own - first; ++i) ++taken.count[rest[i] + 1];
    for (Index c = 0; c < Index(1) << buckets.low; ++c) taken.count[c + 1] += taken.count[c];
    for (Index i = 0; i < own - first; ++i) taken.places[taken.count[rest[i]]++] = std::uint32_t(i);
    for (Index i = own - first; i < n; ++i) taken.places[i] = std::uint32_t(i);
    for (Index i = n; i < n_tiles * rows; ++i) taken.places[i] = taken.places[n - 1];
    for (Index t = 0; t < n_tiles; ++t) {
        if (t % 512 == 0 && work.interrupt->came()) return;
        const CellTile<T> to(work.tiles.data() + (tile + t) * work.tile_bytes(), d,
                             work.weights != nullptr);
        const Index count = std::min(rows, n - t * rows);
        for (Index l = 0; l < rows; ++l) {
            const char* record = taken.records.data() + taken.places[t * rows + l] * bytes;
            T values[d];
            std::memcpy(values, record, sizeof values);
            LAB_UNROLL for (Index f = 0; f < d; ++f) to.values[f * rows + l] = values[f];
            if (to.weights) {
                std::memcpy(&to.weights[l], record + sizeof values, sizeof(double));
                if (l >= count) to.weights[l] = 0;
            }
            if (l < count) std::memcpy(&work.order[first + t * rows + l], record + bytes - 4, 4);
        }
    }
}

}  // namespace LAB_ISA
}  // namespace lab
