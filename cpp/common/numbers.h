// Whole numbers as Python hands them over.

#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "common/types.h"

namespace lab {

namespace py = pybind11;

// A whole number of any size between 1 and most, or one sentence.
inline Index count(const char* name, const py::object& given, Index most) {
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(given.ptr()));
    if (!number) throw py::error_already_set();
    int beyond = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &beyond);
    if (beyond != 0 || value < 1 || value > most) {
        throw std::invalid_argument(std::string(name) + "=" + std::string(py::str(number)) +
                                    " must be from 1 to " + std::to_string(most));
    }
    return Index(value);
}

}  // namespace lab
