// Vectors of which only the first lanes lie in memory.
#pragma once
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

#if defined(__AVX512F__)

SIMD_FN __mmask16 first_lanes(int64_t left) {
    return static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
}
template <>
SIMD_MEMBER Vec<float, 16> load_some<float>(const float* from, int64_t left) {
    return (Vec<float, 16>)_mm512_maskz_loadu_ps(first_lanes(left), from);
}
template <>
SIMD_MEMBER void store_some<float>(float* to, Vec<float, 16> value, int64_t left) {
    _mm512_mask_storeu_ps(to, first_lanes(left), (__m512)value);
}

#endif

// As memcpy of few numbers, but in vectors.
template <class T>
SIMD_FN void copy_some(T* to, const T* from, int64_t count) {
    for (int64_t i = 0; i < count; i += kLanes<T>) {
        store_some<T>(to + i, load_some<T>(from + i, count - i), count - i);
    }
}

}  // namespace
