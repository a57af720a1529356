// Running sums of some rows.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "common/compiler.h"
#include "common/types.h"
#include "simd/sums.h"

namespace lab {

// Locks for the sums of clusters, where several threads add to them; empty where one does. They are
// held for less than a microsecond.
class Locks {
public:
    bool empty() const { return flags_.empty(); }
    void resize(Index n_clusters) {
        std::vector<std::atomic<bool>> flags(std::min(n_clusters, kMost));
        flags_.swap(flags);
    }
    Index of(std::int32_t cluster) const { return Index(cluster) % Index(flags_.size()); }
    void take(Index lock) {
        while (flags_[lock].exchange(true, std::memory_order_acquire)) LAB_PAUSE();
    }
    void release(Index lock) { flags_[lock].store(false, std::memory_order_release); }

private:
    static constexpr Index kMost = 1024;
    std::vector<std::atomic<bool>> flags_;
};

// The sums of the clusters that a row leaves and joins; before < 0: it joins only. Locks are taken
// in their order, so that no two threads wait for each other.
class Locked {
public:
    Locked(Locks& locks, std::int32_t before, std::int32_t label)
        : locks_(locks), high_(locks.of(label)), low_(before < 0 ? high_ : locks.of(before)) {
        if (low_ > high_) std::swap(low_, high_);
        locks_.take(low_);
        if (high_ != low_) locks_.take(high_);
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    ~Locked() {
        if (high_ != low_) locks_.release(high_);
        locks_.release(low_);
    }

private:
    Locks& locks_;
    Index high_, low_;
};

// A row that changes cluster leaves one sum and joins another, exactly.
struct Partial {
    Index n_rows = 0;
    bool begun = false;                // its rows have labels, or −1: none
    Index changed = 0;                 // labels, in the last pass
    Index rescored = 0;                // near-ties decided by direct differences
    std::vector<std::int64_t> limbs;   // (n_clusters, limbs, stride): see Split; empty: not kept
    std::vector<std::int64_t> counts;  // (n_clusters,)
    Locks locks;
    std::vector<std::uint8_t> touched;  // (n_clusters,): its sums have changed since they were read

    // Empty sums; shared: by several threads.
    void begin_sums(Index n_clusters, const Split& split, bool shared = false) {
        if (shared) locks.resize(n_clusters);
        limbs.assign(n_clusters * split.size(), 0);
        counts.assign(n_clusters, 0);
        touched.assign(n_clusters, 1);
    }
};

// Empty sums for each of some threads, or fewer, which they share, where those would take too much
// memory.
inline std::vector<Partial> begin_slots(Index n_clusters, const Split& split, Index n_threads) {
    constexpr Index most = 1 << 21;  // values of all together, unless one has more
    const Index room = std::max(Index(1), most / std::max(Index(1), n_clusters * split.size()));
    std::vector<Partial> slots(std::size_t(std::min(n_threads, room)));
    for (Partial& slot : slots) {
        slot.begin_sums(n_clusters, split, Index(slots.size()) < n_threads);
    }
    return slots;
}

}  // namespace lab
