// Calls that look at X once: labels, their squared distances, all distances, lengths. Nothing is
// prepared, and X is not copied; threads share ranges of rows.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

#include "common/interrupt.h"
#include "common/types.h"
#include "simd/dispatch.h"
#include "simd/kept_team.h"
#include "simd/once/moments.h"
#include "simd/once/query.h"
#include "simd/panels.h"
#include "simd/sums.h"

namespace lab {

// Runs task(first, last) on ranges of rows that cover all of them.
class SharedRows {
public:
    SharedRows(Index n, double work_per_row, int n_threads)
        : n_(n),
          rows_(rows_of_a_range(n, work_per_row)),
          n_threads_(n > rows_ ? n_threads : 1),
          team_(n_threads_) {}

    // How many threads the system has not started.
    int missing() const { return n_threads_ - team_->size(); }

    template <typename Task>
    void run(Interrupt& interrupt, const Task& task) {
        team_->run(int((n_ + rows_ - 1) / rows_), [&](int i, int) {
            if (!interrupt.came()) task(i * rows_, std::min(n_, (i + 1) * rows_));
        });
        if (interrupt.came()) throw Interrupted();
    }

private:
    static constexpr double kRange = 1 << 18;  // multiply-adds: some 5 µs
    static constexpr Index kLeast = 64, kMost = 1024, kMostRanges = 1 << 15;

    static Index rows_of_a_range(Index n, double work_per_row) {
        const Index rows = Index(std::clamp(kRange / work_per_row, double(kLeast), double(kMost)));
        return std::max(rows / kLeast * kLeast, (n + kMostRanges - 1) / kMostRanges);
    }

    const Index n_, rows_;
    const int n_threads_;
    KeptTeam team_;
};

// What a call on X is given. Without a middle, rows and centers are as they are.
template <typename T>
struct OnRows {
    const T* rows;     // (n, d)
    const T* centers;  // (n_clusters, d)
    const T* middle;   // (d,), or null
    Index n, d, n_clusters;
    int n_threads;
};

// Where the origin of scores lies best, if rows are as they are: amid the centers.
template <typename T>
std::vector<T> mean_center(const OnRows<T>& given) {
    std::vector<double> sums(given.d);
    for (Index j = 0; j < given.n_clusters; ++j) {
        for (Index f = 0; f < given.d; ++f) sums[f] += double(given.centers[j * given.d + f]);
    }
    std::vector<T> mean(given.d);
    for (Index f = 0; f < given.d; ++f) mean[f] = T(sums[f] / double(given.n_clusters));
    return mean;
}

struct Labelled {
    Index rescored;  // rows that were decided by differences
    double inertia;
    int missing;  // threads
};

template <typename T>
Labelled label_all(const OnRows<T>& given, std::int32_t* labels, bool with_inertia) {
    const Calls<T> calls = choose_calls<T>(chosen_isa(), given.d, given.n_clusters);
    const std::vector<T> mean = given.middle ? std::vector<T>() : mean_center(given);
    const Origin<T> origin{given.middle ? given.middle : mean.data(), given.middle != nullptr};
    const double work = double(given.n_clusters) * double(given.d);
    Interrupt interrupt;
    interrupt.begin(16 * work);  // a tile lies between two checks
    Query<T> query(given.rows, given.n, given.centers, given.n_clusters, given.d, origin,
                   calls.widths, labels, interrupt);
    SharedRows shared(given.n, work, given.n_threads);
    std::mutex mutex;
    ExactSum total;
    shared.run(interrupt, [&](Index first, Index last) {
        ExactSum own;
        calls.label(query, first, last, with_inertia ? &own : nullptr);
        if (!with_inertia) return;
        std::lock_guard<std::mutex> lock(mutex);
        total.add(own);
    });
    return {query.rescored, total.value(), shared.missing()};
}

// Write the distances of all rows to all centers, (n, n_clusters); return how many threads have not
// been started.
template <typename T>
int measure_all(const OnRows<T>& given, T* distances) {
    const Calls<T> calls = choose_calls<T>(chosen_isa(), given.d, given.n_clusters);
    DirectCenters packed;
    packed.set(given.centers, given.n_clusters, given.d);
    const double work = double(given.n_clusters) * double(given.d + 1);
    SharedRows shared(given.n, work, given.n_threads);
    Interrupt interrupt;
    interrupt.begin(64 * work);
    shared.run(interrupt, [&](Index first, Index last) {
        calls.measure(given.rows + first * given.d, last - first, given.centers, packed,
                      distances + first * given.n_clusters);
    });
    return shared.missing();
}

// Runs task(share, thread) for shares of n values, which are read from memory.
class SharedValues {
public:
    static constexpr int kShares = 64;

    SharedValues(double n_values, int n_threads)
        : team_(n_values < kWorthIt ? 1 : std::min(n_threads, kEnough)) {}
    std::size_t size() const { return std::size_t(team_->size()); }

    template <typename Task>
    void run(Interrupt& interrupt, const Task& task) {
        team_->run(kShares, [&](int share, int thread) {
            if (!interrupt.came()) task(share, std::size_t(thread));
        });
        if (interrupt.came()) throw Interrupted();
    }

private:
    static constexpr double kWorthIt = 1 << 20;  // fewer are read before threads have started
    static constexpr int kEnough = 8;            // threads: memory is no faster

