// Mean structural similarity (Wang et al. 2004) with an 11 x 11 Gaussian window, and its gradient.
//
// Four windowed means are enough: of a, b, a^2 + b^2 and a b. Each row is first summed over the
// 11 rows around it, strip by strip in registers, then along itself from a small stack buffer.
// Every output row is computed alone, so threads do not change a bit.
#pragma once
#include <cmath>

#include "api.h"
#include "buffer.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::SsimShape;
using fused_fields::StagedWork;

constexpr int kRadius = 5, kTaps = 2 * kRadius + 1;
constexpr int kStrip = 256;  // columns at a time
constexpr int kStripBuffer = kStrip + 2 * kRadius;
constexpr int64_t kImageRowsPerTask = 8;
constexpr double kC1 = 0.01 * 0.01, kC2 = 0.03 * 0.03;

template <class T>
struct Window {
    T weight[kTaps];

    Window() {
        double sum = 0, raw[kTaps];
        for (int k = 0; k < kTaps; ++k) {
            sum += raw[k] = std::exp(-0.5 * (k - kRadius) * (k - kRadius) / (1.5 * 1.5));
        }
        for (int k = 0; k < kTaps; ++k) weight[k] = static_cast<T>(raw[k] / sum);
    }
};

// Columns [begin, end) of a strip buffer that lie inside an image row; the rest is zero padding.
struct Inside {
    int begin, end;
};

// Buffer column 0 is image column `first`.
inline static Inside inside_row(int64_t first, int count, int64_t width) {
    const int64_t begin = first < 0 ? -first : 0;
    const int64_t end = min_of<int64_t>(count, width - first);
    return {static_cast<int>(begin), static_cast<int>(end > begin ? end : begin)};
}

template <class T, int Maps>
struct StripRows {
    T map[Maps][kStripBuffer];

    void clear_padding(Inside inside, int count) {
        for (int m = 0; m < Maps; ++m) {
            for (int x = 0; x < inside.begin; ++x) map[m][x] = 0;
            for (int x = inside.end; x < count; ++x) map[m][x] = 0;
        }
    }
};

template <class T, int W>
SIMD_FN Vec<T, W> along_row(const Window<T>& window, const T* from) {
    Vec<T, W> sum = window.weight[0] * load<T, W>(from);
    for (int k = 1; k < kTaps; ++k) sum += window.weight[k] * load<T, W>(from + k);
    return sum;
}

// Maps kept for the gradient: of the mean SSIM's terms to E[a], E[a^2 + b^2], E[a b] and E[b].
template <class T>
struct Partials {
    T *mean_a, *squares, *product, *mean_b;

    Partials(T* base, int64_t size)
        : mean_a(base), squares(base + size), product(base + 2 * size), mean_b(base + 3 * size) {}
};

template <class T>
class SsimForward final : public StagedWork {
  public:
    SsimForward(const SsimShape& shape, const T* a, const T* b, T* partials, double* row_sums)
        : shape_(shape), rows_(shape.height - 2 * shape.margin),
          cols_(shape.width - 2 * shape.margin), a_(a), b_(b), partials_(partials),
          row_sums_(row_sums) {}

