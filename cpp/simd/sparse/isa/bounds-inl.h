// Rows whose bounds hold meet the loud centers alone; see simd/sparse/bounds.h.

#ifndef LAB_ISA
#error "bounds-inl.h is for sparse-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The products of a row with the narrow table.
template <typename T>
LAB_INLINE void loud_products(const SparseWork<T>& work, Index i, const float* x, float* products) {
    constexpr int vectors = int(kLoudLanes / kLanes);
    const Index m = work.rows.size(i);
    const std::int32_t* columns = work.rows.indices + work.rows.first(i);
    const float* table = work.bounds.table.data();
    Floats sums[vectors] = {};
    for (Index p = 0; p < m; ++p) {
        const float* cells = table + Index(columns[p]) * kLoudLanes;
        const Floats value = all(x[p]);
        LAB_UNROLL for (int v = 0; v < vectors; ++v) sums[v] += load(cells + v * kLanes) * value;
    }
    for (int v = 0; v < vectors; ++v) store(sums[v], products + v * kLanes);
    if (!work.screen.negative) return;
    products[kLoud] = products[kLoud + 1] = 0;
    for (Index p = 0; p < m; ++p) {
        const float* cells = table + Index(columns[p]) * kLoudLanes;
        products[kLoud] += cells[kLoud] * std::fabs(x[p]);
        products[kLoud + 1] += cells[kLoud + 1] * std::fabs(x[p]);
    }
}

// Whether a row stays with its center, by bounds that follow the moves of the centers.
template <typename T>
LAB_INLINE bool stays(SparseWork<T>& work, Index i, const float* x) {
    const Bounds& bounds = work.bounds;
    const Screen& screen = work.screen;
    const float m = float(work.rows.size(i));
    alignas(64) float products[kLoudLanes], lower[kLoudLanes];
    loud_products(work, i, x, products);
    // As in Slack, but of float32.
    const float share = screen.per_value * (m + 8);
    const float fixed = screen.fixed + work.lengths[i] * screen.per_length * share;
    const float more = screen.negative ? 1.0f : 1 + share;
    const float apart = 2 * (1 + 2 * share);
    const float fallen = apart * products[kLoud], risen = apart * products[kLoud + 1];
    const std::int32_t label = work.labels[i], mine = bounds.place[label];
    for (int l = 0; l < kLoudLanes; l += int(kLanes)) {
        const Floats off = load(bounds.factors + l) * load(products + l);
        store(load(bounds.squares + l) - off * more, lower + l);
    }
    float own = work.own[i];
    if (mine >= 0) {
        const float less = screen.negative ? 1.0f : 1 - share;
        own = bounds.squares[mine] - bounds.factors[mine] * products[mine] * less + fixed;
        lower[mine] = std::numeric_limits<float>::infinity();
    } else {
        own += std::min(bounds.rise[label], bounds.rise_apart[label] + risen) + screen.fixed;
    }
    lower[kLoud] = lower[kLoud + 1] = std::numeric_limits<float>::infinity();
    Floats loud = load(lower);
    for (int l = int(kLanes); l < kLoudLanes; l += int(kLanes))
        loud = smaller(loud, load(lower + l));
    const float quiet =
        work.others[i] - std::min(bounds.fall, bounds.fall_apart + fallen) - screen.fixed;
    const float others = std::min(quiet, least_of(loud) - fixed);
    work.own[i] = own;
    work.others[i] = others;
    return own < others;
}

// Label the rows of a part; those alone whose bounds do not hold, where there are any.
template <typename T, typename Cell, bool bounded, int few>
void scan_some(SparseWork<T>& work, SparsePart& part, SparseScratch& scratch) {
    const Tiles<Cell> tiles(work.screen.padded);
    const Index all = work.rows.n_values();
    float* x = scratch.values.data();
    for (Index first = part.first, end; first < part.last; first = end) {
        if (work.interrupt->came()) return;
        end = shorten(work, first, part.last, x);
        const Index begin = work.rows.first(first);
        const bool more = few > 0 && work.rows.first(end) - work.rows.first(0) + kValuesAhead < all;
        const Index ahead = !bounded && more ? kValuesAhead : 0;
        for (Index i = first; i < end; ++i) {
            const float* mine = x + (work.rows.first(i) - begin);
            if (bounded && stays(work, i, mine)) continue;
            if (!bounded && few == 0 && i + kAhead < part.last) {
                prefetch_cells<T, Cell>(work, i + kAhead);
            }
            work.put(part, i,
                     nearest_center<T, Cell, few>(work, tiles, i, mine, scratch, part, ahead));
        }
    }
}
template <typename T, typename Cell, bool bounded, int few = kFewVectors>
inline void scan_few(SparseWork<T>& work, SparsePart& part, SparseScratch& scratch) {
    if (few == 0 || work.screen.padded == few * kLanes) {
        return scan_some<T, Cell, bounded, few>(work, part, scratch);
    }
    scan_few<T, Cell, bounded, std::max(0, few - 1)>(work, part, scratch);
}
template <typename T, typename Cell, bool bounded>
void scan_rows(SparseWork<T>& work, SparsePart& part, SparseScratch& scratch) {
    scan_few<T, Cell, bounded>(work, part, scratch);
}

}  // namespace LAB_ISA
}  // namespace lab
