// A team that outlives a call or a fit: starting a thread takes 30 µs on an idle machine, and
// waiting for one to end takes milliseconds on a busy one, where it may not even have begun.

#pragma once

#include <atomic>
#include <memory>

#include "simd/team.h"

namespace lab {

// Borrows the process's team where it is free and has the size; makes one otherwise, and leaves the
// last one for the next call. Its threads sleep meanwhile, and end with the process.
class KeptTeam {
public:
    explicit KeptTeam(int size) : team_(size > 1 ? kept().exchange(nullptr) : nullptr) {
        if (team_ && team_->size() == size && !team_->forked()) return;
        leave_forked();
        team_ = std::make_unique<Team>(size);
    }
    KeptTeam(const KeptTeam&) = delete;
    KeptTeam& operator=(const KeptTeam&) = delete;

    ~KeptTeam() {
        if (team_->size() > 1 && !team_->forked()) team_.reset(kept().exchange(team_.release()));
        leave_forked();
    }

    Team& operator*() { return *team_; }
    Team* operator->() { return team_.get(); }
    const Team* operator->() const { return team_.get(); }

private:
    // In a forked child there are no threads to end, and their locks may be held for ever.
    void leave_forked() {
        if (team_ && team_->forked()) static_cast<void>(team_.release());
    }

    static std::atomic<Team*>& kept() {
        static std::atomic<Team*> team{nullptr};
        return team;
    }

    std::unique_ptr<Team> team_;
};

}  // namespace lab
