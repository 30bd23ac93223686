// Small kernels that use each word of CUDA C++ which the emulation knows, for its own tests.
#include <cstdint>

struct Range {
  float low, high;
  int32_t count;
};

template <class T>
__device__ T warp_sum(T value) {
  for (int offset = 16; offset; offset /= 2) value += __shfl_down_sync(0xffffffffu, value, offset);
  return __shfl_sync(0xffffffffu, value, 0);
}

extern "C" __global__ void __launch_bounds__(1024)
block_sums(const REAL* __restrict__ values, REAL* sums, int64_t n) {
  __shared__ REAL partial[32];
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const REAL sum = warp_sum(i < n ? values[i] : REAL(0));
  if (threadIdx.x % warpSize == 0) partial[threadIdx.x / warpSize] = sum;
  __syncthreads();
  if (threadIdx.x >= warpSize) return;
  const REAL mine = threadIdx.x < (blockDim.x + 31) / 32 ? partial[threadIdx.x] : REAL(0);
  const REAL total = warp_sum(mine);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// Inclusive prefix sum of one block (Hillis and Steele 1986), in dynamic shared memory.
extern "C" __global__ void block_scan(const int32_t* values, int32_t* sums) {
  extern __shared__ __align__(16) int32_t buffer[];
  const unsigned i = threadIdx.x;
  buffer[i] = values[i];
  for (unsigned step = 1; step < blockDim.x; step *= 2) {
    __syncthreads();
    const int32_t other = i >= step ? buffer[i - step] : 0;
    __syncthreads();
    buffer[i] += other;
  }
  sums[i] = buffer[i];
}

// Each thread leaves its value for its neighbour; without the barrier the neighbour may be early.
extern "C" __global__ void take_from_neighbour(const float* values, float* taken, int32_t wait) {
  __shared__ float left[256];
  left[threadIdx.x] = values[threadIdx.x];
  if (wait) __syncthreads();
  taken[threadIdx.x] = left[(threadIdx.x + 1) % blockDim.x];
}

// Compacts the indices of positive values: one atomic per warp, ranks from the ballot.
extern "C" __global__ void positive(const float* values, int32_t n, int32_t* count, int32_t* kept) {
  const int32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  const bool keep = i < n && values[i] > 0;
  const unsigned votes = __ballot_sync(0xffffffffu, keep);
  const unsigned lane = threadIdx.x % warpSize;
  int32_t start = 0;
  if (lane == 0) start = atomicAdd(count, __popc(votes));
  start = __shfl_sync(0xffffffffu, start, 0);
  if (keep) kept[start + __popc(votes & ((1u << lane) - 1))] = i;
}

extern "C" __global__ void barriers(const int32_t* flags, int32_t* results) {
  const int32_t flag = flags[threadIdx.x];
  const int32_t any = __syncthreads_or(flag), all = __syncthreads_and(flag);
  const int32_t count = __syncthreads_count(flag);
  if (threadIdx.x == 0) results[0] = any, results[1] = all, results[2] = count;
}

extern "C" __global__ void shuffles(int64_t* up, int64_t* down, int64_t* flipped, int64_t* segment) {
  const unsigned i = threadIdx.x;
  const int64_t value = 100 + i;
  up[i] = __shfl_up_sync(0xffffffffu, value, 3);
  down[i] = __shfl_down_sync(0xffffffffu, value, 3);
  flipped[i] = __shfl_xor_sync(0xffffffffu, value, 5);
  segment[i] = __shfl_sync(0xffffffffu, value, 9, 8);  // lane 1 of each eight
}

extern "C" __global__ void votes(const int32_t* flags, int32_t* any, int32_t* all) {
  // Two halves of a warp vote on their own.
  const unsigned half = threadIdx.x % warpSize < 16 ? 0x0000ffffu : 0xffff0000u;
  any[threadIdx.x] = __any_sync(half, flags[threadIdx.x]);
  all[threadIdx.x] = __all_sync(half, flags[threadIdx.x]);
}

extern "C" __global__ void atomics(uint64_t* biggest, uint32_t* smallest, uint32_t* bits, int32_t* lock) {
  const unsigned i = threadIdx.x;
  atomicMax(reinterpret_cast<unsigned long long*>(biggest), (uint64_t(i) << 40) + 1);
  atomicMin(smallest, 1000 - i);
  atomicOr(bits, 1u << i % 32);
  if (i == 7) atomicExch(lock, 70);
  if (i == 8) atomicCAS(lock, -1, 80);
}

extern "C" __global__ void places(int32_t* seen) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  seen[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + block * 1000 + thread;
}

extern "C" __global__ void by_value(Range range, double scale, const float* none, float* out) {
  if (threadIdx.x >= range.count) return;
  const float step = (range.high - range.low) / (range.count - 1);
  out[threadIdx.x] = none ? none[0] : float(scale) * fmaf(threadIdx.x, step, range.low);
}

extern "C" __global__ void bit_casts(float* out) {
  out[0] = __uint_as_float(__float_as_uint(1.5f) + 1);
  out[1] = __longlong_as_double(__double_as_longlong(-2.5));
  out[2] = __clz(1) + __ffs(8) + min(3, 5) + max(2.5f, 1.0f) + exp2f(3.0f) + rsqrtf(4.0f);
  const float4 v = make_float4(1, 2, 3, 4);
  out[3] = v.x + v.y + v.z + v.w + make_int2(5, 6).y;
}
