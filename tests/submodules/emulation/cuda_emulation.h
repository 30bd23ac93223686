// The words of CUDA C++ that this project's kernels may use, for a host compiler: one OS thread,
// blocks one after the other, the threads of a block as fibers (block_scheduler.h).
//
// Left out on purpose: floating-point atomics (results must be the same bits from run to run),
// textures, cooperative groups, tensor cores, inline PTX, asynchronous copies.
#pragma once

#include <math.h>
#include <stdint.h>

#include <cmath>
#include <type_traits>

#include "launch.h"

constexpr int warpSize = 32;
using std::isfinite;
using std::isinf;
using std::isnan;

#define EMULATION_VECTOR(NAME, T, ALIGN2, ALIGN4)                                  \
  struct alignas(ALIGN2) NAME##2 { T x, y; };                                      \
  struct NAME##3 { T x, y, z; };                                                   \
  struct alignas(ALIGN4) NAME##4 { T x, y, z, w; };                                \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                       \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }               \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATION_VECTOR(float, float, 8, 16)
EMULATION_VECTOR(double, double, 16, 16)
EMULATION_VECTOR(int, int, 8, 16)
EMULATION_VECTOR(uint, unsigned, 8, 16)
#undef EMULATION_VECTOR

template <class To, class From>
To emulation_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "reinterprets the same number of bits");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float x) { return emulation_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulation_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulation_bits<float>(x); }
inline float __int_as_float(int x) { return emulation_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulation_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulation_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
T min(T a, T b) { return b < a ? b : a; }
template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
T max(T a, T b) { return a < b ? b : a; }

template <class T>
T __ldg(const T* address) { return *address; }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Atomics: fibers change places only where they wait, so plain code is atomic. Integers only.
template <class T>
using EmulationInteger = std::enable_if_t<std::is_integral_v<T> && (sizeof(T) >= 4), T>;
template <class T>
using EmulationSame = typename std::common_type<T>::type;  // the value follows the address's type
template <class T, class Change>
EmulationInteger<T> emulation_exchange(T* address, Change change) {
  const T old = *address;
  *address = change(old);
  return old;
}
template <class T>
T atomicAdd(T* address, EmulationSame<T> value) {
  using U = std::make_unsigned_t<T>;  // wraps around like the hardware
  return emulation_exchange(address, [=](T old) { return T(U(old) + U(value)); });
}
template <class T>
T atomicMax(T* address, EmulationSame<T> value) {
  return emulation_exchange(address, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* address, EmulationSame<T> value) {
  return emulation_exchange(address, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicOr(T* address, EmulationSame<T> value) {
  return emulation_exchange(address, [=](T old) { return T(old | value); });
}
template <class T>
T atomicExch(T* address, EmulationSame<T> value) {
  return emulation_exchange(address, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* address, EmulationSame<T> expected, EmulationSame<T> value) {
  return emulation_exchange(address, [=](T old) { return old == expected ? value : old; });
}

// Where the caller stands, filled in by the compiler at the call.
#define EMULATION_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMULATION_HERE) {
  emulation::barrier(emulation::Operation::kSync, false, file, line);
}
inline int __syncthreads_or(int value, EMULATION_HERE) {
  return int(emulation::barrier(emulation::Operation::kOr, value != 0, file, line));
}
inline int __syncthreads_and(int value, EMULATION_HERE) {
  return int(emulation::barrier(emulation::Operation::kAnd, value != 0, file, line));
}
inline int __syncthreads_count(int value, EMULATION_HERE) {
  return int(emulation::barrier(emulation::Operation::kCount, value != 0, file, line));
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATION_HERE) {
  emulation::warp_operation({emulation::Operation::kSyncWarp, file, line, mask, 0, 0});
}
inline unsigned __ballot_sync(unsigned mask, int value, EMULATION_HERE) {
  return unsigned(
      emulation::warp_operation({emulation::Operation::kBallot, file, line, mask, value != 0, 0}));
}
inline int __any_sync(unsigned mask, int value, EMULATION_HERE) {
  return int(
      emulation::warp_operation({emulation::Operation::kAny, file, line, mask, value != 0, 0}));
}
inline int __all_sync(unsigned mask, int value, EMULATION_HERE) {
  return int(
      emulation::warp_operation({emulation::Operation::kAll, file, line, mask, value != 0, 0}));
}

template <class T>
T emulation_shuffle(unsigned mask, T value, unsigned source, const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles move one 32-bit or 64-bit number");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = emulation::warp_operation({emulation::Operation::kShuffle, file, line, mask, bits, source});
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned emulation_lane() { return emulation::block.current % emulation::kWarp; }

// Lanes work in segments of `width`; a source outside the own segment is the lane itself
// (CUDA C++ programming guide, warp shuffle functions).
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, EMULATION_HERE) {
  const unsigned start = emulation_lane() / width * width;
  return emulation_shuffle(mask, value, start + unsigned(source) % width, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = warpSize, EMULATION_HERE) {
  const unsigned lane = emulation_lane(), source = lane ^ unsigned(flip);
  const bool inside = source < (lane / width + 1) * width && source < unsigned(warpSize);
  return emulation_shuffle(mask, value, inside ? source : lane, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATION_HERE) {
  const unsigned lane = emulation_lane(), source = lane - delta;
  const bool inside = lane % width >= delta;
  return emulation_shuffle(mask, value, inside ? source : lane, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EMULATION_HERE) {
  const unsigned lane = emulation_lane();
  const bool inside = lane % width + delta < unsigned(width);
  return emulation_shuffle(mask, value, inside ? lane + delta : lane, file, line);
}
#undef EMULATION_HERE
