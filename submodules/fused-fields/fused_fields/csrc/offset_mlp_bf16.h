// Products of offset_mlp_product.h whose operands are rounded to bfloat16, to nearest even, while
// sums, biases and activations stay float32.
//
// One product in three forms: rounded floats in the usual loop, which any processor can run, pairs
// of steps in AVX-512's bf16 instructions, and tiles of AMX. They add up in different orders; the
// last two take denormal numbers as zero.
#pragma once
#include <cstring>

#include "offset_mlp_product.h"
#include "turn.h"

#if defined(__AVX512F__) && defined(__has_include)
#if __has_include(<avx512bf16intrin.h>) && __has_include(<amxbf16intrin.h>) && defined(__linux__)
#define FF_BF16_UNITS
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace {

// Forms, slowest first; 0 in OffsetMlp is no rounding at all.
enum Bf16Form { kRoundedFloats = 1, kPairs = 2, kTiles = 3 };

constexpr int kSide = 32;  // rows and columns of a block, and steps of a tile

// Floats that a product of `widest` rows, columns or steps needs in Product::scratch.
inline int64_t bf16_scratch(int64_t widest) {
    const int64_t side = (widest + 2 * kSide - 1) / kSide * kSide;
    return 2 * side * side;
}

SIMD_FN float rounded(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t even = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    std::memcpy(&bits, &value, sizeof bits);
    bits = value == value ? even : bits;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

inline void multiply_rounded_floats(const Product<float>& m) {
    Product<float> own = m;
    float* a = m.scratch;
    const bool by_row = m.a_step == 1;
    const int64_t outer = by_row ? m.rows : m.steps, inner = by_row ? m.steps : m.rows;
    const int64_t step = by_row ? m.a_row : m.a_step;
    for (int64_t i = 0; i < outer; ++i) {
        for (int64_t j = 0; j < inner; ++j) a[i * inner + j] = rounded(m.a[i * step + j]);
    }
    own.a = a;
    (by_row ? own.a_row : own.a_step) = inner;
    float* b = a + outer * inner;
    const int64_t width = m.cols + kLanes<float>;  // read in whole vectors
    for (int64_t i = 0; i < m.steps; ++i) {
        for (int64_t j = 0; j < m.cols; ++j) b[i * width + j] = rounded(m.b[i * m.b_step + j]);
        for (int64_t j = m.cols; j < width; ++j) b[i * width + j] = 0;
    }
    own.b = b;
    own.b_step = width;
    own.b_by_col = nullptr;  // is not rounded
    multiply_exactly(own);
}

#if defined(FF_BF16_UNITS)

#define FF_PAIRS __attribute__((target("avx512bf16")))
#define FF_TILES __attribute__((target("amx-tile,amx-bf16")))

typedef int32_t Pair;  // two steps of a sum as bfloat16, the earlier one in the lower half
constexpr int kPairs16 = kSide / 2;

inline int64_t whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// `count` floats, zeros behind them; nothing past the last one is read.
SIMD_FN __m512 some(const float* from, int64_t count) {
    if (count >= 16) return _mm512_loadu_ps(from);
    return _mm512_maskz_loadu_ps(count > 0 ? (1u << count) - 1 : 0, from);
}

// Pairs of 16 columns from two rows.
FF_PAIRS inline __m512i interleaved(__m512 first, __m512 second) {
    const __m512i places = _mm512_add_epi32(
        _mm512_set1_epi32(16 << 16),
        _mm512_mullo_epi32(_mm512_set1_epi32(0x10001), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                                         9, 10, 11, 12, 13, 14, 15)));
    return _mm512_permutexvar_epi16(places, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

// The left operand, "rows x pairs", whole tiles with zeros in steps that there are not.
FF_PAIRS inline void pack_left(const Product<float>& m, Pair* to, int64_t pairs) {
    if (m.a_step == 1) {
        for (int64_t row = 0; row < m.rows; ++row) {
            const float* from = m.a + row * m.a_row;
            for (int64_t step = 0; step < 2 * pairs; step += kSide) {
                const __m512 low = some(from + step, m.steps - step);
                const __m512 high = some(from + step + 16, m.steps - step - 16);
                _mm512_storeu_si512(to + row * pairs + step / 2,
                                    (__m512i)_mm512_cvtne2ps_pbh(high, low));
            }
        }
        return;
    }
    for (int64_t row = 0; row < m.rows; row += 16) {
        for (int64_t step = 0; step < 2 * pairs; step += kSide) {
            __m512i square[16];
            for (int p = 0; p < 16; ++p) {
                const float* from = m.a + (step + 2 * p) * m.a_step + row;
                const int64_t count = m.rows - row, left = m.steps - step - 2 * p;
                square[p] = interleaved(some(from, left > 0 ? count : 0),
                                        some(from + m.a_step, left > 1 ? count : 0));
            }
            transpose(reinterpret_cast<FloatRow*>(square));  // pairs are as wide as floats
            for (int r = 0; r < 16; ++r) {
                _mm512_storeu_si512(to + (row + r) * pairs + step / 2, square[r]);
            }
        }
    }
}

// The right operand, "pairs x columns".
FF_PAIRS inline void pack_right(const Product<float>& m, Pair* to, int64_t pairs, int64_t across) {
    for (int64_t p = 0; p < pairs; ++p) {
        const float* from = m.b + 2 * p * m.b_step;
        const int64_t left = m.steps - 2 * p;
        for (int64_t col = 0; col < across; col += 16) {
            const int64_t count = m.cols - col;
            _mm512_storeu_si512(
                to + p * across + col,
                interleaved(some(from + col, left > 0 ? count : 0),
                            some(from + m.b_step + col, left > 1 ? count : 0)));
        }
    }
}

// Sums of a block, "kSide x kSide".
FF_PAIRS inline void sum_pairs(const Pair* a, const Pair* b, int64_t pairs, int64_t across,
                               float* sums) {
    constexpr int kRows = 8, kVectors = kSide / 16;
    for (int row = 0; row < kSide; row += kRows) {
        __m512 sum[kRows][kVectors] = {};
        const Pair* left = a + row * pairs;
        for (int64_t p = 0; p < pairs; ++p) {
            __m512bh right[kVectors];
            SIMD_UNROLL
            for (int v = 0; v < kVectors; ++v) {
                right[v] = (__m512bh)_mm512_loadu_si512(b + p * across + v * 16);
            }
            SIMD_UNROLL
            for (int r = 0; r < kRows; ++r) {
                const __m512bh both = (__m512bh)_mm512_set1_epi32(left[r * pairs + p]);
                SIMD_UNROLL
                for (int v = 0; v < kVectors; ++v) {
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], both, right[v]);
                }
            }
        }
        SIMD_UNROLL
        for (int r = 0; r < kRows; ++r) {
            SIMD_UNROLL
            for (int v = 0; v < kVectors; ++v) {
                _mm512_storeu_ps(sums + (row + r) * kSide + v * 16, sum[r][v]);
            }
        }
    }
}

FF_TILES inline void sum_tiles(const Pair* a, const Pair* b, int64_t pairs, int64_t across,
                               float* sums) {
    const int64_t a_bytes = pairs * sizeof(Pair), b_bytes = across * sizeof(Pair);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < pairs; p += kPairs16) {
        _tile_loadd(4, a + p, a_bytes);
        _tile_loadd(5, a + 16 * pairs + p, a_bytes);
        _tile_loadd(6, b + p * across, b_bytes);
        _tile_loadd(7, b + p * across + 16, b_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    constexpr int kBytes = kSide * sizeof(float);
    _tile_stored(0, sums, kBytes);
    _tile_stored(1, sums + 16, kBytes);
    _tile_stored(2, sums + 16 * kSide, kBytes);
    _tile_stored(3, sums + 16 * kSide + 16, kBytes);
}

// Eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileShapes {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

FF_TILES inline void begin_tiles() {
    static const TileShapes shapes;
    _tile_loadconfig(&shapes);
}
FF_TILES inline void end_tiles() { _tile_release(); }

inline void multiply_pairs(const Product<float>& m) {
    const int64_t pairs = whole(m.steps, kSide) / 2, across = whole(m.cols, kSide);
    Pair* a = reinterpret_cast<Pair*>(m.scratch);
    Pair* b = a + whole(m.rows, kSide) * pairs;
    pack_left(m, a, pairs);
    pack_right(m, b, pairs, across);
    const bool tiles = m.bf16 == kTiles;
    const auto sum = tiles ? sum_tiles : sum_pairs;
    const auto store = finisher<float>(m.finish);
    if (tiles) begin_tiles();
    alignas(64) float sums[kSide * kSide];
    for (int64_t col = 0; col < m.cols; col += kSide) {
        for (int64_t row = 0; row < m.rows; row += kSide) {
            sum(a + row * pairs, b + col, pairs, across, sums);
            store(m, row, col, kSide, kSide, sums, kSide);
        }
    }
    if (tiles) end_tiles();
}

#endif

// The fastest form that this library has and this processor and system run.
inline int bf16_form() {
#if defined(FF_BF16_UNITS)
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax >> 5 & 1)) return kRoundedFloats;
    constexpr unsigned kAmx = 1u << 22 | 1u << 24;  // its bf16, its tiles
    constexpr int kAskForState = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
    const bool tiles = (edx & kAmx) == kAmx && !syscall(SYS_arch_prctl, kAskForState, kTileData);
    return tiles ? kTiles : kPairs;
#else
    return kRoundedFloats;
#endif
}

template <class T>
void multiply(const Product<T>& m) {
    if constexpr (sizeof(T) == sizeof(float)) {
#if defined(FF_BF16_UNITS)
        if (m.bf16 > kRoundedFloats) return multiply_pairs(m);
#endif
        if (m.bf16) return multiply_rounded_floats(m);
    }
    multiply_exactly(m);
}

}  // namespace
