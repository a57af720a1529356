// Python's lock, released and taken again by threads that may be in a fit when the program ends.
//
// Up to Python 3.13 the interpreter ends a thread that asks for its lock after that: it unwinds the
// thread's stack, which C++ allows neither in destructors nor without running those of objects that
// belong to the interpreter. Here such a thread waits instead, until the process is gone, as
// Python 3.14 lets every thread do.

#pragma once

#include <Python.h>

#include <chrono>
#include <thread>

#include "common/throwing.h"

namespace lab {

[[noreturn]] inline void wait_for_the_end() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Without the lock as long as this lives.
class Unlocked {
public:
    Unlocked() : state_(PyEval_SaveThread()) { prepare_to_throw(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;

    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {  // it throws nothing: the thread is being ended
            wait_for_the_end();
        }
    }

private:
    PyThreadState* const state_;
};

// Whether a signal came; asked by a thread that is without the lock.
inline bool signal_came() {
    PyGILState_STATE state;
    try {
        state = PyGILState_Ensure();
    } catch (...) {  // the same
        wait_for_the_end();
    }
    const bool came = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return came;
}

}  // namespace lab
