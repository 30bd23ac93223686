// Mean absolute or squared difference of two rows of numbers, and its gradient.
#pragma once
#include "api.h"
#include "buffer.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::StagedWork;

constexpr int64_t kErrorStrip = 256;   // numbers that are summed in T, then added up in double
constexpr int64_t kErrorTask = 64 * kErrorStrip;  // fixed, as no sum depends on threads
// Fewer numbers than this take one thread as little time as two.
constexpr int64_t kErrorAlone = 1 << 18;

inline static int64_t error_tasks(int64_t n) { return (n + kErrorTask - 1) / kErrorTask; }

// Calls each(width, begin, end) for the numbers of a task, at most a strip of them at a time.
template <class T, class Each>
SIMD_FN void for_task(int64_t task, int64_t n, Each each) {
    const int64_t last = min_of((task + 1) * kErrorTask, n);
    for (int64_t first = task * kErrorTask; first < last; first += kErrorStrip) {
        const int count = static_cast<int>(min_of(kErrorStrip, last - first));
        for_widths<T>(count, [&](auto width, int begin, int end) {
            each(width, first + begin, first + end);
        });
    }
}

template <class T>
class ErrorForward final : public StagedWork {
  public:
    ErrorForward(const T* a, const T* b, int64_t n, bool squared, double* sums)
        : a_(a), b_(b), n_(n), squared_(squared), sums_(sums) {}

    int64_t tasks(int64_t) const override { return error_tasks(n_); }

    void run(int64_t, int64_t task) override {
        sums_[task] = squared_ ? sum<true>(task) : sum<false>(task);
    }

  private:
    template <bool Squared>
    double sum(int64_t task) const {
        double total = 0;
        for_task<T>(task, n_, [&](auto width, int64_t begin, int64_t end) {
            constexpr int W = decltype(width)::value;
            using V = Vec<T, W>;
            V sum = {};
            for (int64_t i = begin; i < end; i += W) {
                const V d = load<T, W>(a_ + i) - load<T, W>(b_ + i);
                sum += Squared ? d * d : d < V{} ? -d : d;
            }
            total += lane_sum<T, W>(sum);
        });
        return total;
    }

    const T *a_, *b_;
    const int64_t n_;
    const bool squared_;
    double* sums_;
};

// The gradient to a; that to b is its negative. `scale`: what it is where a - b is 1.
template <class T>
class ErrorBackward final : public StagedWork {
  public:
    ErrorBackward(const T* a, const T* b, int64_t n, bool squared, T scale, T* grad)
        : a_(a), b_(b), n_(n), squared_(squared), scale_(scale), grad_(grad) {}

    int64_t tasks(int64_t) const override { return error_tasks(n_); }

    void run(int64_t, int64_t task) override {
        for_task<T>(task, n_, [&](auto width, int64_t begin, int64_t end) {
            constexpr int W = decltype(width)::value;
            using V = Vec<T, W>;
            const V up = V{} + scale_, down = -up;
            for (int64_t i = begin; i < end; i += W) {
                const V d = load<T, W>(a_ + i) - load<T, W>(b_ + i);
                const V sign = d > V{} ? up : d < V{} ? down : d * T(0);  // a NaN stays a NaN
                store<T, W>(grad_ + i, squared_ ? scale_ * d : sign);
            }
        });
    }

  private:
    const T *a_, *b_;
    const int64_t n_;
    const bool squared_;
    const T scale_;
    T* grad_;
};

template <class T>
int error_forward(const T* a, const T* b, int64_t n, int32_t squared, T* mean, int threads) {
    Buffer<double> sums(error_tasks(n));
    if (!sums.get()) return 1;
    ErrorForward<T> work(a, b, n, squared, sums.get());
    fused_fields::run_stages(work, 1, n < kErrorAlone ? 1 : threads);
    double sum = 0;
    for (int64_t task = 0; task < error_tasks(n); ++task) sum += sums.get()[task];
    *mean = static_cast<T>(sum / static_cast<double>(n));
    return 0;
}

template <class T>
int error_backward(const T* a, const T* b, int64_t n, int32_t squared, T scale, T* grad,
                   int threads) {
    ErrorBackward<T> work(a, b, n, squared, scale, grad);
    fused_fields::run_stages(work, 1, n < kErrorAlone ? 1 : threads);
    return 0;
}

}  // namespace
