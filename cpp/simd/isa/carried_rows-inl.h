// Rows that may change their cluster, and their bounds afterwards. Included once per instruction
// set, after carried-inl.h.

#ifndef LAB_ISA
#error "carried_rows-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

constexpr float kUp = 1 + 0x1p-21f, kDown = 1 - 0x1p-21f;

// The rows of a part, some of which make a block.
template <typename T>
class CarriedRows {
public:
    CarriedRows(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums)
        : work_(work), state_(state), part_(part), moves_(work, sums), block_(state.take_block()) {}

protected:
    using Integers = Lanes<float>::Integers;

    float& lower_at(Index i, Index g) const {
        return state_.lower[(i / kSide * state_.n_groups + g) * kSide + i % kSide];
    }
    const std::int32_t* row(Index i) const {
        return state_.rows.data() + std::min(i, state_.n - 1) * state_.n_pairs;
    }

    PanelsAt panels(Index p) const {
        return {state_.packed.data() + p * kPanel * state_.n_pairs,
                state_.packed_twice.data() + p * kPanel, state_.squares_low.data() + p * kPanel};
    }
    void score(Index i, Index p, float* scores) const {
        scores_of(row(i), state_.scales[i], panels(p), state_.n_pairs, scores);
    }

    // What is stored of a group with centers as near as that, squared.
    static LAB_MEMBER Floats bounds(const Floats& square, float drift) {
        return (square_roots<float>(larger(square, Floats{})) + drift) * kDown;
    }
    static float bound(float square, float drift) {
        return (square > 0 ? std::sqrt(square) + drift : drift) * kDown;
    }

    // Decide about a row with scores near that of its center, or without one.
    void contest(std::int32_t place, bool bounded) {
        const Index i = first_ + place;
        const float low = block_->low[place];
        const float off = state_.rate * state_.squares[i] + state_.tiny;
        const std::int32_t own = bounded ? work_.labels[i] : -1;
        const float near = bounded ? block_->limit[place] + low : kInfinite;
        const float far = bounded ? near - 2 * (off + state_.off[own]) : kInfinite;
        Nearest found = nearest(i, block_->group[place], bounded ? block_->own[place] : -1);
        std::int32_t label = state_.at_slot[found.slot];
        float reach = (found.score + low) + 2 * (off + state_.off[label]);
        const float others = std::min(found.second, block_->second[place]) + low;
        if (!(reach < others && (!bounded || reach < far))) {
            const std::int32_t decided = decide(i, own, low, std::min(near, reach));
            if (decided == own) return;
            if (decided != label) {
                label = decided;
                found = around(i, state_.slot[label]);
                reach = (found.score + low) + 2 * (off + state_.off[label]);
            }
        }
        const Index g = group_of(found.slot);
        float rest = bound(low + found.second, state_.group_low[g]);
        if (bounded) {  // the center that is left, too
            const Index before = group_of(block_->own[place]);
            const float left = bound(far, state_.group_low[before]);
            float& lower = lower_at(i, before);
            before == g ? rest = std::min(rest, left) : lower = std::min(lower, left);
        }
        lower_at(i, g) = rest;
        const float most = std::sqrt(std::max(reach, 0.0f)) * kUp, drift = state_.low[label];
        state_.upper[i] = (most - drift) + 0x1p-21f * (most + drift);
        settle_row(work_, part_, i, label, moves_);
    }

    Index group_of(Index slot) const {
        return state_.span == 1 ? slot / kPanel : slot / kPanel / state_.span;
    }

    struct Nearest {
        float score = kInfinite, second = kInfinite;
        Index slot = 0;
    };

    // The nearest center of a group, and how near the second nearest is; one may be left out.
    Nearest nearest(Index i, Index g, Index without) const {
        Nearest found{kInfinite, kInfinite, g * state_.span * kPanel};
        for (Index p = g * state_.span; p < (g + 1) * state_.span; ++p) {
            alignas(64) float scores[kPanel];
            score(i, p, scores);
            const float* mask = kMasks.without(without - p * kPanel);
            for (int l = 0; l < kPanel; ++l) {  // no branch: any lane may be the nearest
                const float score = std::max(scores[l], mask[l]);
                const bool less = score < found.score;
                found.second = std::min(found.second, less ? found.score : score);
                found.score = less ? score : found.score;
                found.slot = less ? p * kPanel + l : found.slot;
            }
        }
        return found;
    }

