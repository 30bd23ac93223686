// Which tiles, and which of their rows, Gaussians can reach.
#pragma once

#include <cstdlib>
#include <cstring>

#include "columns.h"
#include "ellipse.h"
#include "rasterizer.h"

namespace dgr {

// Calls visit(column, left, right) for each tile column that can hold a pixel of the ellipse, from
// left to right: the rows that its two strips hold. One strip per lane.
template <class S, class Visit>
DGR_FN void visit_columns(const Outline<S>& o, int width, int height, Visit visit) {
  typedef Vec<S> V;
  typedef typename Vec<S>::Int Int;
  constexpr int W = V::kLanes;
  const Strips strips = reached_strips(o, width);
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
      visit((base + i) / 2, Rows{(int)begin[i], (int)end[i]},
            second ? Rows{(int)begin[i + 1], (int)end[i + 1]} : Rows{0, 0});
    }
  }
}

// Calls visit(lane, outline) for those lanes whose bits are set.
template <class S, class Visit>
DGR_FN void visit_lanes(const Outline<Vec<S>>& outlines, uint32_t bits, Visit visit) {
  constexpr int W = Vec<S>::kLanes;
  static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
  alignas(kVectorBytes) S o[kOutlineNumbers][W];
  std::memcpy(o, &outlines, sizeof o);
  for (; bits; bits &= bits - 1) {
    const int i = __builtin_ctz(bits);
    visit(i, Outline<S>{o[0][i], o[1][i], o[2][i], o[3][i], o[4][i], o[5][i], o[6][i], o[7][i]});
  }
}

// Calls visit(lane, pair) for the tiles of those lanes whose bits are set: lane after lane, tile
// columns from left to right, in each from top to bottom.
template <class S, class Visit>
DGR_FN void visit_tiles(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        Visit visit) {
  const int across = (width + kTile - 1) / kTile;
  visit_lanes<S>(outlines, bits, [&](int lane, const Outline<S>& o) DGR_INLINE {
    visit_columns<S>(o, width, height, [&](int column, Rows left, Rows right) DGR_INLINE {
      const Rows tiles = reached_tiles(left, right);
      for (int row = tiles.begin; row < tiles.end; ++row) {
        const Placed pair = {(uint32_t)(row * across + column),
                             {within(left.begin, row), within(left.end, row),
                              within(right.begin, row), within(right.end, row)}};
        if (pair.rows[1] > pair.rows[0] || pair.rows[3] > pair.rows[2]) visit(lane, pair);
      }
    });
  });
}

constexpr int64_t kMostKept = 16 * kChunk;  // pairs of a chunk, before all are counted

inline bool grow(PlacedList& list) {
  if (list.capacity == kMostKept) return false;
  void* grown = std::realloc(list.data, kMostKept / 2 * (list.data ? 2 : 1) * sizeof(Placed));
  if (!grown) return false;
  list.capacity = list.data ? kMostKept : kMostKept / 2;
  list.data = (Placed*)grown;
  return true;
}

// Appends the tiles of those lanes whose bits are set, or, once the list is full, counts them;
// counts[i] = how many lane i has.
template <class S>
DGR_FN void list_group(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                       PlacedList& list, uint32_t* counts) {
  if (list.size > list.capacity) {
    visit_lanes<S>(outlines, bits, [&](int i, const Outline<S>& o) DGR_INLINE {
      visit_columns<S>(o, width, height, [&](int, Rows left, Rows right) DGR_INLINE {
        counts[i] += (uint32_t)count_tiles(left, right);
      });
      list.size += counts[i];
    });
    return;
  }
  visit_tiles<S>(outlines, bits, width, height, [&](int i, const Placed& pair) DGR_INLINE {
    ++counts[i];
    if (list.size < list.capacity || (list.size == list.capacity && grow(list)))
      list.data[list.size] = pair;
    ++list.size;
  });
}

// The pairs of rows begin .. end, to the slots that `offsets` give them.
template <class S>
void place_rows(const DgrScene& scene, const DgrState& state, const void* outlines, Placed* placed,
                int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  Placed* next = placed + state.offsets[begin];
  for (int64_t first = begin; first < end; first += W) {
    const uint32_t* slots = state.offsets + first;
    uint32_t bits = 0;
    for (int i = 0; i < W && first + i < end; ++i)
      bits |= (uint32_t)(slots[i + 1] > slots[i]) << i;
    visit_tiles<S>(((const Outline<Vec<S>>*)outlines)[first / W], bits, scene.width, scene.height,
                   [&](int, const Placed& pair) DGR_INLINE { *next++ = pair; });
  }
}

}  // namespace dgr
