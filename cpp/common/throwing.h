// Preparation of threads that may throw. The state that this needs is allocated when it is first
// used; where memory has run out by then, the C library ends the process. So threads use it before
// there is anything to throw.

#pragma once

#include <exception>

namespace lab {

inline void prepare_to_throw() {
    volatile int thrown = std::uncaught_exceptions();
    static_cast<void>(thrown);
}

}  // namespace lab
