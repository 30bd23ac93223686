// Second differences along rows and along columns, and |1 - P|, of many planes in one pass.
#pragma once
#include "api.h"
#include "buffer.h"
#include "parallel.h"
#include "vectors.h"

namespace {

using namespace simd;
using fused_fields::PenaltyPlane;
using fused_fields::StagedWork;

constexpr int kTerms = 3;             // rows, columns, ones
constexpr int32_t kRowsPerTask = 8;   // fixed, so that partial sums do not depend on threads
// Numbers of a row that are summed in T, then added up in double. All rows of a run go through a
// strip before the next one, so that the five that each needs stay in the nearest cache.
constexpr int32_t kStripLength = 512;

// Finds the plane and its first row of a task when planes are cut into runs of kRowsPerTask rows.
struct RowRun {
    int32_t plane, first, end;
};

inline static int64_t runs_of(const PenaltyPlane& plane) {
    return (plane.rows + kRowsPerTask - 1) / kRowsPerTask;
}

inline static int64_t count_runs(const PenaltyPlane* planes, int32_t count) {
    int64_t runs = 0;
    for (int32_t p = 0; p < count; ++p) runs += runs_of(planes[p]);
    return runs;
}

inline static RowRun find_run(const PenaltyPlane* planes, int64_t task) {
    int32_t p = 0;
    while (task >= runs_of(planes[p])) task -= runs_of(planes[p++]);
    const int32_t first = static_cast<int32_t>(task) * kRowsPerTask;
    return {p, first, min_of(first + kRowsPerTask, planes[p].rows)};
}

// Number of second differences a term averages; 0 for planes too small to have one.
inline static double differences(const PenaltyPlane& plane, int term, int32_t channels) {
    const double rows = plane.rows - (term == 0 ? 2 : 0);
    const double cols = plane.cols - (term == 1 ? 2 : 0);
    return rows > 0 && cols > 0 ? rows * cols * channels : 0;
}

// What a stencil says of a place.
template <class V>
struct Bend {
    V derivative, difference;
};

// Second differences d_i = P_i - 2 P_(i+1) + P_(i+2) along one axis, of P_i as `at` points to it, and
// the derivative of the sum of their squares to P_i: 2 (d_i - 2 d_(i-1) + d_(i-2)), leaving out
// differences that do not exist. Where a plane is flat all of them are exactly 0: Adam, which divides
// by the size of a gradient, would follow what rounding leaves of a sum over five neighbours.
template <class T>
struct Stencil {
    T factor[3];              // of d_i, d_(i-1) and d_(i-2); 0 where there is none
    int64_t back, back2, next, next2;  // to the neighbours; 0 where there is none
    double exists;            // 1 where d_i does, else 0

    Stencil(int32_t i, int32_t count, int64_t step, T scale)
        : factor{i + 2 < count ? 2 * scale : 0, i >= 1 && i + 1 < count ? -4 * scale : 0,
                 i >= 2 ? 2 * scale : 0},
          back(i >= 1 ? -step : 0), back2(i >= 2 ? -2 * step : 0),
          next(i + 1 < count ? step : 0), next2(i + 2 < count ? 2 * step : 0),
          exists(i + 2 < count) {}

    // The derivative to P_i = `here`; d_i, which means nothing where `exists` is 0.
    template <int W>
    SIMD_MEMBER Bend<Vec<T, W>> at(const T* p, Vec<T, W> here) const {
        using V = Vec<T, W>;
        const V before = load<T, W>(p + back), after = load<T, W>(p + next);
        const V first = here - T(2) * after + load<T, W>(p + next2);
        const V second = before - T(2) * here + after;
        const V third = load<T, W>(p + back2) - T(2) * before + here;
        return {factor[0] * first + factor[1] * second + factor[2] * third, first};
    }
};

// Sums the terms of every run, and adds the gradient of their weighted sum to the planes' gradients.
template <class T>
class Penalties final : public StagedWork {
  public:
    Penalties(const PenaltyPlane* planes, int32_t count, int32_t channels, double* partials)
        : planes_(planes), channels_(channels), runs_(count_runs(planes, count)),
          strip_(kStripLength > channels ? kStripLength / channels : 1), partials_(partials) {}

