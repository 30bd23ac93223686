// Squares of floats turned: rows in memory become columns in registers, and back. A square is as
// wide as a vector of vectors.h.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vectors.h"

namespace simd {

#if defined(__SSE2__)

// The first one to three numbers of `row`.
SIMD_FN void store_few(float* to, int count, __m128 row) {
  if (count & 2) {
    _mm_storel_pi((__m64*)to, row);
    row = _mm_movehl_ps(row, row);
    to += 2;
  }
  if (count & 1) _mm_store_ss(to, row);
}

#endif

#if defined(__AVX512F__)

typedef __m512 FloatRow;

// `count` numbers, then zeros; what lies behind them in memory is not touched.
SIMD_FN FloatRow load_row(const float* from, int count) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
}
SIMD_FN void store_row(float* to, int count, FloatRow row) {
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), row);
}

SIMD_FN void transpose(FloatRow* v) {
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

#elif defined(__AVX2__)

typedef __m256 FloatRow;

SIMD_FN FloatRow load_row(const float* from, int count) {
  if (count == 8) return _mm256_loadu_ps(from);
  alignas(32) static const int32_t kWindow[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_maskload_ps(from, _mm256_loadu_si256((const __m256i*)(kWindow + 8 - count)));
}
// In parts: a masked store takes many times as long as a masked load on some processors.
SIMD_FN void store_row(float* to, int count, FloatRow row) {
  if (count == 8) return _mm256_storeu_ps(to, row);
  __m128 part = _mm256_castps256_ps128(row);
  if (count & 4) {
    _mm_storeu_ps(to, part);
    part = _mm256_extractf128_ps(row, 1);
    to += 4;
  }
  store_few(to, count, part);
}

SIMD_FN void transpose(FloatRow* v) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; ++k) {
      v[i + 2 * k] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0x44);
      v[i + 2 * k + 1] = _mm256_shuffle_ps(t[i + k], t[i + k + 2], 0xee);
    }
  for (int k = 0; k < 4; ++k) {
    t[k] = _mm256_permute2f128_ps(v[k], v[k + 4], 0x20);
    t[k + 4] = _mm256_permute2f128_ps(v[k], v[k + 4], 0x31);
  }
  for (int k = 0; k < 8; ++k) v[k] = t[k];
}

#elif defined(__SSE2__)

typedef __m128 FloatRow;

SIMD_FN FloatRow load_row(const float* from, int count) {
  if (count == 4) return _mm_loadu_ps(from);
  if (count == 1) return _mm_load_ss(from);
  const __m128 two = _mm_loadl_pi(_mm_setzero_ps(), (const __m64*)from);
  return count == 2 ? two : _mm_movelh_ps(two, _mm_load_ss(from + 2));
}
SIMD_FN void store_row(float* to, int count, FloatRow row) {
  if (count == 4) return _mm_storeu_ps(to, row);
  store_few(to, count, row);
}

SIMD_FN void transpose(FloatRow* v) { _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]); }

#endif

}  // namespace simd
