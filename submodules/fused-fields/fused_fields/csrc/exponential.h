// exp(x) and 1 / (1 + exp(-x)) of a vector, within 3 units in the last place of float.
#pragma once
#include "vectors.h"

namespace {

using namespace simd;

// Beyond this, exp(x) is 0 or infinite.
template <class T>
constexpr T kFar = sizeof(T) == 4 ? T{110} : T{750};

// 2^whole, where that is no less than the smallest normal number and no more than the largest.
template <class T>
SIMD_FN Vec<T, kLanes<T>> power_of_two(Vec<Bits<T>, kLanes<T>> whole) {
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    whole = (whole + Bits<T>{sizeof(T) == 4 ? 127 : 1023}) << kMantissa;
    Vec<T, kLanes<T>> power;
    __builtin_memcpy(&power, &whole, sizeof power);
    return power;
}

template <class T>
SIMD_FN Vec<T, kLanes<T>> exponential(Vec<T, kLanes<T>> x) {
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    constexpr int kDegree = sizeof(T) == 4 ? 6 : 12;
    constexpr T kRounds = T{3} * (int64_t{1} << (kMantissa - 1));  // added, it leaves no fraction
    using V = Vec<T, kLanes<T>>;
    using B = Vec<Bits<T>, kLanes<T>>;
    const V high = V{} + kFar<T>, low = V{} - kFar<T>;
    x = x > high ? high : x;  // a NaN stays a NaN
    x = x < low ? low : x;
    // exp(x) = 2^whole * exp(rest), |rest| <= ln(2) / 2. ln(2) comes in two parts, of which the
    // first has so few bits that its product with `whole` is exact.
    const V rounded = x * T(1.4426950408889634) + kRounds;
    const V whole = rounded - kRounds;
    const V rest = x - whole * T(0.693145751953125) - whole * T(1.4286068203094173e-06);
    V power = V{} + T{1};  // the series of exp, from its end
    SIMD_UNROLL
    for (int k = kDegree; k > 0; --k) power = power * rest * (T{1} / k) + 1;
    B bits, zero;
    const V rounds = V{} + kRounds;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    __builtin_memcpy(&zero, &rounds, sizeof zero);
    // In two factors: where exp(x) over- or underflows, 2^whole may have no exponent of its own.
    const B exponent = bits - zero, half = exponent >> 1;
    return power * power_of_two<T>(half) * power_of_two<T>(exponent - half);
}

template <class T>
SIMD_FN Vec<T, kLanes<T>> sigmoid(Vec<T, kLanes<T>> x) {
    return 1 / (1 + exponential<T>(-x));
}

}  // namespace
