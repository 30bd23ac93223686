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

// DgrPair's rows of one tile as a number, the first in its lowest byte; 0 where no row is reached. I:
// an integer or a vector of them; l and r: the rows that the left and the right strip hold.
template <class I>
DGR_FN I rows_in_tile(I l_begin, I l_end, I r_begin, I r_end, I tile_row) {
  const I zero{}, most = zero + kTile;
  const auto local = [&](I y) DGR_INLINE {
    const I row = y - tile_row * kTile;
    return row < zero ? zero : row > most ? most : row;
  };
  const I a = local(l_begin), b = local(l_end), c = local(r_begin), d = local(r_end);
  return ((a < b) | (c < d)) ? (a | b << 8 | c << 16 | d << 24) : zero;
}

// The tile columns that Gaussians can reach, one Gaussian per lane: how many from which one on, and,
// where these are few, the rows that the two strips of each hold, and the tiles.
template <class S>
class ReachedColumns {
 public:
  typedef Vec<S> V;
  typedef typename V::Int Int;
  static constexpr int kFew = 4;

  // bits: the lanes that count.
  DGR_FN ReachedColumns(const Outline<V>& o, uint32_t bits, int width, int height) {
    // As reached_strips has it.
    const V last(S(width - 1)), zero(S(0));
    const V left = o.u - o.half_x - V(S(0.501)), right = o.u + o.half_x - V(S(0.499));
    const Int first = __builtin_convertvector(maximum(left, zero).v, Int) / kTile,
              last_strip = __builtin_convertvector(minimum(right, last).v, Int) / 8;
    const Int seen = (right.v >= zero.v) & (left.v <= last.v);
    keep(first, first_);
    keep((last_strip / 2 - first + 1) & seen, count_);
    int steps = 0;
    for (; bits; bits &= bits - 1) {
      const int lane = __builtin_ctz(bits);
      if (few(lane) && steps < count(lane)) steps = count(lane);
    }
    for (int step = 0; step < steps; ++step) {
      const Int column = first + step;
      const V x = V(__builtin_convertvector(column * kTile, typename V::Native)) + V(S(0.5));
      // A strip that lies in the tile but not in the image holds no rows.
      keep_column(step, strip(o, x, height, Int{} - 1),
                  strip(o, x + V(S(8)), height, column * 2 + 1 <= last_strip));
    }
  }

  int first(int lane) const { return (int)first_[lane]; }
  int count(int lane) const { return (int)count_[lane]; }
  bool few(int lane) const { return count_[lane] <= kFew; }
  Rows left(int lane, int step) const { return {at(step, 0, lane), at(step, 1, lane)}; }
  Rows right(int lane, int step) const { return {at(step, 2, lane), at(step, 3, lane)}; }
  // As reached_tiles has it.
  Rows tiles(int lane, int step) const { return {at(step, 4, lane), at(step, 5, lane)}; }
  // rows_in_tile of the k-th of them.
  DGR_FN uint32_t rows(int lane, int step, int k) const {
    if (k < kTiles) return (uint32_t)kept_[step][6 + k][lane];
    const Rows l = left(lane, step), r = right(lane, step);
    return (uint32_t)rows_in_tile(l.begin, l.end, r.begin, r.end, tiles(lane, step).begin + k);
  }

 private:
  static constexpr int kTiles = 2;  // that all lanes are told of at once
  typedef simd::Bits<S> Whole[V::kLanes];
  struct Strip {
    Int begin, end;
  };

  static DGR_FN void keep(Int x, Whole& to) { std::memcpy(to, &x, sizeof x); }
  int at(int step, int k, int lane) const { return (int)kept_[step][k][lane]; }

  static DGR_FN Strip strip(const Outline<V>& o, V x, int height, Int wanted) {
    V low, high;
    strip_rows(o, x, V(S(height)), low, high);
    return {__builtin_convertvector(low.v, Int) & wanted,
            __builtin_convertvector(high.v, Int) & wanted};
  }

