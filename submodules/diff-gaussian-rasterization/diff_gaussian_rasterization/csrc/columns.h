// Rows in memory to vectors of columns and back, and sums over lanes.
#pragma once

#include "simd.h"

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

constexpr int kSumsAtOnce = 16;

// out[k] = sum of parts[k]'s lanes, for sixteen parts.
template <class S>
DGR_FN void sum_each(const Vec<S>* parts, S* out) {
  for (int k = 0; k < kSumsAtOnce; ++k) out[k] = sum(parts[k]);
}

#if defined(__AVX512F__)

// Sixteen sums at once: each step adds the two halves of what is left of two vectors.
template <>
DGR_FN void sum_each<float>(const Vec<float>* parts, float* out) {
  __m512 v[16];
  for (int i = 0; i < 16; ++i) v[i] = (__m512)parts[i].v;
  for (int i = 0; i < 8; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44),
                         _mm512_shuffle_f32x4(v[i], v[i + 8], 0xee));
  for (int i = 0; i < 4; ++i)
    v[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x88),
                         _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd));
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(v[i]), b = _mm512_castps_pd(v[i + 2]);
    v[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  v[0] = _mm512_add_ps(_mm512_shuffle_ps(v[0], v[1], 0x88), _mm512_shuffle_ps(v[0], v[1], 0xdd));
  // The steps above leave the sums in the order 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
  const __m512i order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  _mm512_storeu_ps(out, _mm512_permutexvar_ps(order, v[0]));
}

DGR_FN void transpose(__m512* v) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int k = 0; k < 2; ++k) {
      const __m512d a = _mm512_castps_pd(t[i + k]), b = _mm512_castps_pd(t[i + k + 2]);
      v[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      v[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  for (int i = 0; i < 16; i += 8)
    for (int k = 0; k < 4; ++k) {
      t[i + k] = _mm512_shuffle_f32x4(v[i + k], v[i + k + 4], 0x88);
      t[i + k + 4] = _mm512_shuffle_f32x4(v[i + k], v[i + k + 4], 0xdd);
    }
  for (int k = 0; k < 8; ++k) {
    v[k] = _mm512_shuffle_f32x4(t[k], t[k + 8], 0x88);
    v[k + 8] = _mm512_shuffle_f32x4(t[k], t[k + 8], 0xdd);
  }
}

template <>
DGR_FN void load_columns<float>(const float* rows, int64_t stride, int valid, int count,
                                Vec<float>* columns) {
  for (int first = 0; first < count; first += 16) {
    const int width = count - first < 16 ? count - first : 16;
    const __mmask16 mask = (__mmask16)((1u << width) - 1);
    __m512 v[16];
    if (stride >= 16)  // rows of a cache line or more: the next group's are still far away
      for (int i = 0; i < 16; ++i) __builtin_prefetch(rows + (16 + i) * stride + first);
    for (int i = 0; i < 16; ++i)
      v[i] = _mm512_maskz_loadu_ps(mask, rows + (i < valid ? i : valid - 1) * stride + first);
    transpose(v);
    for (int k = 0; k < width; ++k) columns[first + k] = (Vec<float>::Native)v[k];
  }
}

template <>
DGR_FN void store_columns<float>(const Vec<float>* columns, int count, float* rows, int64_t stride,
                                 int valid) {
  for (int first = 0; first < count; first += 16) {
    const int width = count - first < 16 ? count - first : 16;
    const __mmask16 mask = (__mmask16)((1u << width) - 1);
    __m512 v[16];
    for (int k = 0; k < 16; ++k)
      v[k] = k < width ? (__m512)columns[first + k].v : _mm512_setzero_ps();
    transpose(v);
    if (stride >= 16)
      for (int i = 0; i < 16; ++i) __builtin_prefetch(rows + (16 + i) * stride + first, 1);
    for (int i = 0; i < 16; ++i)
      if (i < valid) _mm512_mask_storeu_ps(rows + i * stride + first, mask, v[i]);
  }
}

#endif

}  // namespace dgr
