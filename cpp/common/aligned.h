// Arrays that begin at a cache line, as wide vectors want them.

#pragma once

#include <cstddef>
#include <new>

namespace lab {

template <typename T>
class Aligned {
public:
    Aligned() = default;
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    ~Aligned() { release(); }

    // Contents are undefined afterwards.
    void resize(std::size_t size) {
        if (size <= size_) return;
        release();
        data_ = static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t(64)));
        size_ = size;
    }

    bool empty() const { return size_ == 0; }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

    void release() {
        if (data_) ::operator delete(data_, std::align_val_t(64));
        data_ = nullptr;
        size_ = 0;
    }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace lab
