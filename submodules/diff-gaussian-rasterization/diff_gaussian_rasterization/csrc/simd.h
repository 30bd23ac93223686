// Vectors of float or double as wide as the instruction set this file is compiled for: 64 bytes
// with AVX-512, 32 with AVX2, else 16. GCC and Clang vector extensions do the arithmetic; only what
// they cannot say well (masks, fused multiply-add, exponent scaling) is written for each set.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "gaussian_math.h"
#include "vectors.h"

namespace dgr {

template <class S>
struct Vec {
  static constexpr int kLanes = simd::kLanes<S>;
  typedef simd::Vec<S> Native;
  typedef simd::Vec<simd::Bits<S>, kLanes> Int;
  Native v;

  Vec() = default;
  DGR_FN Vec(Native native) : v(native) {}
  DGR_FN Vec(S s) : v(s - Native{}) {}

  static DGR_FN Vec load(const S* p) { return simd::load<S>(p); }
  DGR_FN void store(S* p) const { simd::store<S>(p, v); }
};

template <class S>
DGR_FN Vec<S> operator+(Vec<S> a, Vec<S> b) {
  return a.v + b.v;
}
template <class S>
DGR_FN Vec<S> operator-(Vec<S> a, Vec<S> b) {
  return a.v - b.v;
}
template <class S>
DGR_FN Vec<S> operator*(Vec<S> a, Vec<S> b) {
  return a.v * b.v;
}
template <class S>
DGR_FN Vec<S> operator/(Vec<S> a, Vec<S> b) {
  return a.v / b.v;
}

// ---------------------------------------------------------------------- masks and selection

#if defined(__AVX512F__)

template <class S>
struct Mask {
  uint16_t m;  // one bit per lane
};
template <int kCompare>
DGR_FN Mask<float> compare(Vec<float> a, Vec<float> b) {
  return {_mm512_cmp_ps_mask((__m512)a.v, (__m512)b.v, kCompare)};
}
template <int kCompare>
DGR_FN Mask<double> compare(Vec<double> a, Vec<double> b) {
  return {_mm512_cmp_pd_mask((__m512d)a.v, (__m512d)b.v, kCompare)};
}
template <class S>
DGR_FN Mask<S> operator<(Vec<S> a, Vec<S> b) {
  return compare<_CMP_LT_OQ>(a, b);
}
template <class S>
DGR_FN Mask<S> operator>(Vec<S> a, Vec<S> b) {
  return compare<_CMP_GT_OQ>(a, b);
}
template <class S>
DGR_FN Mask<S> operator>=(Vec<S> a, Vec<S> b) {
  return compare<_CMP_GE_OQ>(a, b);
}
template <class S>
DGR_FN Mask<S> operator==(Vec<S> a, Vec<S> b) {
  return compare<_CMP_EQ_OQ>(a, b);
}
template <class S>
DGR_FN Mask<S> operator&(Mask<S> a, Mask<S> b) {
  return {(uint16_t)(a.m & b.m)};
}
template <class S>
DGR_FN Mask<S> and_not(Mask<S> a, Mask<S> b) {
  return {(uint16_t)(a.m & ~b.m)};
}
// where & (a >= b), the comparison made only where asked.
DGR_FN Mask<float> at_least(Mask<float> where, Vec<float> a, Vec<float> b) {
  return {_mm512_mask_cmp_ps_mask(where.m, (__m512)a.v, (__m512)b.v, _CMP_GE_OQ)};
}
DGR_FN Mask<double> at_least(Mask<double> where, Vec<double> a, Vec<double> b) {
  return {_mm512_mask_cmp_pd_mask((__mmask8)where.m, (__m512d)a.v, (__m512d)b.v, _CMP_GE_OQ)};
}
template <class S>
DGR_FN uint32_t lane_bits(Mask<S> a) {
  return a.m;
}
DGR_FN Vec<float> select(Mask<float> m, Vec<float> yes, Vec<float> no) {
  return (Vec<float>::Native)_mm512_mask_mov_ps((__m512)no.v, (__mmask16)m.m, (__m512)yes.v);
}
DGR_FN Vec<double> select(Mask<double> m, Vec<double> yes, Vec<double> no) {
  return (Vec<double>::Native)_mm512_mask_mov_pd((__m512d)no.v, (__mmask8)m.m, (__m512d)yes.v);
}
DGR_FN Vec<float> zero_unless(Mask<float> m, Vec<float> x) {
  return (Vec<float>::Native)_mm512_maskz_mov_ps((__mmask16)m.m, (__m512)x.v);
}
DGR_FN Vec<double> zero_unless(Mask<double> m, Vec<double> x) {
  return (Vec<double>::Native)_mm512_maskz_mov_pd((__mmask8)m.m, (__m512d)x.v);
}

#else

template <class S>
struct Mask {
  typename Vec<S>::Int m;  // all ones or all zeros per lane
};
template <class S>
DGR_FN Mask<S> operator<(Vec<S> a, Vec<S> b) {
  return {a.v < b.v};
}
template <class S>
DGR_FN Mask<S> operator>(Vec<S> a, Vec<S> b) {
  return {a.v > b.v};
}
template <class S>
DGR_FN Mask<S> operator>=(Vec<S> a, Vec<S> b) {
  return {a.v >= b.v};
}
template <class S>
DGR_FN Mask<S> operator==(Vec<S> a, Vec<S> b) {
  return {a.v == b.v};
}
template <class S>
DGR_FN Mask<S> operator&(Mask<S> a, Mask<S> b) {
  return {a.m & b.m};
}
template <class S>
DGR_FN Mask<S> and_not(Mask<S> a, Mask<S> b) {
  return {a.m & ~b.m};
}
template <class S>
DGR_FN Mask<S> at_least(Mask<S> where, Vec<S> a, Vec<S> b) {
  return {where.m & (a.v >= b.v)};
}
template <class S>
DGR_FN Vec<S> zero_unless(Mask<S> m, Vec<S> x) {
  return (typename Vec<S>::Native)((typename Vec<S>::Int)x.v & m.m);
}
#if defined(__AVX2__)
DGR_FN Vec<float> select(Mask<float> m, Vec<float> yes, Vec<float> no) {
  return (Vec<float>::Native)_mm256_blendv_ps((__m256)no.v, (__m256)yes.v, (__m256)m.m);
}
DGR_FN Vec<double> select(Mask<double> m, Vec<double> yes, Vec<double> no) {
  return (Vec<double>::Native)_mm256_blendv_pd((__m256d)no.v, (__m256d)yes.v, (__m256d)m.m);
}
#else
template <class S>
DGR_FN Vec<S> select(Mask<S> m, Vec<S> yes, Vec<S> no) {
  typedef typename Vec<S>::Int Int;
  return (typename Vec<S>::Native)(((Int)yes.v & m.m) | ((Int)no.v & ~m.m));
}
#endif
#if defined(__AVX2__)
DGR_FN uint32_t lane_bits(Mask<float> a) { return (uint32_t)_mm256_movemask_ps((__m256)a.m); }
DGR_FN uint32_t lane_bits(Mask<double> a) { return (uint32_t)_mm256_movemask_pd((__m256d)a.m); }
#elif defined(__SSE2__)
DGR_FN uint32_t lane_bits(Mask<float> a) { return (uint32_t)_mm_movemask_ps((__m128)a.m); }
DGR_FN uint32_t lane_bits(Mask<double> a) { return (uint32_t)_mm_movemask_pd((__m128d)a.m); }
#else
template <class S>
DGR_FN uint32_t lane_bits(Mask<S> a) {
  uint32_t bits = 0;
  for (int i = 0; i < Vec<S>::kLanes; ++i) bits |= (uint32_t)(a.m[i] & 1) << i;
  return bits;
}
#endif

#endif

// Writes base + i for every bit i of 16 that is set, and up to 16 numbers in all; returns how many
// are set.
DGR_FN int list_bits(uint64_t bits, uint32_t base, uint32_t* to) {
#if defined(__AVX512F__)
  const __m512i each = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i all = _mm512_add_epi32(each, _mm512_set1_epi32((int)base));
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)bits, all));
  return __builtin_popcountll(bits);
