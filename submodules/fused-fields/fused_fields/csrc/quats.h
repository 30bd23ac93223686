// Rows of few numbers, such as quaternions, as columns of lanes.
#pragma once
#include "vectors.h"

namespace {

using namespace simd;

constexpr int64_t kTableRows = 256;  // of a task
constexpr int kQuat = 4;             // numbers of a quaternion

// The first `Count` numbers of `count` rows that lie `step` apart; further lanes repeat the last row.
template <class T, int Count>
SIMD_FN void gather_rows(const T* rows, int64_t step, int count, Vec<T, kLanes<T>>* to) {
    for (int i = 0; i < kLanes<T>; ++i) {
        const T* row = rows + min_of(i, count - 1) * step;
        for (int k = 0; k < Count; ++k) to[k][i] = row[k];
    }
}
template <class T, int Count>
SIMD_FN void scatter_rows(const Vec<T, kLanes<T>>* from, T* rows, int64_t step, int count) {
    for (int i = 0; i < count; ++i) {
        for (int k = 0; k < Count; ++k) rows[i * step + k] = from[k][i];
    }
}

}  // namespace
