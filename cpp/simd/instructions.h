// The instruction sets that this build has code for, and which one to use.

#pragma once

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "common/compiler.h"

namespace lab {

enum class Isa { baseline, avx2, avx512 };
inline constexpr const char* const kIsaNames[] = {"baseline", "avx2", "avx512"};

inline Isa best_isa() {
#if defined(LAB_DISPATCHES)
    return Isa(LAB_LEVEL());
#else
    return Isa::baseline;
#endif
}

// The best one of this machine, or the one that KMEANS_LAB_ISA names.
inline Isa chosen_isa() {
    const char* forced = std::getenv("KMEANS_LAB_ISA");
    const Isa best = best_isa();
    if (forced == nullptr || *forced == '\0') return best;
    for (int i = 0; i < 3; ++i) {
        if (std::strcmp(forced, kIsaNames[i]) != 0) continue;
        if (Isa(i) <= best) return Isa(i);
        throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                    " is not supported here; the most that this machine and build "
                                    "run is " +
                                    kIsaNames[int(best)] + ": unset the variable or name that");
    }
    throw std::invalid_argument(std::string("KMEANS_LAB_ISA=") + forced +
                                " is not known; choose one of baseline, avx2, avx512");
}

}  // namespace lab