  DGR_FN void keep_column(int step, const Strip& l, const Strip& r) {
    const Int least = l.begin < r.begin ? l.begin : r.begin,
              begin = l.begin >= l.end ? r.begin : r.begin >= r.end ? l.begin : least,
              end = l.end > r.end ? l.end : r.end, tile = begin / kTile;
    const Int all[] = {l.begin, l.end, r.begin, r.end, tile, (end + (kTile - 1)) / kTile};
    for (int k = 0; k < 6; ++k) keep(all[k], kept_[step][k]);
    for (int k = 0; k < kTiles; ++k)
      keep(rows_in_tile(l.begin, l.end, r.begin, r.end, tile + k), kept_[step][6 + k]);
  }

  alignas(kVectorBytes) Whole first_, count_, kept_[kFew][6 + kTiles];
};

template <class S>
DGR_FN Outline<S> outline_of_lane(const Outline<Vec<S>>& outlines, int lane) {
  constexpr int W = Vec<S>::kLanes;
  static_assert(sizeof(Outline<Vec<S>>) == sizeof(S) * W * kOutlineNumbers, "");
  S o[kOutlineNumbers];
  for (int k = 0; k < kOutlineNumbers; ++k)
    std::memcpy(&o[k], (const char*)&outlines + (k * W + lane) * sizeof(S), sizeof(S));
  return {o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]};
}

// Calls visit(lane, pair) for the tiles of those lanes whose bits are set: lane after lane, tile
// columns from left to right, in each from top to bottom.
template <class S, class Visit>
DGR_FN void visit_tiles(const Outline<Vec<S>>& outlines, uint32_t bits, int width, int height,
                        Visit visit) {
  const int across = (width + kTile - 1) / kTile;
  const auto visit_tile = [&](int lane, int column, int row, uint32_t rows) DGR_INLINE {
    if (rows)
      visit(lane, Placed{(uint32_t)(row * across + column),
                         {(uint8_t)rows, (uint8_t)(rows >> 8), (uint8_t)(rows >> 16),
                          (uint8_t)(rows >> 24)}});
  };
  const ReachedColumns<S> reached(outlines, bits, width, height);
  for (; bits; bits &= bits - 1) {
    const int lane = __builtin_ctz(bits);
    if (__builtin_expect(reached.few(lane), 1)) {
      for (int step = 0; step < reached.count(lane); ++step) {
        const Rows tiles = reached.tiles(lane, step);
        for (int row = tiles.begin; row < tiles.end; ++row)
          visit_tile(lane, reached.first(lane) + step, row,
                     reached.rows(lane, step, row - tiles.begin));
      }
      continue;
    }
    visit_columns<S>(outline_of_lane<S>(outlines, lane), width, height,
                     [&](int column, Rows l, Rows r) DGR_INLINE {
                       const Rows tiles = reached_tiles(l, r);
                       for (int row = tiles.begin; row < tiles.end; ++row)
                         visit_tile(lane, column, row,
                                    (uint32_t)rows_in_tile(l.begin, l.end, r.begin, r.end, row));
                     });
  }
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
    for (; bits; bits &= bits - 1) {
      const int i = __builtin_ctz(bits);
      visit_columns<S>(outline_of_lane<S>(outlines, i), width, height,
                       [&](int, Rows left, Rows right) DGR_INLINE {
                         counts[i] += (uint32_t)count_tiles(left, right);
                       });
      list.size += counts[i];
    }
    return;
  }
  visit_tiles<S>(outlines, bits, width, height, [&](int i, const Placed& pair) DGR_INLINE {
    ++counts[i];
    if (list.size < list.capacity || (list.size == list.capacity && grow(list)))
      list.data[list.size] = pair;
    ++list.size;
  });
}

// The pairs of rows begin .. end, one after the other.
template <class S>
void place_rows(const DgrScene& scene, const DgrState& state, const void* outlines, Placed* placed,
                int64_t begin, int64_t end) {
  constexpr int W = Vec<S>::kLanes;
  for (int64_t first = begin; first < end; first += W) {
    uint32_t bits = 0;
    for (int i = 0; i < W && first + i < end; ++i)
      bits |= (uint32_t)(state.radii[first + i] != 0) << i;
    visit_tiles<S>(((const Outline<Vec<S>>*)outlines)[first / W], bits, scene.width, scene.height,
                   [&](int, const Placed& pair) DGR_INLINE { *placed++ = pair; });
  }
}

}  // namespace dgr
