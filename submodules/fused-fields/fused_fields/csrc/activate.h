// Raw columns of a table of Gaussians turned into what is drawn, in one pass, and back.
#pragma once
#include <algorithm>
#include <cmath>

#include "api.h"
#include "exponential.h"
#include "parallel.h"
#include "partial.h"
#include "rows.h"

namespace {

using namespace simd;
using fused_fields::DrawnColumns;
using fused_fields::RawColumns;
using fused_fields::StagedWork;
using fused_fields::TableShape;

constexpr int kScales = 3, kBand = 3;  // numbers of a row, the last of a band of SH
// Fewer rows than this take one thread as little time as two.
constexpr int64_t kActivatedAlone = 1 << 13;
constexpr double kShortest = 1e-12;  // a quaternion is divided by its length, or by this

// What both directions share: rows in tasks, and columns taken in whole vectors.
template <class T>
class TableWork : public StagedWork {
  public:
    TableWork(const TableShape& shape, const RawColumns& raw) : shape_(shape), raw_(raw) {}

    int64_t tasks(int64_t) const override { return (shape_.rows + kTableRows - 1) / kTableRows; }

  protected:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    int64_t end_of(int64_t task) const { return min_of((task + 1) * kTableRows, shape_.rows); }

    // Where a column's row begins.
    static const T* at(const void* column, int64_t i) { return static_cast<const T*>(column) + i; }
    static T* at(void* column, int64_t i) { return static_cast<T*>(column) + i; }

    // to[i] = each(i, from[i]) for all numbers from `begin` to `end`.
    template <class Each>
    static void map(const void* from, void* to, int64_t begin, int64_t end, Each each) {
        for (int64_t i = begin; i < end; i += W) {
            store_some<T>(at(to, i), each(i, load_some<T>(at(from, i), end - i)), end - i);
        }
    }

    const TableShape shape_;
    const RawColumns raw_;
};

template <class T>
T length_of(const T* quat) {
    return std::sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] +
                     quat[3] * quat[3]);
}

template <class T>
class ActivateForward final : public TableWork<T> {
  public:
    ActivateForward(const TableShape& shape, const RawColumns& raw, const DrawnColumns& drawn)
        : TableWork<T>(shape, raw), drawn_(drawn) {}

    void run(int64_t, int64_t task) override {
        const int64_t begin = task * kTableRows, end = this->end_of(task);
        this->map(this->raw_.log_scales, drawn_.scales, begin * kScales, end * kScales,
                  [](int64_t, auto x) { return exponential<T>(x); });
        this->map(this->raw_.opacity_logits, drawn_.opacities, begin, end,
                  [](int64_t, auto x) { return sigmoid<T>(x); });
        const int64_t rest = kBand * (this->shape_.bands - 1), stored = kBand * this->shape_.rest;
        for (int64_t row = begin; row < end; ++row) {
            const T* quat = this->at(this->raw_.quats, row * kQuat);
            const T length = length_of(quat);
            const T divisor = length < T(kShortest) ? T(kShortest) : length;  // a NaN stays a NaN
            T* unit = this->at(drawn_.quats, row * kQuat);
            for (int k = 0; k < kQuat; ++k) unit[k] = quat[k] / divisor;
            T* sh = this->at(drawn_.sh, row * (kBand + rest));
            std::copy_n(this->at(this->raw_.sh_dc, row * kBand), kBand, sh);
            std::copy_n(this->at(this->raw_.sh_rest, row * stored), rest, sh + kBand);
        }
    }

  private:
    const DrawnColumns drawn_;
};

// `drawn`: what the forward pass made; `upstream`: the gradients of it; `grads`: those to `raw`.
template <class T>
class ActivateBackward final : public TableWork<T> {
  public:
    ActivateBackward(const TableShape& shape, const RawColumns& raw, const DrawnColumns& drawn,
                     const DrawnColumns& upstream, const RawColumns& grads)
        : TableWork<T>(shape, raw), drawn_(drawn), upstream_(upstream), grads_(grads) {}

    void run(int64_t, int64_t task) override {
        const int64_t begin = task * kTableRows, end = this->end_of(task);
        this->map(upstream_.scales, grads_.log_scales, begin * kScales, end * kScales,
                  [&](int64_t i, auto grad) {
                      return grad * load_some<T>(this->at(drawn_.scales, i), end * kScales - i);
                  });
        this->map(upstream_.opacities, grads_.opacity_logits, begin, end,
                  [&](int64_t i, auto grad) {
                      const auto opacity = load_some<T>(this->at(drawn_.opacities, i), end - i);
                      return grad * opacity * (1 - opacity);
                  });
        const int64_t rest = kBand * (this->shape_.bands - 1), stored = kBand * this->shape_.rest;
        for (int64_t row = begin; row < end; ++row) {
            turn(row);
            const T* sh = this->at(upstream_.sh, row * (kBand + rest));
            T* to = this->at(grads_.sh_rest, row * stored);
            std::copy_n(sh, kBand, this->at(grads_.sh_dc, row * kBand));
            std::copy_n(sh + kBand, rest, to);
            std::fill_n(to + rest, stored - rest, T(0));  // bands that are not drawn
        }
    }

  private:
    // Of q / |q|: what is left of the gradient across q, divided by |q|.
    void turn(int64_t row) const {
        const T length = length_of(this->at(this->raw_.quats, row * kQuat));
        const T* unit = this->at(drawn_.quats, row * kQuat);
        const T* grad = this->at(upstream_.quats, row * kQuat);
        T* to = this->at(grads_.quats, row * kQuat);
        T along = 0;
        for (int k = 0; k < kQuat; ++k) along += unit[k] * grad[k];
        const bool clamped = length < T(kShortest);
        const T divisor = clamped ? T(kShortest) : length;
        for (int k = 0; k < kQuat; ++k) {
            to[k] = (grad[k] - (clamped ? 0 : along * unit[k])) / divisor;
        }
    }

    const DrawnColumns drawn_, upstream_;
    const RawColumns grads_;
};

template <class T>
int activate_forward(const TableShape* shape, const RawColumns* raw, const DrawnColumns* drawn,
                     int threads) {
    ActivateForward<T> work(*shape, *raw, *drawn);
    fused_fields::run_stages(work, 1, shape->rows < kActivatedAlone ? 1 : threads);
    return 0;
}

template <class T>
int activate_backward(const TableShape* shape, const RawColumns* raw, const DrawnColumns* drawn,
                      const DrawnColumns* upstream, const RawColumns* grads, int threads) {
    ActivateBackward<T> work(*shape, *raw, *drawn, *upstream, *grads);
    fused_fields::run_stages(work, 1, shape->rows < kActivatedAlone ? 1 : threads);
    return 0;
}

}  // namespace
