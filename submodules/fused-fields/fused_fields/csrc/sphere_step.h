// A step of Riemannian Adam (Becigneul and Ganea 2019) of quaternions on the unit sphere, in place: a
// lane per quaternion.
#pragma once
#include "adam.h"
#include "rows.h"

namespace {

template <class T>
class SphereWork final : public StagedWork {
  public:
    explicit SphereWork(const AdamStep& step)
        : tensor_(step.tensors[0]), rest1_(static_cast<T>(1 - step.beta1)),
          rest2_(static_cast<T>(1 - step.beta2)), eps_(static_cast<T>(step.eps)) {}

    int64_t tasks(int64_t) const override { return (tensor_.rows + kTableRows - 1) / kTableRows; }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kTableRows, tensor_.rows);
        for (int64_t row = task * kTableRows; row < end; row += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, end - row));
            one_vector(numbers_from<T>(tensor_, row * kQuat), count);
        }
    }

  private:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    static V dot(const V* a, const V* b) {
        return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
    }
    // What is left of `of` across the unit vector `to`.
    static void across(const V* to, V* of) {
        const V along = dot(to, of);
        for (int k = 0; k < kQuat; ++k) of[k] -= along * to[k];
    }

    void one_vector(const AdamNumbers<T>& at, int count) const {
        V point[kQuat], grad[kQuat], mean[kQuat], square[kQuat];
        gather_rows<T, kQuat>(at.param, kQuat, count, point);
        gather_rows<T, kQuat>(at.grad, kQuat, count, grad);
        gather_rows<T, kQuat>(at.exp_avg, kQuat, count, mean);
        gather_rows<T, kQuat>(at.exp_avg_sq, kQuat, count, square);
        across(point, grad);
        const V both = square[0] + rest2_ * (dot(grad, grad) - square[0]);
        const V rate = at.rate / (root<T, W>(both) * at.spread + eps_);
        for (int k = 0; k < kQuat; ++k) {
            square[k] = both;
            mean[k] += rest1_ * (grad[k] - mean[k]);
            point[k] -= rate * mean[k];
        }
        const V length = root<T, W>(dot(point, point));
        for (int k = 0; k < kQuat; ++k) point[k] /= length;
        across(point, mean);
        scatter_rows<T, kQuat>(point, at.param, kQuat, count);
        scatter_rows<T, kQuat>(mean, at.exp_avg, kQuat, count);
        scatter_rows<T, kQuat>(square, at.exp_avg_sq, kQuat, count);
    }

    const AdamTensor& tensor_;
    const T rest1_, rest2_, eps_;
};

template <class T>
int sphere_step(const AdamStep* step, int threads) {
    SphereWork<T> work(*step);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
