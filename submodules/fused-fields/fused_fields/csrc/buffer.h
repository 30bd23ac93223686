// Scratch memory of one call.
#pragma once
#include <cstdint>
#include <cstdlib>

namespace {

template <class T>
class Buffer {
  public:
    explicit Buffer(int64_t count)
        : data_(static_cast<T*>(std::malloc(sizeof(T) * (count > 0 ? count : 1)))) {}
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    T* get() const { return data_; }

  private:
    T* data_;
};

}  // namespace
