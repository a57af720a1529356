// The routines for rows as they lie that are compiled once per instruction set.

#pragma once

#include <cstdint>

#include "common/types.h"
#include "simd/engines/carried_state.h"
#include "simd/engines/hamerly_state.h"
#include "simd/engines/row_work.h"

namespace lab {

template <typename T>
struct RowRoutines {
    // Widen the range of each feature by the rows of a part, which have no weights.
    void (*range)(const RowWork<T>& work, const Part& part, Range<double>& to);
    // Measure all that there is to measure.
    void (*measure)(const RowWork<T>& work, const Part& part, Measured& to);
    // Add all rows to sums, by these labels.
    void (*add_rows)(const RowWork<T>& work, Partial& sums, const std::int32_t* labels);
    // Move rows from `first` to before `last` between sums; return how many had another label.
    Index (*move)(const RowWork<T>& work, Index first, Index last, const std::int32_t* before,
                  const std::int32_t* after, Partial& sums);
    // Assign the rows of a part whose distances to their two nearest centers may have changed
    // order.
    void (*hamerly)(RowWork<T>& work, HamerlyState<T>& state, Part& part, Partial& sums);
    // Note the rows of a part as carried bounds need them.
    void (*shade)(const RowWork<T>& work, CarriedState<T>& state, const Part& part);
    CopyShort<T> copy;
    // Assign the rows of a part: those that bounds leave meet the groups that bounds leave.
    void (*carried)(RowWork<T>& work, CarriedState<T>& state, Part& part, Partial& sums);
    Index panel_narrow, panel_wide;  // centers that are scored side by side, in float and in double
    Index side, group_panel;  // rows that are tested and centers scored together in `carried`
};

}  // namespace lab
