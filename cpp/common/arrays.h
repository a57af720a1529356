// Arrays and errors at the boundary to Python.
//
// No array is ever converted: pybind11 would fill a converted copy of an output, and the results
// would be lost. So arguments are noconvert, or read and written by the functions here.

#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <type_traits>

#include "common/interrupt.h"

namespace lab {

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

inline void require(bool fits, const char* rule) {
    if (!fits) throw std::invalid_argument(rule);
}

// The values of an array of T in the usual layout. Every iteration hands over four arrays:
// pybind11's own array_t would ask NumPy to convert each of them, 0.15 µs for nothing.
template <typename T>
const T* read(const py::array& array, const char* rule) {
    constexpr char kind = std::is_floating_point<T>::value ? 'f' : 'i';
    constexpr int usual = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    const py::dtype dtype = array.dtype();
    const bool fits = dtype.kind() == kind && dtype.itemsize() == sizeof(T) &&
                      dtype.byteorder() == '=' && (array.flags() & usual) == usual;
    if (!fits) throw py::type_error(rule);
    return static_cast<const T*>(array.data());
}

template <typename T>
T* write(py::array& array, const char* rule) {
    read<T>(array, rule);
    return static_cast<T*>(array.mutable_data());
}

// Turns exceptions of passes into Python errors; a module registers it with its own message.
template <const char* out_of_memory>
void translate(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const Interrupted&) {
        // The signal handler's exception is set already.
    } catch (const std::bad_alloc&) {
        PyErr_SetString(PyExc_MemoryError, out_of_memory);
    }
}

}  // namespace lab
