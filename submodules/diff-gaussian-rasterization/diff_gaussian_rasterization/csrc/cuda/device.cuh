// What all kernels share: the number type, rows in memory, and sums over a warp.
#pragma once

#include <cstdint>

#include "border.h"
#include "gaussian_math.h"

namespace dgr {

typedef REAL Real;

constexpr int kThreads = 256;  // of every block
constexpr int kWarp = 32, kWarps = kThreads / kWarp;
constexpr uint32_t kAllLanes = 0xffffffffu;

// A row of DgrState's splats: mean (pixels), alpha's shape as gaussian_math.h wants it, and depth
// (world units).
struct alignas(16) Splat {
  Real u, v, weight_x, slope, weight_y, log_opacity, depth, unused;
};
static_assert(sizeof(Splat) == kSplat * sizeof(Real), "the CPU's rows");

DGR_FN bool is_finite(Real x) { return x - x == Real(0); }

__device__ inline int64_t thread_number() { return (int64_t)blockIdx.x * kThreads + threadIdx.x; }

struct alignas(16) Packet {
  Real number[16 / sizeof(Real)];
};
constexpr int kPacket = 16 / sizeof(Real);

// K numbers in a row, 16 bytes at a time where the row's address allows that.
template <int K>
__device__ inline void load_row(const Real* row, Real (&out)[K]) {
  if (K % kPacket == 0 && (uintptr_t)row % 16 == 0) {
#pragma unroll
    for (int k = 0; k < K / kPacket; ++k) {
      const Packet packet = ((const Packet*)row)[k];
      for (int i = 0; i < kPacket; ++i) out[k * kPacket + i] = packet.number[i];
    }
  } else {
#pragma unroll
    for (int k = 0; k < K; ++k) out[k] = row[k];
  }
}
template <int K>
__device__ inline void store_row(const Real (&in)[K], Real* row) {
  if (K % kPacket == 0 && (uintptr_t)row % 16 == 0) {
#pragma unroll
    for (int k = 0; k < K / kPacket; ++k) {
      Packet packet;
      for (int i = 0; i < kPacket; ++i) packet.number[i] = in[k * kPacket + i];
      ((Packet*)row)[k] = packet;
    }
  } else {
#pragma unroll
    for (int k = 0; k < K; ++k) row[k] = in[k];
  }
}

// Which of K sums a lane holds after warp_sums: numbers first, first + 1, ... before `end`.
template <int K>
struct Share {
  static constexpr int kEach = (K + kWarp - 1) / kWarp;  // at most
  int first = 0, end = K;

  __device__ explicit Share(int lane) {
    int left = K;
    for (int flip = kWarp / 2; flip > 0 && left > 1; flip /= 2) {
      const int half = (left + 1) / 2, middle = first + half;
      if (lane & flip)
        first = middle;
      else
        end = min(end, middle);
      left = half;
    }
  }
};

// Sums of K numbers over a warp. At each step a lane gives away half of the numbers it still has
// and adds the other half of its partner's: K + 5 shuffles or so for all sums, where one sum at a
// time takes 5 K. The order of additions is fixed.
template <int K, int kLeft = K, int kFlip = kWarp / 2>
__device__ inline void warp_sums(Real (&v)[K], int lane) {
  constexpr int kHalf = (kLeft + 1) / 2;
  const bool upper = lane & kFlip;
#pragma unroll
  for (int k = 0; k < kHalf; ++k) {
    if (kLeft == 1) {
      v[0] += __shfl_xor_sync(kAllLanes, v[0], kFlip);
    } else {
      const Real high = k + kHalf < kLeft ? v[k + kHalf] : Real(0);
      const Real give = upper ? v[k] : high, keep = upper ? high : v[k];
      v[k] = keep + __shfl_xor_sync(kAllLanes, give, kFlip);
    }
  }
  if constexpr (kFlip > 1) warp_sums<K, kHalf, kFlip / 2>(v, lane);
}

// Sums of K numbers over a block, into out[0 .. K). All threads must call it.
template <int K>
__device__ inline void block_sums(Real (&v)[K], Real* out) {
  __shared__ Real parts[kWarps][K];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  warp_sums(v, lane);
  const Share<K> share(lane);
  for (int j = 0; j < Share<K>::kEach; ++j)
    if (share.first + j < share.end) parts[warp][share.first + j] = v[j];
  __syncthreads();
  for (int k = threadIdx.x; k < K; k += kThreads) {
    Real total = 0;
    for (const Real(&part)[K] : parts) total += part[k];
    out[k] = total;
  }
}

}  // namespace dgr

using namespace dgr;
