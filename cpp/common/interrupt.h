// Ctrl-C during a long pass: the calling thread asks now and then whether a signal came.

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace lab {

// Thrown when a signal came; whoever asked knows which.
struct Interrupted {};

class Patience {
public:
    explicit Patience(bool (*signal_came)()) : signal_came_(signal_came) {}

    // The calling thread begins something that may last. Between two looks lie up to so many
    // multiply-adds: where they are few, the clock would take longer than they do.
    void begin(double work_per_look) {
        caller_ = std::this_thread::get_id();
        looks_per_time_ = int(std::clamp(kWorkPerTime / work_per_look, 1.0, 64.0));
        looks_ = 0;
        over_.store(false, std::memory_order_relaxed);
    }

    // Whether to stop; any thread of the team may ask.
    bool over() {
        if (std::this_thread::get_id() == caller_ && ++looks_ >= looks_per_time_) {
            looks_ = 0;
            const auto now = Clock::now();
            if (now - asked_ > kPause) {
                asked_ = now;
                if (signal_came_()) over_.store(true, std::memory_order_relaxed);
            }
        }
        return over_.load(std::memory_order_relaxed);
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds kPause{100};
    static constexpr double kWorkPerTime = 1 << 24;  // some milliseconds of plain code

    bool (*const signal_came_)();
    std::thread::id caller_;
    int looks_ = 0, looks_per_time_ = 1;  // the caller's alone
    Clock::time_point asked_ = Clock::now();
    std::atomic<bool> over_{false};
};

}  // namespace lab
