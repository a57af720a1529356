// The seeding over the caller's rows: those that a bound does not rule out are measured. It needs
// neither tiles nor balls, which rule out little where features are many or clusters overlap.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/order.h"
#include "simd/seeding/screen.h"
#include "simd/seeding/seeding.h"
#include "simd/team.h"

namespace lab {

// Whether most rows of a sample have another one within a twentieth of the usual distance.
template <typename T>
bool lie_apart(const Given<T>& given, Index n) {
    const Index count = std::min(n, Index(128)), step = n / count, probed = std::min(n, Index(32));
    Index apart = 0;
    for (Index i = 0; i < probed; ++i) {
        double sum = 0, least = std::numeric_limits<double>::infinity();
        const Index own = i * (count / probed) * step;
        for (Index j = 0; j < count * step; j += step) {
            double squared = 0;
            for (Index f = 0; f < given.d && j != own; ++f) {
                const double diff = double(given.at(own, f)) - double(given.at(j, f));
                squared += diff * diff;
            }
            if (j != own) least = std::min(least, squared);
            sum += squared;
        }
        apart += 400 * least * double(count) < sum;
    }
    return 2 * apart > probed;
}

// Balls rule out most rows at once where features are few, or where clusters are few or lie far
// apart; docs/performance.md has the times. Few features of very many rows would need more memory
// than balls do.
template <typename T>
bool screening_pays(const Given<T>& given, Index n, Index k) {
    const Index d = given.d;
    const bool shape = d >= 16 || (d >= 6 && d * k >= 300 && n <= kManyRows);
    return shape && n > 0 && !lie_apart(given, n);
}

// The median of a few rows: far rows do not move it. Their distance from it is the unit.
template <typename T>
void choose_origin(const Given<T>& given, Screen& screen) {
    const Index count = std::min(screen.n, Index(15));
    std::vector<double> values(count);
    double most = 0;
    for (Index f = 0; f < given.d; ++f) {
        for (Index i = 0; i < count; ++i) values[i] = double(given.at(i * (screen.n / count), f));
        std::nth_element(values.begin(), values.begin() + count / 2, values.end());
        const double middle = screen.origin[f] = values[count / 2];
        for (const double value : values) most = std::max(most, std::abs(value - middle));
    }
    if (!(most > 0) || !std::isfinite(most)) return;
    screen.unit = std::ldexp(1.0, std::clamp(-std::ilogb(most), -1000, 1000));
}

// The rows as candidates, with their values in double.
template <typename T>
void set_candidates(const Given<T>& given, const Screen& screen, const std::vector<Index>& rows,
                    Screened& candidates) {
    candidates.set(screen, rows);
    candidates.values.resize(rows.size() * given.d);
    for (std::size_t c = 0; c < rows.size(); ++c) {
        for (Index f = 0; f < given.d; ++f) {
            candidates.values[Index(c) * given.d + f] = double(given.at(rows[c], f));
        }
    }
}

// Beside X it takes 2 bytes a value and 20 a row.
template <typename T>
class ScreenedSeeding {
public:
    ScreenedSeeding(const Given<T>& given, Index n, Index n_candidates,
                    const Screening<T>& routines, Team& team, Interrupt& interrupt)
        : given_(given),
          routines_(routines),
          team_(team),
          interrupt_(interrupt),
          stretches_(n, (n / kMostPieces / kPiece + 1) * kPiece),
          gains_(stretches_.sums.size() * n_candidates),
          estimates_(gains_.size()),
          errors_(gains_.size()),
          largest_(stretches_.sums.size()),
          screen_(n, given.d, routines.width) {
        choose_origin(given_, screen_);
        each_stretch(1, [&](Index, Index first, Index last) {
            routines_.copy_rows(given_, screen_, first, last);
        });
    }

    const Stretches& stretches() const { return stretches_; }
    const Grid& grid() const { return screen_.grid; }

    // Make a row a center.
    void keep(Index row) {
        const bool first = stretches_.total == 0;  // distances so far are infinite
        set_candidates({row});
        each_stretch(1, [&](Index s, Index begin, Index end) {
            stretches_.sums[s] -=
                routines_.keep_candidate(given_, candidates_, begin, end, screen_);
        });
        estimated_.clear();
        first ? lay(screen_.grid) : stretches_.add_up();
    }

    // The rows at which the running sum passes targets.
    std::vector<Index> find(const std::vector<double>& targets) const {
        std::vector<Index> rows;
        for (const double target : targets) {
            const auto place = stretches_.passing(target, screen_.nearest.data());
            rows.push_back(stretches_.row_passing(place, target, screen_.grid));
        }
        return rows;
    }

