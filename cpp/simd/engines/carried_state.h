// What is carried from pass to pass about rows and groups of centers.
//
// Bounds of Ding et al. ("Yinyang k-means", ICML 2015): of each row, no center of a group but its
// own is nearer than the group's lower bound, and its own no farther than its upper bound. Drifts
// are added up per center and per group: what is stored is a bound plus or minus the drift then, so
// that rows that keep their label are only read.
//
// Rows and centers are copied as s · q: whole numbers q of 16 bits, ‖q‖ about 32 000, so that
// products of two copies are exact in 32 bits whatever the number of features (C.-S. inequality).
// Let u be half the epsilon of float, r the length of a row and C that of a center, and let copies
// be wrong by at most h r and g C. A score ‖c‖² − 2x·c is off by 2 (h + g + hg) r C from x·c and
// by less than 16 u (r² + C²) from a dozen roundings. It stands for rate · (r² + C²),
// rate = h + g + hg + 32 u, which leaves out 8 u (r² + C²) for the roundings of what is done with
// it. Copies of what is shorter than 2⁻¹⁰⁰ are zero: 2rC is then within 2⁻⁹ of the rate, or tiny.
// Scores begin with C² less its part of that. What the reference's arithmetic makes of a row and
// two centers at distances a and b is off by 4 (d + 3) 2⁻⁵³ (a² + b² + 8 r²) at most, wherever
// centers go later: the part of r² is in the rate, the others in a factor of 1 ± 2⁻²¹ on every
// bound.

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
#include "simd/engines/short_copy.h"
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
    float error = 0;       // of copies, in their lengths
};

template <typename T>
struct CarriedState {
    static constexpr Index kPartRows = 1024;  // parts begin at multiples

    Index n = 0, d = 0, k = 0;
    Index lanes = 1, width = 8;  // rows tested together; centers of a panel
    Index span = 1;              // panels of a group
    Index n_panels = 0, n_groups = 0;
    Index n_pairs = 0;  // of features; the last one is filled up with zero
    double scale = 1;   // all lengths are multiplied by this power of two
    float rate = 0, tiny = 0;
    CopyShort<T> copy = nullptr;
    // Rows, relative to the middle.
    Aligned<std::int32_t> rows;  // (n, n_pairs) and padding: their copies
    Aligned<float> scales;       // (n,): of the copies
    float row_error = 0;         // the largest of all copies
    Aligned<float> squares;      // (n,): ‖x‖²
    Aligned<float> upper;        // (n,): less the drift of the center
    Aligned<float> lower;        // (n / lanes, n_groups, lanes): plus the drift of the group
    std::vector<CarriedPart> parts;
    // Centers; those of a panel are neighbours.
    const T* given = nullptr;           // (k, d)
    Aligned<std::int32_t> packed;       // (n_panels, n_pairs, width): copies
    Aligned<float> packed_twice;        // (n_panels, width): their scales, times −2
    Aligned<float> squares_low;         // (n_panels, width): ‖c‖² less its rate
    Aligned<std::int32_t> centers;      // (k, n_pairs) and padding: copies
    Aligned<float> twice;               // (k,): their scales, times −2
    Aligned<float> squares_high;        // (k,): ‖c‖² and its rate
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
        k = 0;  // of a state that can be used: memory may run out below
        n_panels = (n_clusters + width - 1) / width;
        const double bytes = sizeof(float) * double(n);
        for (span = 1; span < n_panels && bytes * double(n_panels / span) > room;) span *= 2;
        n_groups = (n_panels + span - 1) / span;
        n_panels = n_groups * span;
        packed.resize(n_panels * n_pairs * width);
        packed_twice.resize(n_panels * width);
        squares_low.resize(n_panels * width);
        centers.resize(n_clusters * n_pairs + kMostWide);
        std::fill_n(centers.data() + n_clusters * n_pairs, kMostWide, 0);
        twice.resize(n_clusters);
        squares_high.resize(n_clusters);
        off.resize(n_clusters);
        slot.assign(n_clusters, 0);
        lower.resize((n + lanes - 1) / lanes * lanes * n_groups);
        old_.clear();
        k = n_clusters;
        rest();
    }

    // Take the centers of a pass; carried: bounds hold for those of the last one.
    void set(const T* to, bool carried) {
        given = to;
        wide_set_.store(false);
        tiny = float(double(d + 16) * std::ldexp(1.0, -120));
        const bool jumped = !carried || old_.empty() || !move(to);
        copy_centers(to);
        if (jumped) {
            rest();
            group(to);
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

    void copy_centers(const T* to) {
        const std::vector<T> zero(d, T(0));
        std::vector<float> scratch(d + kMostWide);
        double longest = 0;
        float error = 0;
        for (Index j = 0; j < k; ++j) {
            const ShortCopy copied = copy(to + j * d, zero.data(), scale, d, scratch.data(),
                                          centers.data() + j * n_pairs);
            twice[j] = -2 * copied.scale;
            squares_high[j] = float(copied.square);
            error = std::max(error, copied.error);
            longest = copied.square <= longest ? longest : copied.square;
        }
        const double both = double(row_error) + double(error) + double(row_error) * double(error);
        rate = float((both + 32 * std::ldexp(1.0, -24)) * (1 + 1e-2));
        for (Index j = 0; j < k; ++j) {
            off[j] = rate * squares_high[j];
            squares_high[j] += off[j];
        }
        proven = in_reach && std::sqrt(longest) < kMost;
    }

    void group(const T* to) {
        std::vector<float> points(k * d);
        for (Index i = 0; i < k * d; ++i) points[i] = float(double(to[i]) * scale);
        const Grouping grouping(points.data(), k, d, width * span);
        at_slot.assign(n_panels * width, -1);
        for (Index s = 0; s < k; ++s) {
            at_slot[s] = grouping.order()[s];
            slot[grouping.order()[s]] = std::int32_t(s);
        }
    }

    // Places without a center are infinitely far away.
    void fill_panels() {
        for (Index first = 0; first < n_panels * width; first += width) {
            std::int32_t* pairs = packed.data() + first * n_pairs;
            for (Index l = 0; l < width; ++l) {
                const std::int32_t j = at_slot[first + l];
                const std::int32_t* from = centers.data() + std::max(j, 0) * n_pairs;
                for (Index f = 0; f < n_pairs; ++f) pairs[f * width + l] = from[f];
                packed_twice[first + l] = j < 0 ? 0.0f : twice[j];
                squares_low[first + l] =
                    j < 0 ? std::numeric_limits<float>::infinity() : squares_high[j] - 2 * off[j];
            }
        }
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