#else
  int count = 0;
  for (; bits; bits &= bits - 1) to[count++] = base + __builtin_ctzll(bits);
  return count;
#endif
}

template <class S>
DGR_FN bool any(Mask<S> a) {
  return lane_bits(a) != 0;
}
template <class S>
DGR_FN bool same(Mask<S> a, Mask<S> b) {
  return lane_bits(a) == lane_bits(b);
}

// ------------------------------------------------------------------------------------- numbers

// Written out, never left to the compiler: forward and backward must round alpha alike.
#if defined(__AVX2__)
#if defined(__AVX512F__)
#define DGR_INTRINSIC(name) _mm512_##name
typedef __m512 Floats;
typedef __m512d Doubles;
#else
#define DGR_INTRINSIC(name) _mm256_##name
typedef __m256 Floats;
typedef __m256d Doubles;
#endif
DGR_FN Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>::Native)DGR_INTRINSIC(fmadd_ps)((Floats)a.v, (Floats)b.v, (Floats)c.v);
}
DGR_FN Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>::Native)DGR_INTRINSIC(fmadd_pd)((Doubles)a.v, (Doubles)b.v, (Doubles)c.v);
}
// c - a b.
DGR_FN Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>::Native)DGR_INTRINSIC(fnmadd_ps)((Floats)a.v, (Floats)b.v, (Floats)c.v);
}
DGR_FN Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>::Native)DGR_INTRINSIC(fnmadd_pd)((Doubles)a.v, (Doubles)b.v, (Doubles)c.v);
}
DGR_FN Vec<float> root(Vec<float> x) {
  return (Vec<float>::Native)DGR_INTRINSIC(sqrt_ps)((Floats)x.v);
}
DGR_FN Vec<double> root(Vec<double> x) {
  return (Vec<double>::Native)DGR_INTRINSIC(sqrt_pd)((Doubles)x.v);
}
DGR_FN Vec<float> minimum(Vec<float> a, Vec<float> b) {
  return (Vec<float>::Native)DGR_INTRINSIC(min_ps)((Floats)a.v, (Floats)b.v);
}
DGR_FN Vec<float> maximum(Vec<float> a, Vec<float> b) {
  return (Vec<float>::Native)DGR_INTRINSIC(max_ps)((Floats)a.v, (Floats)b.v);
}
#else
template <class S>
DGR_FN Vec<S> fma(Vec<S> a, Vec<S> b, Vec<S> c) {
  return a.v * b.v + c.v;
}
template <class S>
DGR_FN Vec<S> fnma(Vec<S> a, Vec<S> b, Vec<S> c) {
  return c.v - a.v * b.v;
}
template <class S>
DGR_FN Vec<S> root(Vec<S> x) {
  Vec<S> out;
  for (int i = 0; i < Vec<S>::kLanes; ++i) out.v[i] = root(x.v[i]);
  return out;
}
#endif

