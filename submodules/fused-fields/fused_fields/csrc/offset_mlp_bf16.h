// Products of offset_mlp_product.h whose operands are rounded to bfloat16, to nearest even, while
// sums, biases and activations stay float32.
//
// One product in three forms: rounded floats in the usual loop, which any processor can run, and
// pairs in the instructions of AVX-512 and of AMX, which read what is rounded already. They add up
// in different orders; the last two take denormal numbers as zero.
#pragma once
#include <cstring>

#include "offset_mlp_pairs.h"
#include "offset_mlp_tiles.h"

#if defined(FF_BF16_UNITS)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

// Forms, slowest first; 0 in OffsetMlp is no rounding at all.
enum Bf16Form { kRoundedFloats = 1, kPairs = 2, kTiles = 3 };

// Floats that a product of tiles of `points` needs in Product::scratch, where no matrix is wider
// than `widest`.
inline int64_t bf16_scratch(int form, int64_t points, int64_t widest) {
    const int64_t side = round_up(widest > points ? widest : points, kSide);
    return form == kRoundedFloats ? 2 * side * (side + kSide) : side * points;
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
    const bool by_row = m.a_lies == Lies::kInRows;
    const int64_t outer = by_row ? m.rows : m.steps, inner = by_row ? m.steps : m.rows;
    for (int64_t i = 0; i < outer; ++i) {
        for (int64_t j = 0; j < inner; ++j) a[i * inner + j] = rounded(m.a.values[i * m.a.row + j]);
    }
    own.a = {a, inner};
    float* b = a + outer * inner;
    const int64_t width = m.cols + kLanes<float>;  // read in whole vectors
    for (int64_t i = 0; i < m.steps; ++i) {
        const float* from = m.b.values + i * m.b.row;
        for (int64_t j = 0; j < m.cols; ++j) b[i * width + j] = rounded(from[j]);
        for (int64_t j = m.cols; j < width; ++j) b[i * width + j] = 0;
    }
    own.b = {b, width};
    own.b_by_col = {};  // is not rounded
    multiply_exactly(own);
}

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

// Whether products read matrices as Rounded has them.
inline bool takes_pairs(int form) { return form > kRoundedFloats; }

template <class T>
void round_matrix([[maybe_unused]] const Matrix<const T>& m, [[maybe_unused]] int64_t rows,
                  [[maybe_unused]] int64_t cols, [[maybe_unused]] T* col_sums) {
#if defined(FF_BF16_UNITS)
    if constexpr (sizeof(T) == sizeof(float)) round_pairs(m, rows, cols, col_sums);
#endif
}

template <class T>
void multiply(const Product<T>& m) {
    if constexpr (sizeof(T) == sizeof(float)) {
#if defined(FF_BF16_UNITS)
        if (m.bf16 == kTiles) return multiply_tiles(m);
        if (m.bf16 == kPairs) return multiply_pairs(m);
#endif
        if (m.bf16) return multiply_rounded_floats(m);
    }
    multiply_exactly(m);
}

}  // namespace
