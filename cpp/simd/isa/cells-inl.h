// Assignment of few features: boxes against centers, then the rows of those that several centers
// share. Included once per instruction set, after cell_boxes-inl.h.

#ifndef LAB_ISA
#error "cells-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr int kFewNear = 3;   // near-ties of a tile that are decided one by one
constexpr int kFewMoved = 4;  // rows of a tile that move one by one

// What one thread needs for a chunk.
template <typename T, int d>
class CellPass {
    using Work = CellWork<T>;
    static constexpr Index kRows = CellTile<T>::rows, kTiles = CellBoxes::kids;

public:
    CellPass(Work& work, CellChunk& chunk, Partial& sums)
        : work_(work), chunk_(chunk), sums_(sums), limbs_(work.split.size()) {
        const Index k = work.n_clusters;
        of_group_.resize(k + 64);
        of_tile_.resize(k + 64);
        scores_.resize(k + 64);
        listed_.resize(k * (d + 1));
        near_.resize(k, d);
    }

    void group(Index g) {
        const CellBoxes& boxes = work_.boxes;
        const Index first = g * kTiles, n_tiles = std::min(kTiles, work_.n_tiles() - first);
        const float *middle = &boxes.middle[g * d], *half = &boxes.half[g * d];
        double from[d], far = 0, reach = 0;
        for (Index f = 0; f < d; ++f) {
            from[f] = double(middle[f]);
            far += from[f] * from[f];
            reach += double(half[f]) * double(half[f]);
        }
        reach = std::sqrt(reach) * 1.0001;
        Index n = test_box<d>(work_.all, middle, half, 1,
                              margin(work_.all.longest, std::sqrt(far) + reach), scores_.data(),
                              of_group_.data());
        chunk_.met += double(work_.n_clusters);
        if (n == 1) {
            own_group(g, first, n_tiles, of_group_[0]);
            return;
        }
        work_.group_owner[g] = Work::kUnknown;
        come_near<d>(work_.scaled.data(), of_group_.data(), n, from, near_);
        const float beyond = margin(near_.longest, reach);
        const bool together = n <= kMostTogether;
        std::uint32_t left[kTiles];
        if (together) test_tiles<d>(boxes, g, near_, beyond, left);
        chunk_.met += double(n * n_tiles);
        for (Index i = 0; i < n_tiles; ++i) {
            Index m = 0;
            if (together) {
                for (std::uint32_t bits = left[i]; bits != 0; bits &= bits - 1) {
                    of_tile_[m++] = of_group_[LAB_LOWEST_BIT(bits)];
                }
            } else {
                const Index at = g * d * kTiles + i;
                m = test_box<d>(near_, &boxes.offset[at], &boxes.sides[at], kTiles, beyond,
                                scores_.data(), of_tile_.data());
                for (Index j = 0; j < m; ++j) of_tile_[j] = of_group_[of_tile_[j]];
            }
            audit_boxes<T, d>(work_, first + i, of_tile_.data(), m);
            if (m == 1) {
                own(first + i, of_tile_[0]);
            } else {
                share(g, first + i, m);
            }
        }
    }

private:
    // What the difference of two scores must exceed beyond half the box: twice the rounding of
    // rows, their own and that of the middle.
    float margin(double longest, double reach) const {
        return float(2.001 * work_.tolerance(longest, reach) * LAB_MUTANT_TOLERANCE);
    }

    // All tiles of a group belong to one center.
    void own_group(Index g, Index first, Index n_tiles, std::int32_t label) {
        for (Index i = 0; i < n_tiles; ++i) audit_boxes<T, d>(work_, first + i, &label, 1);
        if (work_.group_owner[g] == label) return;
        for (Index i = 0; i < n_tiles; ++i) own(first + i, label);
        work_.group_owner[g] = label;
    }

    // All rows of a tile belong to one center.
    void own(Index tile, std::int32_t label) {
        const std::int32_t before = work_.owner[tile];
        if (before == label) return;
        const Index n = work_.rows_of(tile);
        const std::uint32_t all = every(n);
        if (before == Work::kMixed) {
            const CellTile<T> copy = work_.copy_of(tile);
            for (Index l = 0; l < kRows; ++l) found_[l] = label;
            const std::uint32_t moved = all & ~equal(copy.labels, label);
            move(tile, copy, copy.labels, moved);
        } else {
            move_limbs(sums_, work_.split, work_.tile_sums.data() + tile * work_.split.size(),
                       before, label, n);
            chunk_.changed += n;
            for (Index l = 0; work_.labels_out && l < n; ++l) {
                work_.labels_out[work_.given_as(tile * kRows + l)] = label;
            }
        }
        work_.owner[tile] = label;
    }

