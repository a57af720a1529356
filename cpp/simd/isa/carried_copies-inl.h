// Copies of rows and centers in 16-bit numbers. Included once per instruction set, after
// carried-inl.h.

#ifndef LAB_ISA
#error "carried_copies-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

// The length of whole numbers in copies: 2¹⁵ with room for half a step of each feature.
constexpr float kShortLength = 32000;
constexpr double kShortest = 0x1p-100;  // copies of what is shorter are zero

// A number this large has no bits for halves: what is added to it is rounded, and its last bits are
// the whole number.
constexpr float kRounder = 0x1.8p23f;

// Round values, divided by the scale of their copy, to whole numbers, two in each pair. Return how
// wrong they are together, in the length of a copy: a hundredth is more than what rounding and
// adding values in float do to that.
LAB_INLINE float round_short(const float* values, float inverse, Index d, std::int32_t* pairs) {
    char* to = reinterpret_cast<char*>(pairs);
    Floats errors{};
    Index f = 0;
    for (; f + kSide <= d; f += kSide) {
        const Floats value = load(values + f) * inverse, rounded = value + kRounder;
        const Floats error = value - (rounded - kRounder);
        errors += error * error;
        Lanes<float>::Integers bits;
        std::memcpy(&bits, &rounded, sizeof bits);
        std::int16_t whole[kSide];
        store_as(bits, whole);
        std::memcpy(to + 2 * f, whole, sizeof whole);
    }
    float sum = 0;
    for (int l = 0; l < kSide; ++l) sum += lane(errors, l);
    for (; f < d; ++f) {
        const float value = values[f] * inverse, rounded = value + kRounder;
        const float error = value - (rounded - kRounder);
        sum += error * error;
        std::int32_t bits;
        std::memcpy(&bits, &rounded, sizeof bits);
        std::memcpy(to + 2 * f, &bits, 2);
    }
    if (d % 2 != 0) std::memset(to + 2 * d, 0, 2);
    return inverse > 0 ? (std::sqrt(sum) + 0.01f) / kShortLength : 0.0f;
}

template <typename T>
ShortCopy copy_short(const T* x, const T* middle, double scale, Index d, float* scratch,
                     std::int32_t* pairs) {
    using Values = Lanes<double>::Values;
    constexpr int lanes = Lanes<double>::lanes;
    Values sums[2] = {};
    Index f = 0;
    for (; f + 2 * lanes <= d; f += 2 * lanes) {
        LAB_UNROLL for (int v = 0; v < 2; ++v) {
            alignas(64) T some[lanes];
            LAB_UNROLL for (int l = 0; l < lanes; ++l) {
                some[l] = T(x[f + v * lanes + l] - middle[f + v * lanes + l]);
            }
            const Values value = doubles_at(some) * scale;
            sums[v] += value * value;
            const auto few = convert<Lanes<float>::Few>(value);
            std::memcpy(scratch + f + v * lanes, &few, sizeof few);
        }
    }
    const Values sum = sums[0] + sums[1];
    ShortCopy copied;
    for (int l = 0; l < lanes; ++l) copied.square += lane(sum, l);
    for (; f < d; ++f) {
        const double value = double(T(x[f] - middle[f])) * scale;
        copied.square += value * value;
        scratch[f] = float(value);
    }
    const double length = std::sqrt(copied.square);
    copied.scale = length >= kShortest ? float(length / double(kShortLength)) : 0.0f;
    copied.error = round_short(scratch, copied.scale > 0 ? 1 / copied.scale : 0.0f, d, pairs);
    return copied;
}

// Rows relative to the middle: their copies and squared lengths.
template <typename T>
void shade_rows(const RowWork<T>& work, CarriedState<T>& state, const Part& part) {
    std::vector<float> scratch(work.d + kMostWide);
    float error = 0;
    for (Index i = part.first; i < part.last; ++i) {
        if (i % 1024 == 0 && work.interrupt->came()) return;
        const ShortCopy copied =
            copy_short<T>(work.given.rows + i * work.d, work.given.middle, state.scale, work.d,
                          scratch.data(), state.rows.data() + i * state.n_pairs);
        state.squares[i] = float(copied.square);
        state.scales[i] = copied.scale;
        error = std::max(error, copied.error);
    }
    state.parts[part.first / CarriedState<T>::kPartRows].error = error;
}

}  // namespace LAB_ISA
}  // namespace lab
