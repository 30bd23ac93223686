// One Adam step (Kingma and Ba 2015) of many tensors, in place, for all rows or for chosen ones.
//
// Every number is updated alone, so neither threads nor the choice of rows change a bit of it.
#pragma once
#include <cmath>

#include "api.h"
#include "parallel.h"
#include "simd.h"

namespace {

using fused_fields::AdamStep;
using fused_fields::AdamTensor;
using fused_fields::StagedWork;

constexpr int64_t kAdamChunk = 1 << 14;  // numbers per task

template <class T>
class AdamWork final : public StagedWork {
  public:
    AdamWork(const AdamStep& step, const uint8_t* rows)
        : step_(step), rows_(rows), beta1_(static_cast<T>(step.beta1)),
          beta2_(static_cast<T>(step.beta2)), rest1_(static_cast<T>(1 - step.beta1)),
          rest2_(static_cast<T>(1 - step.beta2)), eps_(static_cast<T>(step.eps)) {
        for (int32_t k = 0; k < step.count; ++k) tasks_ += tasks_of(step.tensors[k]);
    }

    int64_t tasks(int64_t) const override { return tasks_; }

    void run(int64_t, int64_t task) override {
        const AdamTensor* tensor = step_.tensors;
        while (task >= tasks_of(*tensor)) task -= tasks_of(*tensor++);
        const int64_t size = tensor->row_size, first = task * rows_per_task(*tensor);
        const int64_t end = min_of(first + rows_per_task(*tensor), tensor->rows);
        if (!rows_) return update(*tensor, first * size, (end - first) * size);
        for (int64_t row = first; row < end;) {  // run by run of chosen rows
            const int64_t start = row;
            while (row < end && rows_[row]) ++row;
            if (row > start) update(*tensor, start * size, (row - start) * size);
            while (row < end && !rows_[row]) ++row;
        }
    }

  private:
    static int64_t rows_per_task(const AdamTensor& tensor) {
        return tensor.row_size < kAdamChunk ? kAdamChunk / (tensor.row_size | !tensor.row_size) : 1;
    }
    static int64_t tasks_of(const AdamTensor& tensor) {
        return (tensor.rows + rows_per_task(tensor) - 1) / rows_per_task(tensor);
    }

    void update(const AdamTensor& tensor, int64_t first, int64_t count) const {
        T* __restrict param = static_cast<T*>(tensor.param) + first;
        const T* __restrict grad = static_cast<const T*>(tensor.grad) + first;
        T* __restrict exp_avg = static_cast<T*>(tensor.exp_avg) + first;
        T* __restrict exp_avg_sq = static_cast<T*>(tensor.exp_avg_sq) + first;
        const T rate = static_cast<T>(tensor.rate), spread = static_cast<T>(tensor.spread);
        const T beta1 = beta1_, beta2 = beta2_, rest1 = rest1_, rest2 = rest2_, eps = eps_;
        for (int64_t i = 0; i < count; ++i) {
            const T mean = beta1 * exp_avg[i] + rest1 * grad[i];
            const T square = beta2 * exp_avg_sq[i] + rest2 * grad[i] * grad[i];
            exp_avg[i] = mean;
            exp_avg_sq[i] = square;
            param[i] -= rate * mean / (std::sqrt(square) * spread + eps);
        }
    }

    const AdamStep& step_;
    const uint8_t* rows_;
    const T beta1_, beta2_, rest1_, rest2_, eps_;
    int64_t tasks_ = 0;
};

template <class T>
int adam_step(const AdamStep* step, const uint8_t* rows, int threads) {
    AdamWork<T> work(*step, rows);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
