// Vectors of which only the first lanes lie in memory.
#pragma once
#include <cstring>

#include "vectors.h"

namespace {

using namespace simd;

// `left` numbers may be read, or written; a vector's other lanes are zero, or are not stored.
template <class T>
SIMD_FN Vec<T, kLanes<T>> load_some(const T* from, int64_t left) {
    constexpr int W = kLanes<T>;
    if (left >= W) return load<T, W>(from);
    T some[W] = {};
    std::memcpy(some, from, left * sizeof(T));
    return load<T, W>(some);
}

template <class T>
SIMD_FN void store_some(T* to, Vec<T, kLanes<T>> value, int64_t left) {
    constexpr int W = kLanes<T>;
    if (left >= W) return store<T, W>(to, value);
    std::memcpy(to, &value, left * sizeof(T));
}

}  // namespace
