// A pass over rows with carried bounds. Included once per instruction set, after carried-inl.h.

#ifndef LAB_ISA
#error "carried_pass-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// Of all pairs of a block: where more would be listed, all of them are met, which takes less time
// per pair and makes all bounds new.
constexpr double kMostListed = 0.6;
// Of all pairs: where more are left to the reference's arithmetic, double is cheaper.
constexpr double kUndecided = 0.05;
constexpr Index kAhead = 4;      // vectors of rows between the test and the use of rows
constexpr Index kFetched = 128;  // values of a row that are asked for ahead; the rest follows
constexpr float kUp = 1 + 0x1p-21f, kDown = 1 - 0x1p-21f;
constexpr float kInfinite = std::numeric_limits<float>::infinity();

// Write the places of set bits, counted from `first`; return how many. Up to a vector is written.
LAB_INLINE Index append(std::uint32_t bits, Index first, std::uint16_t* to) {
#if LAB_BYTES == 64 && defined(__x86_64__)
    const __m512i all = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    using Integers = Lanes<float>::Integers;
    const Integers places = Integers(_mm512_maskz_compress_epi32(__mmask16(bits), all));
    store_as(places + std::int32_t(first), to);
    return __builtin_popcount(bits);
#elif LAB_BYTES > 0
    typedef std::int32_t Eight __attribute__((vector_size(32), aligned(4)));
    const Eight places = *reinterpret_cast<const Eight*>(kPlaces.of[bits]) + std::int32_t(first);
    store_as(places, to);
    return kPlaces.count[bits];
#else
    *to = std::uint16_t(first);
    return Index(bits);
#endif
}

// Where a row's own center is in a panel: infinite there. The last one leaves out no center.
struct Masks {
    alignas(64) float values[(kPanel + 1) * kPanel] = {};
    constexpr Masks() {
        for (int c = 0; c <= kPanel; ++c) {
            for (int l = 0; l < kPanel; ++l) {
                values[c * kPanel + l] = c == l ? kInfinite : -kInfinite;
            }
        }
    }
    LAB_MEMBER const float* without(Index place) const {
        return values + (place >= 0 && place < kPanel ? place : kPanel) * kPanel;
    }
};
constexpr Masks kMasks;

template <typename T, int vectors, int panel>
class CarriedPass {
public:
    CarriedPass(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums)
        : work_(work),
          state_(state),
          part_(part),
          known_(state.parts[part.first / CarriedState<T>::kPartRows]),
          moves_(work, sums),
          block_(state.take_block()),
          rest_(state.d) {}

    void run() {
        bool wide = !state_.proven, all = true;
        if (!wide && part_.wide_left > 0) {
            --part_.wide_left;
            wide = true;
        }
        const Index step = state_.d > 256 ? kTogether / 2 : kTogether;
        for (first_ = part_.first; first_ < part_.last; first_ = last_) {
            last_ = std::min(first_ + step, part_.last);
            if (work_.interrupt->came()) {
                all = false;
                break;
            }
            if (wide) {
                assign_wide();
                continue;
            }
            if (!known_.bounded || !assign_bounded()) assign_full();
            if (asked_ > kUndecided * double(last_ - part_.first) * double(state_.k)) {
                wide = true;
                part_.wide_left = part_.wide_next;
                part_.wide_next = std::min(2 * part_.wide_next, 64);
            }
        }
        known_.bounded = all && !wide;
        moves_.flush();
        state_.give_back(std::move(block_));
    }

private:
    using Integers = Lanes<float>::Integers;

    float& lower_at(Index i, Index g) const {
        return state_.lower[(i / kSide * state_.n_groups + g) * kSide + i % kSide];
    }
    const float* row(Index i) const { return state_.rows + std::min(i, state_.n - 1) * state_.d; }