    int64_t tasks(int64_t) const override { return runs_; }

    void run(int64_t, int64_t task) override {
        const RowRun run = find_run(planes_, task);
        const PenaltyPlane& plane = planes_[run.plane];
        const int64_t length = plane.cols * channels_;
        T scale[kTerms];
        for (int term = 0; term < kTerms; ++term) {
            const double n = differences(plane, term, static_cast<int32_t>(channels_));
            scale[term] = n > 0 ? static_cast<T>(plane.weights[term] / n) : 0;
        }
        double* sums = partials_ + task * kTerms;
        sums[0] = sums[1] = sums[2] = 0;
        for (int32_t col = 0; col < plane.cols;) {
            // Away from the border all columns share one stencil.
            const bool inner = col >= 2 && col < plane.cols - 2;
            const int32_t end = inner ? min_of(col + strip_, plane.cols - 2) : col + 1;
            const Stencil<T> along_cols(col, plane.cols, channels_, scale[1]);
            const auto strip = scale[2] != 0 ? one_strip<true> : one_strip<false>;
            for (int32_t row = run.first; row < run.end; ++row) {
                const int64_t at = row * length + col * channels_;
                strip(static_cast<const T*>(plane.values) + at, (end - col) * channels_,
                      Stencil<T>(row, plane.rows, length, scale[0]), along_cols, scale[2],
                      static_cast<T*>(plane.grad) + at, sums, length);
            }
            col = end;
        }
    }

  private:
    // `Ones`: whether |1 - P| weighs anything, as it does in time planes alone.
    template <bool Ones>
    static void one_strip(const T* values, int64_t count, const Stencil<T> rows,
                          const Stencil<T> cols, T ones, T* grad, double* sums,
                          int64_t row_step) {
        for_widths<T>(static_cast<int>(count), [&](auto width, int begin, int end) {
            constexpr int W = decltype(width)::value;
            using V = Vec<T, W>;
            V by_row = {}, by_col = {}, from_one = {};
            for (int i = begin; i < end; i += W) {
                __builtin_prefetch(values + i + 3 * row_step);  // what the next row will be
                __builtin_prefetch(grad + i + row_step, 1);     // the first to need
                const V here = load<T, W>(values + i);
                const auto row = rows.template at<W>(values + i, here);
                const auto col = cols.template at<W>(values + i, here);
                by_row += row.difference * row.difference;
                by_col += col.difference * col.difference;
                V more = load<T, W>(grad + i) + row.derivative + col.derivative;
                if constexpr (Ones) {
                    const V above = here - T(1);
                    const V sign = above > V{} ? V{} + T(1) : above < V{} ? V{} - T(1) : V{};
                    from_one += above * sign;
                    more += ones * sign;
                }
                store<T, W>(grad + i, more);
            }
            sums[0] += rows.exists * lane_sum<T, W>(by_row);
            sums[1] += cols.exists * lane_sum<T, W>(by_col);
            sums[2] += lane_sum<T, W>(from_one);
        });
    }

    const PenaltyPlane* planes_;
    const int64_t channels_, runs_;
    const int32_t strip_;  // columns
    double* partials_;
};

// sum: one number, the weighted sum of all terms.
template <class T>
int plane_penalties(const PenaltyPlane* planes, int32_t count, int32_t channels, T* sum,
                    int threads) {
    Buffer<double> partials(count_runs(planes, count) * kTerms);
    if (!partials.get()) return 1;
    Penalties<T> work(planes, count, channels, partials.get());
    fused_fields::run_stages(work, 1, threads);
    const double* partial = partials.get();
    double all = 0;
    for (int32_t p = 0; p < count; ++p) {
        double sums[kTerms] = {};
        for (int64_t run = 0; run < runs_of(planes[p]); ++run, partial += kTerms) {
            for (int term = 0; term < kTerms; ++term) sums[term] += partial[term];
        }
        for (int term = 0; term < kTerms; ++term) {
            const double n = differences(planes[p], term, channels);
            if (n > 0) all += planes[p].weights[term] * sums[term] / n;
        }
    }
    *sum = static_cast<T>(all);
    return 0;
}

}  // namespace
