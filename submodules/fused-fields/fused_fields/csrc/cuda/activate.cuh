// Raw columns of a table of Gaussians turned into what is drawn, and back: a thread per row.
#pragma once
#include "block_sum.cuh"

constexpr int kQuat = 4, kScales = 3, kBand = 3;  // numbers of a row, the last of a band of SH

struct TableShape {
    int64_t rows;
    int32_t bands, rest;  // drawn, and stored beside the first
};

struct RawColumns {
    REAL *quats, *log_scales, *opacity_logits, *sh_dc, *sh_rest;
};

struct DrawnColumns {
    REAL *quats, *scales, *opacities, *sh;
};

__device__ inline REAL length_of(const REAL* quat) {
    return sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
}

constexpr REAL kShortest = 1e-12;  // a quaternion is divided by its length, or by this

// grid: a thread per row.
extern "C" __global__ void __launch_bounds__(kThreads)
    activate_forward(TableShape shape, RawColumns raw, DrawnColumns drawn) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= shape.rows) return;
    const REAL* quat = raw.quats + row * kQuat;
    const REAL length = length_of(quat);
    const REAL divisor = length < kShortest ? kShortest : length;  // a NaN stays a NaN
    for (int k = 0; k < kQuat; ++k) drawn.quats[row * kQuat + k] = quat[k] / divisor;
    for (int k = 0; k < kScales; ++k) {
        drawn.scales[row * kScales + k] = exp(raw.log_scales[row * kScales + k]);
    }
    drawn.opacities[row] = 1 / (1 + exp(-raw.opacity_logits[row]));
    const REAL* rest = raw.sh_rest + row * kBand * shape.rest;
    REAL* sh = drawn.sh + row * kBand * shape.bands;
    for (int k = 0; k < kBand; ++k) sh[k] = raw.sh_dc[row * kBand + k];
    for (int k = kBand; k < kBand * shape.bands; ++k) sh[k] = rest[k - kBand];
}

// grid: a thread per row. `drawn`: what the forward pass made; `upstream`: the gradients of it.
extern "C" __global__ void __launch_bounds__(kThreads)
    activate_backward(TableShape shape, RawColumns raw, DrawnColumns drawn, DrawnColumns upstream,
                      RawColumns grads) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= shape.rows) return;
    const REAL length = length_of(raw.quats + row * kQuat);
    const bool clamped = length < kShortest;
    REAL along = 0;
    for (int k = 0; k < kQuat; ++k) {
        along += drawn.quats[row * kQuat + k] * upstream.quats[row * kQuat + k];
    }
    for (int k = 0; k < kQuat; ++k) {
        const REAL off = clamped ? 0 : along * drawn.quats[row * kQuat + k];
        grads.quats[row * kQuat + k] =
            (upstream.quats[row * kQuat + k] - off) / (clamped ? kShortest : length);
    }
    for (int k = 0; k < kScales; ++k) {
        const int64_t i = row * kScales + k;
        grads.log_scales[i] = upstream.scales[i] * drawn.scales[i];
    }
    const REAL opacity = drawn.opacities[row];
    grads.opacity_logits[row] = upstream.opacities[row] * opacity * (1 - opacity);
    const REAL* sh = upstream.sh + row * kBand * shape.bands;
    REAL* rest = grads.sh_rest + row * kBand * shape.rest;
    for (int k = 0; k < kBand; ++k) grads.sh_dc[row * kBand + k] = sh[k];
    for (int k = 0; k < kBand * shape.rest; ++k) {
        rest[k] = k < kBand * (shape.bands - 1) ? sh[kBand + k] : 0;
    }
}