    // Meet the groups that bounds leave, or return false where they are too many.
    bool assign_bounded() {
        std::fill(block_->counts.begin(), block_->counts.end(), 0);
        const Index n = (last_ - first_ + kSide - 1) / kSide;
        Index failed = 0;
        for (Index v = 0; v < n + kAhead; ++v) {
            if (v < n) {
                const bool at_once = v > 2 * kAhead && 8 * failed > 7 * v;
                const std::uint32_t bits = (at_once ? ~0u : test(first_ + v * kSide)) & valid(v);
                block_->failing[v] = bits;
                failed += bits != 0;
                fetch(first_ + v * kSide, bits);
            }
            if (v >= kAhead && block_->failing[v - kAhead] != 0) {
                list(first_ + (v - kAhead) * kSide, block_->failing[v - kAhead]);
            }
        }
        Index listed = 0;
        for (const Index count : block_->counts) listed += count;
        if (double(listed) > kMostListed * double(last_ - first_) * double(state_.n_groups)) {
            return false;
        }
        part_.met += double(listed) * double(state_.span * kPanel);
        n_hot_ = 0;
        for (Index g = 0; g < state_.n_groups; ++g) {
            if (block_->counts[g] > 0) meet_listed(g);
        }
        for (Index h = 0; h < n_hot_; ++h) contest(block_->hot[h], true);
        return true;
    }

    // Which of a vector of rows fail the bounds that are carried.
    std::uint32_t test(Index i) const {
        const float* lower = state_.lower.data() + i * state_.n_groups;
        const float* drifts = state_.group_high.data();
        const Floats upper =
            load(state_.upper.data() + i) + gather(state_.high.data(), work_.labels.data() + i);
        Integers failing{};
        for (Index g = 0; g < state_.n_groups; ++g) {
            failing |= opposite(load(lower + g * kSide) > upper + drifts[g]);
        }
        return bits_of<float>(failing);
    }

    // Rows that will be read soon: they lie anywhere.
    void fetch(Index i, std::uint32_t bits) const {
        for (; bits != 0; bits &= bits - 1) {
            const float* x = row(i + LAB_LOWEST_BIT(bits));
            const Index values = std::min(state_.d, kFetched);
            for (Index f = 0; f < values; f += 16) LAB_PREFETCH(x + f);
        }
    }

    // List the groups that rows which fail have to meet, by their distances to their centers.
    void list(Index i, std::uint32_t bits) {
        const float* lower = state_.lower.data() + i * state_.n_groups;
        const float* drifts = state_.group_high.data();
        const Floats upper = measure(i, bits);
        std::uint16_t* places = block_->lists.data();
        for (Index g = 0; g < state_.n_groups; ++g, places += CarriedBlock::size) {
            const Integers open = opposite(load(lower + g * kSide) > upper + drifts[g]);
            Index& count = block_->counts[g];
            count += append(bits_of<float>(open) & bits, i - first_, places + count);
        }
    }

    // A bit for each row of a vector that the block has.
    std::uint32_t valid(Index v) const {
        const Index left = last_ - first_ - v * kSide;
        return left >= kSide ? std::uint32_t((std::uint64_t(1) << kSide) - 1) : (1u << left) - 1;
    }

    // The distances of some of these rows to their centers, at most; and what else is needed of
    // those.
    Floats measure(Index i, std::uint32_t bits) {
        const std::int32_t* labels = work_.labels.data() + i;
        const Index place = i - first_;
        Floats own[kSide] = {};
        for (std::uint32_t left = bits; left != 0; left &= left - 1) {
            const int l = LAB_LOWEST_BIT(left);
            const std::int32_t label = labels[l];
            own[l] =
                differences(row(i + l), state_.centers.data() + label * state_.d, state_.d, rest_);
            block_->group[place + l] = -1;
            block_->own[place + l] = state_.slot[label];
        }
        const Floats square = load(state_.squares.data() + i);
        const Floats off = state_.rate * square + state_.tiny, low = square - off;
        const Floats near = fold(own, Added()) + (off + gather(state_.off.data(), labels));
        const Floats upper = square_roots<float>(near) * kUp;
        const Floats drift = gather(state_.low.data(), labels);
        store(block_->low + place, low);
        store(block_->limit + place, near - low);
        alignas(64) float carried[kSide];
        store(carried, (upper - drift) + 0x1p-21f * (upper + drift));
        for (; bits != 0; bits &= bits - 1) {
            const int l = LAB_LOWEST_BIT(bits);
            state_.upper[i + l] = carried[l];
        }
        return upper;
    }