    KeptTeam team_;
};

// Write the length of each row, and where `out` is not null the rows divided by it.
template <typename T>
void divide_all(const T* X, Index n, Index d, double within, int n_threads, double* lengths,
                T* out) {
    const Calls<T> calls = choose_calls<T>(chosen_isa(), 1, 1);
    SharedValues team(double(n) * double(d), n_threads);
    const Index rows = std::max(Index(8), Index(1 << 18) / d);  // between two checks for a signal
    Interrupt interrupt;
    interrupt.begin(double(rows) * double(d));
    team.run(interrupt, [&](int share, std::size_t) {
        const Index last = n * (share + 1) / team.kShares;
        for (Index i = n * share / team.kShares; i < last && !interrupt.came(); i += rows) {
            calls.divide_by_lengths(X + i * d, std::min(rows, last - i), d, within, lengths + i,
                                    out ? out + i * d : nullptr);
        }
    });
}

// The moments of the columns of X around a pivot, (d,).
template <typename T>
Moments moments_of_all(const T* X, Index n, Index d, int n_threads,
                       const std::vector<double>& pivot) {
    const Calls<T> calls = choose_calls<T>(chosen_isa(), 1, 1);
    SharedValues team(double(n) * double(d), n_threads);
    std::vector<Moments> all(team.size());
    for (Moments& one : all) one.begin(pivot, calls.lanes);
    const Index rows = std::max(Index(8), Index(1 << 18) / d);  // between two checks for a signal
    Interrupt interrupt;
    interrupt.begin(double(rows) * double(d));
    team.run(interrupt, [&](int share, std::size_t thread) {
        const Index last = n * (share + 1) / team.kShares;
        for (Index i = n * share / team.kShares; i < last && !interrupt.came(); i += rows) {
            calls.add_moments(X + i * d, std::min(rows, last - i), d, all[thread]);
        }
    });
    for (Moments& one : all) one.fold(d);
    for (std::size_t t = 1; t < all.size(); ++t) {
        for (Index f = 0; f < d; ++f) all[0].join(f, all[t], f);
    }
    return std::move(all[0]);
}

// The smallest magnitude of each column, but for zeros; infinity where there is no other value.
template <typename T>
std::vector<double> least_of_all(const T* X, Index n, Index d, int n_threads) {
    constexpr T none = std::numeric_limits<T>::infinity();
    SharedValues team(double(n) * double(d), n_threads);
    std::vector<std::vector<T>> all(team.size(), std::vector<T>(std::size_t(d), none));
    Interrupt interrupt;
    interrupt.begin(1 << 18);
    team.run(interrupt, [&](int share, std::size_t thread) {
        const Index first = n * share / team.kShares, last = n * (share + 1) / team.kShares;
        T* least = all[thread].data();
        for (const T *x = X + first * d, *end = X + last * d; x < end; x += d) {
            for (Index f = 0; f < d; ++f) {
                const T size = x[f] < 0 ? -x[f] : x[f], counted = size > 0 ? size : none;
                least[f] = counted < least[f] ? counted : least[f];
            }
        }
    });
    std::vector<double> found(std::size_t(d), std::numeric_limits<double>::infinity());
    for (const auto& one : all) {
        for (Index f = 0; f < d; ++f) found[f] = std::min(found[f], double(one[f]));
    }
    return found;
}

// The inertia of labels that have been checked.
template <typename T>
ExactSum inertia_of_all(const LabelledRows<T>& of, Index n, int n_threads) {
    const Calls<T> calls = choose_calls<T>(chosen_isa(), of.d, 1);
    SharedValues team(double(n) * double(of.d), n_threads);
    std::vector<ExactSum> all(team.size());
    Interrupt interrupt;
    interrupt.begin(double(ExactSum::kTogether) * double(of.d));
    team.run(interrupt, [&](int share, std::size_t thread) {
        const Index last = n * (share + 1) / team.kShares;
        for (Index i = n * share / team.kShares; i < last; i += ExactSum::kTogether) {
            if (interrupt.came()) return;
            calls.add_inertia(of, i, std::min(i + ExactSum::kTogether, last), all[thread]);
        }
    });
    for (std::size_t t = 1; t < all.size(); ++t) all[0].add(all[t]);
    return all[0];
}

// The largest magnitude of n values; not a number where one is not finite.
template <typename T>
T largest_of_all(const T* values, Index n, int n_threads) {
    constexpr Index line = 1024;  // values that one step of a range takes
    const Calls<T> calls = choose_calls<T>(chosen_isa(), 1, 1);
    SharedRows shared((n + line - 1) / line, double(line), n_threads);
    Interrupt interrupt;
    interrupt.begin(1 << 18);
    std::mutex mutex;
    T most = 0, zero = 0;
    shared.run(interrupt, [&](Index first, Index last) {
        const T own = calls.largest(values + first * line, std::min(n, last * line) - first * line);
        std::lock_guard<std::mutex> lock(mutex);
        most = std::max(most, own);
        zero += own * T(0);
    });
    return most + zero;
}

}  // namespace lab
