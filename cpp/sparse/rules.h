// What the arguments of the modules for sparse rows must be, as errors say it.

#pragma once

namespace lab {

inline constexpr char kRowsAre[] = "rows must be SparseRows of float64 or float32";
inline constexpr char kCentersAre[] =
    "centers must be a C-contiguous array of the dtype of the rows";
inline constexpr char kLabelsAre[] = "labels must be a C-contiguous int32 array";
inline constexpr char kSumsAre[] = "sums must be a C-contiguous float64 array";
inline constexpr char kDrawsAre[] = "draws must be a C-contiguous float64 array";
inline constexpr char kCountsAre[] = "counts must be a C-contiguous int64 array";

}  // namespace lab
