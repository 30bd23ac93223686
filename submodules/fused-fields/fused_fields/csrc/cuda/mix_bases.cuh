// Sums of every row's bases, each number times a weight that all rows share, and their gradients.
#pragma once
#include "block_sum.cuh"

constexpr int kRowsPerBlock = 64;  // of the backward pass; ROWS_PER_BLOCK in cuda/bases.py

// rows x count x width numbers, float16 or REAL.
struct BasisTable {
    const void* bases;
    REAL* grad;  // null: not wanted
    int64_t rows;
    int32_t count, width, half;

    __device__ REAL at(int64_t i) const {
        if (!half) return static_cast<const REAL*>(bases)[i];
        // Moved into a float's bits, they count 2^112 times too little.
        const unsigned bits = static_cast<const uint16_t*>(bases)[i];
        const float magnitude = __uint_as_float((bits & 0x7fff) << 13) * 5.192296858534828e33f;
        return bits & 0x8000 ? -magnitude : magnitude;
    }
};

// grid: a thread per number of the sums, rows x width.
extern "C" __global__ void __launch_bounds__(kThreads)
    mix_forward(BasisTable table, const REAL* __restrict__ weights, REAL* __restrict__ sums) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= table.rows * table.width) return;
    const int64_t row = i / table.width, col = i % table.width;
    REAL sum = 0;
    for (int k = 0; k < table.count; ++k) {
        const int64_t at = static_cast<int64_t>(k) * table.width + col;
        sum += table.at(row * table.count * table.width + at) * weights[at];
    }
    sums[i] = sum;
}

// grid: blocks of kRowsPerBlock rows. Each thread takes some numbers of the bases in all of these
// rows; `parts`, blocks x count x width, is what they give to the weights.
extern "C" __global__ void __launch_bounds__(kThreads)
    mix_backward(BasisTable table, const REAL* __restrict__ weights, const REAL* __restrict__ grad,
                 REAL* __restrict__ parts) {
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowsPerBlock;
    const int64_t end = min(first + kRowsPerBlock, table.rows);
    const int size = table.count * table.width;
    for (int at = threadIdx.x; at < size; at += kThreads) {
        const REAL weight = weights[at];
        REAL sum = 0;
        for (int64_t row = first; row < end; ++row) {
            const REAL pull = grad[row * table.width + at % table.width];
            sum += table.at(row * size + at) * pull;
            if (table.grad) table.grad[row * size + at] = pull * weight;
        }
        parts[static_cast<int64_t>(blockIdx.x) * size + at] = sum;
    }
}