template <class S>
DGR_FN Vec<S> minimum(Vec<S> a, Vec<S> b) {
  return select(a < b, a, b);
}
template <class S>
DGR_FN Vec<S> maximum(Vec<S> a, Vec<S> b) {
  return select(a > b, a, b);
}
// As the one of numbers; both operators take the second of two where the first is NaN.
template <class S>
DGR_FN Vec<S> clamp(Vec<S> x, Vec<S> low, Vec<S> high) {
  return minimum(maximum(x, low), high);
}
template <class S>
DGR_FN Vec<S> magnitude(Vec<S> x) {
  return maximum(x, Vec<S>(S(0)) - x);
}
// -|x| where asked, by the sign bit.
#if defined(__AVX512F__)
DGR_FN Vec<float> negative_where(Mask<float> m, Vec<float> x) {
  const __m512i bits = _mm512_castps_si512((__m512)x.v), sign = _mm512_set1_epi32(INT32_MIN);
  return (Vec<float>::Native)_mm512_mask_or_epi32(bits, (__mmask16)m.m, bits, sign);
}
#endif
template <class S>
DGR_FN Vec<S> negative_where(Mask<S> m, Vec<S> x) {
  typedef typename Vec<S>::Int Int;
  return (typename Vec<S>::Native)((Int)x.v | (Int)zero_unless(m, Vec<S>(S(-0.0))).v);
}
// Of numbers other than zero and NaN.
#if defined(__AVX2__) && !defined(__AVX512F__)
DGR_FN bool all_negative(Vec<float> x) { return _mm256_movemask_ps((__m256)x.v) == 0xff; }
DGR_FN bool all_negative(Vec<double> x) { return _mm256_movemask_pd((__m256d)x.v) == 0xf; }
#else
template <class S>
DGR_FN bool all_negative(Vec<S> x) {
  return !any(x > Vec<S>(S(0)));
}
#endif
template <class S>
DGR_FN Mask<S> is_finite(Vec<S> x) {
  return (x - x) == Vec<S>(S(0));
}

template <class S>
DGR_FN S sum(Vec<S> x) {
  return simd::lane_sum<S>(x.v);
}

// 1 / x for x in [0.01, 1].
#if defined(__AVX512F__)
DGR_FN Vec<float> reciprocal(Vec<float> x) {
  // 14 good bits, one Newton step: within 1 ulp or so, at a quarter of a division's cost.
  const Vec<float> guess = (Vec<float>::Native)_mm512_rcp14_ps((__m512)x.v);
  return guess * (Vec<float>(2.0f) - x * guess);
}
#else
DGR_FN Vec<float> reciprocal(Vec<float> x) { return Vec<float>(1.0f) / x; }
#endif
DGR_FN Vec<double> reciprocal(Vec<double> x) { return Vec<double>(1.0) / x; }

