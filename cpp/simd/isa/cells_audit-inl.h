// An audit of every pass over cells, in builds with LAB_AUDIT: slow. Included once per instruction
// set, after cell_tiles-inl.h.

#ifndef LAB_ISA
#error "cells_audit-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

#if defined(LAB_AUDIT)
// The center of a list that is nearest to a row by the reference's arithmetic, and how far it is.
template <typename T, int d, typename Ids>
std::pair<std::int32_t, double> nearest_of(const CellWork<T>& work, const T* values, Index l,
                                           const Ids& ids, Index m) {
    std::pair<std::int32_t, double> nearest{-1, std::numeric_limits<double>::infinity()};
    for (Index i = 0; i < m; ++i) {
        double distance = 0;
        for (Index f = 0; f < d; ++f) {
            const double diff = double(values[f * CellTile<T>::rows + l]) -
                                double(work.centers[Index(ids(i)) * d + f]);
            distance += rounded(diff * diff);
        }
        if (distance < nearest.second) nearest = {std::int32_t(ids(i)), distance};
    }
    return nearest;
}

// Each center that is not left for a tile must be farther from each of its rows than one that is.
// Throws where it is not.
template <typename T, int d>
void audit_boxes(const CellWork<T>& work, Index tile, const std::int32_t* left, Index m) {
    alignas(64) T values[d * CellTile<T>::rows];
    gather_rows<T, d>(work, tile, values);
    std::vector<std::int32_t> out;
    for (Index j = 0; j < work.n_clusters; ++j) {
        if (std::find(left, left + m, std::int32_t(j)) == left + m) out.push_back(std::int32_t(j));
    }
    for (Index l = 0; l < work.rows_of(tile); ++l) {
        const auto of = [](const std::int32_t* ids) { return [ids](Index i) { return ids[i]; }; };
        const auto in = nearest_of<T, d>(work, values, l, of(left), m);
        const auto beyond = nearest_of<T, d>(work, values, l, of(out.data()), Index(out.size()));
        if (!(in.second < beyond.second)) throw std::logic_error("a box rules out too much");
    }
}

// Each row of a tile must be with the center that the reference finds.
template <typename T, int d>
void audit_rows(const CellWork<T>& work, Index tile, const T* values, const std::int32_t* found) {
    for (Index l = 0; l < work.rows_of(tile); ++l) {
        const auto id = [](Index j) { return j; };
        const auto nearest = nearest_of<T, d>(work, values, l, id, work.n_clusters);
        if (nearest.first != found[l]) throw std::logic_error("a score decides too much");
    }
}
#else
template <typename T, int d>
LAB_INLINE void audit_boxes(const CellWork<T>&, Index, const std::int32_t*, Index) {}
template <typename T, int d>
LAB_INLINE void audit_rows(const CellWork<T>&, Index, const T*, const std::int32_t*) {}
#endif

}  // namespace LAB_ISA
}  // namespace lab
