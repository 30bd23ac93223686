// Products of pairs of bfloat16 in tiles of AMX: 16 rows of 16 pairs.
#pragma once
#include "offset_mlp_rounded.h"
#include "turn.h"

#if defined(FF_BF16_UNITS)

#define FF_TILES __attribute__((target("amx-tile,amx-bf16")))

namespace {

// Sums of a block, "kSide x kSide".
FF_TILES inline void sum_tiles(const LeftPairs& a, const Pair* b, int64_t b_row, int64_t pairs,
                               float* sums) {
    const int64_t a_bytes = a.row * sizeof(uint16_t), b_bytes = b_row * sizeof(Pair);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t p = 0; p < pairs; p += kSide / 2) {
        _tile_loadd(4, a.at + 2 * p, a_bytes);
        _tile_loadd(5, a.at + 16 * a.row + 2 * p, a_bytes);
        _tile_loadd(6, b + p * b_row, b_bytes);
        _tile_loadd(7, b + p * b_row + 16, b_bytes);
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

// Tiles want the pairs of a row side by side: turned in squares of 16 where they are not.
inline LeftPairs turned(const Rounded& a, int64_t rows, int64_t pairs, Pair* to) {
    for (int64_t row = 0; row < rows; row += 16) {
        for (int64_t p = 0; p < pairs; p += 16) {
            FloatRow square[16];  // pairs are as wide as floats
            for (int k = 0; k < 16; ++k) {
                square[k] = _mm512_loadu_ps(a.in_cols + (p + k) * a.pair_row + row);
            }
            transpose(square);
            for (int k = 0; k < 16; ++k) _mm512_storeu_ps(to + (row + k) * pairs + p, square[k]);
        }
    }
    return {reinterpret_cast<const uint16_t*>(to), 2 * pairs, 2};
}

inline void multiply_tiles(const Product<float>& m) {
    const int64_t pairs = round_up(m.steps, kSide) / 2;
    const LeftPairs a = m.a_lies == Lies::kInRows
                            ? left_pairs(m)
                            : turned(m.a.rounded, round_up(m.rows, kSide), pairs,
                                     reinterpret_cast<Pair*>(m.scratch));
    const Rounded& b = m.b.rounded;
    const auto store = pairs_finisher(m.finish);
    alignas(64) float sums[kSide * kSide];
    begin_tiles();
    for (int64_t col = 0; col < m.cols; col += kSide) {
        for (int64_t row = 0; row < m.rows; row += kSide) {
            m.ahead->ask();
            sum_tiles({a.at + row * a.row, a.row, a.pair}, b.in_cols + col, b.pair_row, pairs,
                      sums);
            store(m, row, col, kSide, kSide, sums, kSide);
        }
    }
    end_tiles();
}

}  // namespace

#endif
