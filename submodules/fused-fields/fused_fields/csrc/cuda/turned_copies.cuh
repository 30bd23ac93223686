// Points turned by quaternions, several copies of each, and the gradients: a thread per point.
#pragma once
#include "activate.cuh"

struct Triple {
    REAL x, y, z;
};

__device__ inline Triple operator+(Triple a, Triple b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
__device__ inline Triple operator*(REAL s, Triple a) { return {s * a.x, s * a.y, s * a.z}; }
__device__ inline Triple cross(Triple a, Triple b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
__device__ inline REAL dot(Triple a, Triple b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__device__ inline Triple triple_at(const REAL* p) { return {p[0], p[1], p[2]}; }
__device__ inline void put(REAL* to, Triple a) {
    to[0] = a.x;
    to[1] = a.y;
    to[2] = a.z;
}

// A quaternion (w, axis) of length one, and what it was divided by.
struct Turn {
    REAL w;
    Triple axis;
    REAL divisor;
    bool clamped;
};

__device__ inline Turn turn_at(const REAL* quat) {
    const REAL length = length_of(quat);
    const bool clamped = length < kShortest;  // a NaN stays a NaN
    const REAL divisor = clamped ? kShortest : length;
    return {quat[0] / divisor,
            {quat[1] / divisor, quat[2] / divisor, quat[3] / divisor},
            divisor,
            clamped};
}

__device__ inline Triple turned(REAL w, Triple axis, Triple p) {
    const Triple across = REAL(2) * cross(axis, p);
    return p + w * across + cross(axis, across);
}

// grid: a thread per row. `out` "copies rows 3".
extern "C" __global__ void __launch_bounds__(kThreads)
    turn_forward(const REAL* __restrict__ points, const REAL* __restrict__ quats, int64_t rows,
                 int copies, REAL* __restrict__ out) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= rows) return;
    const Triple point = triple_at(points + row * 3);
    for (int copy = 0; copy < copies; ++copy) {
        const Turn turn = turn_at(quats + (row * copies + copy) * kQuat);
        put(out + (copy * rows + row) * 3, turned(turn.w, turn.axis, point));
    }
}

// grid: a thread per row. Either gradient may be null: not wanted.
extern "C" __global__ void __launch_bounds__(kThreads)
    turn_backward(const REAL* __restrict__ points, const REAL* __restrict__ quats, int64_t rows,
                  int copies, const REAL* __restrict__ upstream, REAL* __restrict__ grad_points,
                  REAL* __restrict__ grad_quats) {
    const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (row >= rows) return;
    const Triple point = triple_at(points + row * 3);
    Triple to_point = {0, 0, 0};
    for (int copy = 0; copy < copies; ++copy) {
        const int64_t at = (row * copies + copy) * kQuat;
        const Turn turn = turn_at(quats + at);
        const Triple axis = turn.axis, grad = triple_at(upstream + (copy * rows + row) * 3);
        to_point = to_point + turned(-turn.w, axis, grad);
        if (!grad_quats) continue;
        const REAL w = 2 * dot(cross(axis, point), grad);
        const Triple to_axis =
            REAL(2) * (turn.w * cross(point, grad) + dot(axis, point) * grad +
                       dot(axis, grad) * point + (-2 * dot(grad, point)) * axis);
        // Of q / |q|: what is left across q, divided by |q|.
        const REAL along = turn.clamped ? 0 : turn.w * w + dot(axis, to_axis);
        grad_quats[at] = (w - along * turn.w) / turn.divisor;
        put(grad_quats + at + 1, (1 / turn.divisor) * (to_axis + (-along) * axis));
    }
    if (grad_points) put(grad_points + row * 3, to_point);
}