// 2^f for |f| <= 1/2 by interpolation at Chebyshev nodes. Relative error, without rounding: 1.0e-7
// (float), 4e-18 (double); with it 2.5e-7 and 4e-16.
DGR_FN Vec<float> exp2_fraction(Vec<float> f) {
  // In pairs (Estrin): three steps deep instead of five, and the loops around it wait on latency.
  typedef Vec<float> V;
  const V square = f * f;
  const V low = fma(V(0.69314718802622878106f), f, V(1.000000075454897193f));
  const V middle = fma(V(0.055503571142190778186f), f, V(0.24022107485308337545f));
  const V high = fma(V(0.0013390863364671234381f), f, V(0.0096760319183220540794f));
  return fma(fma(high, square, middle), square, low);
}
DGR_FN Vec<double> exp2_fraction(Vec<double> f) {
  constexpr double kCoefficients[] = {7.0741942972885210056e-9,
                                      1.0178057087733941105e-7,
                                      1.3215432535912376166e-6,
                                      1.5252733841556772589e-5,
                                      1.5403530463724354209e-4,
                                      1.3333558146406470697e-3,
                                      9.6181291075872566681e-3,
                                      5.5504108664821627039e-2,
                                      2.4022650695910159567e-1,
                                      6.9314718055994530925e-1,
                                      1.0};
  Vec<double> p(4.455817908336064493e-10);
  for (double c : kCoefficients) p = fma(p, f, Vec<double>(c));
  return p;
}

// 2^x for x < 128, 0 far below the smallest normal number. No NaN goes in: such rows are culled
// before.
#if defined(__AVX512F__)
DGR_FN Vec<float> exp2(Vec<float> x) {
  // scalef rounds down by itself. 2^f for f in [0, 1), the greatest relative error as small as it
  // can be (Remez): 7.5e-8 without rounding, 2.0e-7 with it.
  typedef Vec<float> V;
  constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const V f = (V::Native)_mm512_reduce_ps((__m512)x.v, kDown);
  constexpr float kCoefficients[] = {0.008989339876598735f, 0.05582631823168337f,
                                     0.2401536169827236f, 0.69315307320709618f,
                                     0.9999999250637599f};
  V p(0.0018775767656580150f);
  for (float c : kCoefficients) p = fma(p, f, V(c));
  return (V::Native)_mm512_scalef_ps((__m512)p.v, (__m512)x.v);
}
DGR_FN Vec<double> exp2(Vec<double> x) {
  const __m512d whole =
      _mm512_roundscale_pd((__m512d)x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vec<double> p = exp2_fraction(x - Vec<double>((Vec<double>::Native)whole));
  return (Vec<double>::Native)_mm512_scalef_pd((__m512d)p.v, whole);
}
#else
template <class S>
DGR_FN Vec<S> exp2(Vec<S> x) {
  // Adding 1.5 · 2^mantissa rounds to an integer and leaves it in the low bits, ready for the
  // exponent field.
  constexpr int kMantissa = sizeof(S) == 4 ? 23 : 52;
  const Vec<S> magic(sizeof(S) == 4 ? S(12582912.0) : S(6755399441055744.0));
  x = maximum(x, Vec<S>(sizeof(S) == 4 ? S(-126) : S(-1022)));
  const Vec<S> shifted = x + magic;
  const Vec<S> p = exp2_fraction(x - (shifted - magic));
  typedef typename Vec<S>::Int Int;
  return (typename Vec<S>::Native)((Int)p.v + ((Int)shifted.v << kMantissa));
}
#endif

// log2 x of a normal number x > 0: 2^whole times a number m between the roots of 1/2 and 2, and
// log2 m = 2 / ln 2 · artanh((m - 1) / (m + 1)), whose series is off by 1e-9. With rounding: within
// 1.2e-7, or as much of the result.
DGR_FN Vec<float> log2(Vec<float> x) {
  typedef Vec<float> V;
  const V::Int bits = (V::Int)x.v, whole = (bits - 0x3f3504f3) >> 23;
  const V m = (V::Native)(bits - whole * (1 << 23)), one(1.0f);
  const V s = (m - one) / (m + one), square = s * s;
  constexpr float kSeries[] = {2.885390081777927f / 7, 2.885390081777927f / 5,
                               2.885390081777927f / 3, 2.885390081777927f};
  V p(2.885390081777927f / 9);
  for (float c : kSeries) p = fma(p, square, V(c));
  return fma(s, p, V(__builtin_convertvector(whole, V::Native)));
}
DGR_FN Vec<double> log2(Vec<double> x) {
  alignas(kVectorBytes) double out[Vec<double>::kLanes];
  x.store(out);
  for (double& each : out) each = __builtin_log2(each);
  return Vec<double>::load(out);
}

}  // namespace dgr
