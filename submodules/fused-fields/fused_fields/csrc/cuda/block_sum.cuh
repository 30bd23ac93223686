// Sums over the threads of a warp and of a block, always in the same order.
#pragma once
#include <cstdint>

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of every block
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kAllLanes = 0xffffffffu;

// Sum over the lanes that differ from this one in `distance`, 2 `distance`, ... below `end`; every
// one of them receives the same bits, since a + b = b + a.
template <class T>
__device__ inline T lane_sum(T value, int distance, int end) {
    for (; distance < end; distance *= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
    return value;
}

// Sum over all threads, for thread 0. `scratch` is shared and free again after the next barrier.
template <class T>
__device__ inline T block_sum(T value, T* scratch) {
    value = lane_sum(value, 1, kWarp);
    if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
    __syncthreads();
    T sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += scratch[warp];
    return sum;
}

// Which of `count` parts, each owning the blocks from its `first_block` on, this block belongs to.
template <class Part>
__device__ inline int part_of_block(const Part* parts, int count) {
    int part = 0;
    while (part + 1 < count && static_cast<int>(blockIdx.x) >= parts[part + 1].first_block) ++part;
    return part;
}
