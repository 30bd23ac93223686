// Second differences along rows and along columns, and |1 - P|, of many planes in one launch, and
// their gradient in another.
#pragma once
#include "block_sum.cuh"
#include "pack.cuh"

constexpr int kMostPlanes = 48;      // of one launch; MOST_PLANES in cuda/plane_penalties.py
constexpr int kPacksPerThread = 8;
constexpr int kTerms = 3;            // rows, columns, ones

struct PenaltyPlane {
    const REAL* values;
    REAL* grad;
    // a term's weight over how many numbers it averages; 0: the plane is too small
    double share[kTerms];
    int32_t rows, cols;
};

struct PenaltyPlanes {
    PenaltyPlane planes[kMostPlanes];
};

// A pack of a plane and the way to its neighbours.
struct Spot {
    const REAL* at;
    int64_t offset, row_step;
    int32_t row, col;
};

__device__ inline Spot spot_of(const PenaltyPlane& plane, int64_t pack) {
    const int64_t node = pack * VECTOR / CHANNELS;
    return {plane.values + pack * VECTOR, pack * VECTOR,
            static_cast<int64_t>(plane.cols) * CHANNELS,
            static_cast<int32_t>(node / plane.cols), static_cast<int32_t>(node % plane.cols)};
}

__device__ inline int64_t packs_of(const PenaltyPlane& plane) {
    return static_cast<int64_t>(plane.rows) * plane.cols * (CHANNELS / VECTOR);
}

// P_i - 2 P_(i+1) + P_(i+2) along `step`, from `at` = P_i on.
__device__ inline Pack second_difference(const REAL* at, int64_t step) {
    return load(at) - REAL(2) * load(at + step) + load(at + 2 * step);
}

// grid: (kThreads kPacksPerThread packs, planes). sums "planes grid.x 3": shares of the three terms.
extern "C" __global__ void __launch_bounds__(kThreads)
    sum_penalties(PenaltyPlanes planes, double* __restrict__ sums) {
    __shared__ REAL scratch[kTerms][kWarps];
    const PenaltyPlane& plane = planes.planes[blockIdx.y];
    const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kPacksPerThread;
    REAL terms[kTerms] = {0, 0, 0};
    for (int k = 0; k < kPacksPerThread; ++k) {
        const int64_t pack = first + k * kThreads + threadIdx.x;
        if (pack >= packs_of(plane)) break;
        const Spot spot = spot_of(plane, pack);
        if (spot.row + 2 < plane.rows) {
            const Pack d = second_difference(spot.at, spot.row_step);
            terms[0] += sum_of(d * d);
        }
        if (spot.col + 2 < plane.cols) {
            const Pack d = second_difference(spot.at, CHANNELS);
            terms[1] += sum_of(d * d);
        }
        const Pack values = load(spot.at);
#pragma unroll
        for (int c = 0; c < VECTOR; ++c) terms[2] += fabs(1 - values.value[c]);
    }
#pragma unroll
    for (int term = 0; term < kTerms; ++term) {
        const REAL sum = block_sum(terms[term], scratch[term]);
        const int64_t out = (static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x) * kTerms;
        if (threadIdx.x == 0) sums[out + term] = static_cast<double>(sum) * plane.share[term];
    }
}

// Half the derivative of the sum of squared second differences d_i = P_i - 2 P_(i+1) + P_(i+2) to
// P_i = *at, that is d_i - 2 d_(i-1) + d_(i-2), leaving out differences that do not exist.
__device__ inline Pack pull(const REAL* at, int64_t step, int32_t i, int32_t count) {
    Pack sum = filled(0);
    if (i + 2 < count) sum = sum + second_difference(at, step);
    if (i >= 1 && i + 1 < count) sum = sum - REAL(2) * second_difference(at - step, step);
    if (i >= 2) sum = sum + second_difference(at - 2 * step, step);
    return sum;
}

// grid: (kThreads packs, planes). Adds the gradient of the sum of all terms to the planes' gradients.
extern "C" __global__ void __launch_bounds__(kThreads) add_pulls(PenaltyPlanes planes) {
    const PenaltyPlane& plane = planes.planes[blockIdx.y];
    const int64_t pack = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (pack >= packs_of(plane)) return;
    REAL scale[kTerms];
#pragma unroll
    for (int term = 0; term < kTerms; ++term) scale[term] = static_cast<REAL>(plane.share[term]);
    const Spot spot = spot_of(plane, pack);
    Pack grad = load(plane.grad + spot.offset) +
                2 * scale[0] * pull(spot.at, spot.row_step, spot.row, plane.rows) +
                2 * scale[1] * pull(spot.at, CHANNELS, spot.col, plane.cols);
    const Pack values = load(spot.at);
#pragma unroll
    for (int c = 0; c < VECTOR; ++c) {
        const int sign = (values.value[c] > 1) - (values.value[c] < 1);
        grad.value[c] += scale[2] * static_cast<REAL>(sign);
    }
    store(plane.grad + spot.offset, grad);
}
