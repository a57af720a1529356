// The table that rows are screened by: of centers that are given, or of the means of sums.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/steps.h"
#include "common/types.h"
#include "simd/sparse/movement.h"
#include "simd/sparse/parts.h"
#include "simd/sparse/work.h"

// What tests make wrong, to see that the audit finds it.
#ifndef LAB_MUTANT_CELL
#define LAB_MUTANT_CELL 1.0
#endif

namespace lab {

template <typename T>
class SparseTable : public SparseParts<T> {
public:
    using Base = SparseParts<T>;
    using Base::Base, Base::d, Base::n;

    Shift shift() const { return shift_; }

protected:
    using Base::work_, Base::routines_, Base::each_center, Base::lay, Base::kPieces;

    // Room for k centers.
    void resize(Index k) {
        shown_ = false;
        work_.squares_of.assign(k, 0.0);
        work_.squares_off.assign(k, 0.0);
        work_.movement.resize(k);
        Screen& screen = work_.screen;
        screen.n_clusters = k;
        screen.padded = (k + routines_.lanes - 1) / routines_.lanes * routines_.lanes;
        screen.squares.resize(screen.padded);
        screen.factors.resize(screen.padded);
        screen.exponents.assign(k, 0);
        screen.norms.assign(k, 0.0);
        screen.table.resize(std::size_t(d() * screen.padded) * routines_.cell);
    }

    // Screen in float32 from now on: values of both signs, or too far apart, leave too many rows to
    // the reference's arithmetic.
    void widen() {
        this->half_ = shown_ = false;
        routines_ = choose_sparse_routines<T>(this->isa_, false);
        work_.screen.table.release();
        work_.screen.table.resize(std::size_t(d() * work_.screen.padded) * routines_.cell);
    }

    // Lay out centers that are given as an array.
    void take(const T* centers) {
        const Index k = work_.screen.n_clusters;
        work_.reference.take(centers, d(), k);
        shown_ = false;
        Screen& screen = work_.screen;
        screen.off = 0;
        screen.negative = work_.negative;
        std::vector<char> negative(k, 0);
        each_center(k, double(d()),
                    [&](Index j, SparseScratch&) { negative[j] = measure_center(j); });
        for (const char one : negative) screen.negative = screen.negative || one;
        lay([&](Index first, Index last, Index) { routines_.lay_given(work_, first, last); });
    }

    // The length of a center that is given, by the reference's arithmetic, and its power of two.
    bool measure_center(Index j) {
        const T* center = work_.reference.given() + j * d();
        double square = 0, most = 0;
        bool negative = false;
        for (Index f = 0; f < d(); ++f) {
            const double value = double(center[f]);
            square += rounded(value * value);
            most = std::max(most, std::fabs(value));
            negative = negative || value < 0;
        }
        int exponent = 0;
        if (most > 0) std::frexp(most * work_.scale, &exponent);
        work_.screen.exponents[j] = std::clamp(exponent, -100, 100);
        work_.reference.set_square(j, square);
        work_.reference.estimate[j] = square;
        work_.reference.off[j] = (double(work_.used) + 8) * kRounding * square;
        work_.screen.norms[j] = square * work_.scale * work_.scale;
        return negative;
    }

    // Show the means of the sums in the table, in place of the centers of an array, if there is
    // one.
    void show(const T* instead) {
        const Index k = work_.screen.n_clusters;
        work_.reference.follow(work_.sums, work_.counts, d(), k);
        work_.screen.negative = work_.negative;
        work_.screen.off = 0;
        for (Index j = 0; j < k; ++j) {
            work_.screen.exponents[j] = std::numeric_limits<int>::min() / 2;
            choose_exponent(work_, j);
        }
        std::vector<double> squares(kPieces * k, 0.0), differences(kPieces * k, 0.0);
        lay([&](Index first, Index last, Index piece) {
            routines_.lay_sums(work_, first, last, instead, &squares[piece * k],
                               &differences[piece * k]);
        });
        const double off = (double(work_.used) + 8) * kRounding;
        double all = 0;
        for (Index j = 0; j < k; ++j) {
            double square = 0;
            for (Index piece = 0; piece < kPieces; ++piece) {
                square += squares[piece * k + j];
                all += differences[piece * k + j];
            }
            work_.squares_of[j] = square;
            work_.squares_off[j] = off * square;
            set_length(work_, j);
        }
        work_.movement.resize(k);
        shift_ = in_units(all * (1 - 1e-12) * (1 - off), all * (1 + 1e-12) * (1 + off));
        shown_ = true;
    }

    // What rows are screened with, and how far that may be off.
    void settle_screen() {
        constexpr double single = std::numeric_limits<float>::epsilon() / 2;
        Screen& screen = work_.screen;
        const bool given = work_.reference.given() != nullptr;
        const double room = routines_.cell == 2 ? kRoom<Half> : kRoom<float>;
        double most = 0, largest = 0;
        for (Index j = 0; j < screen.padded; ++j) {
            if (j >= screen.n_clusters) {
                screen.squares[j] = std::numeric_limits<float>::infinity();
                screen.factors[j] = 0;
                continue;
            }
            const double n = given ? 1.0 : double(std::max<std::int64_t>(work_.counts[j], 1));
            const double factor = std::ldexp(2 / (room * n), screen.exponents[j]);
            screen.factors[j] = float(factor);
            screen.squares[j] = float(screen.norms[j]);
            most = std::max(most, screen.norms[j]);
            largest = std::max(largest, factor);
        }
        const double length = std::sqrt(most), whole = most + 2 * length * work_.longest;
        work_.blind = !(whole < 1e30 && whole * (1 / work_.scale) * (1 / work_.scale) < 1e300);
        const double cell = routines_.cell == 2 ? 0x1p-11 * 1.001 : single * 1.01;
        const double least = routines_.cell == 2 ? 0x1p-25 : 0x1p-149;
        screen.unit = float(LAB_MUTANT_CELL * cell + 8 * single);
        screen.per_value = float(1.01 * single);
        screen.per_root = float(1.01 * least * largest);
        screen.per_length = float(screen.negative ? 2.02 * length : 0);
        const double reference =
            (double(work_.used) + 2 * double(work_.longest_row) + 16) * kRounding + 8 * kOffMean<T>;
        const double lost = std::numeric_limits<double>::denorm_min() * work_.scale * work_.scale *
                            double(work_.used + 2 * work_.longest_row);
        screen.fixed = float(1.01 * ((8 * single + reference) * whole + 2 * screen.off + lost +
                                     1e-36 * double(work_.longest_row + 1)));
    }

    Shift in_units(double low, double high) const {
        const double back = 1 / work_.scale;
        return {low * back * back, high * back * back};
    }

    bool shown_ = false;  // it shows the means of the sums
    Shift shift_{0, 0};
};

}  // namespace lab
