// Rows carried along by one rigid motion, each as far as its weight says, and the gradients; see
// ../carry.h: a thread per row.
#pragma once
#include "activate.cuh"

constexpr int kPlaces = 3, kMotionSize = 16, kTurnAt = 12;  // MOTION in cuda/carry.py

struct CarriedRows {
    const REAL *means, *quats, *logits, *motion;
    int64_t rows;
};

// What both directions need of a row.
struct CarriedRow {
    REAL place[kPlaces], quat[kQuat], weight, way[kPlaces], turn[kQuat];
    REAL left[kQuat][kQuat];  // the product with the motion's quaternion on the left

    __device__ CarriedRow(const CarriedRows& table, int64_t row) {
        const REAL *m = table.motion, *q = m + kTurnAt;
        const REAL product[kQuat][kQuat] = {{q[0], -q[1], -q[2], -q[3]},
                                            {q[1], q[0], -q[3], q[2]},
                                            {q[2], q[3], q[0], -q[1]},
                                            {q[3], -q[2], q[1], q[0]}};
        for (int r = 0; r < kPlaces; ++r) place[r] = table.means[row * kPlaces + r];
        for (int r = 0; r < kQuat; ++r) quat[r] = table.quats[row * kQuat + r];
        weight = 1 / (1 + exp(-table.logits[row]));
        for (int r = 0; r < kPlaces; ++r, m += 4) {
            way[r] = m[0] * place[0] + m[1] * place[1] + m[2] * place[2] + m[3] - place[r];
        }
        for (int r = 0; r < kQuat; ++r) {
            turn[r] = -quat[r];
            for (int c = 0; c < kQuat; ++c) {
                left[r][c] = product[r][c];
                turn[r] += product[r][c] * quat[c];
            }
        }
    }
};

// grid: a thread per row.
extern "C" __global__ void __launch_bounds__(kThreads)
    carry_forward(CarriedRows table, REAL* __restrict__ means, REAL* __restrict__ quats) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= table.rows) return;
    const CarriedRow at(table, row);
    for (int r = 0; r < kPlaces; ++r) means[row * kPlaces + r] = at.place[r] + at.weight * at.way[r];
    for (int r = 0; r < kQuat; ++r) quats[row * kQuat + r] = at.quat[r] + at.weight * at.turn[r];
}

// grid: a thread per row. motions "rows kMotionSize": what each adds to the motion's gradient.
extern "C" __global__ void __launch_bounds__(kThreads)
    carry_backward(CarriedRows table, const REAL* __restrict__ of_means,
                   const REAL* __restrict__ of_quats, REAL* __restrict__ means,
                   REAL* __restrict__ quats, REAL* __restrict__ logits,
                   REAL* __restrict__ motions) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= table.rows) return;
    const CarriedRow at(table, row);
    const REAL *of_place = of_means + row * kPlaces, *of_quat = of_quats + row * kQuat;
    REAL to_weight = 0, pull[kQuat], *motion = motions + row * kMotionSize;
    for (int r = 0; r < kPlaces; ++r) to_weight += of_place[r] * at.way[r];
    for (int r = 0; r < kQuat; ++r) to_weight += of_quat[r] * at.turn[r];
    logits[row] = to_weight * at.weight * (1 - at.weight);
    for (int r = 0; r < kQuat; ++r) pull[r] = at.weight * of_quat[r];
    for (int c = 0; c < kQuat; ++c) {
        REAL sum = of_quat[c] - pull[c];
        for (int r = 0; r < kQuat; ++r) sum += at.left[r][c] * pull[r];
        quats[row * kQuat + c] = sum;
    }
    const REAL *q = at.quat;
    motion[kTurnAt] = pull[0] * q[0] + pull[1] * q[1] + pull[2] * q[2] + pull[3] * q[3];
    motion[kTurnAt + 1] = pull[1] * q[0] - pull[0] * q[1] + pull[3] * q[2] - pull[2] * q[3];
    motion[kTurnAt + 2] = pull[2] * q[0] - pull[3] * q[1] - pull[0] * q[2] + pull[1] * q[3];
    motion[kTurnAt + 3] = pull[3] * q[0] + pull[2] * q[1] - pull[1] * q[2] - pull[0] * q[3];
    for (int r = 0; r < kPlaces; ++r) {
        pull[r] = at.weight * of_place[r];
        for (int c = 0; c < kPlaces; ++c) motion[4 * r + c] = pull[r] * at.place[c];
        motion[4 * r + 3] = pull[r];
    }
    for (int c = 0; c < kPlaces; ++c) {
        REAL sum = of_place[c] - pull[c];
        for (int r = 0; r < kPlaces; ++r) sum += table.motion[4 * r + c] * pull[r];
        means[row * kPlaces + c] = sum;
    }
}
