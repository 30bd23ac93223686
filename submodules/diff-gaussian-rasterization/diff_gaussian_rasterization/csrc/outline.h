// Which tiles, and which of their rows, Gaussians can reach.
#pragma once

#include <cstdlib>
#include <cstring>

#include "columns.h"
#include "ellipse.h"
#include "rasterizer.h"

namespace dgr {

// Calls visit(tile, rows) for each tile that can hold a pixel of the ellipse, tile columns from
// left to right, in each from top to bottom; `rows` as in DgrPair. One strip per lane.
template <class S, class Visit>
DGR_FN void visit_tiles(const Outline<S>& o, int width, int height, Visit visit) {
  typedef Vec<S> V;
  typedef typename Vec<S>::Int Int;
  constexpr int W = V::kLanes;
  const Strips strips = reached_strips(o, width);
  const int tiles_across = (width + kTile - 1) / kTile;
  const Outline<V> wide = {o.u, o.v, o.slope, o.spread, o.bend, o.square, o.half_x, o.top_x};
  alignas(kVectorBytes) S starts[W];
  for (int i = 0; i < W; ++i) starts[i] = S(8 * i);
  for (int base = strips.first; base < strips.end; base += W) {
    V low, high;
    strip_rows(wide, V::load(starts) + V(S(8 * base) + S(0.5)), V(S(height)), low, high);
    const Int begin = __builtin_convertvector(low.v, Int),
              end = __builtin_convertvector(high.v, Int);
    for (int i = 0; i < W && base + i < strips.end; i += 2) {
      // A strip that lies in the tile but not in the image holds no rows.
      const bool second = base + i + 1 < strips.end;
      const Rows left = {(int)begin[i], (int)end[i]};
      const Rows right = {second ? (int)begin[i + 1] : 0, second ? (int)end[i + 1] : 0};
      const Rows tiles = reached_tiles(left, right);
      for (int row = tiles.begin; row < tiles.end; ++row) {
        const uint8_t rows[4] = {within(left.begin, row), within(left.end, row),
                                 within(right.begin, row), within(right.end, row)};
        if (rows[1] > rows[0] || rows[3] > rows[2])
          visit((uint32_t)(row * tiles_across + (base + i) / 2), rows);
      }
    }
  }
}

inline void append(PlacedList& list, uint32_t tile, const uint8_t* rows) {
  if (list.size == list.capacity) {
    const int64_t capacity = list.capacity ? 2 * list.capacity : 8 * kChunk;
    void* grown = list.failed ? nullptr : std::realloc(list.data, capacity * sizeof(Placed));
    list.failed = !grown;
    if (!grown) return;
    list.data = (Placed*)grown;
    list.capacity = capacity;
  }
  Placed& placed = list.data[list.size++];
  placed.tile = tile;
  for (int k = 0; k < 4; ++k) placed.rows[k] = rows[k];
}

// Appends the tiles of those lanes whose bits are set; counts[i] = how many lane i got.
template <class S>
DGR_FN void place_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        PlacedList& list, uint32_t* counts) {
  constexpr int W = Vec<S>::kLanes;
  static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
  alignas(kVectorBytes) S o[kOutlineNumbers][W];
  std::memcpy(o, &outlines, sizeof o);
  for (; bits; bits &= bits - 1) {
    const int i = __builtin_ctz(bits);
    const int64_t before = list.size;
    visit_tiles<S>(
        {o[0][i], o[1][i], o[2][i], o[3][i], o[4][i], o[5][i], o[6][i], o[7][i]}, width, height,
        [&](uint32_t tile, const uint8_t* rows) DGR_INLINE { append(list, tile, rows); });
    counts[i] = (uint32_t)(list.size - before);
  }
}

}  // namespace dgr
