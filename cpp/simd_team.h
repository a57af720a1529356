// Threads of a kernel's own: a hand-over costs about a microsecond while they spin, so that fits of
// a few milliseconds gain from them too. A hand-over through Python costs tens of microseconds.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace lab {

class Team {
public:
    explicit Team(int size) : size_(size), owner_(process()) {
        for (int w = 1; w < size_; ++w) threads_.emplace_back([this, w] { serve(w); });
    }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    ~Team() {
        post([](int) {}, true);
        for (auto& thread : threads_) thread.join();
    }

    int size() const { return size_; }
    bool forked() const { return process() != owner_; }

    // Call task(0) … task(size − 1), each in its own thread, and wait for all of them.
    void run(const std::function<void(int)>& task) {
        if (size_ == 1 || forked()) {
            for (int w = 0; w < size_; ++w) task(w);
            return;
        }
        left_.store(size_ - 1, std::memory_order_relaxed);
        post(task, false);
        task(0);
        for (int spins = 0; left_.load(std::memory_order_acquire) != 0; ++spins) {
            if (spins < kSpins) {
                pause();
            } else {
                std::this_thread::yield();
            }
        }
    }

private:
    static constexpr int kSpins = 20000;  // some 100 µs: longer than the driver's own work

    static long process() {
#if defined(_WIN32)
        return 0;
#else
        return getpid();
#endif
    }

    static void pause() {
#if defined(__x86_64__) && defined(__GNUC__)
        __builtin_ia32_pause();
#endif
    }

    void post(const std::function<void(int)>& task, bool last) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            task_ = &task;
            last_ = last;
            turn_.fetch_add(1, std::memory_order_release);
        }
        if (sleeping_.load() > 0) wake_.notify_all();
        if (last) {
            wake_.notify_all();
            while (left_at_end_.load() < size_ - 1) std::this_thread::yield();
        }
    }

    void serve(int w) {
        for (unsigned long seen = 0;;) {
            for (int spins = 0; spins < kSpins && turn_.load(std::memory_order_acquire) == seen;
                 ++spins) {
                pause();
            }
            if (turn_.load(std::memory_order_acquire) == seen) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.fetch_add(1);
                wake_.wait(lock, [&] { return turn_.load() != seen; });
                sleeping_.fetch_sub(1);
            }
            ++seen;
            if (last_) {
                left_at_end_.fetch_add(1);
                return;
            }
            (*task_)(w);
            left_.fetch_sub(1, std::memory_order_release);
        }
    }

    const int size_;
    const long owner_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
    const std::function<void(int)>* task_ = nullptr;
    bool last_ = false;
    std::atomic<unsigned long> turn_{0};
    std::atomic<int> left_{0}, sleeping_{0}, left_at_end_{0};
};

}  // namespace lab
