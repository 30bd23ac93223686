// Linear blend skinning of points and of how they are turned, and its gradients; see ../skinning.h.
#pragma once
#include "block_sum.cuh"

constexpr int kMotion = 16, kTurn = 12;  // numbers of a motion; where its quaternion begins

struct SkinTable {
    const REAL *points, *shifts, *weights, *quats;
    int64_t rows;
    int32_t bones;
};

// Where the gradients go, as the inputs lie, and rows x kMotion of the blended motions; null: not
// wanted.
struct SkinGrads {
    REAL *points, *shifts, *weights, *quats, *motions;
};

__device__ inline void blend_motions(const REAL* weights, const REAL* motions, int bones,
                                     REAL* blend) {
    for (int k = 0; k < kMotion; ++k) blend[k] = 0;
    for (int j = 0; j < bones; ++j) {
        for (int k = 0; k < kMotion; ++k) blend[k] += weights[j] * motions[j * kMotion + k];
    }
}

// The inverse of the first three columns, which need not be a rotation.
__device__ inline void invert(const REAL* m, REAL* inverse) {
    for (int r = 0; r < 3; ++r) {
        const int a = (r + 1) % 3, b = (r + 2) % 3;
        for (int c = 0; c < 3; ++c) {
            const int d = (c + 1) % 3, e = (c + 2) % 3;
            inverse[r * 3 + c] = m[d * 4 + a] * m[e * 4 + b] - m[d * 4 + b] * m[e * 4 + a];
        }
    }
    const REAL one = 1 / (m[0] * inverse[0] + m[4] * inverse[1] + m[8] * inverse[2]);
    for (int i = 0; i < 9; ++i) inverse[i] *= one;
}

// Hamilton product; `conjugate` -1 conjugates `a`, 1 conjugates `b`, 0 neither.
__device__ inline void quat_product(const REAL* a, const REAL* b, int conjugate, REAL* product) {
    const REAL s = conjugate < 0 ? -1 : 1, t = conjugate > 0 ? -1 : 1;
    product[0] = a[0] * b[0] - s * t * (a[1] * b[1] + a[2] * b[2] + a[3] * b[3]);
    for (int i = 1; i < 4; ++i) {
        const int j = i % 3 + 1, k = j % 3 + 1;
        product[i] = t * a[0] * b[i] + s * a[i] * b[0] + s * t * (a[j] * b[k] - a[k] * b[j]);
    }
}

// What a point needs in both directions.
struct SkinnedPoint {
    REAL motion[kMotion];    // blended
    REAL inverse[9];         // of the matrix of the blended canonical motion, where there is one
    REAL rest[3], moved[3];  // at rest, before and after the shift
    REAL length;             // of the blended quaternion
    REAL turn[4];            // the same of length one

    __device__ SkinnedPoint(const SkinTable& table, const REAL* motions, const REAL* canonical,
                            int64_t i) {
        const REAL* weights = table.weights + i * table.bones;
        for (int r = 0; r < 3; ++r) rest[r] = table.points[i * 3 + r];
        if (canonical) {
            REAL still[kMotion];
            blend_motions(weights, canonical, table.bones, still);
            invert(still, inverse);
            const REAL way[3] = {rest[0] - still[3], rest[1] - still[7], rest[2] - still[11]};
            for (int r = 0; r < 3; ++r) {
                const REAL* row = inverse + r * 3;
                rest[r] = row[0] * way[0] + row[1] * way[1] + row[2] * way[2];
            }
        }
        for (int r = 0; r < 3; ++r) moved[r] = rest[r] + table.shifts[i * 3 + r];
        blend_motions(weights, motions, table.bones, motion);
        const REAL* quat = motion + kTurn;
        length = sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] +
                      quat[3] * quat[3]);
        const REAL least = static_cast<REAL>(1e-12), factor = 1 / (length > least ? length : least);
        for (int k = 0; k < 4; ++k) turn[k] = quat[k] * factor;
    }
};

// grid: a thread per point.
extern "C" __global__ void __launch_bounds__(kThreads)
    skin_forward(SkinTable table, const REAL* __restrict__ motions,
                 const REAL* __restrict__ canonical, REAL* __restrict__ means,
                 REAL* __restrict__ quats) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= table.rows) return;
    const SkinnedPoint point(table, motions, canonical, i);
    for (int r = 0; r < 3; ++r) {
        const REAL* row = point.motion + r * 4;
        means[i * 3 + r] = row[0] * point.moved[0] + row[1] * point.moved[1] +
                           row[2] * point.moved[2] + row[3];
    }
    quat_product(point.turn, table.quats + i * 4, 0, quats + i * 4);
}

// grid: a thread per point.
extern "C" __global__ void __launch_bounds__(kThreads)
    skin_backward(SkinTable table, const REAL* __restrict__ motions,
                  const REAL* __restrict__ canonical, const REAL* __restrict__ grad_means,
                  const REAL* __restrict__ grad_quats, SkinGrads grads) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= table.rows) return;
    const SkinnedPoint point(table, motions, canonical, i);
    const REAL *mean_pull = grad_means + i * 3, *quat_pull = grad_quats + i * 4;
    REAL pull[kMotion], rest_pull[3] = {};  // of the blended motion, of the point at rest
    for (int r = 0; r < 3; ++r) {
        for (int c = 0; c < 3; ++c) {
            pull[r * 4 + c] = mean_pull[r] * point.moved[c];
            rest_pull[c] += mean_pull[r] * point.motion[r * 4 + c];
        }
        pull[r * 4 + 3] = mean_pull[r];
    }
    // A turn of length one keeps lengths, and so does its inverse.
    quat_product(point.turn, quat_pull, -1, grads.quats + i * 4);
    REAL turn_pull[4], along = 0;
    quat_product(quat_pull, table.quats + i * 4, 1, turn_pull);
    const REAL least = static_cast<REAL>(1e-12);
    const bool is_turn = point.length > least;
    for (int k = 0; k < 4 && is_turn; ++k) along += point.turn[k] * turn_pull[k];
    const REAL factor = 1 / (is_turn ? point.length : least);
    for (int k = 0; k < 4; ++k) {
        pull[kTurn + k] = (turn_pull[k] - point.turn[k] * along) * factor;
    }
    // Through the inverse: what moves the canonical motion moves the point at rest back.
    REAL back[kTurn] = {};
    for (int r = 0; r < 3; ++r) {
        grads.shifts[i * 3 + r] = rest_pull[r];
        REAL point_pull = rest_pull[r];
        if (canonical) {
            point_pull = point.inverse[r] * rest_pull[0] + point.inverse[3 + r] * rest_pull[1] +
                         point.inverse[6 + r] * rest_pull[2];
            for (int c = 0; c < 3; ++c) back[r * 4 + c] = -point_pull * point.rest[c];
            back[r * 4 + 3] = -point_pull;
        }
        grads.points[i * 3 + r] = point_pull;
    }
    for (int j = 0; j < table.bones; ++j) {
        const REAL* motion = motions + j * kMotion;
        REAL sum = 0;
        for (int k = 0; k < kMotion; ++k) sum += pull[k] * motion[k];
        for (int k = 0; canonical && k < kTurn; ++k) sum += back[k] * canonical[j * kMotion + k];
        grads.weights[i * table.bones + j] = sum;
    }
    for (int k = 0; grads.motions && k < kMotion; ++k) grads.motions[i * kMotion + k] = pull[k];
}
