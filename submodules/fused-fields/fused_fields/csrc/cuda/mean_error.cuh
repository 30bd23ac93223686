// Mean absolute or squared difference of two tensors, and its gradient.
#pragma once
#include "block_sum.cuh"

constexpr int kErrorsPerThread = 4;  // ERRORS_PER_THREAD in cuda/errors.py

// grid: blocks of kThreads kErrorsPerThread numbers; `sums`: one of each block.
extern "C" __global__ void __launch_bounds__(kThreads)
    error_forward(const REAL* __restrict__ a, const REAL* __restrict__ b, int64_t n, int squared,
                  double* __restrict__ sums) {
    __shared__ REAL scratch[kWarps];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kErrorsPerThread;
    REAL sum = 0;
    for (int k = 0; k < kErrorsPerThread; ++k) {
        const int64_t i = first + k * kThreads + threadIdx.x;
        const REAL d = i < n ? a[i] - b[i] : 0;
        sum += squared ? d * d : fabs(d);
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// grid: a thread per number. The gradient to a, from `scale`, that of the mean.
extern "C" __global__ void __launch_bounds__(kThreads)
    error_backward(const REAL* __restrict__ a, const REAL* __restrict__ b, int64_t n, int squared,
                   const REAL* __restrict__ scale, REAL* __restrict__ grad) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= n) return;
    const REAL d = a[i] - b[i], each = *scale / static_cast<REAL>(n);
    const REAL sign = d > 0 ? REAL(1) : d < 0 ? REAL(-1) : d * 0;  // a NaN stays a NaN
    grad[i] = each * (squared ? 2 * d : sign);
}
