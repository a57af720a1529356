// What is carried from pass to pass about rows and groups of centers.
//
// Bounds of Ding et al. ("Yinyang k-means", ICML 2015): of each row, no center of a group but its
// own is nearer than the group's lower bound, and its own no farther than its upper bound. Drifts
// are added up per center and per group: what is stored is a bound plus or minus the drift then, so
// that rows that keep their label are only read.
//
// Let u be half the epsilon of float, r the length of a row and C that of a center. A score
// ‖c‖² − 2x·c, with x and c rounded to float, is off by (d + 3) u (2C² + r²); a sum of squared
// differences by 2 (d + 6) u (r² + C²). Each stands for rate · (r² + C²), rate = 2 (d + 16) u,
// which leaves out 8 u (r² + C²) for the roundings of what is done with them. Scores begin with C²
// less its part of that. What the reference's arithmetic makes of a row and two centers at
// distances a and b is off by 4 (d + 3) 2⁻⁵³ (a² + b² + 8 r²) at most, wherever centers go later:
// the part of r² is in the rate, the others in a factor of 1 ± 2⁻²¹ on every bound.

#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/aligned.h"
#include "common/types.h"
#include "simd/engines/grouping.h"
#include "simd/panels.h"

namespace lab {

constexpr Index kTogether = 512;  // rows whose lists are scored together
constexpr Index kMostWide = 16;   // rows that are tested together, centers of a panel

// What a thread notes about the rows of a block: by their places in it.
struct CarriedBlock {
    static constexpr Index size = kTogether + kMostWide;
    alignas(64) float low[size];     // ‖x‖² less what it may be off: added to a score, a bound
    alignas(64) float limit[size];   // scores up to this may belong to a nearer center
    alignas(64) float best[size];    // scores: the least of all groups
    alignas(64) float second[size];  // and that of all groups but one
    alignas(64) std::int32_t group[size];  // of the best
    std::int32_t own[size];                // the place of the row's center in the panels
    std::uint32_t failing[size];       // of vectors of rows: a bit for each that fails its bounds
    std::int32_t hot[size];            // rows that have such scores
    std::vector<std::uint16_t> lists;  // (n_groups, size): rows that have to meet the group
    std::vector<Index> counts;         // (n_groups,): how many
    std::vector<std::int32_t> asked;   // (n_clusters,): centers between which a row is undecided

    void resize(Index n_groups, Index k) {
        lists.resize(n_groups * size);
        counts.resize(n_groups);
        asked.resize(k);
    }
};

// What is known of the rows of a part.
struct CarriedPart {
    bool bounded = false;  // all of its bounds hold
};

template <typename T>
struct CarriedState {
    static constexpr Index kPartRows = 1024;  // parts begin at multiples

    Index n = 0, d = 0, k = 0;
    Index lanes = 1, width = 8;  // rows tested together; centers of a panel
    Index span = 1;              // panels of a group
    Index n_panels = 0, n_groups = 0;
    double scale = 1;  // all lengths are multiplied by this power of two
    float rate = 0, tiny = 0;
    // Rows, relative to the middle.
    const float* rows = nullptr;  // (n, d): the caller's or the shadow
    Aligned<float> shadow;
    Aligned<float> squares;  // (n,): ‖x‖²
    Aligned<float> upper;    // (n,): less the drift of the center
    Aligned<float> lower;    // (n / lanes, n_groups, lanes): plus the drift of the group
    std::vector<CarriedPart> parts;
    // Centers; those of a panel are neighbours.
    const T* given = nullptr;           // (k, d)
    Aligned<float> packed;              // (n_panels, d, width): −2c
    Aligned<float> squares_low;         // (n_panels, width): ‖c‖² less its rate
    Aligned<float> centers;             // (k, d) and padding: c
    Aligned<float> off;                 // (k,): rate · ‖c‖²
    std::vector<std::int32_t> slot;     // (k,): the place of a center in the panels
    std::vector<std::int32_t> at_slot;  // (n_panels · width,): the center there; −1: none
    // Drifts since the bounds were last forgotten, rounded up and down.
    std::vector<float> high, low, group_high, group_low;
    bool proven = false;  // floats are far from overflow, for all rows and centers
    // For rows that float32 decides nothing about.
    Origin<T> origin{nullptr, true};
    Panels<double> wide;
    DirectCenters direct;