    // Most rounds are decided by estimates; where these are too close, rows are measured.
    Index best_of(std::vector<Index> rows) {
        if (rest_ > 0) {
            --rest_;
        } else {
            const Index n_tried = Index(rows.size());
            rows = contenders(rows);
            pause_ = 2 * Index(rows.size()) > n_tried ? std::min(2 * pause_ + 1, 63) : 0;
            rest_ = pause_;
        }
        if (rows.size() == 1) return rows[0];
        const Index count = Index(rows.size());
        set_candidates(rows);
        each_stretch(double(count), [&](Index s, Index first, Index last) {
            routines_.try_candidates(given_, screen_, candidates_, first, last, &gains_[s * count]);
        });
        const auto gains = totals(gains_, count, n_stretches());
        return rows[std::max_element(gains.begin(), gains.end()) - gains.begin()];
    }

    void lay(const Grid& grid) {
        screen_.grid = grid;
        each_stretch(0, [&](Index s, Index first, Index last) {
            stretches_.sums[s] = routines_.sum(screen_, first, last);
        });
        stretches_.add_up();
    }

    double find_largest() {
        each_stretch(0, [&](Index s, Index first, Index last) {
            largest_[s] = largest_of(screen_.nearest.data() + first, last - first);
        });
        return *std::max_element(largest_.begin(), largest_.end());
    }

private:
    Index n_stretches() const { return Index(stretches_.sums.size()); }

    static constexpr Index kPiece = 1024;      // stretches are as many rows, or multiples
    static constexpr Index kMostPieces = 256;  // enough for many threads to share

    // Those of the rows that may be the best: the others surely lower the sum by less.
    std::vector<Index> contenders(const std::vector<Index>& rows) {
        const Index count = Index(rows.size());
        set_candidates(rows);
        each_stretch(double(count), [&](Index s, Index first, Index last) {
            routines_.estimate(candidates_, first, last, screen_, &estimates_[s * count],
                               &errors_[s * count]);
        });
        estimated_ = rows;
        const auto gains = totals(estimates_, count, n_stretches());
        auto errors = totals(errors_, count, n_stretches());
        double least = 0;
        for (Index c = 0; c < count; ++c) {
            errors[c] = screen_.error_of_sums(gains[c], errors[c]);
            if (gains[c] - errors[c] > least) least = gains[c] - errors[c];
        }
        std::vector<Index> best;
        for (Index c = 0; c < count; ++c) {
            if (gains[c] + errors[c] < least) continue;  // not where either is not a number
            if (std::find(best.begin(), best.end(), rows[c]) == best.end()) best.push_back(rows[c]);
        }
        return best;
    }

    // Sums of what stretches have for each of `count` candidates.
    template <typename Number>
    static std::vector<Number> totals(const std::vector<Number>& parts, Index count, Index n) {
        std::vector<Number> sums(count);
        for (Index i = 0; i < n * count; ++i) sums[i % count] += parts[i];
        return sums;
    }

    void set_candidates(const std::vector<Index>& rows) {
        lab::set_candidates(given_, screen_, rows, candidates_);
        for (const Index row : rows) {
            const auto place = std::find(estimated_.begin(), estimated_.end(), row);
            if (place == estimated_.end()) continue;
            candidates_.bits |= std::uint32_t(1) << (place - estimated_.begin());
        }
    }

    // Call a task with each stretch, its first row and the one behind its last; so many candidates
    // meet each row.
    template <typename Task>
    void each_stretch(double met, const Task& task) {
        const Index n = stretches_.n, length = stretches_.n_rows;
        interrupt_.begin((met + 1) * double(screen_.d) * double(length));
        const auto one = [&](int s, int) {
            if (interrupt_.came()) return;
            task(Index(s), s * length, std::min((s + 1) * length, n));
        };
        team_.run(int(stretches_.sums.size()), one);
        if (interrupt_.came()) throw Interrupted();
    }

    const Given<T> given_;
    const Screening<T> routines_;
    Team& team_;
    Interrupt& interrupt_;
    Stretches stretches_;
    std::vector<Index> estimated_;     // candidates of this round, if estimates were made
    int rest_ = 0, pause_ = 0;         // rounds without estimates, where these did not decide
    std::vector<std::int64_t> gains_;  // (n_stretches, n_candidates)
    std::vector<double> estimates_, errors_;  // of them
    std::vector<double> largest_;             // distance of each stretch
    Screened candidates_;
    Screen screen_;
};

}  // namespace lab
