// Linear blend skinning of points and of how they are turned, and its gradients.
//
// A bone's motion is 16 numbers: a 3 x 4 matrix, then a quaternion. A point blends those of all
// bones, and takes its place and its turn from the blend. Fixed chunks of points sum their own
// gradients of the motions, added up in order.
#pragma once
#include <cmath>
#include <cstring>

#include "api.h"
#include "buffer.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::SkinTable;
using fused_fields::StagedWork;

constexpr int64_t kSkinRows = 512;  // of a chunk
constexpr int kMotion = 16, kTurn = 12;  // numbers of a motion; where its quaternion begins

template <class T>
constexpr int kMotionLanes = kLanes<T> < kMotion ? kLanes<T> : kMotion;
template <class T>
constexpr int kMotionVectors = kMotion / kMotionLanes<T>;

// A motion in registers.
template <class T>
struct Motion {
    static constexpr int W = kMotionLanes<T>;
    Vec<T, W> part[kMotionVectors<T>];

    SIMD_MEMBER void read(const T* from) {
        for (int v = 0; v < kMotionVectors<T>; ++v) part[v] = load<T, W>(from + v * W);
    }
    SIMD_MEMBER void write(T* to) const {
        for (int v = 0; v < kMotionVectors<T>; ++v) store<T, W>(to + v * W, part[v]);
    }
    SIMD_MEMBER void add(T weight, const T* motion) {
        for (int v = 0; v < kMotionVectors<T>; ++v) part[v] += weight * load<T, W>(motion + v * W);
    }
    SIMD_MEMBER T dot(const T* motion) const {
        Vec<T, W> sum = part[0] * load<T, W>(motion);
        for (int v = 1; v < kMotionVectors<T>; ++v) sum += part[v] * load<T, W>(motion + v * W);
        return lane_sum<T, W>(sum);
    }
};

template <class T>
SIMD_FN void blend_motions(const T* weights, const T* motions, int bones, T* blend) {
    Motion<T> sum = {};
    for (int j = 0; j < bones; ++j) sum.add(weights[j], motions + j * kMotion);
    sum.write(blend);
}

// The inverse of the first three columns, which need not be a rotation.
template <class T>
SIMD_FN void invert(const T* m, T* inverse) {
    for (int r = 0; r < 3; ++r) {
        const int a = (r + 1) % 3, b = (r + 2) % 3;
        for (int c = 0; c < 3; ++c) {
            const int d = (c + 1) % 3, e = (c + 2) % 3;
            inverse[r * 3 + c] = m[d * 4 + a] * m[e * 4 + b] - m[d * 4 + b] * m[e * 4 + a];
        }
    }
    const T one = 1 / (m[0] * inverse[0] + m[4] * inverse[1] + m[8] * inverse[2]);
    for (int i = 0; i < 9; ++i) inverse[i] *= one;
}

// Hamilton product; `conjugate` -1 conjugates `a`, 1 conjugates `b`, 0 neither.
template <class T>
SIMD_FN void quat_product(const T* a, const T* b, int conjugate, T* product) {
    const T s = conjugate < 0 ? -1 : 1, t = conjugate > 0 ? -1 : 1;
    product[0] = a[0] * b[0] - s * t * (a[1] * b[1] + a[2] * b[2] + a[3] * b[3]);
    for (int i = 1; i < 4; ++i) {
        const int j = i % 3 + 1, k = j % 3 + 1;
        product[i] = t * a[0] * b[i] + s * a[i] * b[0] + s * t * (a[j] * b[k] - a[k] * b[j]);
    }
}

// What a point needs in both directions.
template <class T>
struct SkinnedPoint {
    T motion[kMotion];   // blended
    T still[kMotion];    // blended canonical one, and
    T inverse[9];        // that of its matrix, where there is one
    T rest[3], moved[3]; // at rest, before and after the shift
    T length;            // of the blended quaternion
    T turn[4];           // the same of length one

