// A pass over rows with carried bounds. Included once per instruction set, after
// carried_rows-inl.h.

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
constexpr Index kFetched = 128;  // pairs of a row that are asked for ahead; the rest follows

template <typename T, int vectors, int panel>
class CarriedPass : CarriedRows<T> {
    using Base = CarriedRows<T>;
    using Base::asked_, Base::block_, Base::bounds, Base::contest, Base::first_, Base::last_;
    using Base::lower_at, Base::moves_, Base::panels, Base::part_, Base::row, Base::state_;
    using Base::work_;
    using typename Base::Integers;

public:
    CarriedPass(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums)
        : Base(work, state, part, sums),
          known_(state.parts[part.first / CarriedState<T>::kPartRows]),
          rest_(state.n_pairs) {}

    void run() {
        bool wide = !state_.proven, all = true;
        if (!wide && part_.wide_left > 0) {
            --part_.wide_left;
            wide = true;
        }
        const Index step = state_.n_pairs > 256 ? kTogether / 2 : kTogether;
        for (first_ = part_.first; first_ < part_.last; first_ = last_) {
            last_ = std::min(first_ + step, part_.last);
            if (work_.interrupt->came()) {
                all = false;
                break;
            }
            if (wide) {
                this->template assign_wide<vectors, panel>();
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
            const std::int32_t* x = row(i + LAB_LOWEST_BIT(bits));
            const Index pairs = std::min(state_.n_pairs, kFetched);
            for (Index f = 0; f < pairs; f += 16) LAB_PREFETCH(x + f);
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
            own[l] = products(row(i + l), state_.centers.data() + label * state_.n_pairs,
                              state_.n_pairs, rest_);
            block_->group[place + l] = -1;
            block_->own[place + l] = state_.slot[label];
        }
        const Floats square = load(state_.squares.data() + i);
        const Floats off = state_.rate * square + state_.tiny, low = square - off;
        const Floats dots = load(state_.scales.data() + i) * fold(own, Added());
        const Floats near = ((square + off) + gather(state_.squares_high.data(), labels)) +
                            gather(state_.twice.data(), labels) * dots;
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
            const std::int32_t* x[kSide];
            float scales[kSide];
            std::int32_t places[kSide];
            for (int r = 0; r < kSide; ++r) {
                places[r] = list[z + r];
                x[r] = state_.rows.data() + (first_ + places[r]) * state_.n_pairs;
                scales[r] = state_.scales[first_ + places[r]];
            }
            const Floats least = least_but_own(g, {x, scales}, places);
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

    Floats least_but_own(Index g, const RowsAt& x, const std::int32_t* places) const {
        Floats least = all_of(kInfinite);
        for (Index p = g * state_.span; p < (g + 1) * state_.span; ++p) {
            const float* masks[kSide];
            for (int r = 0; r < kSide; ++r) {
                masks[r] = kMasks.without(block_->own[places[r]] - p * kPanel);
            }
            Floats some;
            least_scores<kRowsListed, 1, true>(x, panels(p), state_.n_pairs, masks, &some);
            least = Least()(some, least);
        }
        return least;
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

    template <int some>
    void meet_all(Index p) {
        for (Index i = first_; i < last_; i += kSide) {
            const std::int32_t* x[kSide];
            for (int r = 0; r < kSide; ++r) x[r] = row(i + r);
            Floats least[some];
            least_scores<kRowsFull, some, false>({x, state_.scales.data() + i}, panels(p),
                                                 state_.n_pairs, nullptr, least);
            for (int q = 0; q < some; ++q) take(i, p + q, least[q]);
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

    CarriedPart& known_;
    const Rest rest_;
    Index n_hot_ = 0;
};

template <typename T, int vectors, int panel>
void assign_carried(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums) {
    CarriedPass<T, vectors, panel>(work, state, part, sums).run();
}

}  // namespace LAB_ISA
}  // namespace lab
