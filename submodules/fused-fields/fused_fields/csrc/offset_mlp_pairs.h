// Products of pairs of bfloat16 in AVX-512's instructions: the blocks of offset_mlp_product.h, two
// steps at a time.
#pragma once
#include "offset_mlp_rounded.h"

#if defined(FF_BF16_UNITS)

namespace {

// A block of the result, from `start` to `c`: its sums never leave the registers.
template <Finish kFinish, int Rows, int Vectors>
FF_PAIRS __attribute__((noinline)) void multiply_block(const Product<float>& m, int64_t row,
                                                       int64_t col) {
    __m512 sums[Rows][Vectors] = {};
    const auto begin = [&](int64_t step) {
        const float* start = m.start + row * step + col;
        SIMD_UNROLL
        for (int r = 0; r < Rows; ++r) {
            SIMD_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                sums[r][v] = _mm512_loadu_ps(start + r * step + v * 16);
            }
        }
    };
    if (m.start && m.start_row) begin(m.start_row);
    if (m.start && !m.start_row) begin(0);  // biases are read once
    const LeftPairs left = left_pairs(m);
    const uint16_t* a = left.at + row * left.row;
    const Pair* b = m.b.rounded.in_cols + col;
    const int64_t b_row = m.b.rounded.pair_row;
    for (int64_t pairs = (m.steps + 1) / 2; pairs > 0; --pairs, a += left.pair, b += b_row) {
        __m512bh right[Vectors];
        SIMD_UNROLL
        for (int v = 0; v < Vectors; ++v) right[v] = (__m512bh)_mm512_loadu_si512(b + v * 16);
        SIMD_UNROLL
        for (int r = 0; r < Rows; ++r) {
            Pair both;
            std::memcpy(&both, a + r * left.row, sizeof both);
            const __m512bh of_row = (__m512bh)_mm512_set1_epi32(both);
            SIMD_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], of_row, right[v]);
            }
        }
    }
    float* c = m.c.values + row * m.c.row + col;
    SIMD_UNROLL
    for (int v = 0; v < Vectors; ++v, c += 16) {
        const int64_t left_cols = m.cols - col - v * 16;
        if constexpr (kFinish == Finish::kPlain) {
            SIMD_UNROLL
            for (int r = 0; r < Rows; ++r) {
                _mm512_mask_storeu_ps(c + r * m.c.row, first_lanes(left_cols), sums[r][v]);
            }
        } else {
            RoundedRows to(m.c.rounded, row, col + v * 16, left_cols);
            __m512 of_col = {};
            SIMD_UNROLL
            for (int r = 0; r < Rows; r += 2) {
                __m512 second = {};
                const __m512 first = finish_row<kFinish>(to, 0, sums[r][v], c + r * m.c.row);
                if (r + 1 < Rows) {
                    second = finish_row<kFinish>(to, 1, sums[r + 1][v], c + (r + 1) * m.c.row);
                }
                to.store(first, second);
                if (kFinish == Finish::kMask) of_col += first + second;
            }
            if (kFinish == Finish::kMask) add_to(m.col_sums + col + v * 16, to.some, of_col);
        }
    }
}

template <Finish kFinish, int Rows, int Vectors>
void multiply_rows_left(const Product<float>& m, int64_t row, int64_t col) {
    if constexpr (Rows > 0) {
        if (m.rows - row >= Rows) return multiply_block<kFinish, Rows, Vectors>(m, row, col);
        multiply_rows_left<kFinish, Rows - 1, Vectors>(m, row, col);
    }
}

template <Finish kFinish, int Vectors = kBlockVectors>
void multiply_blocks(const Product<float>& m, int64_t col = 0) {
    constexpr int64_t kPanel = Vectors * 16;
    for (; m.cols - col > kPanel - 16; col += kPanel) {
        for (int64_t row = 0; row < m.rows; row += kBlockRows) {
            m.ahead->ask();
            multiply_rows_left<kFinish, kBlockRows, Vectors>(m, row, col);
        }
    }
    if constexpr (Vectors > 1) multiply_blocks<kFinish, Vectors / 2>(m, col);
}

// The sums of the lanes of four vectors.
SIMD_FN __m128 lane_sums(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 quarters = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))),
        _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd))));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters),
                                        _mm512_extractf32x8_ps(quarters, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

// As multiply_few.
template <int Cols>
FF_PAIRS void multiply_few_pairs(const Product<float>& m) {
    constexpr int kRows = 4;
    constexpr __mmask8 some_cols = (1 << Cols) - 1;
    const Rounded &of_a = m.a.rounded, &of_b = m.b_by_col.rounded;
    const __m128 start = m.start ? _mm_maskz_loadu_ps(some_cols, m.start) : _mm_setzero_ps();
    for (int64_t row = 0; row < m.rows; row += kRows) {
        __m512 lanes[kRows][4] = {};
        for (int64_t step = 0; step < m.steps; step += kSide) {
            const int64_t left = m.steps - step;
            const __mmask32 some = left < kSide ? (__mmask32{1} << left) - 1 : ~__mmask32{0};
            __m512bh right[Cols];
            SIMD_UNROLL
            for (int c = 0; c < Cols; ++c) {
                const uint16_t* from = of_b.in_rows + c * of_b.row + step;
                right[c] = (__m512bh)_mm512_maskz_loadu_epi16(some, from);
            }
            SIMD_UNROLL
            for (int r = 0; r < kRows; ++r) {
                const int64_t from = min_of(row + r, m.rows - 1) * of_a.row + step;
                const auto a = (__m512bh)_mm512_maskz_loadu_epi16(some, of_a.in_rows + from);
                SIMD_UNROLL
                for (int c = 0; c < Cols; ++c) {
                    lanes[r][c] = _mm512_dpbf16_ps(lanes[r][c], a, right[c]);
                }
            }
        }
        const int64_t rows = min_of<int64_t>(kRows, m.rows - row);
        SIMD_UNROLL
        for (int r = 0; r < kRows; ++r) {
            if (r == rows) return;
            const __m128 sums = lane_sums(lanes[r][0], lanes[r][1], lanes[r][2], lanes[r][3]);
            _mm_mask_storeu_ps(m.c.values + (row + r) * m.c.row, some_cols,
                               _mm_add_ps(sums, start));
        }
    }
}

inline void multiply_pairs(const Product<float>& m) {
    if (m.b_by_col.values && m.finish == Finish::kPlain) {
        if (m.cols == 1) return multiply_few_pairs<1>(m);
        if (m.cols == 2) return multiply_few_pairs<2>(m);
        if (m.cols == 3) return multiply_few_pairs<3>(m);
        if (m.cols == 4) return multiply_few_pairs<4>(m);
    }
    if (m.finish == Finish::kPlain) return multiply_blocks<Finish::kPlain>(m);
    if (m.finish == Finish::kRelu) return multiply_blocks<Finish::kRelu>(m);
    if (m.finish == Finish::kMask) return multiply_blocks<Finish::kMask>(m);
    Product<float> sums = m, rest = m;  // a sigmoid would not fit into registers beside a block
    sums.c = {m.scratch, round_up(m.cols, 16)};
    sums.finish = Finish::kPlain;
    rest.start = nullptr;
    multiply_blocks<Finish::kPlain>(sums);
    pairs_finisher(m.finish)(rest, 0, 0, m.rows, m.cols, m.scratch, sums.c.row);
}

}  // namespace

#endif
