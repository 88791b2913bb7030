// Working memory.
#pragma once
#include <cstdint>
#include <cstring>
#include <new>
#include <sys/mman.h>

// Zeros, aligned to pages, and given back to the system when done: from the heap, what
// is freed in between would stay behind as holes.
template <class Item> class Buffer {
  public:
    explicit Buffer(int64_t count) : count_(count) {
        if (!count) return;
        void* data = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<Item*>(data);
    }
    ~Buffer() {
        if (data_) munmap(data_, bytes());
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer(Buffer&& other) noexcept : data_(other.data_), count_(other.count_) { other.data_ = nullptr; }
    Item* get() { return data_; }
    const Item* get() const { return data_; }
    Item& operator[](int64_t i) { return data_[i]; }
    int64_t size() const { return count_; }

  private:
    size_t bytes() const { return size_t(count_) * sizeof(Item); }

    Item* data_ = nullptr;
    int64_t count_;
};