    SIMD_MEMBER SkinnedPoint(const SkinTable& table, const T* motions, const T* canonical,
                             int64_t i) {
        const T* weights = static_cast<const T*>(table.weights) + i * table.bones;
        const T* point = static_cast<const T*>(table.points) + i * 3;
        const T* shift = static_cast<const T*>(table.shifts) + i * 3;
        blend_motions(weights, motions, table.bones, motion);
        if (canonical) {
            blend_motions(weights, canonical, table.bones, still);
            invert(still, inverse);
            const T way[3] = {point[0] - still[3], point[1] - still[7], point[2] - still[11]};
            for (int r = 0; r < 3; ++r) {
                const T* row = inverse + r * 3;
                rest[r] = row[0] * way[0] + row[1] * way[1] + row[2] * way[2];
            }
        } else {
            for (int r = 0; r < 3; ++r) rest[r] = point[r];
        }
        for (int r = 0; r < 3; ++r) moved[r] = rest[r] + shift[r];
        const T* quat = motion + kTurn;
        const T square = quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] +
                         quat[3] * quat[3];
        length = std::sqrt(square);
        const T factor = 1 / (length > T(1e-12) ? length : T(1e-12));
        for (int k = 0; k < 4; ++k) turn[k] = quat[k] * factor;
    }
};

template <class T>
class SkinForward final : public StagedWork {
  public:
    SkinForward(const SkinTable& table, const T* motions, const T* canonical, T* means, T* quats)
        : table_(table), motions_(motions), canonical_(canonical), means_(means), quats_(quats) {}

    int64_t tasks(int64_t) const override { return (table_.rows + kSkinRows - 1) / kSkinRows; }

    void run(int64_t, int64_t chunk) override {
        const int64_t first = chunk * kSkinRows, end = min_of(first + kSkinRows, table_.rows);
        for (int64_t i = first; i < end; ++i) {
            const SkinnedPoint<T> point(table_, motions_, canonical_, i);
            for (int r = 0; r < 3; ++r) {
                const T* row = point.motion + r * 4;
                means_[i * 3 + r] = row[0] * point.moved[0] + row[1] * point.moved[1] +
                                    row[2] * point.moved[2] + row[3];
            }
            quat_product(point.turn, static_cast<const T*>(table_.quats) + i * 4, 0,
                         quats_ + i * 4);
        }
    }

  private:
    const SkinTable& table_;
    const T *motions_, *canonical_;
    T *means_, *quats_;
};

// Where the gradients go, as the inputs lie.
template <class T>
struct SkinGrads {
    T *points, *shifts, *weights, *quats, *motions;
};

template <class T>
class SkinBackward final : public StagedWork {
  public:
    SkinBackward(const SkinTable& table, const T* motions, const T* canonical, const T* grad_means,
                 const T* grad_quats, const SkinGrads<T>& grads)
        : table_(table), motions_(motions), canonical_(canonical), grad_means_(grad_means),
          grad_quats_(grad_quats), grads_(grads),
          chunks_((table.rows + kSkinRows - 1) / kSkinRows), size_(table.bones * kMotion),
          parts_(chunks_ * size_) {}

    bool ok() const { return parts_.get(); }

    int64_t tasks(int64_t stage) const override { return stage ? 1 : chunks_; }

    void run(int64_t stage, int64_t task) override { stage ? add_up() : one_chunk(task); }

  private:
    void one_chunk(int64_t chunk) {
        const int64_t first = chunk * kSkinRows, end = min_of(first + kSkinRows, table_.rows);
        T* sums = parts_.get() + chunk * size_;
        std::memset(sums, 0, size_ * sizeof(T));
        for (int64_t i = first; i < end; ++i) one_point(i, sums);
    }

