// Short vectors of T through the vector extension of GCC and Clang, as wide as the -m flags allow.
#pragma once
#include <cstdint>

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#define SIMD_MEMBER inline __attribute__((always_inline))
#define SIMD_FN static SIMD_MEMBER

// Before a loop that is short enough for what it keeps per turn to stay in registers. Clang unrolls
// such loops unasked, and warns where their length is not a constant.
#if defined(__clang__)
#define SIMD_UNROLL
#else
#define SIMD_UNROLL _Pragma("GCC unroll 8")
#endif

namespace simd {

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T, int W>
struct VectorOf {
  typedef T type __attribute__((vector_size(W * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
  typedef T type;
};
template <class T, int W = kLanes<T>>
using Vec = typename VectorOf<T, W>::type;

// A signed integer as wide as T: all bits of one set, or none, are a lane's mask.
template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  typedef int32_t type;
};
template <>
struct BitsOf<double> {
  typedef int64_t type;
};
template <class T>
using Bits = typename BitsOf<T>::type;

template <class T, int W = kLanes<T>>
SIMD_FN Vec<T, W> load(const T* from) {
  Vec<T, W> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class T, int W = kLanes<T>>
SIMD_FN void store(T* to, Vec<T, W> v) {
  __builtin_memcpy(to, &v, sizeof v);
}

// Sum of the lanes, halves first: the same order at every call.
template <class T, int W = kLanes<T>>
SIMD_FN T lane_sum(Vec<T, W> v) {
  if constexpr (W == 1) {
    return v;
  } else {
    Vec<T, W / 2> low, high;
    __builtin_memcpy(&low, &v, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return lane_sum<T, W / 2>(low + high);
  }
}

template <int W>
struct Width {
  static constexpr int value = W;
};

// Splits [0, n) into runs for ever narrower vectors and calls run(Width<W>, begin, end) for each.
template <class T, int W = kLanes<T>, class Run>
SIMD_FN void for_widths(int n, Run run, int begin = 0) {
  const int end = begin + (n - begin) / W * W;
  if (end > begin) run(Width<W>(), begin, end);
  if constexpr (W > 1) {
    if (end < n) for_widths<T, W / 2>(n, run, end);
  }
}

template <class T>
SIMD_FN T min_of(T a, T b) {
  return b < a ? b : a;
}

}  // namespace simd
