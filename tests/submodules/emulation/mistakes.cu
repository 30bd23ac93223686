// Kernels with the mistakes that the emulation is there to find.
#include <cstdint>

extern "C" __global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 5) {
    __syncthreads();
    out[0] = 1;
  } else {
    __syncthreads();
    out[1] = 1;
  }
}

extern "C" __global__ void return_before_barrier(float* out) {
  if (threadIdx.x == 3) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

extern "C" __global__ void return_while_others_wait(float* out) {
  if (threadIdx.x < 3) __syncthreads();
  out[threadIdx.x] = 1;
}

extern "C" __global__ void lane_stays_away(int32_t* out) {
  if (threadIdx.x == 9) __syncthreads();
  out[threadIdx.x] = __shfl_sync(0xffffffffu, int32_t(threadIdx.x), 0);
  if (threadIdx.x != 9) __syncthreads();
}

extern "C" __global__ void different_masks(uint32_t* out) {
  if (threadIdx.x > 2) return;
  out[threadIdx.x] = __ballot_sync(threadIdx.x == 0 ? 0x3u : 0x7u, 1);
}

extern "C" __global__ void not_in_its_mask(uint32_t* out) {
  out[threadIdx.x] = __ballot_sync(0x7fffffffu, 1);
}

extern "C" __global__ void reads_a_lane_that_returned(int32_t* out) {
  if (threadIdx.x == 31) return;
  out[threadIdx.x] = __shfl_down_sync(0xffffffffu, int32_t(threadIdx.x), 1);
}

extern "C" __global__ void uninitialised(float* out) {
  __shared__ float values[32];
  if (threadIdx.x % 2) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

extern "C" __global__ void behind_dynamic_memory(float* out) {
  extern __shared__ float values[];
  values[threadIdx.x] = 1;
  out[threadIdx.x] = values[threadIdx.x];
}
