// Rows in memory to vectors of columns and back, and sums over lanes.
#pragma once

#include "simd.h"
#include "turn.h"

namespace dgr {

// columns[k] = number k of up to kLanes rows; rows past `valid` repeat the last one.
template <class S>
DGR_FN void load_columns(const S* rows, int64_t stride, int valid, int count, Vec<S>* columns) {
  for (int k = 0; k < count; ++k) {
    alignas(kVectorBytes) S out[Vec<S>::kLanes];
    for (int i = 0; i < Vec<S>::kLanes; ++i)
      out[i] = rows[(i < valid ? i : valid - 1) * stride + k];
    columns[k] = Vec<S>::load(out);
  }
}

template <class S>
DGR_FN void store_columns(const Vec<S>* columns, int count, S* rows, int64_t stride, int valid) {
  for (int k = 0; k < count; ++k) {
    alignas(kVectorBytes) S out[Vec<S>::kLanes];
    columns[k].store(out);
    for (int i = 0; i < valid; ++i) rows[i * stride + k] = out[i];
  }
}

// store_columns past the caches, where whole lines are written: for what is read much later.
template <class S>
DGR_FN void stream_columns(const Vec<S>* columns, int count, S* rows, int64_t stride, int valid) {
  store_columns(columns, count, rows, stride, valid);
}

// Before other threads read what was streamed.
inline void finish_streams() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

constexpr int kSumsAtOnce = 16;

// out[k] = sum of parts[k]'s lanes, for sixteen parts.
template <class S>
DGR_FN void sum_each(const Vec<S>* parts, S* out) {
  for (int k = 0; k < kSumsAtOnce; ++k) out[k] = sum(parts[k]);
}

#if defined(__AVX512F__)

// Sixteen sums at once: each step adds the two halves of what is left of two neighbours. Zeros that
// the compiler knows come last, so it leaves steps out.
template <>
DGR_FN void sum_each<float>(const Vec<float>* parts, float* out) {
  __m512 v[16];
  for (int i = 0; i < 16; ++i) v[i] = (__m512)parts[i].v;
  for (int i = 0; i < 8; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                         _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xee));
  for (int i = 0; i < 4; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xdd));
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(v[2 * i]), b = _mm512_castps_pd(v[2 * i + 1]);
    v[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  v[0] = _mm512_add_ps(_mm512_shuffle_ps(v[0], v[1], 0x88), _mm512_shuffle_ps(v[0], v[1], 0xdd));
  // Now in the order 0 4 8 12, 1 5 9 13, 2 6 10 14, 3 7 11 15.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, v[0]));
}

#elif defined(__AVX2__)

// Eight sums at once, each step as above; the order of additions is that of `sum`.
DGR_FN __m256 sum_eight(const Vec<float>* parts) {
  __m256 v[8];
  for (int i = 0; i < 8; ++i) v[i] = (__m256)parts[i].v;
  for (int i = 0; i < 4; ++i)
    v[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i], v[i + 4], 0x20),
                         _mm256_permute2f128_ps(v[i], v[i + 4], 0x31));
  for (int i = 0; i < 2; ++i)
    v[i] = _mm256_add_ps(_mm256_shuffle_ps(v[i], v[i + 2], 0x44),
                         _mm256_shuffle_ps(v[i], v[i + 2], 0xee));
  v[0] = _mm256_add_ps(_mm256_shuffle_ps(v[0], v[1], 0x88), _mm256_shuffle_ps(v[0], v[1], 0xdd));
  // Now in the order 0 2 1 3, 4 6 5 7.
  return _mm256_permute_ps(v[0], 0xd8);
}

template <>
DGR_FN void sum_each<float>(const Vec<float>* parts, float* out) {
  for (int k = 0; k < kSumsAtOnce; k += 8) _mm256_storeu_ps(out + k, sum_eight(parts + k));
}

#endif

#if defined(__SSE2__)