    int64_t out_rows() const { return shape_.images * rows_; }
    int64_t tasks(int64_t) const override {
        return (out_rows() + kImageRowsPerTask - 1) / kImageRowsPerTask;
    }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kImageRowsPerTask, out_rows());
        for (int64_t row = task * kImageRowsPerTask; row < end; ++row) {
            row_sums_[row] = 0;
            for (int64_t x = 0; x < cols_; x += kStrip) {
                const int count = static_cast<int>(min_of<int64_t>(kStrip, cols_ - x));
                row_sums_[row] += strip(row, x, count);
            }
        }
    }

  private:
    double strip(int64_t row, int64_t x, int count) {
        const int64_t image = row / rows_, center = row % rows_ + shape_.margin;
        const int64_t first = x + shape_.margin - kRadius;
        const Inside inside = inside_row(first, count + 2 * kRadius, shape_.width);
        StripRows<T, 4> rows;
        rows.clear_padding(inside, count + 2 * kRadius);
        sum_rows(image * shape_.height * shape_.width + first, center, inside, rows);
        const int64_t out = row * cols_ + x;
        double total = 0;
        for_widths<T>(count, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            Vec<T, W> sum = {};
            for (int i = begin; i < end; i += W) {
                sum += partials_ ? similarity<W, true>(rows, i, out + i)
                                 : similarity<W, false>(rows, i, out + i);
            }
            total += lane_sum<T, W>(sum);
        });
        return total;
    }

    void sum_rows(int64_t base, int64_t center, Inside inside, StripRows<T, 4>& rows) {
        const int first = static_cast<int>(center < kRadius ? kRadius - center : 0);
        const int last = static_cast<int>(min_of<int64_t>(kTaps, shape_.height - center + kRadius));
        for_widths<T>(inside.end, [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            for (int x = begin; x < end; x += W) {
                Vec<T, W> mean_a = {}, mean_b = {}, squares = {}, product = {};
                for (int k = first; k < last; ++k) {
                    const int64_t at = base + (center + k - kRadius) * shape_.width + x;
                    const Vec<T, W> a = load<T, W>(a_ + at), b = load<T, W>(b_ + at);
                    const Vec<T, W> wa = window_.weight[k] * a, wb = window_.weight[k] * b;
                    mean_a += wa;
                    mean_b += wb;
                    squares += wa * a;
                    squares += wb * b;
                    product += wa * b;
                }
                store<T, W>(rows.map[0] + x, mean_a);
                store<T, W>(rows.map[1] + x, mean_b);
                store<T, W>(rows.map[2] + x, squares);
                store<T, W>(rows.map[3] + x, product);
            }
        }, inside.begin);
    }

    template <int W, bool Keep>
    SIMD_MEMBER Vec<T, W> similarity(const StripRows<T, 4>& rows, int i, int64_t out) {
        using V = Vec<T, W>;
        const V mean_a = along_row<T, W>(window_, rows.map[0] + i);
        const V mean_b = along_row<T, W>(window_, rows.map[1] + i);
        const V squares = along_row<T, W>(window_, rows.map[2] + i);
        const V product = along_row<T, W>(window_, rows.map[3] + i);
        const V cross = mean_a * mean_b, power = mean_a * mean_a + mean_b * mean_b;
        const V top_mean = T(2) * cross + T(kC1), top_spread = T(2) * (product - cross) + T(kC2);
        const V low_mean = power + T(kC1), low_spread = squares - power + T(kC2);
        const V scale = T(1) / (low_mean * low_spread);
        const V value = top_mean * top_spread * scale;
        if constexpr (Keep) {
            const Partials<T> to(partials_, out_rows() * cols_);
            const V by_other = T(2) * (top_spread - top_mean) * scale;
            const V by_self = T(2) * value * (low_mean - low_spread) * scale;
            store<T, W>(to.mean_a + out, mean_b * by_other + mean_a * by_self);
            store<T, W>(to.mean_b + out, mean_a * by_other + mean_b * by_self);
            store<T, W>(to.squares + out, -value * low_mean * scale);
            store<T, W>(to.product + out, T(2) * top_mean * scale);
        }
        return value;
    }

    const SsimShape shape_;
    const int64_t rows_, cols_;
    const T *a_, *b_;
    T* partials_;
    double* row_sums_;
    const Window<T> window_;
};

template <class T>
int ssim_forward(const SsimShape* shape, const T* a, const T* b, T* mean, T* partials,
                 int threads) {
    Buffer<double> row_sums(shape->images * (shape->height - 2 * shape->margin));
    if (!row_sums.get()) return 1;
    SsimForward<T> work(*shape, a, b, partials, row_sums.get());
    fused_fields::run_stages(work, 1, threads);
    double sum = 0;
    for (int64_t row = 0; row < work.out_rows(); ++row) sum += row_sums.get()[row];
    const double cols = shape->width - 2 * shape->margin;
    *mean = static_cast<T>(sum / (static_cast<double>(work.out_rows()) * cols));
    return 0;
}

}  // namespace