    // The same of the center in a slot, and of the nearest of the others in its group.
    Nearest around(Index i, Index slot) const {
        Nearest found = nearest(i, group_of(slot), slot);
        return {score_of(i, slot), found.score, slot};
    }

    float score_of(Index i, Index slot) const {
        alignas(64) float scores[kPanel];
        const Index p = slot / kPanel;
        score(i, p, scores);
        return scores[slot % kPanel];
    }

    // By the reference's arithmetic, among all centers whose squared distance may be within limit.
    std::int32_t decide(Index i, std::int32_t own, float low, float limit) {
        Index n = 0;
        std::int32_t* asked = block_->asked.data();
        if (own >= 0) asked[n++] = own;
        const float root = std::sqrt(limit) * kUp;
        for (Index g = 0; g < state_.n_groups; ++g) {
            if (lower_at(i, g) > root + state_.group_high[g]) continue;
            for (Index p = g * state_.span; p < (g + 1) * state_.span; ++p) {
                alignas(64) float scores[kPanel];
                score(i, p, scores);
                for (Index l = 0; l < kPanel; ++l) {
                    const std::int32_t j = state_.at_slot[p * kPanel + l];
                    if (j >= 0 && j != own && !(scores[l] + low > limit)) asked[n++] = j;
                }
            }
        }
        if (n == 1) return asked[0];
        if (n == 0) {
            for (; n < state_.k; ++n) asked[n] = std::int32_t(n);
        }
        ++part_.rescored;
        asked_ += double(n);
        return nearest_of(i, asked, n);
    }

    // The sums of a few centers go side by side: each addition waits for the one before.
    std::int32_t nearest_of(Index i, const std::int32_t* asked, Index n) const {
        constexpr Index abreast = 4;
        double best = std::numeric_limits<double>::infinity();
        std::int32_t label = asked[0];
        for (Index a = 0; a < n; a += abreast) {
            const T* centers[abreast];
            for (Index q = 0; q < abreast; ++q) {
                centers[q] = state_.given + asked[std::min(a + q, n - 1)] * state_.d;
            }
            double sums[abreast] = {};
            for (Index f = 0; f < state_.d; ++f) {
                const double x = double(work_.given.at(i, f));
                LAB_UNROLL for (Index q = 0; q < abreast; ++q) {
                    const double diff = x - double(centers[q][f]);
                    sums[q] += rounded(diff * diff);
                }
            }
            for (Index q = 0; q < std::min(abreast, n - a); ++q) {
                if (sums[q] > best || (sums[q] == best && asked[a + q] > label)) continue;
                best = sums[q];
                label = asked[a + q];
            }
        }
        return label;
    }

    // Rows that float32 decides too little about meet all centers in double.
    template <int vectors, int panel>
    void assign_wide() {
        constexpr int lanes = Lanes<double>::lanes, width = vectors * lanes;
        state_.widen(panel);
        tile_.resize(state_.d * width);
        for (Index i = first_; i < last_; i += width) {
            const T* rows[width];
            for (Index l = 0; l < width; ++l) {
                rows[l] = work_.given.rows + std::min(i + l, last_ - 1) * work_.d;
            }
            Lanes<double>::Values squares[vectors];
            spread_rows<double, vectors>(Pointed<T>{rows}, state_.origin, state_.wide.scale,
                                         work_.d, tile_.data(), squares);
            Best<double, vectors> all;
            score_rows<double, vectors, panel>(tile_.data(), state_.wide, all);
            for (int v = 0; v < vectors; ++v) {
                const auto near = near_ties<double, vectors>(all, state_.wide, squares[v], v);
                for (int l = 0; l < lanes && i + v * lanes + l < last_; ++l) {
                    std::int32_t label = std::int32_t(lane(all.index[v], l));
                    if (lane(near, l)) {
                        label = nearest_directly(rows[v * lanes + l], state_.origin, state_.direct);
                        ++part_.rescored;
                    }
                    settle_row(work_, part_, i + v * lanes + l, label, moves_);
                }
            }
        }
        part_.met += double(last_ - first_) * double(state_.k);
    }

    RowWork<T>& work_;
    CarriedState<T>& state_;
    Part& part_;
    RowMoves<T> moves_;
    std::unique_ptr<CarriedBlock> block_;
    Index first_ = 0, last_ = 0;  // rows of the block
    Aligned<double> tile_;
    double asked_ = 0;  // pairs that were left to the reference's arithmetic
};

}  // namespace LAB_ISA
}  // namespace lab
