// Threads of a kernel's own: a hand-over costs about a microsecond while they spin, so that fits of
// a few milliseconds gain from them too. A hand-over through Python costs tens of microseconds.

#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>
#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "common/compiler.h"
#include "common/throwing.h"

namespace lab {

// No thread waits for one that has not begun: each free thread takes the next piece of work, the
// caller from the front and the others from the back, and the caller waits only for pieces that
// have been begun. A thread that the system starts late costs nothing but its help; waiting for
// each thread's own share stalled fits for 10 ms whenever the machine had been idle.
class Team {
public:
    explicit Team(int size) : size_(size), owner_(process()) {
        threads_.reserve(size_ - 1);
        try {
            for (int w = 1; w < size_; ++w) threads_.emplace_back([this, w] { serve(w); });
        } catch (...) {
            // The system has no more threads, or no memory for one: those that exist share the
            // work. An exception that left here would end the process, because threads are running.
        }
    }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    ~Team() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            last_.store(true);
        }
        wake_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    // The number of threads, the caller's included.
    int size() const { return int(threads_.size()) + 1; }
    bool forked() const { return process() != owner_; }

    // A piece of work, and which thread does it: 0 is the caller.
    using Task = std::function<void(int piece, int thread)>;

    // Call the task for each piece from 0 to n − 1 once, in some order, and wait; n < 65536.
    // The first exception of a task is thrown here, when no thread runs the task any more.
    void run(int n, const Task& task, bool alone = false) {
        if (threads_.empty() || alone || n < 2 || forked()) {
            for (int i = 0; i < n; ++i) task(i, 0);
            return;
        }
        task_ = &task;
        done_.store(0, std::memory_order_relaxed);
        failed_.store(false, std::memory_order_relaxed);
        const std::uint64_t turn = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
        {
            std::lock_guard<std::mutex> lock(mutex_);  // no thread falls asleep in between
            ticket_.store(turn << 32 | std::uint64_t(n) << 16, std::memory_order_release);
        }
        if (sleeping_.load() > 0) wake_.notify_all();
        take_pieces(turn, 0);
        for (int spins = 0; done_.load(std::memory_order_acquire) != n; ++spins) {
            spins < kSpins ? LAB_PAUSE() : std::this_thread::yield();
        }
        if (failed_.load()) std::rethrow_exception(std::exchange(error_, nullptr));
    }

private:
    static constexpr int kSpins = 2000;  // some 50 µs: longer than the driver's own work

    static int process() {
#if defined(_WIN32)
        return 0;
#else
        return getpid();
#endif
    }

    // A ticket is the turn, then which pieces are left: where they end, and the first. It changes
    // as a whole, and says all that a thread goes by, so that a late one cannot take a piece of
    // another turn.
    void take_pieces(std::uint64_t turn, int thread) {
        const bool from_front = thread == 0;
        for (;;) {
            std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
            const int first = int(ticket & 0xffff), end = int(ticket >> 16 & 0xffff);
            const int left = end - first;
            if (ticket >> 32 != turn || left <= 0) return;
            // Several at once while there are many: each change of the ticket costs a trip of its
            // cache line between two cores, 100 to 200 ns.
            const int taken = (left + 2 * size_ - 1) / (2 * size_);
            const std::uint64_t next =
                from_front ? ticket + std::uint64_t(taken) : ticket - (std::uint64_t(taken) << 16);
            if (!ticket_.compare_exchange_weak(ticket, next)) continue;
            for (int i = 0; i < taken; ++i) {
                run_one(from_front ? first + i : end - 1 - i, thread);
            }
            done_.fetch_add(taken, std::memory_order_release);
        }
    }

    void run_one(int i, int thread) {
        if (failed_.load(std::memory_order_relaxed)) return;  // the others' results are worthless
        try {
            (*task_)(i, thread);
        } catch (...) {
            if (!failed_.exchange(true)) error_ = std::current_exception();
        }
    }

    void serve(int thread) {
        prepare_to_throw();
        for (std::uint64_t seen = 0;;) {
            const auto news = [&] {
                return last_.load() || ticket_.load(std::memory_order_acquire) >> 32 != seen;
            };
            for (int spins = 0; spins < kSpins && !news(); ++spins) LAB_PAUSE();
            if (!news()) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleeping_.fetch_add(1);
                wake_.wait(lock, news);
                sleeping_.fetch_sub(1);
            }
            if (last_.load()) return;
            seen = ticket_.load(std::memory_order_acquire) >> 32;
            take_pieces(seen, thread);
        }
    }

    const int size_;
    const int owner_;
    std::mutex mutex_;
    std::condition_variable wake_;
    const Task* task_ = nullptr;
    std::atomic<int> sleeping_{0};
    std::atomic<bool> last_{false}, failed_{false};
    std::exception_ptr error_;  // of the piece that failed first; the caller's when all are done
    // Cache lines of their own: both are written often.
    alignas(64) std::atomic<std::uint64_t> ticket_{0};
    alignas(64) std::atomic<int> done_{0};
    std::vector<std::thread> threads_;  // the last member: threads use the others at once
};

}  // namespace lab
