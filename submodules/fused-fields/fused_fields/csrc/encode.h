// Positions encoded by sines and cosines of ever higher frequency (Mildenhall et al. 2020): a lane per
// point.
#pragma once
#include <cmath>
#include <limits>

#include "api.h"
#include "parallel.h"
#include "rows.h"

namespace {

using fused_fields::EncodedTable;
using fused_fields::StagedWork;

constexpr int kPlace = 3;          // numbers of a position
constexpr int kMostOctaves = 64;   // checked by the caller in Python
constexpr double kFewTurns = 2e3;  // radians, below which a quarter's number has 11 bits

// The largest lane without its sign; infinite if one is a NaN.
template <class T>
SIMD_FN T largest(Vec<T, kLanes<T>> x) {
    T most = 0;
    for (int i = 0; i < kLanes<T>; ++i) {
        const T size = x[i] == x[i] ? std::fabs(x[i]) : std::numeric_limits<T>::infinity();
        most = size > most ? size : most;
    }
    return most;
}

// sin(x) and cos(x), within two units in the last place of float at 1; `most`: no less than |x|.
template <class T>
SIMD_FN void sine_and_cosine(Vec<T, kLanes<T>> x, T most, Vec<T, kLanes<T>>& sine,
                             Vec<T, kLanes<T>>& cosine) {
    constexpr int W = kLanes<T>;
    using V = Vec<T, W>;
    using B = Vec<Bits<T>, W>;
    // double is there for tests: no code for its speed
    if (sizeof(T) > sizeof(float) || most >= T(kFewTurns)) {
        for (int i = 0; i < W; ++i) {
            sine[i] = std::sin(x[i]);
            cosine[i] = std::cos(x[i]);
        }
        return;
    }
    // x = quarter * pi / 2 + rest, |rest| <= pi / 4. pi / 2 comes in three parts, of which the first two
    // have so few bits that their products with `quarter` are exact.
    constexpr T kRounds = T(3 << 22);  // added, it leaves no fraction
    const V rounded = x * T(0.6366197723675814) + kRounds;
    const V quarter = rounded - kRounds;
    V rest = x - quarter * T(1.57080078125) - quarter * T(-4.453584551811218e-06);
    rest -= quarter * T(-8.705515695504166e-10);
    const V square = rest * rest;  // the series, from their ends
    const V odd = rest + rest * square *
                             (T(-1. / 6) +
                              square * (T(1. / 120) +
                                        square * (T(-1. / 5040) + square * T(1. / 362880))));
    const V even = T(1) + square * (T(-1. / 2) +
                                    square * (T(1. / 24) +
                                              square * (T(-1. / 720) +
                                                        square * (T(1. / 40320) +
                                                                  square * T(-1. / 3628800)))));
    B turn;
    __builtin_memcpy(&turn, &rounded, sizeof turn);
    const V from_sine = (turn & 1) == 0 ? odd : even, from_cosine = (turn & 1) == 0 ? even : odd;
    sine = (turn & 2) == 0 ? from_sine : -from_sine;
    cosine = ((turn + 1) & 2) == 0 ? from_cosine : -from_cosine;
}

template <class T>
class EncodeWork final : public StagedWork {
  public:
    // `encoded` is written where `upstream` is null, and read otherwise.
    EncodeWork(const EncodedTable& table, const T* upstream) : table_(table), upstream_(upstream) {}

    int64_t tasks(int64_t) const override { return (table_.rows + kTableRows - 1) / kTableRows; }

    void run(int64_t, int64_t task) override {
        const int64_t end = min_of((task + 1) * kTableRows, table_.rows);
        for (int64_t row = task * kTableRows; row < end; row += W) {
            const int count = static_cast<int>(min_of<int64_t>(W, end - row));
            upstream_ ? backward(row, count) : forward(row, count);
        }
    }

  private:
    static constexpr int W = kLanes<T>;
    using V = Vec<T, W>;

    int64_t width() const { return kPlace + int64_t{2 * kPlace} * table_.octaves; }

    void forward(int64_t row, int count) const {
        V point[kPlace];
        gather_rows<T, kPlace>(static_cast<const T*>(table_.points) + row * kPlace, kPlace, count,
                               point);
        T* to = static_cast<T*>(table_.encoded) + row * width();
        scatter_rows<T, kPlace>(point, to, width(), count);
        T factor = 1, most[kPlace];
        for (int d = 0; d < kPlace; ++d) most[d] = largest<T>(point[d]);
        for (int k = 0; k < table_.octaves; ++k, factor *= 2) {
            V waves[2 * kPlace];
            for (int d = 0; d < kPlace; ++d) {
                sine_and_cosine<T>(factor * point[d], factor * most[d], waves[d],
                                   waves[kPlace + d]);
            }
            scatter_rows<T, 2 * kPlace>(waves, to + kPlace + k * 2 * kPlace, width(), count);
        }
    }

    void backward(int64_t row, int count) const {
        const T* grads = upstream_ + row * width();
        const T* encoded = static_cast<const T*>(table_.encoded) + row * width();
        V sum[kPlace];
        gather_rows<T, kPlace>(grads, width(), count, sum);
        T factor = 1;
        for (int k = 0; k < table_.octaves; ++k, factor *= 2) {
            const int64_t at = kPlace + k * 2 * kPlace;
            V waves[2 * kPlace], grad[2 * kPlace];
            gather_rows<T, 2 * kPlace>(encoded + at, width(), count, waves);
            gather_rows<T, 2 * kPlace>(grads + at, width(), count, grad);
            for (int d = 0; d < kPlace; ++d) {
                sum[d] += factor * (grad[d] * waves[kPlace + d] - grad[kPlace + d] * waves[d]);
            }
        }
        scatter_rows<T, kPlace>(sum, static_cast<T*>(table_.grad_points) + row * kPlace, kPlace,
                                count);
    }

    const EncodedTable table_;
    const T* const upstream_;
};

template <class T>
int encode_forward(const EncodedTable* table, int threads) {
    EncodeWork<T> work(*table, nullptr);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

template <class T>
int encode_backward(const EncodedTable* table, const T* upstream, int threads) {
    EncodeWork<T> work(*table, upstream);
    fused_fields::run_stages(work, 1, threads);
    return 0;
}

}  // namespace
