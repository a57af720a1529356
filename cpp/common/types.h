// The type of sizes and indices: of rows, features, clusters, and of what they number.

#pragma once

#include <cstddef>

namespace lab {

// Signed, so that loops may count down and differences be negative; 64 bits wherever pointers are,
// which `long` is not on Windows.
using Index = std::ptrdiff_t;

}  // namespace lab
