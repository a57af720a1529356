// Ctrl-C during a long pass: the calling thread checks now and then for a signal.

#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "common/gil.h"

namespace lab {

// Thrown when a signal came; its handler's exception is set already.
struct Interrupted {};

class Interrupt {
public:
    // The calling thread begins a pass. Up to this many multiply-adds lie between two calls of
    // came: where they are few, the clock would take longer than they do.
    void begin(double work_per_call) {
        caller_ = std::this_thread::get_id();
        calls_per_time_ = int(std::clamp(kWorkPerTime / work_per_call, 1.0, 64.0));
        calls_ = 0;
        came_.store(false, std::memory_order_relaxed);
    }

    // Whether to stop; any thread that shares the pass may ask.
    bool came() {
        if (std::this_thread::get_id() == caller_ && ++calls_ >= calls_per_time_) {
            calls_ = 0;
            const auto now = Clock::now();
            if (now - asked_ > kPause) {
                asked_ = now;
                if (signal_came()) came_.store(true, std::memory_order_relaxed);
            }
        }
        return came_.load(std::memory_order_relaxed);
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds kPause{100};
    static constexpr double kWorkPerTime = 1 << 24;  // some milliseconds of plain code

    std::thread::id caller_;
    int calls_ = 0, calls_per_time_ = 1;  // the caller's alone
    Clock::time_point asked_ = Clock::now();
    std::atomic<bool> came_{false};
};

}  // namespace lab