    // Groups of one panel, or of twice as many until their bounds fit the room, in bytes.
    void resize(Index n_clusters, double room) {
        k = n_clusters;
        n_panels = (k + width - 1) / width;
        const double bytes = sizeof(float) * double(n);
        for (span = 1; span < n_panels && bytes * double(n_panels / span) > room;) span *= 2;
        n_groups = (n_panels + span - 1) / span;
        n_panels = n_groups * span;
        packed.resize(n_panels * d * width);
        squares_low.resize(n_panels * width);
        centers.resize(k * d + kMostWide);
        std::fill_n(centers.data() + k * d, kMostWide, 0.0f);
        off.resize(k);
        slot.assign(k, 0);
        lower.resize((n + lanes - 1) / lanes * lanes * n_groups);
        old_.clear();
        rest();
    }

    // Take the centers of a pass; carried: bounds hold for those of the last one.
    void set(const T* to, bool carried) {
        given = to;
        wide_set_.store(false);
        rate = float(2.0 * double(d + 16) * std::ldexp(1.0, -24) * (1 + 1e-4));
        tiny = float(double(d + 16) * std::ldexp(1.0, -120));
        const bool jumped = !carried || old_.empty() || !move(to);
        fill_rows(to);
        if (jumped) {
            rest();
            group();
        }
        fill_panels();
        old_.assign(to, to + k * d);
    }

    float& lower_at(Index row, Index group) {
        return lower[(row / lanes * n_groups + group) * lanes + row % lanes];
    }

    // Panels in double, for passes that need them.
    void widen(Index panel) {
        if (wide_set_.load(std::memory_order_acquire)) return;
        std::lock_guard<std::mutex> lock(mutex_);
        if (wide_set_.load()) return;
        wide.set(given, origin, k, d, panel);
        direct.set(given, k, d);
        wide_set_.store(true, std::memory_order_release);
    }

    std::unique_ptr<CarriedBlock> take_block() {
        std::unique_ptr<CarriedBlock> block;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!blocks_.empty()) {
                block = std::move(blocks_.back());
                blocks_.pop_back();
            }
        }
        if (!block) block = std::make_unique<CarriedBlock>();
        block->resize(n_groups, k);
        return block;
    }
    void give_back(std::unique_ptr<CarriedBlock> block) {
        std::lock_guard<std::mutex> lock(mutex_);
        blocks_.push_back(std::move(block));
    }

    // No bound holds any more.
    void rest() {
        way_.assign(k, 0.0);
        group_way_.assign(n_groups, 0.0);
        for (CarriedPart& part : parts) part.bounded = false;
        round_drifts();
    }

    double drift(Index center) const { return way_[center]; }
    double group_drift(Index group) const { return group_way_[group]; }

