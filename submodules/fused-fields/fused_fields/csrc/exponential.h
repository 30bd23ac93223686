// exp(x) and 1 / (1 + exp(-x)) of a vector, within 3 units in the last place of float, and tanh(x),
// within 5.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "vectors.h"

namespace {

using namespace simd;

// Beyond this, exp(x) is 0 or infinite.
template <class T>
constexpr T kFar = sizeof(T) == 4 ? T{110} : T{750};

// Up to this, exp(x) and exp(-x) are normal numbers.
template <class T>
constexpr T kNear = sizeof(T) == 4 ? T{87} : T{700};

// 2^whole, where that is no less than the smallest normal number and no more than the largest.
template <class T>
SIMD_FN Vec<T, kLanes<T>> power_of_two(Vec<Bits<T>, kLanes<T>> whole) {
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    whole = (whole + Bits<T>{sizeof(T) == 4 ? 127 : 1023}) << kMantissa;
    Vec<T, kLanes<T>> power;
    __builtin_memcpy(&power, &whole, sizeof power);
    return power;
}

// exp(x) = 2^whole * exp(rest), |rest| <= ln(2) / 2: the second factor less 1, and `whole`.
template <class T>
SIMD_FN Vec<T, kLanes<T>> growth_of_rest(Vec<T, kLanes<T>> x, Vec<Bits<T>, kLanes<T>>& whole) {
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    constexpr T kRounds = T{3} * (int64_t{1} << (kMantissa - 1));  // added, it leaves no fraction
    // 1 / k!
    constexpr T kSeries[] = {1., 1., 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040,
                             1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800,
                             1. / 479001600};
    constexpr int kDegree = sizeof(T) == 4 ? 6 : 12;
    using V = Vec<T, kLanes<T>>;
    // ln(2) comes in two parts, of which the first has so few bits that its product with `whole` is
    // exact.
    const V rounded = x * T(1.4426950408889634) + kRounds, rounds = V{} + kRounds;
    const V count = rounded - kRounds;
    const V rest = x - count * T(0.693145751953125) - count * T(1.4286068203094173e-06);
    V slope = V{} + kSeries[kDegree];
    SIMD_UNROLL
    for (int k = kDegree - 1; k >= 1; --k) slope = slope * rest + kSeries[k];
    Vec<Bits<T>, kLanes<T>> bits, zero;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    __builtin_memcpy(&zero, &rounds, sizeof zero);
    whole = bits - zero;
    return slope * rest;
}

template <class T>
SIMD_FN Vec<T, kLanes<T>> exponential_of_rest(Vec<T, kLanes<T>> x, Vec<Bits<T>, kLanes<T>>& whole) {
    return growth_of_rest<T>(x, whole) + 1;
}

// x between -+`most`; a NaN stays a NaN.
template <class T>
SIMD_FN Vec<T, kLanes<T>> within(Vec<T, kLanes<T>> x, T most) {
    const Vec<T, kLanes<T>> high = Vec<T, kLanes<T>>{} + most, low = -high;
    x = x > high ? high : x;
    return x < low ? low : x;
}

template <class T>
SIMD_FN Vec<T, kLanes<T>> exponential(Vec<T, kLanes<T>> x) {
    Vec<Bits<T>, kLanes<T>> whole;
    const Vec<T, kLanes<T>> power = exponential_of_rest<T>(within<T>(x, kFar<T>), whole);
    // In two factors: where exp(x) over- or underflows, 2^whole may have no exponent of its own.
    const Vec<Bits<T>, kLanes<T>> half = whole >> 1;
    return power * power_of_two<T>(half) * power_of_two<T>(whole - half);
}

// (exp(2 x) - 1) / (exp(2 x) + 1), whose numerator is exact to its last places where x is small.
template <class T>
SIMD_FN Vec<T, kLanes<T>> hyperbolic_tangent(Vec<T, kLanes<T>> x) {
    Vec<Bits<T>, kLanes<T>> whole;
    const Vec<T, kLanes<T>> growth = growth_of_rest<T>(within<T>(x + x, kNear<T>), whole);
    const Vec<T, kLanes<T>> power = power_of_two<T>(whole), less = power * growth + (power - 1);
    return less / (less + 2);
}

// 1 / x of normal numbers of which that is normal.
template <class T>
SIMD_FN Vec<T, kLanes<T>> reciprocal(Vec<T, kLanes<T>> x) {
    return 1 / x;
}
#if defined(__AVX512F__)
template <>
SIMD_MEMBER Vec<float, 16> reciprocal<float>(Vec<float, 16> x) {
    const Vec<float, 16> near = (Vec<float, 16>)_mm512_rcp14_ps((__m512)x);  // 14 bits, doubled by
    return near + near * (1 - x * near);                                     // a step of Newton's
}
#endif

template <class T>
SIMD_FN Vec<T, kLanes<T>> sigmoid(Vec<T, kLanes<T>> x) {
    using V = Vec<T, kLanes<T>>;
    Vec<Bits<T>, kLanes<T>> whole;
    const V power = exponential_of_rest<T>(within<T>(-x, kNear<T>), whole), low = V{} - kNear<T>;
    return x < low ? V{} : reciprocal<T>(1 + power * power_of_two<T>(whole));
}

}  // namespace
