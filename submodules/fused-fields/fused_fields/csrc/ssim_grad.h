// Backward pass of ssim.h: the kept partial derivatives, windowed once more.
#pragma once
#include "ssim.h"

namespace {

template <class T>
class SsimBackward final : public StagedWork {
  public:
    SsimBackward(const SsimShape& shape, const T* a, const T* b, const T* partials, T scale,
                 T* grad_a, T* grad_b)
        : shape_(shape), rows_(shape.height - 2 * shape.margin),
          cols_(shape.width - 2 * shape.margin), a_(a), b_(b),
          partials_(const_cast<T*>(partials), shape.images * rows_ * cols_), scale_(scale),
          grad_a_(grad_a), grad_b_(grad_b) {}

    int64_t image_rows() const { return shape_.images * shape_.height; }
    int64_t tasks(int64_t) const override {
        return (image_rows() + kImageRowsPerTask - 1) / kImageRowsPerTask;
    }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kImageRowsPerTask, image_rows());
        for (int64_t row = task * kImageRowsPerTask; row < end; ++row) {
            for (int x = 0; x < shape_.width; x += kStrip) {
                strip(row, x, static_cast<int>(min_of<int64_t>(kStrip, shape_.width - x)));
            }
        }
    }

  private:
    void strip(int64_t row, int x, int count) {
        const int64_t image = row / shape_.height, center = row % shape_.height - shape_.margin;
        const int64_t first = x - shape_.margin - kRadius;
        const Inside inside = inside_row(first, count + 2 * kRadius, cols_);
        StripRows<T, 4> rows;
        rows.clear_padding(inside, count + 2 * kRadius);
        const int64_t base = image * rows_ * cols_ + first;
        sum_rows(partials_.squares + base, center, inside, rows.map[0]);
        sum_rows(partials_.product + base, center, inside, rows.map[1]);
        if (grad_a_) sum_rows(partials_.mean_a + base, center, inside, rows.map[2]);
        if (grad_b_) sum_rows(partials_.mean_b + base, center, inside, rows.map[3]);
        const int64_t out = row * shape_.width + x;
        for_widths<T>(count, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int i = begin; i < end; i += W) {
                const Vec<T, W> a = load<T, W>(a_ + out + i), b = load<T, W>(b_ + out + i);
                const Vec<T, W> squares = T(2) * along_row<T, W>(window_, rows.map[0] + i);
                const Vec<T, W> product = along_row<T, W>(window_, rows.map[1] + i);
                if (grad_a_) {
                    const Vec<T, W> mean = along_row<T, W>(window_, rows.map[2] + i);
                    store<T, W>(grad_a_ + out + i, scale_ * (mean + a * squares + b * product));
                }
                if (grad_b_) {
                    const Vec<T, W> mean = along_row<T, W>(window_, rows.map[3] + i);
                    store<T, W>(grad_b_ + out + i, scale_ * (mean + b * squares + a * product));
                }
            }
        });
    }

    void sum_rows(const T* map, int64_t center, Inside inside, T* to) {
        const int first = static_cast<int>(center < kRadius ? kRadius - center : 0);
        const int last = static_cast<int>(min_of<int64_t>(kTaps, rows_ - center + kRadius));
        for_widths<T>(inside.end, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int x = begin; x < end; x += W) {
                Vec<T, W> sum = {};
                for (int k = first; k < last; ++k) {
                    sum += window_.weight[k] * load<T, W>(map + (center + k - kRadius) * cols_ + x);
                }
                store<T, W>(to + x, sum);
            }
        }, inside.begin);
    }

    const SsimShape shape_;
    const int64_t rows_, cols_;
    const T *a_, *b_;
    const Partials<T> partials_;
    const T scale_;
    T *grad_a_, *grad_b_;
    const Window<T> window_;
};

template <class T>
int ssim_backward(const SsimShape* shape, const T* a, const T* b, const T* partials, T scale,
                  T* grad_a, T* grad_b, int threads) {
    SsimBackward<T> work(*shape, a, b, partials, scale, grad_a, grad_b);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