    // The rows of a tile meet each of the m centers that are left for it.
    void share(Index g, Index tile, Index m) {
        const CellTile<T> copy = tile_with_rows<T, d>(work_, chunk_, tile);
        const Index i = tile % kTiles, n = work_.rows_of(tile);
        double from[d];
        for (Index f = 0; f < d; ++f) {
            const Index at = (g * d + f) * kTiles + i;
            from[f] = double(work_.boxes.middle[g * d + f]) + double(work_.boxes.offset[at]);
        }
        const double longest = list_centers(from, m);
        const double least = work_.tolerance(longest, double(work_.boxes.reach[tile]));
        const std::uint32_t near =
            every(n) & score_rows(copy.values, from, m, float(least * LAB_MUTANT_TOLERANCE));
        chunk_.met += double(m * kRows);
        if (near != 0) decide(copy.values, m, near);
        audit_rows<T, d>(work_, tile, copy.values, found_);
        const std::int32_t before = work_.owner[tile];
        std::uint32_t moved = every(n);
        if (before == Work::kMixed) {
            moved &= ~equal(copy.labels, found_);
            move(tile, copy, copy.labels, moved);
        } else {
            moved &= ~equal(found_, before);
            alignas(64) std::int32_t was[kRows];
            for (Index l = 0; l < kRows; ++l) was[l] = before;
            move(tile, copy, was, moved);
        }
        if (moved != 0 || before != Work::kMixed) {
            std::memcpy(copy.labels, found_, sizeof found_);
        }
        work_.owner[tile] = Work::kMixed;
    }

    // The centers that are left for a tile, relative to its middle: −2c, then ‖c‖². Returns the
    // longest ‖c‖.
    double list_centers(const double* from, Index m) {
        double longest = 0;
        for (Index i = 0; i < m; ++i) {
            const double* center = work_.scaled.data() + Index(of_tile_[i]) * d;
            float* to = listed_.data() + i * (d + 1);
            double square = 0;
            LAB_UNROLL for (Index f = 0; f < d; ++f) {
                const double value = center[f] - from[f];
                to[f] = float(-2 * value);
                square += value * value;
            }
            to[d] = float(square);
            longest = square <= longest ? longest : square;  // keeps what is not a number
        }
        return std::sqrt(longest);
    }

