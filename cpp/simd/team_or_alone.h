// The choice whether a short pass is shared with the team or done alone, by recent times.

#pragma once

#include <algorithm>
#include <chrono>

namespace lab {

// Handing a cache line to another core takes 50 ns or 200, depending on where a virtual machine's
// two processors happen to be: with the nearer ones, a pass of 6 µs gains a third from a second
// thread, with the farther ones it loses a third. Only a measurement can tell. Results do not
// depend on the choice.
class TeamOrAlone {
public:
    // Decide about a pass of about this many multiply-adds, and start the clock.
    bool alone(double multiply_adds) {
        timed_ = multiply_adds < kShort;
        if (!timed_) return false;
        multiply_adds_ = multiply_adds;
        ++passes_;
        const int turn = passes_ % kTrial;
        alone_ = turn == 0 || (turn != 1 && cost_[1] < cost_[0]);
        start_ = Clock::now();
        return alone_;
    }

    void end() {
        if (!timed_) return;
        const std::chrono::duration<double> spent = Clock::now() - start_;
        double& cost = cost_[alone_];
        const double now = spent.count() / multiply_adds_;
        cost = cost > 0 ? std::min(now, cost * kForget) : now;  // one slow pass means nothing
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr double kShort = 1 << 19;  // some 40 µs: beyond that, a team always pays
    static constexpr int kTrial = 16;          // of so many passes, one is done each way
    static constexpr double kForget = 1.1;  // the shortest recent time: older ones count for less

    bool timed_ = false, alone_ = false;
    int passes_ = 0;
    double multiply_adds_ = 1, cost_[2] = {0, 0};  // seconds by multiply-add: shared, alone
    Clock::time_point start_;
};

}  // namespace lab