    SIMD_MEMBER void one_point(int64_t i, T* sums) const {
        const SkinnedPoint<T> point(table_, motions_, canonical_, i);
        const T* quat = static_cast<const T*>(table_.quats) + i * 4;
        const T *mean_pull = grad_means_ + i * 3, *quat_pull = grad_quats_ + i * 4;
        T pull[kMotion], rest_pull[3] = {};  // of the blended motion, of the point at rest
        for (int r = 0; r < 3; ++r) {
            for (int c = 0; c < 3; ++c) {
                pull[r * 4 + c] = mean_pull[r] * point.moved[c];
                rest_pull[c] += mean_pull[r] * point.motion[r * 4 + c];
            }
            pull[r * 4 + 3] = mean_pull[r];
        }
        for (int c = 0; c < 3; ++c) grads_.shifts[i * 3 + c] = rest_pull[c];
        // A turn of length one keeps lengths, and so does its inverse.
        quat_product(point.turn, quat_pull, -1, grads_.quats + i * 4);
        T turn_pull[4];
        quat_product(quat_pull, quat, 1, turn_pull);
        const bool is_turn = point.length > T(1e-12);
        const T along = is_turn ? point.turn[0] * turn_pull[0] + point.turn[1] * turn_pull[1] +
                                      point.turn[2] * turn_pull[2] + point.turn[3] * turn_pull[3]
                                : 0;
        const T factor = 1 / (is_turn ? point.length : T(1e-12));
        for (int k = 0; k < 4; ++k) {
            pull[kTurn + k] = (turn_pull[k] - point.turn[k] * along) * factor;
        }
        Motion<T> own;
        own.read(pull);
        T* weight_pull = grads_.weights + i * table_.bones;
        for (int j = 0; j < table_.bones; ++j) weight_pull[j] = own.dot(motions_ + j * kMotion);
        if (grads_.motions) {
            const T* weights = static_cast<const T*>(table_.weights) + i * table_.bones;
            for (int j = 0; j < table_.bones; ++j) {
                Motion<T> sum;
                sum.read(sums + j * kMotion);
                sum.add(weights[j], pull);
                sum.write(sums + j * kMotion);
            }
        }
        T* point_pull = grads_.points + i * 3;
        if (!canonical_) {
            for (int c = 0; c < 3; ++c) point_pull[c] = rest_pull[c];
            return;
        }
        // Through the inverse: what moves the canonical motion moves the point at rest back.
        T back[kMotion] = {};
        for (int r = 0; r < 3; ++r) {
            point_pull[r] = point.inverse[r] * rest_pull[0] + point.inverse[3 + r] * rest_pull[1] +
                            point.inverse[6 + r] * rest_pull[2];
            for (int c = 0; c < 3; ++c) back[r * 4 + c] = -point_pull[r] * point.rest[c];
            back[r * 4 + 3] = -point_pull[r];
        }
        own.read(back);
        for (int j = 0; j < table_.bones; ++j) weight_pull[j] += own.dot(canonical_ + j * kMotion);
    }

    void add_up() {
        if (!grads_.motions) return;
        for (int64_t k = 0; k < size_; ++k) {
            T sum = 0;
            for (int64_t chunk = 0; chunk < chunks_; ++chunk) sum += parts_.get()[chunk * size_ + k];
            grads_.motions[k] = sum;
        }
    }

    const SkinTable& table_;
    const T *motions_, *canonical_, *grad_means_, *grad_quats_;
    const SkinGrads<T> grads_;
    const int64_t chunks_, size_;
    const Buffer<T> parts_;
};

template <class T>
int skin_forward(const SkinTable* table, const T* motions, const T* canonical, T* means, T* quats,
                 int threads) {
    SkinForward<T> work(*table, motions, canonical, means, quats);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

template <class T>
int skin_backward(const SkinTable* table, const T* motions, const T* canonical,
                  const T* grad_means, const T* grad_quats, T* points, T* shifts, T* weights,
                  T* quats, T* grad_motions, int threads) {
    const SkinGrads<T> grads = {points, shifts, weights, quats, grad_motions};
    SkinBackward<T> work(*table, motions, canonical, grad_means, grad_quats, grads);
    if (!work.ok()) return 1;
    fused_fields::run_stages(work, 2, threads);
    return 0;
}

}  // namespace
