// Ctrl-C during a long pass: the calling thread asks now and then whether a signal came.

#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace lab {

// Thrown when a signal came; whoever asked knows which.
struct Interrupted {};

class Patience {
public:
    explicit Patience(bool (*signal_came)()) : signal_came_(signal_came) {}

    // The calling thread begins something that may last.
    void begin() {
        caller_ = std::this_thread::get_id();
        asked_ = Clock::now();
        over_.store(false, std::memory_order_relaxed);
    }

    // Whether to stop; any thread of the team may ask, every millisecond or so.
    bool over() {
        if (std::this_thread::get_id() == caller_) {
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

    bool (*const signal_came_)();
    std::thread::id caller_;
    Clock::time_point asked_;
    std::atomic<bool> over_{false};
};

}  // namespace lab
