// One Adam step (Kingma and Ba 2015) of many tensors in one launch, in place.
#pragma once
#include "block_sum.cuh"

constexpr int kMostTensors = 40;  // of one launch; MOST_TENSORS in cuda/adam.py
constexpr int kNumbersPerThread = 4;

struct AdamTensor {
    REAL* param;
    const REAL* grad;
    REAL *exp_avg, *exp_avg_sq;
    int64_t count;        // numbers
    double rate, spread;  // lr / (1 - beta1^step), 1 / sqrt(1 - beta2^step)
    int32_t row_size;     // numbers per row
    int32_t first_block;
};

struct AdamTensors {
    AdamTensor tensors[kMostTensors];
    double beta1, beta2, eps;
    int32_t count;
};

// grid: blocks of kThreads kNumbersPerThread numbers. `rows` null: all of them.
extern "C" __global__ void __launch_bounds__(kThreads)
    adam_step(AdamTensors all, const uint8_t* __restrict__ rows) {
    const AdamTensor& tensor = all.tensors[part_of_block(all.tensors, all.count)];
    const REAL rest1 = static_cast<REAL>(1 - all.beta1), rest2 = static_cast<REAL>(1 - all.beta2);
    const REAL eps = static_cast<REAL>(all.eps), rate = static_cast<REAL>(tensor.rate);
    const REAL spread = static_cast<REAL>(tensor.spread);
    const int64_t block = static_cast<int>(blockIdx.x) - tensor.first_block;
#pragma unroll
    for (int k = 0; k < kNumbersPerThread; ++k) {
        const int64_t i = (block * kNumbersPerThread + k) * kThreads + threadIdx.x;
        if (i >= tensor.count || (rows && !rows[i / tensor.row_size])) continue;
        const REAL grad = tensor.grad[i];
        const REAL old_mean = tensor.exp_avg[i], old_square = tensor.exp_avg_sq[i];
        const REAL mean = old_mean + rest1 * (grad - old_mean);
        const REAL square = old_square + rest2 * (grad * grad - old_square);
        tensor.exp_avg[i] = mean;
        tensor.exp_avg_sq[i] = square;
        tensor.param[i] -= rate * mean / (sqrt(square) * spread + eps);
    }
}