    // The rows that bounds leave to a group meet its centers but their own.
    void meet_listed(Index g) {
        std::uint16_t* list = block_->lists.data() + g * CarriedBlock::size;
        const Index count = block_->counts[g];
        std::fill(list + count, list + count + kSide - 1, list[count - 1]);
        for (Index z = 0; z < count; z += kSide) {
            const float* x[kSide];
            std::int32_t places[kSide];
            for (int r = 0; r < kSide; ++r) {
                places[r] = list[z + r];
                x[r] = state_.rows + (first_ + places[r]) * state_.d;
            }
            const Floats least = least_but_own(g, x, places);
            const Floats square = gather(block_->low, places) + least;
            float lower[kSide];
            store(lower, bounds(square, state_.group_low[g]));
            for (int r = 0; r < kSide; ++r) lower_at(first_ + places[r], g) = lower[r];
            const std::uint32_t all = count - z < kSide ? (1u << (count - z)) - 1 : ~0u;
            std::uint32_t near =
                bits_of<float>(opposite(least > gather(block_->limit, places))) & all;
            if (near == 0) continue;
            float scores[kSide];
            store(scores, least);
            for (; near != 0; near &= near - 1) {
                const int r = LAB_LOWEST_BIT(near);
                note(places[r], scores[r], g);
            }
        }
    }

    Floats least_but_own(Index g, const float* const* x, const std::int32_t* places) const {
        Floats least = all_of(kInfinite);
        for (Index p = g * state_.span; p < (g + 1) * state_.span; ++p) {
            const float* masks[kSide];
            for (int r = 0; r < kSide; ++r) {
                masks[r] = kMasks.without(block_->own[places[r]] - p * kPanel);
            }
            Floats some;
            least_scores<kRowsListed, 1, true>(x, packed(p), squares_low(p), state_.d, masks,
                                               &some);
            least = Least()(some, least);
        }
        return least;
    }

    const float* packed(Index p) const { return state_.packed.data() + p * kPanel * state_.d; }
    const float* squares_low(Index p) const { return state_.squares_low.data() + p * kPanel; }

    // What is stored of a group with centers as near as that, squared.
    static LAB_MEMBER Floats bounds(const Floats& square, float drift) {
        return (square_roots<float>(larger(square, Floats{})) + drift) * kDown;
    }
    static float bound(float square, float drift) {
        return (square > 0 ? std::sqrt(square) + drift : drift) * kDown;
    }

    void note(std::int32_t place, float score, Index g) {
        if (block_->group[place] < 0) {
            block_->hot[n_hot_++] = place;
            block_->best[place] = block_->second[place] = kInfinite;
        }
        if (block_->group[place] < 0 || score < block_->best[place]) {
            block_->second[place] = block_->best[place];
            block_->best[place] = score;
            block_->group[place] = std::int32_t(g);
        } else {
            block_->second[place] = std::min(block_->second[place], score);
        }
    }

    // All rows of the block meet all centers.
    void assign_full() {
        for (Index i = first_; i < last_; i += kSide) {
            const Index place = i - first_;
            const Floats square = load(state_.squares.data() + i);
            store(block_->low + place, square - (state_.rate * square + state_.tiny));
            store(block_->best + place, all_of(kInfinite));
            store(block_->second + place, all_of(kInfinite));
            for (int l = 0; l < kSide; ++l) block_->group[place + l] = 0;
        }
        Index p = 0;
        for (; p + kPanelsFull <= state_.n_panels; p += kPanelsFull) meet_all<kPanelsFull>(p);
        if (p + 2 == state_.n_panels) meet_all<2>(p);
        if (p + 1 == state_.n_panels) meet_all<1>(p);
        part_.met += double(last_ - first_) * double(state_.k);
        for (Index place = 0; place < last_ - first_; ++place) contest(std::int32_t(place), false);
    }

