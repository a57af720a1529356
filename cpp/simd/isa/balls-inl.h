// Balls around the rows of a tile and around the tiles of a group, for the seeding. Included once
// per instruction set, after vectors-inl.h.

#ifndef LAB_ISA
#error "balls-inl.h is for routines-inl.h to include, once per instruction set"
#endif

namespace lab {
namespace LAB_ISA {

template <typename T>
T rounded_up(double square, Index d) {
    const double up = 1 + double(2 * d + 16) * double(std::numeric_limits<T>::epsilon());
    return T(std::max(square * up, 64 * double(std::numeric_limits<T>::min())));
}

// Put a middle at the mean of the first `count` of `width` points, which lie feature by feature,
// and add each point's squared distance to it.
template <typename T>
LAB_INLINE void fit_middle(const T* points, Index d, Index width, Index count, T* middle,
                           double* distances) {
    for (Index f = 0; f < d; ++f) {
        const T* x = points + f * width;
        double sum = 0;
        for (Index i = 0; i < count; ++i) sum += double(x[i]);
        T& mean = middle[f * Balls<T>::kids];
        mean = T(sum / double(count));
        const double from = double(mean);
        for (Index i = 0; i < width; ++i) {
            const double diff = double(x[i]) - from;
            distances[i] += diff * diff;
        }
    }
}

// The ball around the mean of a tile's first `count` rows. Rounded upwards; never so small that its
// square underflows.
template <typename T>
void fit_ball(const Work<T>& work, Index tile, Index count, Balls<T>& balls, Index b) {
    const Index d = work.d, width = work.width;
    double farthest = 0, distances[kWidest] = {};
    fit_middle(work.tiles.data() + tile * d * width, d, width, count, balls.middle_of(b, d),
               distances);
    for (Index l = 0; l < count; ++l) farthest = std::max(farthest, distances[l]);
    balls.square[b] = rounded_up<T>(farthest, d);
}

// The ball around the first `count` balls of a parent.
template <typename T>
void fit_parent(const Balls<T>& of, Index parent, Index count, Index d, Balls<T>& balls, Index b) {
    constexpr Index kids = Balls<T>::kids;
    double radius = 0, distances[kids] = {};
    fit_middle(of.middle.data() + parent * d * kids, d, kids, count, balls.middle_of(b, d),
               distances);
    for (Index i = 0; i < count; ++i) {
        const double own = std::sqrt(double(of.square[parent * kids + i]));
        radius = std::max(radius, std::sqrt(distances[i]) + own);
    }
    balls.square[b] = rounded_up<T>(radius * radius, d);
}

}  // namespace LAB_ISA
}  // namespace lab
