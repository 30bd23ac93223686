// Matrices as `Rounded` of offset_mlp_product.h has them: what products of pairs read, in AVX-512
// and in AMX.
//
// Each is rounded once, to nearest even and denormal numbers to zero, when it is made; no product
// packs its operands. Pairs, and the 32 steps of a tile, reach behind a matrix's last number: what
// lies there meets zeros and has to be finite.
#pragma once
#include "offset_mlp_product.h"

#if defined(__AVX512F__) && defined(__has_include)
#if __has_include(<avx512bf16intrin.h>) && __has_include(<amxbf16intrin.h>) && defined(__linux__)
#define FF_BF16_UNITS
#include <immintrin.h>
#endif
#endif

namespace {

constexpr int kSide = 32;  // rows and columns of a block of tiles, and steps of a tile

inline static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

#if defined(FF_BF16_UNITS)

#define FF_PAIRS __attribute__((target("avx512bf16")))

// Where rows that come two by two are rounded to: up to 16 columns.
struct RoundedRows {
    uint16_t* in_rows;
    int64_t row;
    Pair* in_cols;
    int64_t pair_row;
    __mmask16 some;

    RoundedRows(const Rounded& to, int64_t first, int64_t col, int64_t cols)
        : in_rows(to.in_rows + first * to.row + col), row(to.row),
          in_cols(to.in_cols + first / 2 * to.pair_row + col), pair_row(to.pair_row),
          some(first_lanes(cols)) {}

    // Which columns of one of the next two rows are not zero so far.
    FF_PAIRS __mmask16 not_zero(int which) const {
        const __m256i bits = _mm256_loadu_si256((const __m256i*)(in_rows + which * row));
        return _mm256_test_epi16_mask(bits, _mm256_set1_epi16(0x7fff));
    }

    FF_PAIRS void store(__m512 first, __m512 second) {
        const __m512i places = _mm512_set_epi16(  // one of the first, one of the second
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
            4, 19, 3, 18, 2, 17, 1, 16, 0);
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(second, first);
        _mm256_mask_storeu_epi16(in_rows, some, _mm512_castsi512_si256(both));
        _mm256_mask_storeu_epi16(in_rows + row, some, _mm512_extracti64x4_epi64(both, 1));
        in_rows += 2 * row;
        if (!pair_row) return;
        _mm512_mask_storeu_epi32(in_cols, some, _mm512_permutexvar_epi16(places, both));
        in_cols += pair_row;
    }
};

FF_PAIRS inline void add_to(float* sums, __mmask16 some, __m512 more) {
    _mm512_mask_storeu_ps(sums, some, _mm512_maskz_loadu_ps(some, sums) + more);
}

// Fills `rounded` of a matrix with what its values are, and adds the sums of its columns to
// `col_sums`, unless that is null.
FF_PAIRS inline void round_pairs(const Matrix<const float>& m, int64_t rows, int64_t cols,
                                 float* col_sums) {
    for (int64_t col = 0; col < cols; col += 16) {
        RoundedRows to(m.rounded, 0, col, cols - col);
        const float* from = m.values + col;
        __m512 of_col = {};
        for (int64_t row = 0; row < rows; row += 2, from += 2 * m.row) {
            const __mmask16 second_too = row + 1 < rows ? to.some : 0;
            const __m512 first = _mm512_maskz_loadu_ps(to.some, from);
            const __m512 second = _mm512_maskz_loadu_ps(second_too, from + m.row);
            to.store(first, second);
            of_col += first + second;
        }
        if (col_sums) add_to(col_sums + col, to.some, of_col);
    }
}

// One of the next two rows of `to` from its sums. `c` itself keeps nothing but the outputs of
// sigmoids, for their slopes: later products read what is rounded, and so does the mask of a ReLU.
template <Finish kFinish>
FF_PAIRS inline __m512 finish_row(const RoundedRows& to, int which, __m512 sum, float* c) {
    using V = Vec<float, 16>;
    if (kFinish == Finish::kRelu) return _mm512_max_ps(_mm512_setzero_ps(), sum);  // NaN if that is
    if (kFinish == Finish::kMask) return _mm512_maskz_mov_ps(to.not_zero(which), sum);
    V output = {};
    if (kFinish == Finish::kSlope) output = (V)_mm512_maskz_loadu_ps(to.some, c);
    const __m512 done = (__m512)finished<float, kFinish>((V)sum, output);
    if (kFinish == Finish::kSigmoid) _mm512_mask_storeu_ps(c, to.some, done);
    return done;
}

// As finish_block, for results that are operands of later products.
template <Finish kFinish>
FF_PAIRS void finish_rounded(const Product<float>& product, int64_t row, int64_t col, int64_t rows,
                             int64_t cols, const float* sums, int64_t stride) {
    const Product<float> m = product;
    const int64_t last_row = min_of(row + rows, m.rows), last_col = min_of(col + cols, m.cols);
    for (int64_t at = col; at < last_col; at += 16, sums += 16) {
        RoundedRows to(m.c.rounded, row, at, last_col - at);
        const __m512 start = m.start ? _mm512_loadu_ps(m.start + at) : __m512{};
        __m512 of_col = {};
        for (int64_t r = row; r < last_row; r += 2) {
            __m512 done[2] = {};
            for (int k = 0; k < 2 && r + k < last_row; ++k) {
                const __m512 sum = _mm512_loadu_ps(sums + (r + k - row) * stride) + start;
                done[k] = finish_row<kFinish>(to, k, sum, m.c.values + (r + k) * m.c.row + at);
            }
            to.store(done[0], done[1]);
            of_col += done[0] + done[1];
        }
        if (m.col_sums) add_to(m.col_sums + at, to.some, of_col);
    }
}

inline auto pairs_finisher(Finish kind) {
    switch (kind) {
        case Finish::kRelu: return &finish_rounded<Finish::kRelu>;
        case Finish::kMask: return &finish_rounded<Finish::kMask>;
        case Finish::kSigmoid: return &finish_rounded<Finish::kSigmoid>;
        case Finish::kSlope: return &finish_rounded<Finish::kSlope>;
        default: return &finish_block<float, Finish::kPlain>;
    }
}

// The left operand, "rows x pairs of steps": pair (row, p) lies at `at + row * row + p * pair`.
struct LeftPairs {
    const uint16_t* at;
    int64_t row, pair;
};

inline LeftPairs left_pairs(const Product<float>& m) {
    const Rounded& a = m.a.rounded;
    if (m.a_lies == Lies::kInRows) return {a.in_rows, a.row, 2};
    return {reinterpret_cast<const uint16_t*>(a.in_cols), 2, 2 * a.pair_row};
}

#endif

}  // namespace