private:
    static constexpr Index kAbreast = 8;
    static constexpr double kFar = 1.0;    // of the mean square length of centers
    static constexpr float kMost = 1e18f;  // lengths whose squares are far from overflow

    // Add up the drifts. False: the centers are others, as at the start of another fit.
    bool move(const T* to) {
        std::vector<double> most(n_groups, 0.0);
        double moved = 0, lengths = 0;
        for (Index j = 0; j < k; ++j) {
            double ways[kAbreast] = {}, squares_of[kAbreast] = {};
            const T *now = to + j * d, *before = old_.data() + j * d;
            const auto add = [&](Index f, Index l) {
                const double diff = double(now[f]) - double(before[f]);
                ways[l] += diff * diff;
                squares_of[l] += double(now[f]) * double(now[f]);
            };
            Index f = 0;
            for (; f + kAbreast <= d; f += kAbreast) {
                for (Index l = 0; l < kAbreast; ++l) add(f + l, l);
            }
            for (; f < d; ++f) add(f, 0);
            for (Index l = 1; l < kAbreast; ++l) {
                ways[0] += ways[l];
                squares_of[0] += squares_of[l];
            }
            moved += ways[0];
            lengths += squares_of[0];
            const double way = std::sqrt(ways[0]) * scale * (1 + 1e-9);
            way_[j] += way;
            double& group_most = most[slot[j] / (width * span)];
            group_most = way <= group_most ? group_most : way;  // keeps what is not a number
        }
        for (Index g = 0; g < n_groups; ++g) group_way_[g] += most[g];
        round_drifts();
        return moved <= kFar * lengths;
    }

    // As floats that are added to others, each stays on its side.
    void round_drifts() {
        constexpr double u = std::numeric_limits<float>::epsilon() / 2;
        constexpr double least = std::numeric_limits<float>::min();
        const auto round = [](const std::vector<double>& from, std::vector<float>& up,
                              std::vector<float>& down) {
            up.resize(from.size());
            down.resize(from.size());
            for (std::size_t i = 0; i < from.size(); ++i) {
                up[i] = from[i] > 0 ? float(std::fmax(from[i] * (1 + 4 * u), least)) : 0.0f;
                down[i] = from[i] > least ? float(from[i] * (1 - 4 * u)) : 0.0f;
            }
        };
        round(way_, high, low);
        round(group_way_, group_high, group_low);
    }

    void fill_rows(const T* to) {
        float* values = centers.data();
        for (Index i = 0; i < k * d; ++i) values[i] = float(double(to[i]) * scale);
        double longest = 0;
        for (Index j = 0; j < k; ++j) {
            double sums[kAbreast] = {};
            const T* center = to + j * d;
            Index f = 0;
            for (; f + kAbreast <= d; f += kAbreast) {
                for (Index l = 0; l < kAbreast; ++l) {
                    const double value = double(center[f + l]) * scale;
                    sums[l] += value * value;
                }
            }
            for (; f < d; ++f) sums[0] += double(center[f]) * scale * double(center[f]) * scale;
            for (Index l = 1; l < kAbreast; ++l) sums[0] += sums[l];
            longest = sums[0] <= longest ? longest : sums[0];
            off[j] = float(sums[0]);
        }
        proven = in_reach && std::sqrt(longest) < kMost;
    }

    void group() {
        const Grouping grouping(centers.data(), k, d, width * span);
        at_slot.assign(n_panels * width, -1);
        for (Index s = 0; s < k; ++s) {
            at_slot[s] = grouping.order()[s];
            slot[grouping.order()[s]] = std::int32_t(s);
        }
    }

    // Places without a center are infinitely far away.
    void fill_panels() {
        for (Index first = 0; first < n_panels * width; first += width) {
            float* to = packed.data() + first * d;
            for (Index l = 0; l < width; ++l) {
                const std::int32_t j = at_slot[first + l];
                const float* from = centers.data() + std::max(j, 0) * d;
                const float factor = j < 0 ? 0.0f : -2.0f;
                for (Index f = 0; f < d; ++f) to[f * width + l] = factor * from[f];
                squares_low[first + l] =
                    j < 0 ? std::numeric_limits<float>::infinity() : off[j] - rate * off[j];
            }
        }
        for (Index j = 0; j < k; ++j) off[j] *= rate;
    }

    std::vector<T> old_;                   // (k, d): the centers of the last pass
    std::vector<double> way_, group_way_;  // drifts since the bounds were last forgotten
    std::atomic<bool> wide_set_{false};
    std::mutex mutex_;
    std::vector<std::unique_ptr<CarriedBlock>> blocks_;  // that no thread uses

public:
    bool in_reach = true;  // all rows are short enough
};

}  // namespace lab
