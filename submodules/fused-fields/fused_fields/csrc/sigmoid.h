// 1 / (1 + exp(-x)) of a vector, within 3 units in the last place of float.
#pragma once
#include "vectors.h"

namespace {

using namespace simd;

// From where exp(-x) might overflow, sigmoid(-x) is 0.
template <class T>
constexpr T kSteep = sizeof(T) == 4 ? T{85} : T{700};

template <class T>
SIMD_FN Vec<T, kLanes<T>> sigmoid(Vec<T, kLanes<T>> x) {
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    constexpr int kDegree = sizeof(T) == 4 ? 6 : 12;
    constexpr T kRounds = T{3} * (int64_t{1} << (kMantissa - 1));  // added, it leaves no fraction
    using V = Vec<T, kLanes<T>>;
    using B = Vec<Bits<T>, kLanes<T>>;
    const V high = V{} + kSteep<T>, low = V{} - kSteep<T>;
    const B vanishes = x < low;
    x = x > high ? high : x;  // a NaN stays a NaN
    x = vanishes ? low : x;
    // exp(-x) = 2^whole * exp(rest), |rest| <= ln(2) / 2. ln(2) comes in two parts, of which the
    // first has so few bits that its product with `whole` is exact.
    const V rounded = x * T(-1.4426950408889634) + kRounds;
    const V whole = rounded - kRounds;
    const V rest = -x - whole * T(0.693145751953125) - whole * T(1.4286068203094173e-06);
    V power = V{} + T{1};  // the series of exp, from its end
    SIMD_UNROLL
    for (int k = kDegree; k > 0; --k) power = power * rest * (T{1} / k) + 1;
    B exponent;
    __builtin_memcpy(&exponent, &rounded, sizeof exponent);
    exponent = (exponent << kMantissa) + (Bits<T>{sizeof(T) == 4 ? 127 : 1023} << kMantissa);
    V scale;
    __builtin_memcpy(&scale, &exponent, sizeof scale);
    return vanishes ? V{} : 1 / (1 + scale * power);
}

}  // namespace