    template <int panels>
    void meet_all(Index p) {
        for (Index i = first_; i < last_; i += kSide) {
            const float* x[kSide];
            for (int r = 0; r < kSide; ++r) x[r] = row(i + r);
            Floats least[panels];
            least_scores<kRowsFull, panels, false>(x, packed(p), squares_low(p), state_.d, nullptr,
                                                   least);
            for (int q = 0; q < panels; ++q) take(i, p + q, least[q]);
        }
    }

    // The least scores of rows in a panel; the bound of its group when it is the last one.
    LAB_MEMBER void take(Index i, Index p, Floats least) {
        const Index span = state_.span, g = span == 1 ? p : p / span;
        float* lower = state_.lower.data() + i * state_.n_groups + g * kSide;
        if (span > 1 && p % span != 0) least = Least()(least, load(lower));
        if (span > 1 && (p + 1) % span != 0) {
            store(lower, least);
            return;
        }
        const Index place = i - first_;
        store(lower, bounds(load(block_->low + place) + least, state_.group_low[g]));
        const Floats best = load(block_->best + place), second = load(block_->second + place);
        store(block_->best + place, Least()(least, best));
        store(block_->second + place, Least()(second, larger(least, best)));
        Integers groups;
        std::memcpy(&groups, block_->group + place, sizeof groups);
        groups = least < best ? Integers{} + std::int32_t(g) : groups;
        std::memcpy(block_->group + place, &groups, sizeof groups);
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
            scores_of(row(i), packed(p), squares_low(p), state_.d, scores);
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
        scores_of(row(i), packed(p), squares_low(p), state_.d, scores);
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
                scores_of(row(i), packed(p), squares_low(p), state_.d, scores);
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
    CarriedPart& known_;
    RowMoves<T> moves_;
    std::unique_ptr<CarriedBlock> block_;
    const Rest rest_;
    Aligned<double> tile_;
    Index first_ = 0, last_ = 0;  // rows of the block
    Index n_hot_ = 0;
    double asked_ = 0;  // pairs that were left to the reference's arithmetic
};

template <typename T, int vectors, int panel>
void assign_carried(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums) {
    CarriedPass<T, vectors, panel>(work, state, part, sums).run();
}

// Rows relative to the middle, in float, and their squared lengths.
template <typename T>
void shade_rows(const RowWork<T>& work, CarriedState<T>& state, const Part& part) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    const Index d = work.d;
    const T* middle = work.given.middle;
    for (Index i = part.first; i < part.last; ++i) {
        if (i % 1024 == 0 && work.interrupt->came()) return;
        float* to = state.shadow.empty() ? nullptr : state.shadow.data() + i * d;
        const T* x = work.given.rows + i * d;
        Values sums[2] = {};
        Index f = 0;
        for (; f + 2 * lanes <= d; f += 2 * lanes) {
            LAB_UNROLL for (int v = 0; v < 2; ++v) {
                alignas(64) T some[lanes];
                LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                    some[l] = T(x[f + v * lanes + l] - middle[f + v * lanes + l]);
                }
                const Values value = doubles_at(some) * state.scale;
                sums[v] += value * value;
                if (!to) continue;
                const auto few = convert<Lanes<float>::Few>(value);
                std::memcpy(to + f + v * lanes, &few, sizeof few);
            }
        }
        const Values sum = sums[0] + sums[1];
        double square = 0;
        for (int l = 0; l < lanes; ++l) square += lane(sum, l);
        for (; f < d; ++f) {
            const double value = double(work.given.at(i, f)) * state.scale;
            square += value * value;
            if (to) to[f] = float(value);
        }
        state.squares[i] = float(square);
    }
}

}  // namespace LAB_ISA
}  // namespace lab
