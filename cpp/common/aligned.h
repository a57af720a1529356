// Arrays that begin at a cache line, as wide vectors want them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

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
        data_ = static_cast<T*>(take(size * sizeof(T)));
        size_ = size;
    }

    // Zeros. New pages are that already, and touched where they are used first.
    void resize_to_zeros(std::size_t size) {
        release();
        resize(size);
        if (!are_new_pages(size * sizeof(T))) std::memset(data_, 0, size * sizeof(T));
    }

    bool empty() const { return size_ == 0; }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

    void release() {
        if (data_) give_back(data_, size_ * sizeof(T));
        data_ = nullptr;
        size_ = 0;
    }

private:
    static constexpr std::align_val_t kLine{64};
#if defined(__linux__)
    // Large arrays lie in huge pages: new pages of 4 KB cost 0.4 ms a megabyte, those of 2 MB 0.1,
    // and rows that are met in no order miss fewer of them. They come from the system: what the
    // heap hands out anew keeps the pages that it had.
    static constexpr std::size_t kHuge = 1 << 21, kLarge = 2 * kHuge;

    static std::size_t whole(std::size_t bytes, std::size_t page) {
        return (bytes + page - 1) / page * page;
    }
    static std::size_t in_pages(std::size_t bytes) {
        return whole(bytes, std::size_t(sysconf(_SC_PAGESIZE)));
    }
    static void* take(std::size_t bytes) {
        if (bytes < kLarge) return ::operator new(bytes, kLine);
        if (bytes > SIZE_MAX - 2 * kHuge) throw std::bad_alloc();
        const std::size_t length = in_pages(bytes);
        void* found = mmap(nullptr, length + kHuge, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (found == MAP_FAILED) throw std::bad_alloc();
        char* const begin = static_cast<char*>(found);
        const std::size_t before = whole(std::uintptr_t(found), kHuge) - std::uintptr_t(found);
        if (before > 0) munmap(begin, before);
        if (before < kHuge) munmap(begin + before + length, kHuge - before);
        static_cast<void>(madvise(begin + before, length, MADV_HUGEPAGE));
        return begin + before;
    }
    static bool are_new_pages(std::size_t bytes) { return bytes >= kLarge; }
    static void give_back(T* data, std::size_t bytes) {
        bytes < kLarge ? ::operator delete(data, kLine) : void(munmap(data, in_pages(bytes)));
    }
#else
    static void* take(std::size_t bytes) { return ::operator new(bytes, kLine); }
    static bool are_new_pages(std::size_t) { return false; }
    static void give_back(T* data, std::size_t) { ::operator delete(data, kLine); }
#endif

    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace lab