    // Score rows relative to the middle of their tile; returns a bit for each near-tie.
    std::uint32_t score_rows(const T* values, const double* from, Index m, float least) {
        using Values = Lanes<float>::Values;
        using Integers = Lanes<float>::Integers;
        constexpr int lanes = Lanes<float>::lanes;
        constexpr int vectors = std::min(4, int(kRows) / lanes), step = vectors * lanes;
        std::uint32_t near = 0;
        for (Index l = 0; l < kRows; l += step) {
            Values x[d][vectors];
            LAB_UNROLL for (Index f = 0; f < d; ++f) {
                LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                    x[f][v] = relative(values + f * kRows + l + v * lanes, from[f], work_.scale);
                }
            }
            Best<float, vectors> all;
            for (Index i = 0; i < m; ++i) {
                const float* center = listed_.data() + i * (d + 1);
                const Integers id = Integers{} + of_tile_[i];
                LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                    Values score = center[d] - Values{};
                    LAB_UNROLL for (Index f = 0; f < d; ++f) score += x[f][v] * center[f];
                    const Integers less = score < all.best[v];
                    const Values higher = score > all.best[v] ? score : all.best[v];
                    all.second[v] = higher < all.second[v] ? higher : all.second[v];
                    all.best[v] = less ? score : all.best[v];
                    all.index[v] = less ? id : all.index[v];
                }
            }
            LAB_UNROLL for (int v = 0; v < vectors; ++v) {
                const auto apart = all.second[v] - all.best[v] > least - Values{};
                near |= bits_of<float>(opposite(apart)) << (l + v * lanes);
                std::memcpy(found_ + l + v * lanes, &all.index[v], sizeof all.index[v]);
            }
        }
        return near;
    }

    // Decide near-ties by the reference's arithmetic, among the centers that are left.
    void decide(const T* values, Index m, std::uint32_t near) {
        const int n = count_bits(near);
        chunk_.rescored += n;
        if (n > kFewNear) {
            decide_all(values, m, near);
            return;
        }
        for (; near != 0; near &= near - 1) {
            const Index l = LAB_LOWEST_BIT(near);
            double best = std::numeric_limits<double>::infinity();
            found_[l] = of_tile_[0];
            for (Index i = 0; i < m; ++i) {
                const T* center = work_.centers + Index(of_tile_[i]) * d;
                double distance = 0;
                for (Index f = 0; f < d; ++f) {
                    const double diff = double(values[f * kRows + l]) - double(center[f]);
                    distance += rounded(diff * diff);
                }
                if (!(distance < best)) continue;
                best = distance;
                found_[l] = of_tile_[i];
            }
        }
    }

    // The same for many rows of a tile; here lanes are rows.
    void decide_all(const T* values, Index m, std::uint32_t near) {
        using Values = Lanes<double>::Values;
        using Integers = Lanes<double>::Integers;
        constexpr int lanes = Lanes<double>::lanes;
        for (Index l = 0; l < kRows; l += lanes) {
            Values best = std::numeric_limits<double>::infinity() - Values{};
            Integers index = Integers{} + of_tile_[0];
            for (Index i = 0; i < m; ++i) {
                const T* center = work_.centers + Index(of_tile_[i]) * d;
                Values distance{};
                LAB_UNROLL for (Index f = 0; f < d; ++f) {
                    const Values x = doubles_at<T>(values + f * kRows + l);
                    distance += rounded_square(x - double(center[f]));
                }
                const Integers less = distance < best;
                best = less ? distance : best;
                index = less ? Integers{} + of_tile_[i] : index;
            }
            for (int q = 0; q < lanes; ++q) {
                if (near >> (l + q) & 1) found_[l + q] = std::int32_t(lane(index, q));
            }
        }
    }

    // Take rows to the clusters that were found for them, all that change between the same two
    // together.
    void move(Index tile, const CellTile<T>& copy, const std::int32_t* was, std::uint32_t moved) {
        const auto label_at = [&](std::uint32_t bits) {
            return work_.labels_out + work_.given_as(tile * kRows + Index(LAB_LOWEST_BIT(bits)));
        };
        const std::uint32_t written = work_.labels_out ? moved : 0;
        for (std::uint32_t bits = written; bits != 0; bits &= bits - 1) {
            LAB_PREFETCH_TO_WRITE(label_at(bits));
        }
        const int n = count_bits(moved);
        chunk_.changed += n;
        if (n <= kFewMoved && sums_.locks.empty()) {
            for (; moved != 0; moved &= moved - 1) {
                const Index l = LAB_LOWEST_BIT(moved);
                move_row<T, d>(sums_, work_.split, copy, l, was[l], found_[l]);
            }
        }
        while (moved != 0) {
            const Index l = LAB_LOWEST_BIT(moved);
            const std::uint32_t same = moved & equal(was, was[l]) & equal(found_, found_[l]);
            sum_rows<T, d>(copy, same, work_.split, limbs_.data());
            move_limbs(sums_, work_.split, limbs_.data(), was[l], found_[l], count_bits(same));
            moved &= ~same;
        }
        for (std::uint32_t bits = written; bits != 0; bits &= bits - 1) {
            *label_at(bits) = found_[LAB_LOWEST_BIT(bits)];
        }
    }

    Work& work_;
    CellChunk& chunk_;
    Partial& sums_;
    std::vector<std::int64_t> limbs_;
    std::vector<std::int32_t> of_group_, of_tile_;
    std::vector<float> listed_;  // (k, d + 1)
    Aligned<float> scores_;
    NearCenters near_;
    alignas(64) std::int32_t found_[kRows];  // the cluster of each row of a tile
};

// Assign the groups of a chunk.
template <typename T, int d>
void assign_cells(CellWork<T>& work, CellChunk& chunk, Partial& sums) {
    CellPass<T, d> pass(work, chunk, sums);
    for (Index g = chunk.first_group; g < chunk.last_group; ++g) {
        if (work.interrupt->came()) return;
        pass.group(g);
    }
}

// Lay the centers of a pass out, relative to the middle of all rows.
template <int d>
void lay_centers(const double* scaled, Index k, NearCenters& to) {
    const double middle[d] = {};
    to.resize(k, d);
    come_near<d>(scaled, nullptr, k, middle, to);
}

}  // namespace LAB_ISA
}  // namespace lab
