// Points turned by quaternions, several copies of each, and the gradients: a lane per point.
//
// The turn of p by (w, a) of length one is p + w c + a x c with c = 2 a x p.
#pragma once
#include <cmath>

#include "activate.h"

namespace {

using fused_fields::TurnedTable;

template <class T>
struct Triple {
    using V = Vec<T, kLanes<T>>;
    V x, y, z;
};

template <class T>
SIMD_FN Triple<T> operator+(const Triple<T>& a, const Triple<T>& b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class T>
SIMD_FN Triple<T> operator*(typename Triple<T>::V s, const Triple<T>& a) {
    return {s * a.x, s * a.y, s * a.z};
}
template <class T>
SIMD_FN Triple<T> operator*(T s, const Triple<T>& a) {
    return {s * a.x, s * a.y, s * a.z};
}
template <class T>
SIMD_FN Triple<T> cross(const Triple<T>& a, const Triple<T>& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
template <class T>
SIMD_FN typename Triple<T>::V dot(const Triple<T>& a, const Triple<T>& b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
// By (w, axis), or with the other sign of w by its inverse.
template <class T>
SIMD_FN Triple<T> turned(typename Triple<T>::V w, const Triple<T>& axis, const Triple<T>& p) {
    const Triple<T> across = T(2) * cross(axis, p);
    return p + w * across + cross(axis, across);
}

template <class T>
class TurnWork : public StagedWork {
  public:
    TurnWork(const TurnedTable& table, T* turned, const T* upstream)
        : table_(table), turned_(turned), upstream_(upstream) {}

    int64_t tasks(int64_t) const override { return (table_.rows + kTableRows - 1) / kTableRows; }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kTableRows, table_.rows);
        for (int64_t row = task * kTableRows; row < end; row += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, end - row));
            turned_ ? forward(row, count) : backward(row, count);
        }
    }

  private:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    // Quaternions of one copy of W points: of length one, and what they were divided by.
    struct Turn {
        V w;
        Triple<T> axis;
        V divisor, long_enough;  // 1, or 0 where the quaternion was divided by kShortest
    };

    static Triple<T> read(const T* rows, int count) {
        V part[3];
        gather_rows<T, 3>(rows, 3, count, part);
        return {part[0], part[1], part[2]};
    }
    static void write(const Triple<T>& from, T* rows, int count) {
        const V part[3] = {from.x, from.y, from.z};
        scatter_rows<T, 3>(part, rows, 3, count);
    }

    Turn turn_of(int64_t row, int copy, int count) const {
        const int64_t step = int64_t{table_.copies} * kQuat;
        V q[kQuat];
        gather_rows<T, kQuat>(static_cast<const T*>(table_.quats) + row * step + copy * kQuat, step, count,
                      q);
        V length = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3];
        for (int i = 0; i < W; ++i) length[i] = std::sqrt(length[i]);
        const V shortest = V{} + T(kShortest), one = V{} + T(1);
        const V long_enough = length < shortest ? V{} : one;  // a NaN stays a NaN
        length = length < shortest ? shortest : length;
        const V inverse = T(1) / length;
        return {inverse * q[0], {inverse * q[1], inverse * q[2], inverse * q[3]}, length,
                long_enough};
    }

    void forward(int64_t row, int count) const {
        const Triple<T> point = read(static_cast<const T*>(table_.points) + row * 3, count);
        for (int copy = 0; copy < table_.copies; ++copy) {
            const Turn turn = turn_of(row, copy, count);
            write(turned<T>(turn.w, turn.axis, point), turned_ + (copy * table_.rows + row) * 3,
                  count);
        }
    }

    void backward(int64_t row, int count) const {
        const Triple<T> point = read(static_cast<const T*>(table_.points) + row * 3, count);
        Triple<T> to_point = {};
        for (int copy = 0; copy < table_.copies; ++copy) {
            const Turn turn = turn_of(row, copy, count);
            const Triple<T> grad = read(upstream_ + (copy * table_.rows + row) * 3, count);
            to_point = to_point + turned<T>(-turn.w, turn.axis, grad);
            if (!table_.grad_quats) continue;
            const V w = T(2) * dot(cross(turn.axis, point), grad);
            const Triple<T> axis =
                T(2) * (turn.w * cross(point, grad) + dot(turn.axis, point) * grad +
                        dot(turn.axis, grad) * point + T(-2) * dot(grad, point) * turn.axis);
            // Of q / |q|: what is left across q, divided by |q|.
            const V along = turn.long_enough * (turn.w * w + dot(turn.axis, axis));
            const V found[kQuat] = {(w - along * turn.w) / turn.divisor,
                                    (axis.x - along * turn.axis.x) / turn.divisor,
                                    (axis.y - along * turn.axis.y) / turn.divisor,
                                    (axis.z - along * turn.axis.z) / turn.divisor};
            const int64_t step = int64_t{table_.copies} * kQuat;
            scatter_rows<T, kQuat>(found, static_cast<T*>(table_.grad_quats) + row * step + copy * kQuat,
                           step, count);
        }
        if (table_.grad_points) {
            write(to_point, static_cast<T*>(table_.grad_points) + row * 3, count);
        }
    }

    const TurnedTable table_;
    T* const turned_;         // "copies x rows x 3", or null: gradients are wanted, from
    const T* const upstream_;
};

template <class T>
int turn_forward(const TurnedTable* table, T* turned, int threads) {
    TurnWork<T> work(*table, turned, nullptr);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

template <class T>
int turn_backward(const TurnedTable* table, const T* upstream, int threads) {
    TurnWork<T> work(*table, nullptr, upstream);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
