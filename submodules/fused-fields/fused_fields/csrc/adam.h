// One Adam step (Kingma and Ba 2015) of many tensors, in place, for all rows or for chosen ones.
//
// Every number is updated alone, so neither threads nor the choice of rows change a bit of it.
#pragma once
#include <cmath>

#include "api.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::AdamStep;
using fused_fields::AdamTensor;
using fused_fields::StagedWork;

constexpr int64_t kAdamChunk = 1 << 14;  // numbers per task
// Up to this size, computing the rows beside chosen ones too costs less than jumping over them.
constexpr int64_t kNarrowRow = 64;
constexpr int64_t kAdamStrip = 512;  // numbers of narrow rows whose choice is spelled out at once

template <class T, int W>
SIMD_FN Vec<T, W> root(Vec<T, W> x) {
    if constexpr (W == 1) {
        return std::sqrt(x);
    } else {
        for (int k = 0; k < W; ++k) x[k] = std::sqrt(x[k]);
        return x;
    }
}

// A tensor from one of its numbers on.
template <class T>
struct AdamNumbers {
    T* param;
    const T* grad;
    T *exp_avg, *exp_avg_sq;
    T rate, spread;
};

template <class T>
AdamNumbers<T> numbers_from(const AdamTensor& tensor, int64_t first) {
    return {static_cast<T*>(tensor.param) + first,   static_cast<const T*>(tensor.grad) + first,
            static_cast<T*>(tensor.exp_avg) + first, static_cast<T*>(tensor.exp_avg_sq) + first,
            static_cast<T>(tensor.rate),             static_cast<T>(tensor.spread)};
}

template <class T>
class AdamWork final : public StagedWork {
  public:
    AdamWork(const AdamStep& step, const uint8_t* rows)
        : step_(step), rows_(rows), rest1_(static_cast<T>(1 - step.beta1)),
          rest2_(static_cast<T>(1 - step.beta2)), eps_(static_cast<T>(step.eps)) {
        for (int32_t k = 0; k < step.count; ++k) tasks_ += tasks_of(step.tensors[k]);
    }

    int64_t tasks(int64_t) const override { return tasks_; }

    void run(int64_t, int64_t task) override {
        const AdamTensor* tensor = step_.tensors;
        while (task >= tasks_of(*tensor)) task -= tasks_of(*tensor++);
        const int64_t size = tensor->row_size, first = task * rows_per_task(*tensor);
        const int64_t end = min_of(first + rows_per_task(*tensor), tensor->rows);
        if (!rows_) {
            update(numbers_from<T>(*tensor, first * size), (end - first) * size);
        } else if (size <= kNarrowRow) {
            narrow_rows(*tensor, first, end);
        } else {
            for (int64_t row = first; row < end; ++row) {
                if (rows_[row]) update(numbers_from<T>(*tensor, row * size), size);
            }
        }
    }

  private:
    static int64_t rows_per_task(const AdamTensor& tensor) {
        const int64_t rows = tensor.row_size > 0 ? kAdamChunk / tensor.row_size : kAdamChunk;
        return rows > 0 ? rows : 1;
    }
    static int64_t tasks_of(const AdamTensor& tensor) {
        return (tensor.rows + rows_per_task(tensor) - 1) / rows_per_task(tensor);
    }

    void narrow_rows(const AdamTensor& tensor, int64_t first, int64_t end) const {
        const int64_t size = tensor.row_size, most = size > 0 ? kAdamStrip / size : end - first;
        Bits<T> mask[kAdamStrip];
        for (; first < end; first += most) {
            const int64_t count = min_of(most, end - first);
            Bits<T> any = 0, *at = mask;
            for (int64_t row = first; row < first + count; ++row) {
                const Bits<T> chosen = rows_[row] ? -1 : 0;
                any |= chosen;
                for (int64_t k = 0; k < size; ++k) *at++ = chosen;
            }
            if (any) update(numbers_from<T>(tensor, first * size), count * size, mask);
        }
    }

    // Those of `count` numbers that `mask`, where there is one, chooses.
    void update(const AdamNumbers<T> at, int64_t count, const Bits<T>* mask = nullptr) const {
        for_widths<T>(static_cast<int>(count), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            if (mask) {
                for (int i = begin; i < end; i += W) {
                    const Vec<Bits<T>, W> chosen = load<Bits<T>, W>(mask + i);
                    one_vector<W>(at, i, [&](auto fresh, auto old) { return chosen ? fresh : old; });
                }
            } else {
                for (int i = begin; i < end; i += W) {
                    one_vector<W>(at, i, [](auto fresh, auto) { return fresh; });
                }
            }
        });
    }

    template <int W, class Choose>
    SIMD_MEMBER void one_vector(const AdamNumbers<T>& at, int i, Choose choose) const {
        using V = Vec<T, W>;
        const V grad = load<T, W>(at.grad + i), param = load<T, W>(at.param + i);
        const V old_mean = load<T, W>(at.exp_avg + i), old_square = load<T, W>(at.exp_avg_sq + i);
        // A sum of two products could be rounded in two ways, and would be, from copy to copy.
        const V mean = old_mean + rest1_ * (grad - old_mean);
        const V square = old_square + rest2_ * (grad * grad - old_square);
        const V moved = param - at.rate * mean / (root<T, W>(square) * at.spread + eps_);
        store<T, W>(at.exp_avg + i, choose(mean, old_mean));
        store<T, W>(at.exp_avg_sq + i, choose(square, old_square));
        store<T, W>(at.param + i, choose(moved, param));
    }

    const AdamStep& step_;
    const uint8_t* rows_;
    const T rest1_, rest2_, eps_;
    int64_t tasks_ = 0;
};

template <class T>
int adam_step(const AdamStep* step, const uint8_t* rows, int threads) {
    AdamWork<T> work(*step, rows);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
