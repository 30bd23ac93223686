// Short vectors of T through the vector extension of GCC and Clang, as wide as the -m flags allow.
// Everything here has internal linkage: this header is compiled once per instruction set, and a
// function shared by the linker between those objects could run on a processor that lacks it.
#pragma once
#include <cstdint>

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#define FF_INLINE_MEMBER inline __attribute__((always_inline))
#define FF_INLINE static FF_INLINE_MEMBER

// Before a loop over the few planes of a level: what it keeps per plane then fits in registers.
// Clang unrolls such loops unasked, and warns where a plane count is not a constant.
#if defined(__clang__)
#define FF_UNROLL
#else
#define FF_UNROLL _Pragma("GCC unroll 8")
#endif

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
template <class T, int W>
using Vec = typename VectorOf<T, W>::type;

template <class T, int W>
FF_INLINE Vec<T, W> load(const T* from) {
    Vec<T, W> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T, int W>
FF_INLINE void store(T* to, Vec<T, W> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

// Sum of the lanes, halves first: the same order at every call.
template <class T, int W>
FF_INLINE T lane_sum(Vec<T, W> v) {
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
FF_INLINE void for_widths(int n, Run run, int begin = 0) {
    const int end = begin + (n - begin) / W * W;
    if (end > begin) run(Width<W>(), begin, end);
    if constexpr (W > 1) {
        if (end < n) for_widths<T, W / 2>(n, run, end);
    }
}

template <class T>
FF_INLINE T min_of(T a, T b) {
    return b < a ? b : a;
}

}  // namespace
