// Rows of few numbers, such as quaternions, as columns of lanes.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "vectors.h"

namespace {

using namespace simd;

constexpr int64_t kTableRows = 256;  // of a task
constexpr int kQuat = 4;             // numbers of a quaternion

// The first `Count` numbers of `count` rows that lie `step` apart, at most four of them.
template <int Count, class T>
SIMD_FN void gather_few(const T* rows, int64_t step, int count, Vec<T, kLanes<T>>* to) {
    for (int i = 0; i < kLanes<T>; ++i) {
        const T* row = rows + min_of(i, count - 1) * step;
        for (int k = 0; k < Count; ++k) to[k][i] = row[k];
    }
}
template <int Count, class T>
SIMD_FN void scatter_few(const Vec<T, kLanes<T>>* from, T* rows, int64_t step, int count) {
    for (int i = 0; i < count; ++i) {
        for (int k = 0; k < Count; ++k) rows[i * step + k] = from[k][i];
    }
}

#if defined(__AVX512F__)

// Four columns of sixteen rows, a quarter of the rows in each part of a vector: the same turned back.
SIMD_FN void turn_quarters(__m512* v) {
    const __m512 a = _mm512_unpacklo_ps(v[0], v[1]), b = _mm512_unpackhi_ps(v[0], v[1]);
    const __m512 c = _mm512_unpacklo_ps(v[2], v[3]), d = _mm512_unpackhi_ps(v[2], v[3]);
    v[0] = _mm512_shuffle_ps(a, c, 0x44);
    v[1] = _mm512_shuffle_ps(a, c, 0xee);
    v[2] = _mm512_shuffle_ps(b, d, 0x44);
    v[3] = _mm512_shuffle_ps(b, d, 0xee);
}

template <int Count>
SIMD_FN void gather_few(const float* rows, int64_t step, int count, Vec<float, 16>* to) {
    const auto row = [=](int i) {
        return _mm_maskz_loadu_ps((1 << Count) - 1, rows + min_of(i, count - 1) * step);
    };
    __m512 v[4];
    for (int k = 0; k < 4; ++k) {
        v[k] = _mm512_castps128_ps512(row(k));
        v[k] = _mm512_insertf32x4(v[k], row(4 + k), 1);
        v[k] = _mm512_insertf32x4(v[k], row(8 + k), 2);
        v[k] = _mm512_insertf32x4(v[k], row(12 + k), 3);
    }
    turn_quarters(v);
    for (int k = 0; k < Count; ++k) to[k] = (Vec<float, 16>)v[k];
}
template <int Count>
SIMD_FN void scatter_few(const Vec<float, 16>* from, float* rows, int64_t step, int count) {
    __m512 v[4] = {};
    for (int k = 0; k < Count; ++k) v[k] = (__m512)from[k];
    turn_quarters(v);
    const auto store = [=](int i, __m128 row) {
        if (i < count) _mm_mask_storeu_ps(rows + i * step, (1 << Count) - 1, row);
    };
    for (int k = 0; k < 4; ++k) {
        store(k, _mm512_extractf32x4_ps(v[k], 0));
        store(4 + k, _mm512_extractf32x4_ps(v[k], 1));
        store(8 + k, _mm512_extractf32x4_ps(v[k], 2));
        store(12 + k, _mm512_extractf32x4_ps(v[k], 3));
    }
}

#endif

// Any number of them; further lanes repeat the last row.
template <class T, int Count>
SIMD_FN void gather_rows(const T* rows, int64_t step, int count, Vec<T, kLanes<T>>* to) {
    gather_few<(Count < 4 ? Count : 4)>(rows, step, count, to);
    if constexpr (Count > 4) gather_rows<T, Count - 4>(rows + 4, step, count, to + 4);
}
template <class T, int Count>
SIMD_FN void scatter_rows(const Vec<T, kLanes<T>>* from, T* rows, int64_t step, int count) {
    scatter_few<(Count < 4 ? Count : 4)>(from, rows, step, count);
    if constexpr (Count > 4) scatter_rows<T, Count - 4>(from + 4, rows + 4, step, count);
}

}  // namespace
