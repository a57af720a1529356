// An audit of the bounds by which the seeding screens rows, and of its estimates: one round on the
// routines of an instruction set, beside all distances measured. Faults can be planted in what the
// routines are given.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/arrays.h"
#include "simd/seeding/screened_seeding.h"

using namespace lab;

// The numbers of candidates for which a row was ruled out wrongly, and of those whose estimate was
// too far from what they take from the sum.
template <typename T>
static std::vector<int> faults(const Array<T>& X, const std::vector<Index>& centers,
                               const std::vector<Index>& rows, const std::string& planted) {
    const Index n = X.shape(0), d = X.shape(1), count = Index(rows.size());
    const std::vector<T> zero(d, T(0));
    const Given<T> given{X.data(), zero.data(), d};
    const auto routines = choose_screening<T>(chosen_isa());
    Screen screen(n, d, routines.width);
    choose_origin(given, screen);
    routines.copy_rows(given, screen, 0, n);
    if (planted == "copies") screen.half *= 0.01;
    Screened candidates;
    for (const Index center : centers) {
        set_candidates(given, screen, {center}, candidates);
        std::fill_n(screen.reach.data(), n, std::numeric_limits<float>::infinity());
        routines.keep_candidate(given, candidates, 0, n, screen);  // all are measured
        for (Index i = 0; i < n; ++i) {
            screen.nearest[i] == 0 ? screen.forget(i) : screen.lower(i, screen.nearest[i]);
        }
    }
    double largest = *std::max_element(screen.nearest.data(), screen.nearest.data() + n);
    screen.grid = Grid(double(n) * largest);
    if (planted == "rows") {
        for (Index i = 0; i < n; ++i) screen.reach[i] -= float(screen.error(i));
    }
    set_candidates(given, screen, rows, candidates);
    for (Index c = 0; c < count && planted == "candidates"; ++c) candidates.error[c] *= 0.01f;
    std::vector<std::int64_t> screened(count), measured(count);
    std::vector<double> gains(count), errors(count);
    routines.try_candidates(given, screen, candidates, 0, n, screened.data());
    routines.estimate(candidates, 0, n, screen, gains.data(), errors.data());
    std::fill_n(screen.reach.data(), n, std::numeric_limits<float>::infinity());
    routines.try_candidates(given, screen, candidates, 0, n, measured.data());
    std::vector<int> found{0, 0};
    for (Index c = 0; c < count; ++c) {
        if (planted == "estimates") errors[c] *= 0.001;
        found[0] += screened[c] != measured[c];
        const double gain = double(measured[c]) * screen.in_units(screen.grid.step);
        found[1] += std::abs(gain - gains[c]) > screen.error_of_sums(gains[c], errors[c]);
    }
    return found;
}

// The rows that the screened seeding chooses, also where the flagship would take balls.
template <typename T>
static std::vector<Index> greedy(const Array<T>& X, Index first, const Array<double>& draws,
                                 int n_threads) {
    const std::vector<T> zero(X.shape(1), T(0));
    const Given<T> given{X.data(), zero.data(), X.shape(1)};
    const Index n_candidates = draws.shape(1);
    Team team(n_threads);
    Interrupt interrupt;
    ScreenedSeeding<T> seeding(given, X.shape(0), n_candidates, choose_screening<T>(chosen_isa()),
                               team, interrupt);
    return draw_rows(seeding, first, draws.data(), draws.shape(0), n_candidates);
}

PYBIND11_MODULE(audit_seeding, module) {
    module.def("greedy", &greedy<double>, pybind11::arg("X").noconvert(), pybind11::arg("first"),
               pybind11::arg("draws"), pybind11::arg("n_threads"));
    module.def("greedy", &greedy<float>, pybind11::arg("X").noconvert(), pybind11::arg("first"),
               pybind11::arg("draws"), pybind11::arg("n_threads"));
    module.def("faults", &faults<double>, pybind11::arg("X").noconvert(), pybind11::arg("centers"),
               pybind11::arg("rows"), pybind11::arg("planted") = "");
    module.def("faults", &faults<float>, pybind11::arg("X").noconvert(), pybind11::arg("centers"),
               pybind11::arg("rows"), pybind11::arg("planted") = "");
}