using simd::FloatRow;
using simd::load_row;
using simd::store_row;
using simd::transpose;

// Asks for the rows of the next group of lanes, or, where rows are short, of the one after it.
template <int kWrite>
DGR_FN void prefetch_rows(const float* rows, int64_t stride) {
  constexpr int W = Vec<float>::kLanes, kLine = 16;
  if (stride < kLine)
    for (int k = 0; k < W * stride; k += kLine)
      __builtin_prefetch(rows + 2 * W * stride + k, kWrite);
  else
    for (int i = 0; i < W; ++i) __builtin_prefetch(rows + (W + i) * stride, kWrite);
}

// One square of load_columns, `width` columns of it.
DGR_FN void load_square(const float* rows, int64_t stride, int valid, int width,
                        Vec<float>* columns) {
  constexpr int W = Vec<float>::kLanes;
  FloatRow v[W];
  if (valid == W)
    for (int i = 0; i < W; ++i) v[i] = load_row(rows + i * stride, width);
  else
    for (int i = 0; i < W; ++i)
      v[i] = load_row(rows + (i < valid ? i : valid - 1) * stride, width);
  transpose(v);
  for (int k = 0; k < W; ++k)
    if (k < width) columns[k] = (Vec<float>::Native)v[k];
}

template <>
DGR_FN void load_columns<float>(const float* rows, int64_t stride, int valid, int count,
                                Vec<float>* columns) {
  constexpr int W = Vec<float>::kLanes, kLine = 16;
  int first = 0;
  for (; first + W <= count; first += W) {
    if (first % kLine == 0) prefetch_rows<0>(rows + first, stride);
    load_square(rows + first, stride, valid, W, columns + first);
  }
  if (first == count) return;
  if (first % kLine == 0) prefetch_rows<0>(rows + first, stride);
  load_square(rows + first, stride, valid, count - first, columns + first);
}

// One square of store_columns, `width` columns of it.
DGR_FN void store_square(const Vec<float>* columns, int width, float* rows, int64_t stride,
                         int valid) {
  constexpr int W = Vec<float>::kLanes;
  FloatRow v[W];
  for (int k = 0; k < W; ++k) v[k] = (FloatRow)(k < width ? columns[k] : Vec<float>(0)).v;
  transpose(v);
  if (valid == W)
    for (int i = 0; i < W; ++i) store_row(rows + i * stride, width, v[i]);
  else
    for (int i = 0; i < valid; ++i) store_row(rows + i * stride, width, v[i]);
}

template <>
DGR_FN void store_columns<float>(const Vec<float>* columns, int count, float* rows, int64_t stride,
                                 int valid) {
  constexpr int W = Vec<float>::kLanes, kLine = 16;
  int first = 0;
  for (; first + W <= count; first += W) {
    if (first % kLine == 0) prefetch_rows<1>(rows + first, stride);
    store_square(columns + first, W, rows + first, stride, valid);
  }
  if (first == count) return;
  if (first % kLine == 0) prefetch_rows<1>(rows + first, stride);
  store_square(columns + first, count - first, rows + first, stride, valid);
}

#if defined(__AVX512F__)

template <>
DGR_FN void stream_columns<float>(const Vec<float>* columns, int count, float* rows, int64_t stride,
                                  int valid) {
  constexpr int W = Vec<float>::kLanes;
  const bool lines = (uintptr_t)rows % kVectorBytes == 0 && stride % W == 0 && count % W == 0;
  if (!lines || valid < W) return store_columns(columns, count, rows, stride, valid);
  for (int first = 0; first < count; first += W) {
    FloatRow v[W];
    for (int k = 0; k < W; ++k) v[k] = (FloatRow)columns[first + k].v;
    transpose(v);
    for (int i = 0; i < W; ++i) _mm512_stream_ps(rows + i * stride + first, v[i]);
  }
}

#endif

#endif

}  // namespace dgr
